"""Whatever a key is called, it can be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer.report.names import hashed_name, name_of, printable, shown_name


@given(name=st.binary(max_size=40))
def test_a_shown_name_holds_nothing_a_terminal_obeys(name: bytes) -> None:
    """No escape, no line end, no change of direction: every character can be printed."""
    assert shown_name(name).isprintable()


@given(one=st.binary(max_size=6), other=st.binary(max_size=6))
def test_different_names_are_shown_differently(one: bytes, other: bytes) -> None:
    """A byte and its escape written out are two names."""
    assert (shown_name(one) == shown_name(other)) == (one == other)


@given(name=st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_a_name_can_be_typed_as_it_is_shown(name: bytes) -> None:
    """What is read on a screen finds the key again."""
    assert name_of(shown_name(name)) == name


@pytest.mark.parametrize("text", ['"\\q"', '"\\x0"', '"a\\"', '"\\xzz"', '"\\u12"', '"\\U00110000"'])
def test_an_escape_that_is_none_is_refused(text: str) -> None:
    """Rather than another key looked for."""
    with pytest.raises(ValueError):
        name_of(text)


def test_plain_names_are_shown_as_they_are() -> None:
    """Quotes come only where they are needed."""
    assert shown_name(b"user:1") == "user:1"
    assert shown_name("schlüssel:ß".encode()) == "schlüssel:ß"
    assert shown_name(b"") == '""'
    assert shown_name(b"a b") == '"a b"'
    assert shown_name(b"\x1b[31m\r\n\x00\xff") == '"\\x1b[31m\\r\\n\\x00\\xff"'
    assert shown_name("\u202e".encode()) == '"\\u202e"'


def test_a_name_of_64_kib_does_not_fill_the_screen() -> None:
    """It is cut, and told apart by its length and hash."""
    shown = shown_name(b"k" * 65_536)

    assert len(shown) < 200
    assert "65,536 bytes" in shown
    assert hashed_name(b"k" * 65_536) in shown


def test_text_of_others_keeps_its_letters_and_loses_its_powers() -> None:
    """Server replies may hold anything."""
    assert printable("-ERR tab\there \x9b31m") == "-ERR tab\\there \\u009b31m"
    assert printable("two\nlines", keep="\n") == "two\nlines"

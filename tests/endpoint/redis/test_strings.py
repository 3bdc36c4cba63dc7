"""Which names are tried as strings: by what names of the same shape held."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from transfer.endpoint.redis.strings import StringGuess, Unread

STRING, HASH = b"\x00payload", b"\x04payload"
names = st.lists(st.binary(max_size=12), max_size=60, unique=True)


def page(*kinds: bytes, first: int = 0, count: int = 100) -> list[bytes]:
    return [b"%b:%08x" % (kind, number) for number in range(first, first + count) for kind in kinds]


def taught(*pages: tuple[list[bytes], bytes]) -> StringGuess:
    guess = StringGuess()
    for keys, payload in pages:
        guess.met(keys, [payload] * len(keys), strings=False)
    return guess


def tried(left: Unread) -> list[bytes]:
    return left.names if left.as_strings else []


def test_nothing_is_tried_before_anything_was_met() -> None:
    """The first page comes as payloads."""
    keys = page(b"user")
    assert not StringGuess().part(keys).as_strings


def test_names_of_a_shape_that_held_strings_are_tried_and_others_not() -> None:
    """Whatever number or hex word stands in the name."""
    guess = taught((page(b"page"), STRING), (page(b"user"), HASH))

    left = guess.part(page(b"page", b"user", first=5_000))

    assert left.names == page(b"page", first=5_000)
    left.read(len(left.names), [])
    assert (left.as_strings, left.names) == (False, page(b"user", first=5_000))


def test_a_shape_of_mixed_kinds_is_tried_only_where_most_are_strings() -> None:
    """Half of them: no; nine of ten: all."""
    chance = random.Random(7)
    for share, expected in ((0.5, False), (0.9, True)):
        guess = StringGuess()
        for first in range(0, 2_000, 100):
            keys = page(b"k", first=first)
            guess.met(keys, [STRING if chance.random() < share else HASH for _ in keys], strings=False)
        assert guess.part(page(b"k")).as_strings is expected


def test_a_shape_that_no_longer_holds_strings_is_given_up() -> None:
    """Learnt from what MGET gave nothing for."""
    guess = taught((page(b"page"), STRING))
    for _ in range(20):
        keys = tried(guess.part(page(b"page")))
        guess.met(keys, [None] * len(keys), strings=True)
    assert not guess.part(page(b"page")).as_strings


def test_names_without_a_common_shape_are_guessed_by_what_such_names_held() -> None:
    """And no more is remembered of them than fits."""
    chance = random.Random(3)
    guess = StringGuess()
    words = [bytes(chance.choices(b"ghijklmnopqrstuvwxyz", k=12)) for _ in range(20_000)]
    for at in range(0, 19_000, 100):
        guess.met(words[at : at + 100], [STRING] * 100, strings=False)

    assert len(guess._seen) < 1_100
    assert len(tried(guess.part(words[19_000:]))) == 1_000


@given(names, names, st.integers(0, 70), st.randoms())
def test_every_name_of_a_page_is_read_as_what_it_is(
    strings: list[bytes], hashes: list[bytes], step: int, chance: random.Random
) -> None:
    """However the page is cut: each name that is no string is at last among the others, once."""
    hashes = [name for name in hashes if name not in strings]
    keys = [*strings, *hashes]
    chance.shuffle(keys)
    guess = taught((strings, STRING), (hashes[::2], HASH))
    left, found = guess.part(list(keys)), []

    while left.names:
        given, as_strings = left.names[: step + 1], left.as_strings
        missed = [name for name in given if name in hashes] if as_strings else []
        found += [name for name in given if name not in missed]
        left.read(len(given), missed)

    assert sorted(found) == sorted(keys)

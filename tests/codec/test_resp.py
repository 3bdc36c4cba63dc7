"""Requests are the bytes a server expects, however they are built."""

from __future__ import annotations

import hiredis
from hypothesis import given
from hypothesis import strategies as st

from transfer.codec import resp

_NAMES = st.binary(max_size=40) | st.just(b"$0\r\n\r\n") | st.just(b"RESTORE\r\n$0\r\n\r\n")


def _parsed(request: bytes) -> list[list[bytes]]:
    reader = hiredis.Reader()
    reader.feed(request)
    return list(iter(reader.gets, False))


@given(_NAMES, st.binary(max_size=60), st.integers(-1, 10**15), st.booleans())
def test_restore_is_one_command_in_one_piece_or_in_three(key: bytes, dump: bytes, at: int, replace: bool) -> None:
    """Both ways of building it say the same, whatever the name holds."""
    words = [b"RESTORE", key, b"%d" % max(at, 0), dump]
    words += [b"ABSTTL"] * (at > 0) + [b"REPLACE"] * replace

    whole = resp.restore(key, dump, at, replace=replace)

    assert _parsed(whole) == [words]
    assert b"".join(resp.restore_parts(key, dump, at, replace=replace)) == whole


@given(st.lists(_NAMES, max_size=5))
def test_each_asks_for_every_key_in_order(keys: list[bytes]) -> None:
    """No key, no command."""
    assert _parsed(resp.each(b"DUMP", keys)) == [[b"DUMP", key] for key in keys]


@given(st.lists(st.binary(max_size=9), max_size=9), st.integers(0, 9))
def test_joining_keeps_every_byte_and_leaves_large_parts_alone(parts: list[bytes], large: int) -> None:
    """The same bytes in the same order; a part above the limit is the object it was."""
    pieces = resp.joined(parts, large)

    assert b"".join(pieces) == b"".join(parts)
    assert [part for part in parts if len(part) > large] == [
        p for p in pieces if any(p is q for q in parts) and len(p) > large
    ]

"""Heads and bodies come out the same however the network cut the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer.codec.heads import Head, HeadReader
from transfer.model.errors import FormatError


def taken(data: bytes, cuts: list[int]) -> tuple[list[Head], list[bytes]]:
    """Every head of *data*, fed in pieces that end at *cuts*, and every body that a `$` announced."""
    reader, heads, bodies, left = HeadReader(), [], [], 0
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    for start, end in zip([0, *ends], ends, strict=False):
        reader.feed(data[start:end])
        while not reader.empty:
            if left:
                piece = reader.body(left)
                bodies[-1] += piece
                left -= len(piece)
            elif (head := reader.head()) is not None:
                heads.append(head)
                if head.mark == "$" and head.number >= 0:
                    bodies.append(b"")
                    left = head.number + 2
            else:
                break
    return heads, bodies


_BODY = st.binary(max_size=60)
_REPLY = st.one_of(
    _BODY.map(lambda body: b"$%d\r\n%b\r\n" % (len(body), body)),
    st.integers(-(2**62) // 10, 2**62 // 10).map(lambda number: b":%d\r\n" % number),
    st.sampled_from([b"+OK\r\n", b"+QUEUED\r\n", b"*3\r\n", b"$-1\r\n", b"-ERR no\r\n"]),
)


@given(replies=st.lists(_REPLY, max_size=8), cuts=st.lists(st.integers(0, 2000), max_size=30))
def test_any_cut_gives_the_same_heads_and_bodies(replies: list[bytes], cuts: list[int]) -> None:
    """The network may cut anywhere: inside a length, a line end, a body."""
    data = b"".join(replies)

    heads, bodies = taken(data, cuts)

    assert (heads, bodies) == taken(data, [])
    assert len(heads) == len(replies)
    wanted = [reply.split(b"\r\n", 1)[1] for reply in replies if reply.startswith(b"$") and reply != b"$-1\r\n"]
    assert bodies == wanted


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=10))
def test_bytes_that_are_no_resp_are_refused_or_wait(data: bytes, cuts: list[int]) -> None:
    """Nothing but FormatError comes out of a hostile stream."""
    try:
        taken(data, cuts)
    except FormatError:
        return


@pytest.mark.parametrize("head", [b"$99999999999999999999\r\n", b"$9999999999999999\r\n", b"$-2\r\n", b"$x\r\n"])
def test_a_length_that_nobody_can_mean_is_refused(head: bytes) -> None:
    """Before anything is held for it."""
    reader = HeadReader()
    reader.feed(head)
    found = reader.head()
    assert found is not None

    with pytest.raises(FormatError):
        _ = found.number


def test_a_head_without_an_end_is_refused() -> None:
    """A line that goes on and on is not collected."""
    reader = HeadReader()
    with pytest.raises(FormatError, match="longer than"):
        for _ in range(200):
            reader.feed(b"+" + b"x" * 1000)
            reader.head()

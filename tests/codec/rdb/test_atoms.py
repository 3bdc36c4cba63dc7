"""Lengths and strings of RDB: read back as they were put, cut anywhere, packed or not."""

from __future__ import annotations

import lzf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer.codec.rdb.atoms import put_length, put_string, read_length, read_string
from transfer.model.errors import CutError, FormatError


@given(number=st.integers(0, (1 << 64) - 1), before=st.binary(max_size=3), after=st.binary(max_size=3))
def test_a_length_is_read_as_it_was_put(number: int, before: bytes, after: bytes) -> None:
    """At any place among other bytes, with the offset after it; a part of it is cut, not wrong."""
    put = put_length(number)

    assert read_length(before + put + after, len(before)) == (number, len(before) + len(put))
    for size in range(len(put)):
        with pytest.raises(CutError):
            read_length(put[:size], 0)


@given(data=st.binary(max_size=300))
def test_a_string_is_read_as_it_was_put(data: bytes) -> None:
    """And every part of it is cut."""
    put = put_string(data)

    assert read_string(put, 0) == (data, len(put))
    for size in range(len(put)):
        with pytest.raises(CutError):
            read_string(put[:size], 0)


@given(piece=st.binary(min_size=1, max_size=9), times=st.integers(20, 900))
def test_a_packed_string_is_unpacked(piece: bytes, times: int) -> None:
    """LZF with both of its lengths."""
    data = piece * times
    packed = lzf.compress(data)
    put = b"\xc3" + put_length(len(packed)) + put_length(len(data)) + packed

    assert read_string(put, 0) == (data, len(put))


@pytest.mark.parametrize(("number", "size"), [(-128, 1), (127, 1), (-32768, 2), (65, 2), (-(1 << 31), 4), (70_000, 4)])
def test_a_number_is_read_as_its_text(number: int, size: int) -> None:
    """Strings that look like numbers are kept as such."""
    put = bytes((0xC0 | {1: 0, 2: 1, 4: 2}[size],)) + number.to_bytes(size, "little", signed=True)

    assert read_string(put, 0) == (b"%d" % number, 1 + size)


@pytest.mark.parametrize(
    "data",
    [b"\xc4abc", b"\x82....", b"\xff", b"\xc3\x03\x05\xff\xff\xff", b"\xc3\x01\x81\x00\x00\x00\xff\x00\x00\x00\x00a"],
    ids=["unknown form", "no length", "all bits", "no LZF", "a bomb"],
)
def test_what_is_no_string_is_refused(data: bytes) -> None:
    """Finally, and before memory is taken for what a length claims."""
    with pytest.raises(FormatError) as caught:
        read_string(data, 0)
    assert not isinstance(caught.value, CutError)

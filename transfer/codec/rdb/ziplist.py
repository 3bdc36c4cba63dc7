"""Ziplists: the packed form of small collections before Redis 7.0.

    ziplist := total bytes (u32 LE)  offset of the last entry (u32 LE)  entries (u16 LE, 65535: not counted)
               entry*  0xFF
    entry   := bytes of the entry before it (u8, or 0xFE u32 LE)  head [size] data

    00llllll text  01llllll b text  10...... u32 BE text
    0xC0 i16  0xD0 i32  0xE0 i64  0xF0 i24  0xFE i8  0xF1..0xFD 0..12

Rule 1: sizes, counts, backward lengths and the end must hold, as the servers ask of a ziplist they convert.
Rule 2: no size is believed: a slice is as long as its bytes, and what follows it is then not where it should be.

Source: redis/src/ziplist.c `ziplistValidateIntegrity`, `zipEntrySafe`, `zipLoadInteger`.
"""

from __future__ import annotations

from transfer.model.errors import FormatError

_HEAD_BYTES, _END, _LONG_BACK = 10, 0xFF, 0xFE
_UNCOUNTED = 0xFFFF
_WIDTHS = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}
_IMMEDIATE = range(0xF1, 0xFE)


def texts(data: bytes) -> list[bytes]:
    """Every entry as bytes: numbers as their digits.

    Raises:
        FormatError: this is no whole ziplist.
    """
    last = len(data) - 1
    if last < _HEAD_BYTES or int.from_bytes(data[:4], "little") != len(data) or data[last] != _END:
        raise _bad("its size or its end does not hold", last)
    items: list[bytes] = []
    add = items.append
    at, before, tail = _HEAD_BYTES, 0, _HEAD_BYTES
    try:
        while at < last:
            back, start = data[at], at + 1
            if back >= _LONG_BACK:
                back, start = _long_back(data, at)
            if back != before:
                raise _bad("a backward length does not hold", at)
            head = data[start]
            if head < 0x40:
                end = start + 1 + head
                add(data[start + 1 : end])
            else:
                item, end = _entry(data, start, head)
                add(item)
            before, tail, at = end - at, at, end
    except IndexError:
        raise _bad("an entry runs over its end", at) from None
    count = data[8] | data[9] << 8
    if at != last or (count != len(items) and count != _UNCOUNTED):
        raise _bad(f"it holds {len(items)} entries of {count}", at)
    if items and int.from_bytes(data[4:8], "little") != tail:
        raise _bad("the offset of its last entry does not hold", tail)
    return items


def _long_back(data: bytes, at: int) -> tuple[int, int]:
    if data[at] == _END:
        raise _bad("it ends too soon", at)
    return int.from_bytes(data[at + 1 : at + 5], "little"), at + 5


def _entry(data: bytes, at: int, head: int) -> tuple[bytes, int]:
    """A longer text or a number, and the offset after it."""
    if head < 0x80:
        start, size = at + 2, (head & 63) << 8 | data[at + 1]
    elif head < 0xC0:
        start, size = at + 5, int.from_bytes(data[at + 1 : at + 5], "big")
    elif head in _IMMEDIATE:
        return b"%d" % (head - 0xF1), at + 1
    elif width := _WIDTHS.get(head):
        return b"%d" % int.from_bytes(data[at + 1 : at + 1 + width], "little", signed=True), at + 1 + width
    else:
        raise _bad(f"byte {head:#04x} begins no entry", at)
    return data[start : start + size], start + size


def _bad(reason: str, at: int) -> FormatError:
    return FormatError(f"no ziplist: {reason}, at offset {at} of it", offset=at)

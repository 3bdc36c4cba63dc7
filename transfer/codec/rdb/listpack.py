"""Listpacks: the packed form of small lists, sets, sorted sets and hashes, and of the nodes of streams.

    listpack := total bytes (u32 LE)  elements (u16 LE, 65535: not counted)  element*  0xFF
    element  := head [size] data, then the bytes of those as 7-bit digits, for walking backwards

    0nnnnnnn  10llllll text  110nnnnn b  1110llll b text  0xF0 u32 text  0xF1..0xF4 i16 i24 i32 i64

Rule 1: what is not exactly what a server writes is refused: sizes, counts, backward lengths, the end.
Rule 2: no size is believed: a slice is as long as its bytes, and what follows it is then not where it should be.

Source: redis/src/listpack.c `lpEncodeGetType`, `lpEncodeBacklen`, `lpValidateIntegrity`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeVar

from transfer.model.errors import FormatError

_T = TypeVar("_T")
_HEAD_BYTES, _END = 6, 0xFF
_UNCOUNTED = 0xFFFF
_WIDE = {
    0xF1: (struct.Struct("<h").unpack_from, 1, 0, 3),
    0xF2: (struct.Struct("<i").unpack_from, 0, 8, 4),
    0xF3: (struct.Struct("<i").unpack_from, 1, 0, 5),
    0xF4: (struct.Struct("<q").unpack_from, 1, 0, 9),
}
"""How a number is unpacked, from where, with how many bits too many (three bytes: the head), bytes of the element."""
_BACK_LIMITS = (127, 16382, 2097150, 268435454)
"""Up to which size of an element its backward length takes one byte, two, three and four.

From the second on that is one less than fits, so an element of 16383 bytes has 00 FF FF. Valkey 9.1 writes 7F FF
there, and neither takes the other's: it refuses the listpack, or (Redis 8.2, Valkey 8.1) dies when it reads it.
"""
_text = b"%d".__mod__
_SMALL = list(range(128))
_MIDDLE = [*range(1 << 12), *range(-(1 << 12), 0)]
_SMALL_TEXTS, _MIDDLE_TEXTS = list(map(_text, _SMALL)), list(map(_text, _MIDDLE))


def texts(data: bytes) -> list[bytes]:
    """Every element as bytes: numbers as their digits.

    Raises:
        FormatError: this is no whole listpack.
    """
    return _walk(data, _SMALL_TEXTS, _MIDDLE_TEXTS, _text)


def elements(data: bytes) -> list[bytes | int]:
    """Every element as it is kept, text or number, for the nodes of streams, which tell them apart.

    Raises:
        FormatError: this is no whole listpack.
    """
    return _walk(data, _SMALL, _MIDDLE, int)


def _walk(data: bytes, small: list[_T], middle: list[_T], number: Callable[[int], _T]) -> list[_T | bytes]:
    """The loop that most of decoding is. *small*, *middle*: what numbers of one and two bytes give, by their bits."""
    last = len(data) - 1
    if last < _HEAD_BYTES or int.from_bytes(data[:4], "little") != len(data) or data[last] != _END:
        raise bad("its size or its end does not hold", last)
    items: list[_T | bytes] = []
    add = items.append
    wide = _WIDE
    at = _HEAD_BYTES
    try:
        while at < last:
            head = data[at]
            if head < 0x80:
                add(small[head])
                size = 1
            elif head < 0xC0:
                size = head - 127
                add(data[at + 1 : at + size])
            elif head < 0xE0:
                add(middle[(head & 31) << 8 | data[at + 1]])
                size = 2
            elif head in wide:
                unpack, offset, shift, size = wide[head]
                add(number(unpack(data, at + offset)[0] >> shift))
            else:
                start, size = _long_text(data, at, head)
                add(data[start : at + size])
            at += size
            if size > 127:
                at = _after_back(data, at, size)
            elif data[at] == size:
                at += 1
            else:
                raise bad("a backward length does not hold", at)
    except (IndexError, struct.error):
        raise bad("an element runs over its end", at) from None
    count = data[4] | data[5] << 8
    if at != last or (count != len(items) and count != _UNCOUNTED):
        raise bad(f"it holds {len(items)} elements of {count}", at)
    return items


def _long_text(data: bytes, at: int, head: int) -> tuple[int, int]:
    """Where the text of a longer element begins, and the size of the element."""
    if head < 0xF0:
        return at + 2, 2 + ((head & 15) << 8 | data[at + 1])
    if head == 0xF0:
        return at + 5, 5 + int.from_bytes(data[at + 1 : at + 5], "little")
    raise bad(f"byte {head:#04x} begins no element", at)


def _after_back(data: bytes, at: int, size: int) -> int:
    """The offset after the backward length of *size* that stands at *at*."""
    width = 1 + sum(size > limit for limit in _BACK_LIMITS)
    if size - 1 in _BACK_LIMITS[1:] and data[at]:
        width -= 1
    digits = bytes(size >> 7 * (width - 1 - place) & 127 | (128 if place else 0) for place in range(width))
    if data[at : at + width] != digits:
        raise bad("a backward length does not hold", at)
    return at + width


def bad(reason: str, at: int) -> FormatError:
    return FormatError(f"no listpack: {reason}, at offset {at} of it", offset=at)

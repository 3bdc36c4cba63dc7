"""Listpacks, written: what listpack.py reads.

    elements -> head, data and backward length of each -> total bytes, count, elements, 0xFF

Rule 1: the shortest form of every element, as a server writes it; a text that looks like a number stays a text.

Source: redis/src/listpack.c `lpEncodeGetType`, `lpEncodeIntegerGetType`, `lpEncodeString`, `lpEncodeBacklen`.
"""

from __future__ import annotations

from collections.abc import Iterable

_HEAD_BYTES = 6
_UNCOUNTED = 0xFFFF
_SHORT_TEXT, _MIDDLE_TEXT = 1 << 6, 1 << 12
_THIRTEEN_BITS = 1 << 13
_WIDTHS = ((2, b"\xf1"), (3, b"\xf2"), (4, b"\xf3"), (8, b"\xf4"))
_BACK_LIMITS = (127, 16382, 2097150, 268435454)


def pack(elements: Iterable[bytes | int]) -> bytes:
    """*elements* as a listpack; numbers lie within 64 bits, signed."""
    packed = [element(item) for item in elements]
    body = b"".join(packed)
    count = min(len(packed), _UNCOUNTED)
    return (len(body) + _HEAD_BYTES + 1).to_bytes(4, "little") + count.to_bytes(2, "little") + body + b"\xff"


def element(item: bytes | int) -> bytes:
    """One element with its backward length."""
    packed = _number(item) if isinstance(item, int) else _text(item)
    size = len(packed)
    return packed + bytes((size,)) if size <= _BACK_LIMITS[0] else packed + _backwards(size)


def _text(data: bytes) -> bytes:
    size = len(data)
    if size < _SHORT_TEXT:
        return bytes((0x80 | size,)) + data
    if size < _MIDDLE_TEXT:
        return bytes((0xE0 | size >> 8, size & 255)) + data
    return b"\xf0" + size.to_bytes(4, "little") + data


def _number(number: int) -> bytes:
    if 0 <= number < 128:
        return bytes((number,))
    if -(_THIRTEEN_BITS >> 1) <= number < _THIRTEEN_BITS >> 1:
        bits = number % _THIRTEEN_BITS
        return bytes((0xC0 | bits >> 8, bits & 255))
    width, head = next((width, head) for width, head in _WIDTHS if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1)
    return head + number.to_bytes(width, "little", signed=True)


def _backwards(size: int) -> bytes:
    width = 1 + sum(size > limit for limit in _BACK_LIMITS)
    return bytes(size >> 7 * (width - 1 - place) & 127 | (128 if place else 0) for place in range(width))

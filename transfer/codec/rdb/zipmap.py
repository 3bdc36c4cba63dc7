"""Zipmaps: small hashes of Redis 2.0 to 2.4.

    zipmap := pairs (u8, from 254 on: not counted)  pair*  0xFF
    pair   := size field  size unused (u8) value, unused bytes
    size   := u8 up to 253 | 0xFE u32 LE

Source: redis/src/zipmap.c `zipmapValidateIntegrity`.
"""

from __future__ import annotations

from transfer.model.errors import FormatError

_LONG, _END = 254, 0xFF


def texts(data: bytes) -> list[bytes]:
    """Field and value of every pair, one after the other.

    Raises:
        FormatError: this is no whole zipmap.
    """
    last = len(data) - 1
    if last < 1 or data[last] != _END:
        raise _bad("its end is missing", last)
    items: list[bytes] = []
    at = 1
    try:
        while at < last:
            field, at = _size(data, at)
            items.append(data[at : at + field])
            value, at = _size(data, at + field)
            items.append(data[at + 1 : at + 1 + value])
            at += 1 + value + data[at]
    except IndexError:
        raise _bad("a pair runs over its end", at) from None
    if at != last or (data[0] < _LONG and 2 * data[0] != len(items)):
        raise _bad(f"it holds {len(items) // 2} pairs of {data[0]}", at)
    return items


def _size(data: bytes, at: int) -> tuple[int, int]:
    size = data[at]
    if size < _LONG:
        return size, at + 1
    if size == _END:
        raise _bad("it ends too soon", at)
    return int.from_bytes(data[at + 1 : at + 5], "little"), at + 5


def _bad(reason: str, at: int) -> FormatError:
    return FormatError(f"no zipmap: {reason}, at offset {at} of it", offset=at)

"""Sets and hashes in DUMP bodies, apart from the order and encoding a server chose for them.

    body (type byte, value) -> items, each in one RDB string encoding -> sorted -> bytes

Equal results prove equal data; unequal ones prove nothing, since one server may have compressed an item
that the other did not. Formats: redis/src/rdb.c `rdbSaveStringObject`, redis/src/listpack.c.
"""

from __future__ import annotations

from collections.abc import Callable

_SET, _HASH, _INTSET, _HASH_LISTPACK, _SET_LISTPACK = 2, 4, 11, 16, 20
_SHORT = 0x40
"""Lengths below this are one byte. Items are often all of one short length, which is quickly cut."""
_INT8, _INT16, _INT32, _LZF = 0xC0, 0xC1, 0xC2, 0xC3


def same_items(left: bytes, right: bytes) -> bytes | None:
    """The items of two equal sets or hashes in one order, as bytes; None if they are not known to be equal."""
    items = in_order(left)
    return b"".join(items) if items is not None and items == in_order(right) else None


def in_order(body: bytes) -> list[bytes] | None:
    """The type's letter and the items of a set or hash, sorted; None for other types and what cannot be read.

    A hash has field and value as one item. Every item carries its length: joined, they stay apart.
    """
    reader = _READERS.get(body[0]) if body else None
    if reader is None:
        return None
    try:
        items, end = reader(body)
    except IndexError:
        return None
    if end != len(body):
        return None
    if body[0] in (_HASH, _HASH_LISTPACK):
        step = iter(items)
        return [b"H", *sorted(map(b"".join, zip(step, step, strict=True)))]
    items.sort()
    items.insert(0, b"S")
    return items


def _strings(body: bytes, each: int) -> tuple[list[bytes], int]:
    """count, then *each* times as many strings; every item is its slice, length and all."""
    count, at = read_length(body, 1)
    step = body[at] + 1
    if step <= _SHORT and at + count * each * step == len(body) and set(body[at::step]) == {step - 1}:
        return [body[start : start + step] for start in range(at, len(body), step)], len(body)
    items: list[bytes] = []
    add = items.append
    for _ in range(count * each):
        head = body[at]
        end = at + 1 + head if head < _SHORT else _string_end(body, at)
        add(body[at:end])
        at = end
    return items, at


def _string_end(body: bytes, at: int) -> int:
    """Where a string that is long, an integer or compressed ends."""
    head = body[at]
    if head < _INT8:
        size, at = read_length(body, at)
        return at + size
    if head == _LZF:
        size, at = read_length(body, at + 1)
        _, at = read_length(body, at)
        return at + size
    if head > _LZF:
        raise IndexError
    return at + 1 + (1 << (head - _INT8))


def read_length(body: bytes, at: int) -> tuple[int, int]:
    """A length and the offset after it. Raises IndexError where none stands there."""
    head = body[at]
    if head < 0x40:
        return head, at + 1
    if head < 0x80:
        return (head & 0x3F) << 8 | body[at + 1], at + 2
    if head == 0x80:
        return int.from_bytes(body[at + 1 : at + 5], "big"), at + 5
    if head == 0x81:
        return int.from_bytes(body[at + 1 : at + 9], "big"), at + 9
    raise IndexError


def _blob(body: bytes) -> tuple[bytes, int]:
    """The one string a packed value is saved as; not read where it is compressed."""
    size, at = read_length(body, 1)
    if at + size > len(body):
        raise IndexError
    return body[at : at + size], at + size


def _listpack(body: bytes) -> tuple[list[bytes], int]:
    packed, end = _blob(body)
    items: list[bytes] = []
    at = 6  # total bytes (4), count (2)
    while packed[at] != 0xFF:
        item, size = _listpack_item(packed, at)
        items.append(item)
        at += size + _back_length(size)
    return items, end


def _listpack_item(packed: bytes, at: int) -> tuple[bytes, int]:
    """One entry as an RDB string, and the bytes of its head and data."""
    head = packed[at]
    if head < 0x80:
        return _integer(head), 1
    if head < 0xC0:
        size = head & 0x3F
        return _string(packed[at + 1 : at + 1 + size]), 1 + size
    if head < 0xE0:
        number = (head & 0x1F) << 8 | packed[at + 1]
        return _integer(number - (1 << 13) if number >= 1 << 12 else number), 2
    if head < 0xF0:
        size = (head & 0x0F) << 8 | packed[at + 1]
        return _string(packed[at + 2 : at + 2 + size]), 2 + size
    if head == 0xF0:
        size = int.from_bytes(packed[at + 1 : at + 5], "little")
        return _string(packed[at + 5 : at + 5 + size]), 5 + size
    width = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}.get(head)
    if width is None:
        raise IndexError
    return _integer(int.from_bytes(packed[at + 1 : at + 1 + width], "little", signed=True)), 1 + width


def _back_length(size: int) -> int:
    """Bytes of the length that follows an entry, for walking backwards."""
    return 1 if size < 128 else 2 if size < 16384 else 3 if size < 2097152 else 4 if size < 268435456 else 5


def _intset(body: bytes) -> tuple[list[bytes], int]:
    packed, end = _blob(body)
    width, count = int.from_bytes(packed[:4], "little"), int.from_bytes(packed[4:8], "little")
    if width not in (2, 4, 8) or 8 + width * count != len(packed):
        raise IndexError
    numbers = (packed[at : at + width] for at in range(8, len(packed), width))
    return [_integer(int.from_bytes(number, "little", signed=True)) for number in numbers], end


def _integer(number: int) -> bytes:
    """An integer as the strings of a large set or hash are saved."""
    for head, width in ((_INT8, 1), (_INT16, 2), (_INT32, 4)):
        if -(1 << (8 * width - 1)) <= number < 1 << (8 * width - 1):
            return bytes((head,)) + number.to_bytes(width, "little", signed=True)
    return _string(b"%d" % number)


def _string(data: bytes) -> bytes:
    size = len(data)
    if size < 1 << 6:
        return bytes((size,)) + data
    if size < 1 << 14:
        return bytes((0x40 | size >> 8, size & 0xFF)) + data
    return b"\x80" + size.to_bytes(4, "big") + data


_READERS: dict[int, Callable[[bytes], tuple[list[bytes], int]]] = {
    _SET: lambda body: _strings(body, 1),
    _HASH: lambda body: _strings(body, 2),
    _INTSET: _intset,
    _HASH_LISTPACK: _listpack,
    _SET_LISTPACK: _listpack,
}

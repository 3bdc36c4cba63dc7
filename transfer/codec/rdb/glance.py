"""Is a packed collection in order? Told at a glance for what servers write most; decoding decides about the rest.

    body -> its string, unpacked -> listpack -> one pattern over its bytes -> surely sound | cannot tell

The pattern knows every whole element up to 127 bytes, with its backward length, in the shortest encoding there is;
what it does not know it swallows to the end. `findall` so gives the elements in which a collection may have none twice.

Rule 1: "surely" is said only of what `decode` takes; of anything else, "cannot tell". Nothing is decided here alone.
Rule 2: in the shortest encoding equal values are equal bytes; but a text of digits beside numbers is not told apart.
Rule 3: a listpack above `_MOST_BYTES` is not looked at, packed or not.

Source: redis/src/listpack.c `lpEncodeGetType`, `lpEncodeIntegerGetType`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import lzf

from transfer.codec.rdb.atoms import read_length, read_string
from transfer.model.errors import FormatError

_MOST_BYTES = 1 << 16
_LIST, _PACKED_NODE = 18, 2
_HEAD_BYTES, _END, _LZF, _TEXT_HEAD, _NUMBER_HEAD = 6, 0xFF, 0xC3, 0x80, 0xC0
_ONE_BYTE_BACK = 127
"""The longest element whose backward length is one byte."""

_head = struct.Struct("<IH").unpack_from
_Find = Callable[[bytes, int, int], list[bytes]]


def _byte(number: int) -> bytes:
    return b"\\x%02x" % number


def _texts(sizes: Iterable[int]) -> list[bytes]:
    return [_byte(0x80 + size) + b".{%d}" % size + _byte(size + 1) for size in sizes]


def _longer_texts() -> bytes:
    """Of 64 bytes and more; their head is two bytes."""
    ways = [_byte(size) + b".{%d}" % size + _byte(size + 2) for size in range(64, _ONE_BYTE_BACK - 1)]
    return rb"\xe0(?:%b)" % b"|".join(ways)


def _scores() -> list[bytes]:
    """Numbers with a fraction or an exponent, which are kept as texts."""
    number = rb"-?[0-9]++(?:\.[0-9]++)?(?:e[+-]?[0-9]++)?"
    return [
        _byte(0x80 + size) + rb"(?=[0-9.e+-]{%d}%b)" % (size, _byte(size + 1)) + number + _byte(size + 1)
        for size in range(1, 32)
    ]


_APART = rb"(?:[\x80-\xff]\x00|[\x00-\x7f]\xff|.[\x01-\xfe])"
"""The two upper bytes of a number that does not fit into one byte less."""
_NUMBERS = [
    rb"[\x00-\x7f]\x01",
    rb"\xc0[\x80-\xff]\x02|[\xc1-\xdf].\x02",
    rb"\xf1.[\x10-\xef]\x03",
    rb"\xf2." + _APART + rb"\x04",
    rb"\xf3.." + _APART + rb"\x05",
    rb"\xf4...(?:[\x80-\xff]\x00{4}|[\x00-\x7f]\xff{4}|.(?!\x00{4}|\xff{4}).{4})\x09",
]


class _Collection(NamedTuple):
    """How what may not be twice is found: where it is nothing but texts, and of any kind; every *each*-th element."""

    texts: _Find
    any: _Find
    each: int


@cache
def _collections() -> dict[int, _Collection]:
    """Of lists, hashes, sorted sets and sets; made when the first is asked for, since it takes 40 ms."""
    text = b"|".join([*_texts(range(64)), _longer_texts()])
    element = b"|".join([text, *_NUMBERS])
    score = b"|".join([*_NUMBERS, *_scores()])
    each = _finder(element)
    return {
        _LIST: _Collection(each, each, 1),
        16: _Collection(_finder(text, element), _finder(element, element), 2),
        17: _Collection(_finder(text, score), _finder(element, score), 2),
        20: _Collection(_finder(text), each, 1),
    }


def _finder(wanted: bytes, behind: bytes = b"") -> _Find:
    """Finds *wanted* elements, each with one of *behind*; the last one found is empty where something else comes."""
    return re.compile(rb"(%b)(?:%b)|.+" % (wanted, behind), re.DOTALL).findall


def surely_sound(body: bytes) -> bool:
    """Whether `decode` is certain to take *body* (type byte and value); False: it has to be asked."""
    try:
        known = _collections().get(body[0])
        if known is None:
            return False
        if body[0] == _LIST:
            return _nodes_hold(body, known.any)
        data, end = _listpack(body, 1)
        return end == len(body) and _holds(data, known)
    except (FormatError, ValueError, IndexError):
        return False


def _holds(data: bytes, of: _Collection) -> bool:
    """A listpack in which no element that *of* finds is twice."""
    size = of.each
    found = _found(data, of.texts, size)
    if not found:
        found = _found(data, of.any, size)
        if any(map(_reads_as_number, found)):
            return False
    return bool(found) and len(set(found)) == len(found)


def _nodes_hold(body: bytes, find: _Find) -> bool:
    """A list: nodes that are listpacks with something in them."""
    count, at = read_length(body, 1)
    for _ in range(count):
        if body[at] != _PACKED_NODE:
            return False
        data, at = _listpack(body, at + 1)
        if not _found(data, find, 1):
            return False
    return count > 0 and at == len(body)


def _listpack(body: bytes, at: int) -> tuple[bytes, int]:
    """The string at *at*, and the offset after it; b"" if too large. Raises as `read_string`, or ValueError."""
    packed, unpacked = body[at + 1], body[at + 3]
    if body[at] != _LZF or packed >> 6 != 1 or unpacked >> 6 != 1:  # other than packed, with lengths of two bytes
        return read_string(body, at) if len(body) <= _MOST_BYTES and body[at] < _LZF else (b"", at)
    start = at + 5
    end = start + ((packed & 63) << 8 | body[at + 2])
    size = (unpacked & 63) << 8 | body[at + 4]
    data = lzf.decompress(body[start:end], size)
    return (data, end) if data is not None and len(data) == size else (b"", at)


def _found(data: bytes, find: _Find, each: int) -> list[bytes]:
    """What *find* finds in a listpack; nothing if it is not in order, or *find* does not know it all."""
    last = len(data) - 1
    if last <= _HEAD_BYTES or data[last] != _END:
        return []
    size, count = _head(data)
    if size != last + 1:
        return []
    found = find(data, _HEAD_BYTES, last)
    return found if found[-1] and each * len(found) == count else []


def _reads_as_number(element: bytes) -> bool:
    return _TEXT_HEAD < element[0] < _NUMBER_HEAD and element[1:-1].removeprefix(b"-").isdigit()

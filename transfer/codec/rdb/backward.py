"""Listpacks that kill: elements whose backward length two families of servers write differently.

    body -> its listpacks, unpacked -> is there a text of just 16378, 2097146 or 268435450 bytes?

An element of 16383 bytes (such a text with its head) has a backward length of 00 FF FF in Redis and in Valkey up to
8.1, and of 7F FF in Valkey 9.1, which is as it is meant. Each steps over its own form only: Valkey 9.1 refuses the
other on RESTORE (Bad data format), Redis 8.2 and Valkey 8.1 take it and die at the first XRANGE. So a body for which
this says yes must be decoded and written anew, or sent by type commands, where it goes from one to the other.

Rule 1: only texts can be so long, and their heads are five bytes that are looked for as they are: a false yes, from
        data that looks like a head, costs a detour and nothing else.

Source: lpEncodeBacklen of redis/src/listpack.c; tried with Redis 7.0.15, 8.2.3, Valkey 8.1.8, 9.1.2.
"""

from __future__ import annotations

from collections.abc import Iterator

from transfer.codec.rdb.atoms import read_length, read_string, string_span
from transfer.codec.rdb.streams import ACTIVE, COUNTED, PLAIN

_CRITICAL_BYTES = (16_378, 2_097_146, 268_435_450)
_HEADS = tuple(b"\xf0" + size.to_bytes(4, "little") for size in _CRITICAL_BYTES)
_ONE, _LIST, _STREAMS, _WITH_EARLIEST = frozenset({16, 17, 20}), 18, frozenset({PLAIN, COUNTED, ACTIVE}), 25
LISTPACK_TYPES = _ONE | _STREAMS | {_LIST, _WITH_EARLIEST}
_PACKED, _LEAST_BYTES = 0xC3, 170
"""How a string packed by LZF begins, and less than what it makes of such a text: 3 bytes for 264."""
_EARLIEST_BYTES = 8
_PACKED_NODE = 2


def differs_by_family(body: bytes) -> bool:
    """Whether *body* (type byte and value) holds an element that Valkey 9.1 and the others write differently.

    Only strings that are long enough for one are unpacked: this is asked for every key that goes between families.

    Raises:
        FormatError: the body does not hold the strings that its type has.
    """
    return _may_differ(body) and any(head in packed for packed in _listpacks(body) for head in _HEADS)


def _may_differ(body: bytes) -> bool:
    """Most are told by their type and size: for every key that goes from one family to the other."""
    if len(body) < _LEAST_BYTES or body[0] not in LISTPACK_TYPES:
        return False
    if body[0] in _ONE:
        return string_span(body, 1)[0] >= _CRITICAL_BYTES[0]
    return len(body) >= _CRITICAL_BYTES[0] or _PACKED in body


def _listpacks(body: bytes) -> Iterator[bytes]:
    """Those that are long enough."""
    kind = body[0]
    if kind in _ONE:
        yield _if_long(body, 1)[0]
    elif kind == _WITH_EARLIEST:
        yield _if_long(body, 1 + _EARLIEST_BYTES)[0]
    elif kind == _LIST:
        count, at = read_length(body, 1)
        for _ in range(count):
            container, at = read_length(body, at)
            node, at = _if_long(body, at)
            if container == _PACKED_NODE:
                yield node
    elif kind in _STREAMS:
        count, at = read_length(body, 1)
        for _ in range(count):
            _, at = string_span(body, at)
            node, at = _if_long(body, at)
            yield node


def _if_long(body: bytes, at: int) -> tuple[bytes, int]:
    """The string at *at*, empty where it is too short, and the offset after it."""
    size, end = string_span(body, at)
    return (read_string(body, at)[0] if size >= _CRITICAL_BYTES[0] else b""), end

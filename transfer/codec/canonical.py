"""A digest of a value that every server, version and encoding agrees about, to be kept and compared years later.

    Value -> canonical bytes, form 1 -> BLAKE2b, 128 bits

    string      s  data             HyperLogLog  p  its 16,384 registers, six bits each
    list        l  (item)*          set          e  (member)*, sorted
    sorted set  z  (member, score as f64 BE)*, sorted      -0 is 0
    hash        h  (field, value, deadline in Unix ms as i64 BE, -1: none)*, sorted by field
    stream      x  count  (id, count, field and value in turn)*  last id  (group)*, sorted by name
                   group: name  last id  count  (id, consumer, deliveries)*, sorted  count  (consumer)*, sorted

Rule 1: every text has its length before it (u64 BE), every number is eight bytes: no two values have the same bytes.
Rule 2: counters of a stream that servers before 7.0 lack (`stream_counters`) stand beside the digest, and times of
        delivery or of a consumer's last visit are no data.
Rule 3: a HyperLogLog is its registers: whether a server keeps them sparse, and what count it has cached, is its own.
Rule 4: the form has a number. What changes it makes digests of before incomparable.

BLAKE2b and not xxh3: these digests outlive the run, and who writes values must not be able to choose two that agree.

Layout of a HyperLogLog: redis/src/hyperloglog.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain

from transfer.model.value import (
    HashValue,
    ListValue,
    SetValue,
    SortedSetValue,
    StreamGroup,
    StreamId,
    StreamValue,
    StringValue,
    Value,
)

FORM = 1
CANONICAL = f"canonical {FORM}"
DIGEST_BYTES = 16
_HEADER_BYTES, _DENSE, _SPARSE = 16, 0, 1
_REGISTERS, _REGISTER_BITS = 1 << 14, 6
_DENSE_BYTES = _REGISTERS * _REGISTER_BITS // 8
_u64, _i64, _f64, _id = struct.Struct(">Q"), struct.Struct(">q"), struct.Struct(">d"), struct.Struct(">QQ")
_NEVER = -1

StreamCounters = tuple[int | None, StreamId | None, tuple[int | None, ...]]
"""Entries ever added, the highest id ever deleted, entries read of each group by name; None where not known."""


def digest(value: Value) -> bytes:
    """The 16 bytes that stand for *value*."""
    return blake2b(b"".join(_canonical(value)), digest_size=DIGEST_BYTES).digest()


def stream_counters(value: StreamValue) -> StreamCounters:
    """What is compared beside the digest, where both servers have it."""
    groups = sorted(value.groups, key=lambda group: group.name)
    return value.entries_added, value.max_deleted_id, tuple(group.entries_read for group in groups)


def _canonical(value: Value) -> Iterable[bytes]:
    match value:
        case StringValue():
            registers = _registers(value.data)
            return (b"s", value.data) if registers is None else (b"p", registers)
        case ListValue():
            return chain((b"l",), _texts(value.items))
        case SetValue():
            return chain((b"e",), _texts(sorted(value.members)))
        case SortedSetValue():
            scores = sorted(value.scores.items())
            return chain((b"z",), *((*_texts((member,)), _f64.pack(score + 0.0)) for member, score in scores))
        case HashValue():
            until, rows = value.deadlines.get, sorted(value.fields.items())
            return chain((b"h",), *((*_texts(row), _i64.pack(until(row[0], _NEVER))) for row in rows))
        case StreamValue():
            return chain((b"x",), _stream(value))


def _texts(items: Iterable[bytes]) -> Iterator[bytes]:
    for item in items:
        yield _u64.pack(len(item))
        yield item


def _stream(value: StreamValue) -> Iterator[bytes]:
    yield _u64.pack(len(value.entries))
    for found, fields in value.entries:
        yield _id.pack(*found)
        yield _u64.pack(len(fields))
        yield from _texts(fields)
    yield _id.pack(*value.last_id)
    for group in sorted(value.groups, key=lambda group: group.name):
        yield from _group(group)


def _group(group: StreamGroup) -> Iterator[bytes]:
    yield from _texts((group.name,))
    yield _id.pack(*group.last_id)
    yield _u64.pack(len(group.pending))
    for item in sorted(group.pending, key=lambda item: item.id):
        yield _id.pack(*item.id)
        yield from _texts((item.consumer,))
        yield _u64.pack(item.deliveries)
    yield _u64.pack(len(group.consumers))
    yield from _texts(sorted(group.consumers))


def _registers(data: bytes) -> bytes | None:
    """The registers of a HyperLogLog as its dense form has them; None if *data* is none."""
    if not data.startswith(b"HYLL") or len(data) < _HEADER_BYTES:
        return None
    if data[4] == _DENSE:
        return data[_HEADER_BYTES:] if len(data) == _HEADER_BYTES + _DENSE_BYTES else None
    return _dense(data) if data[4] == _SPARSE else None


def _dense(data: bytes) -> bytes | None:
    """Runs of equal registers: 00nnnnnn zeros, 01nnnnnn n zeros, 1vvvvvnn values; None where they do not add up."""
    dense = bytearray(_DENSE_BYTES + 1)
    place, at = 0, _HEADER_BYTES
    while at < len(data):
        head = data[at]
        at += 1
        if head < 0x40:
            place += head + 1
        elif head < 0x80:
            if at == len(data):
                return None
            place += ((head & 63) << 8 | data[at]) + 1
            at += 1
        else:
            for register in range(place, min(place + (head & 3) + 1, _REGISTERS)):
                byte, shift = divmod(register * _REGISTER_BITS, 8)
                bits = ((head >> 2 & 31) + 1) << shift
                dense[byte] |= bits & 255
                dense[byte + 1] |= bits >> 8
            place += (head & 3) + 1
    return bytes(dense[:_DENSE_BYTES]) if place == _REGISTERS else None

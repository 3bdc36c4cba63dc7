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
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain

from transfer.model.value import (
    HashValue,
    ListValue,
    Pending,
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
LETTERS = {"string": b"s", "list": b"l", "set": b"e", "zset": b"z", "hash": b"h", "stream": b"x"}
"""What the canonical bytes of a type begin with; of a HyperLogLog it is `p`."""
_u64, _i64, _f64, _id = struct.Struct(">Q"), struct.Struct(">q"), struct.Struct(">d"), struct.Struct(">QQ")
_NEVER = -1

StreamCounters = tuple[int | None, StreamId | None, tuple[int | None, ...]]
"""Entries ever added, the highest id ever deleted, entries read of each group by name; None where not known."""


def digest(value: Value) -> bytes:
    """The 16 bytes that stand for *value*."""
    return blake2b(b"".join(_canonical(value)), digest_size=DIGEST_BYTES).digest()


def running(kind: str) -> blake2b:
    """A sum to feed with the bytes of a value of type *kind*, part by part."""
    return blake2b(LETTERS[kind], digest_size=DIGEST_BYTES)


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
            return chain((b"l",), texts(value.items))
        case SetValue():
            return chain((b"e",), texts(sorted(value.members)))
        case SortedSetValue():
            scores = sorted(value.scores.items())
            return chain((b"z",), *((*texts((member,)), of_score(score)) for member, score in scores))
        case HashValue():
            until, rows = value.deadlines.get, sorted(value.fields.items())
            return chain((b"h",), *((*texts(row), of_deadline(until(row[0], _NEVER))) for row in rows))
        case StreamValue():
            return chain((b"x",), _stream(value))


def texts(items: Iterable[bytes]) -> Iterator[bytes]:
    """Texts one behind another."""
    for item in items:
        yield _u64.pack(len(item))
        yield item


def of_score(score: float) -> bytes:
    """The score of a member."""
    return _f64.pack(score + 0.0)


def of_deadline(expire_at_ms: int) -> bytes:
    """The deadline of a field."""
    return _i64.pack(expire_at_ms)


def of_count(count: int) -> bytes:
    """How many there are."""
    return _u64.pack(count)


def of_id(found: StreamId) -> bytes:
    """The id of an entry."""
    return _id.pack(*found)


def of_entries(entries: Iterable[tuple[StreamId, Sequence[bytes]]]) -> Iterator[bytes]:
    """Entries of a stream, behind their count."""
    for found, fields in entries:
        yield of_id(found)
        yield of_count(len(fields))
        yield from texts(fields)


def of_pending(pending: Iterable[Pending]) -> Iterator[bytes]:
    """Pending entries of a group, in the order of their ids, behind their count."""
    for item in pending:
        yield of_id(item.id)
        yield from texts((item.consumer,))
        yield of_count(item.deliveries)


def group_head(group: StreamGroup, pending: int) -> Iterator[bytes]:
    """What comes before the *pending* entries of a group."""
    yield from texts((group.name,))
    yield of_id(group.last_id)
    yield of_count(pending)


def group_end(group: StreamGroup) -> Iterator[bytes]:
    """What comes after them."""
    yield of_count(len(group.consumers))
    yield from texts(sorted(group.consumers))


def _stream(value: StreamValue) -> Iterator[bytes]:
    yield of_count(len(value.entries))
    yield from of_entries(value.entries)
    yield of_id(value.last_id)
    for group in sorted(value.groups, key=lambda group: group.name):
        yield from group_head(group, len(group.pending))
        yield from of_pending(sorted(group.pending, key=lambda item: item.id))
        yield from group_end(group)


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

"""Values into the bytes of a DUMP payload or an RDB file: the plainest form that loses nothing.

    Value -> type byte + every item as a plain string     types 0 1 2 4 5, loaded by every server there is
          -> hash with deadlines of fields: 24 of Redis, 22 of Valkey        stream: 21, 19 or 15, streams_out.py

Rule 1: the target makes its own encodings of it; nothing here packs, and nothing depends on a server's limits.
Rule 2: what none of the types can hold is refused, never left out.

Source: redis/src/rdb.c `rdbSaveObject`, valkey/src/rdb.c `rdbSaveObject`; that old types still load: `rdbLoadObject`.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from itertools import chain

from transfer.codec.rdb.atoms import put_length
from transfer.codec.rdb.decode import FIRST_VALKEY_VERSION
from transfer.codec.rdb.streams_out import STREAM_TYPES, put_stream
from transfer.model.value import HashValue, ListValue, SetValue, SortedSetValue, StreamValue, StringValue, Value

STRING, LIST, SET, ZSET_TEXT, HASH, ZSET = 0, 1, 2, 3, 4, 5
REDIS_FIELD_TTL, VALKEY_FIELD_TTL = 24, 22
_NEVER = -1
_INFINITE = {float("inf"): b"\xfe", float("-inf"): b"\xff"}
_i64 = struct.Struct("<q")
_SHORT, _MIDDLE = 1 << 6, 1 << 14
_HEADS = [bytes((size,)) for size in range(_SHORT)]


class UnencodableError(Exception):
    """None of the types that may be used holds the value; the text says what of it."""


def encode(value: Value, types: Collection[int], version: int) -> bytes:
    """Type byte and value of *value*, in one of *types*; numbers above 21 are those of the family of *version*.

    Raises:
        UnencodableError: none of them holds it.
    """
    match value:
        case StringValue():
            return _head(STRING, types) + _put(value.data)
        case ListValue():
            return _head(LIST, types) + _strings(value.items, len(value.items))
        case SetValue():
            return _head(SET, types) + _strings(value.members, len(value.members))
        case SortedSetValue():
            return _sorted_set(value.scores, types)
        case HashValue() if value.deadlines:
            return _expiring_hash(value, types, version)
        case HashValue():
            return _head(HASH, types) + _strings(chain.from_iterable(value.fields.items()), len(value.fields))
        case StreamValue():
            kind = max((kind for kind in STREAM_TYPES if kind in types), default=STREAM_TYPES[0])
            return _head(kind, types) + put_stream(value, kind)


def _head(kind: int, types: Collection[int]) -> bytes:
    if kind not in types:
        raise UnencodableError(f"type {kind} of payloads is not taken")
    return bytes((kind,))


def _put(data: bytes) -> bytes:
    size = len(data)
    return _HEADS[size] + data if size < _SHORT else put_length(size) + data


def _strings(items: Iterable[bytes], count: int) -> bytes:
    heads = _HEADS
    parts = [put_length(count)]
    for item in items:
        size = len(item)
        parts.append(heads[size] if size < _SHORT else put_length(size))
        parts.append(item)
    return b"".join(parts)


def _sorted_set(scores: Mapping[bytes, float], types: Collection[int]) -> bytes:
    if ZSET in types:
        packed = struct.pack(f"<{len(scores)}d", *scores.values())
        parts = [bytes((ZSET,)), put_length(len(scores))]
        for place, member in enumerate(scores):
            parts += (_put(member), packed[8 * place : 8 * place + 8])
        return b"".join(parts)
    head = _head(ZSET_TEXT, types)
    texts = (part for member, score in scores.items() for part in (_put(member), _score_text(score)))
    return head + put_length(len(scores)) + b"".join(texts)


def _score_text(score: float) -> bytes:
    """repr of a double reads back as the same one."""
    if score in _INFINITE:
        return _INFINITE[score]
    text = repr(score).encode()
    return bytes((len(text),)) + text


def _expiring_hash(value: HashValue, types: Collection[int], version: int) -> bytes:
    valkey = version >= FIRST_VALKEY_VERSION
    kind = VALKEY_FIELD_TTL if valkey else REDIS_FIELD_TTL
    if kind not in types:
        count = len(value.deadlines)
        said = f"{count:,} fields of the hash have deadlines" if count > 1 else "a field of the hash has a deadline"
        raise UnencodableError(f"{said} of their own" if count > 1 else f"{said} of its own")
    return bytes((kind,)) + (_valkey_rows(value) if valkey else _redis_rows(value))


def _valkey_rows(value: HashValue) -> bytes:
    until = value.deadlines.get
    rows = (part for f, v in value.fields.items() for part in (_put(f), _put(v), _i64.pack(until(f, _NEVER))))
    return put_length(len(value.fields)) + b"".join(rows)


def _redis_rows(value: HashValue) -> bytes:
    earliest_ms, until = min(value.deadlines.values()), value.deadlines
    rows = (
        part
        for f, v in value.fields.items()
        for part in (put_length(until[f] - earliest_ms + 1 if f in until else 0), _put(f), _put(v))
    )
    return _i64.pack(earliest_ms) + put_length(len(value.fields)) + b"".join(rows)

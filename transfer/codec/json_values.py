"""Values in JSON, by the name of their type; the forms are told in jsonl.py."""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, TypeVar

import msgspec
from msgspec.json import Decoder

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

_Name = TypeVar("_Name")


class Base64(msgspec.Struct, forbid_unknown_fields=True):
    """Bytes that are no UTF-8."""

    b64: str


Text = str | Base64
_Score = float | str
_U64 = (1 << 64) - 1


class _Group(msgspec.Struct, forbid_unknown_fields=True):
    name: Text
    last_id: str
    entries_read: int | None
    consumers: list[Text]
    pending: list[tuple[str, Text, int, int]]


class _Stream(msgspec.Struct, forbid_unknown_fields=True):
    entries: list[tuple[str, list[Text]]]
    last_id: str
    entries_added: int | None
    max_deleted_id: str | None
    groups: list[_Group]


Moments = dict[str, int] | list[tuple[Text, int]]


def text_of(data: bytes) -> Text:
    """*data* in JSON."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Base64(b64encode(data).decode())


def mapping(pairs: dict[bytes, _Name]) -> dict[str, _Name] | list[tuple[Text, _Name]]:
    """An object if all names are UTF-8."""
    rows = [(text_of(name), value) for name, value in pairs.items()]
    named = {name: value for name, value in rows if isinstance(name, str)}
    return named if len(named) == len(rows) else rows


def plain(value: Value) -> object:
    """What msgspec makes JSON of."""
    match value:
        case StringValue():
            return text_of(value.data)
        case ListValue():
            return [*map(text_of, value.items)]
        case SetValue():
            return [*map(text_of, sorted(value.members))]
        case SortedSetValue():
            return mapping({name: _put_score(score) for name, score in value.scores.items()})
        case HashValue():
            return mapping({name: text_of(data) for name, data in value.fields.items()})
        case StreamValue():
            return _plain_stream(value)


def _put_score(score: float) -> _Score:
    return score if math.isfinite(score) else str(score)


def _put_id(found: StreamId) -> str:
    return f"{found[0]}-{found[1]}"


def _plain_stream(value: StreamValue) -> _Stream:
    deleted = value.max_deleted_id
    return _Stream(
        [(_put_id(found), [*map(text_of, fields)]) for found, fields in value.entries],
        _put_id(value.last_id),
        value.entries_added,
        None if deleted is None else _put_id(deleted),
        [*map(_plain_group, value.groups)],
    )


def _plain_group(group: StreamGroup) -> _Group:
    pending = [(_put_id(one.id), text_of(one.consumer), one.delivered_ms, one.deliveries) for one in group.pending]
    consumers = [*map(text_of, sorted(group.consumers))]
    return _Group(text_of(group.name), _put_id(group.last_id), group.entries_read, consumers, pending)


def bytes_of(text: Text) -> bytes:
    """Raises ValueError: it stands for none."""
    return text.encode() if isinstance(text, str) else b64decode(text.b64, validate=True)


def _pairs(found: dict[str, Any] | list[tuple[Text, Any]], read: Callable[[Any], _Name]) -> dict[bytes, _Name]:
    rows: Iterable[tuple[Text, Any]] = found.items() if isinstance(found, dict) else found
    pairs = {bytes_of(name): read(value) for name, value in rows}
    if not pairs or len(pairs) != len(found):
        raise ValueError("a name stands there twice" if found else "it holds nothing")
    return pairs


def _score(score: _Score) -> float:
    number = float(score)
    if math.isnan(number) or (isinstance(score, str) and math.isfinite(number)):
        raise ValueError(f"{score!r} is no score")
    return number


def _list(items: list[Text]) -> ListValue:
    if not items:
        raise ValueError("it holds nothing")
    return ListValue([*map(bytes_of, items)])


def _set(items: list[Text]) -> SetValue:
    members = frozenset(map(bytes_of, items))
    if not members or len(members) != len(items):
        raise ValueError("a member stands there twice" if items else "it holds nothing")
    return SetValue(members)


def with_deadlines(value: Value, found: Moments) -> HashValue:
    """*value*, some fields of which expire. Raises ValueError: they cannot."""
    if not isinstance(value, HashValue):
        raise ValueError("only fields of a hash have deadlines")
    deadlines = _pairs(found, int)
    if not deadlines.keys() <= value.fields.keys() or not all(0 <= until < 1 << 63 for until in deadlines.values()):
        raise ValueError("a deadline is of no field, or out of range")
    return HashValue(value.fields, deadlines)


def _id(text: str) -> StreamId:
    first, _, second = text.partition("-")
    if not (first.isascii() and first.isdigit() and second.isascii() and second.isdigit()) or len(text) > 41:
        raise ValueError(f"{text!r} is no stream id")
    found = int(first), int(second)
    if max(found) > _U64:
        raise ValueError(f"{text!r} is no stream id")
    return found


def _stream(found: _Stream) -> StreamValue:
    entries = [(_id(one), [*map(bytes_of, fields)]) for one, fields in found.entries]
    if any(one >= other for (one, _), (other, _) in pairwise(entries)):
        raise ValueError("its ids are out of order")
    if any(len(fields) % 2 or not fields for _, fields in entries):
        raise ValueError("a field has no value")
    deleted = None if found.max_deleted_id is None else _id(found.max_deleted_id)
    return StreamValue(entries, _id(found.last_id), found.entries_added, deleted, [*map(_group, found.groups)])


def _group(found: _Group) -> StreamGroup:
    consumers = frozenset(map(bytes_of, found.consumers))
    pending = [Pending(_id(one), bytes_of(consumer), at, times) for one, consumer, at, times in found.pending]
    if any(one.consumer not in consumers for one in pending):
        raise ValueError("an entry is pending for a consumer that is not there")
    return StreamGroup(bytes_of(found.name), _id(found.last_id), found.entries_read, consumers, pending)


_READERS: dict[str, tuple[Decoder[Any], Callable[[Any], Value]]] = {
    "string": (Decoder(Text), lambda found: StringValue(bytes_of(found))),
    "list": (Decoder(list[Text]), _list),
    "set": (Decoder(list[Text]), _set),
    "zset": (Decoder(dict[str, _Score] | list[tuple[Text, _Score]]), lambda f: SortedSetValue(_pairs(f, _score))),
    "hash": (Decoder(dict[str, Text] | list[tuple[Text, Text]]), lambda found: HashValue(_pairs(found, bytes_of))),
    "stream": (Decoder(_Stream), _stream),
}


def value_of(type_name: str, found: bytes | msgspec.Raw) -> Value:
    """The value of a type from its JSON. Raises ValueError, msgspec.MsgspecError, RecursionError: it has none there."""
    if type_name not in _READERS:
        raise ValueError(f"type {type_name!r} has no value that is known here")
    decoder, make = _READERS[type_name]
    return make(decoder.decode(found))

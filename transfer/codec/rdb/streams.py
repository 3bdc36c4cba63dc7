"""Streams: nodes of entries, counters, groups with what is pending, consumers.

    stream := nodes (16 byte id, listpack)*  entries  last id  [first id  max deleted id  entries added]
              groups (name  last id  [entries read]  pending (id16 delivered i64 deliveries)*
                      consumers (name  seen i64  [active i64]  pending id16 *)*)*
    node   := live  deleted  n  field*n  0  entry*                        each an element of the listpack
    entry  := flags  ms and sequence minus those of the node  [n  (field value)*n | value*n]  elements of this entry

    15: nothing in brackets     19: those of the stream and the group     21: active too

Rule 1: a stream may be empty; ids must ascend, and the counts must be those of what is there.
Rule 2: each pending entry belongs to exactly one consumer.
Rule 3: when consumers were seen or active is no data: it is read over.

Source: redis/src/rdb.c `rdbLoadObject`, redis/src/t_stream.c `streamValidateListpackIntegrity`.
"""

from __future__ import annotations

import struct
from typing import Any

from transfer.codec.rdb.atoms import cut, read_length, read_string
from transfer.codec.rdb.listpack import elements
from transfer.model.errors import FormatError
from transfer.model.value import Pending, StreamGroup, StreamId, StreamValue

PLAIN, COUNTED, ACTIVE = 15, 19, 21
_DELETED, _SAME_FIELDS = 1, 2
_ID_BYTES = 16
_MASK = (1 << 64) - 1
_NEVER_COUNTED = _MASK
"""-1 of `SCG_INVALID_ENTRIES_READ`: how much the group has read is not known."""
_id = struct.Struct(">QQ")
_ms = struct.Struct("<q")

_Entry = tuple[StreamId, list[bytes]]
_Delivered = dict[StreamId, tuple[int, int]]
"""Id -> when (Unix ms), how often."""


def read_stream(data: bytes, at: int, kind: int) -> tuple[StreamValue, int]:
    """The stream at *at*, of type number *kind*, and the offset after it.

    Raises:
        CutError: it is not all there.
        FormatError: this is no stream.
    """
    start = at
    entries, at = _nodes(data, at)
    length, at = read_length(data, at)
    last_id, at = _lengths_id(data, at)
    added, deleted_id = None, None
    if kind >= COUNTED:
        _, at = _lengths_id(data, at)  # the first id, which the entries show
        deleted_id, at = _lengths_id(data, at)
        added, at = read_length(data, at)
    if length != len(entries) or (entries and entries[-1][0] > last_id):
        raise _bad(f"its length is {length} and its last id {last_id}, which its entries are not", start)
    groups, at = _groups(data, at, kind)
    return StreamValue(entries, last_id, added, deleted_id, groups), at


def _nodes(data: bytes, at: int) -> tuple[list[_Entry], int]:
    count, at = read_length(data, at)
    entries: list[_Entry] = []
    last_id: StreamId = (-1, 0)
    for _ in range(count):
        start = at
        master, at = read_string(data, at)
        if len(master) != _ID_BYTES:
            raise _bad(f"{len(master)} bytes are no id", start)
        packed, at = read_string(data, at)
        try:
            last_id = _read_node(elements(packed), _id.unpack(master), last_id, entries)
        except (IndexError, TypeError, ValueError):
            raise _bad("an element of a node is missing, or is text where a number belongs", start) from None
        except _NodeError as error:
            raise _bad(str(error), start) from None
    return entries, at


class _NodeError(Exception):
    """What does not hold in a node."""


def _read_node(items: list[Any], master: StreamId, last_id: StreamId, entries: list[_Entry]) -> StreamId:
    """Add the live entries of a node to *entries*, all of which come after *last_id*; gives the last id of the node.

    Raises:
        IndexError, TypeError, ValueError: an element is missing, or is text where a number belongs.
        _NodeError: the elements do not fit together.
    """
    live, deleted, width = items[:3]
    names = _texts(items[3 : 3 + width])
    place, end, before = 4 + width, len(items), len(entries)
    ids = 0
    if width < 0 or items[place - 1] != 0:
        raise _NodeError("the names of its fields do not end")
    while place < end:
        flags, ms, sequence = items[place : place + 3]
        found = (master[0] + ms) & _MASK, (master[1] + sequence) & _MASK
        if found <= last_id:
            raise _NodeError(f"id {found} stands after {last_id}")
        fields, size = _fields(items, place, names, same=flags & _SAME_FIELDS)
        if not fields or items[place + size] != size or flags & ~(_DELETED | _SAME_FIELDS):
            raise _NodeError(f"entry {found} is not of the size it says")
        if not flags & _DELETED:
            entries.append((found, fields))
        last_id, place, ids = found, place + size + 1, ids + 1
    if live != len(entries) - before or deleted != ids - live or not ids:
        raise _NodeError(f"it holds {len(entries) - before} entries of {live}, and {deleted} deleted ones")
    return last_id


def _fields(items: list[Any], place: int, names: list[bytes], *, same: int) -> tuple[list[bytes], int]:
    """Field and value in turn of the entry at *place*, and how many elements it has before its size."""
    if not same:
        width = items[place + 3]
        found = items[place + 4 : place + 4 + 2 * width]
        return _texts(found), 4 + len(found)
    fields = names * 2
    fields[::2] = names
    fields[1::2] = _texts(items[place + 3 : place + 3 + len(names)])
    return fields, 3 + len(names)


def _texts(items: list[Any]) -> list[bytes]:
    return [b"%d" % item if isinstance(item, int) else item for item in items]


def _groups(data: bytes, at: int, kind: int) -> tuple[list[StreamGroup], int]:
    count, at = read_length(data, at)
    groups: dict[bytes, StreamGroup] = {}
    for _ in range(count):
        start = at
        group, at = _group(data, at, kind)
        if group.name in groups:
            raise _bad("two of its groups have the same name", start)
        groups[group.name] = group
    return list(groups.values()), at


def _group(data: bytes, at: int, kind: int) -> tuple[StreamGroup, int]:
    start = at
    name, at = read_string(data, at)
    last_id, at = _lengths_id(data, at)
    read: int | None = None
    if kind >= COUNTED:
        read, at = read_length(data, at)
    delivered, at = _delivered(data, at)
    owners, consumers, at = _consumers(data, at, kind)
    if owners.keys() != delivered.keys():
        raise _bad("an entry is pending for a group and for none of its consumers, or the other way round", start)
    pending = [Pending(found, owners[found], *delivered[found]) for found in sorted(delivered)]
    return StreamGroup(name, last_id, None if read == _NEVER_COUNTED else read, consumers, pending), at


def _delivered(data: bytes, at: int) -> tuple[_Delivered, int]:
    count, at = read_length(data, at)
    found: _Delivered = {}
    for _ in range(count):
        pending, at = _raw_id(data, at)
        delivered_ms, at = _moment(data, at)
        deliveries, at = read_length(data, at)
        found[pending] = delivered_ms, deliveries
    if len(found) != count:
        raise _bad("an entry is pending twice", at)
    return found, at


def _consumers(data: bytes, at: int, kind: int) -> tuple[dict[StreamId, bytes], frozenset[bytes], int]:
    """Who owns which pending entry, and all consumers."""
    count, at = read_length(data, at)
    names: list[bytes] = []
    owners: dict[StreamId, bytes] = {}
    for _ in range(count):
        name, at = read_string(data, at)
        names.append(name)
        for _ in range(2 if kind >= ACTIVE else 1):
            _, at = _moment(data, at)
        owned, at = read_length(data, at)
        for _ in range(owned):
            pending, at = _raw_id(data, at)
            if owners.setdefault(pending, name) is not name:
                raise _bad("an entry is pending for two consumers", at)
    if len(set(names)) != count:
        raise _bad("two of its consumers have the same name", at)
    return owners, frozenset(names), at


def _lengths_id(data: bytes, at: int) -> tuple[StreamId, int]:
    ms, at = read_length(data, at)
    sequence, at = read_length(data, at)
    return (ms, sequence), at


def _raw_id(data: bytes, at: int) -> tuple[StreamId, int]:
    if at + _ID_BYTES > len(data):
        raise cut(data, at + _ID_BYTES)
    ms, sequence = _id.unpack_from(data, at)
    return (ms, sequence), at + _ID_BYTES


def _moment(data: bytes, at: int) -> tuple[int, int]:
    if at + _ms.size > len(data):
        raise cut(data, at + _ms.size)
    return _ms.unpack_from(data, at)[0], at + _ms.size


def _bad(reason: str, at: int) -> FormatError:
    return FormatError(f"no stream: {reason}, at offset {at}", offset=at)

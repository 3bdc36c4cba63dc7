"""Streams, written: what streams.py reads, in the form of 15, 19 or 21.

    StreamValue -> nodes of up to 100 entries or 4 KiB -> counters, if the form has them -> groups, pending, consumers

Rule 1: what a form cannot hold (counters below 19) is left out: the server that loads it makes its own.
Rule 2: when a consumer was last seen is no part of a value: its latest delivery is written.

Source: redis/src/rdb.c `rdbSaveObject`, redis/src/t_stream.c `streamAppendItem`; limits: stream-node-max-entries.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from transfer.codec.rdb.atoms import put_length, put_string
from transfer.codec.rdb.packing import pack
from transfer.codec.rdb.streams import ACTIVE, COUNTED, PLAIN
from transfer.model.value import StreamGroup, StreamId, StreamValue

STREAM_TYPES = (PLAIN, COUNTED, ACTIVE)
_SAME_FIELDS = 2
_NODE_ENTRIES, _NODE_BYTES = 100, 4096
_NEVER_COUNTED = (1 << 64) - 1
_NOTHING: StreamId = (0, 0)
_id, _ms = struct.Struct(">QQ"), struct.Struct("<q")

_Entry = tuple[StreamId, list[bytes]]


def put_stream(value: StreamValue, kind: int) -> bytes:
    """*value* as type *kind* has it, without the type byte."""
    nodes = [_node(entries) for entries in _portions(value.entries)]
    parts = [put_length(len(nodes)), *nodes, put_length(len(value.entries)), _lengths(value.last_id)]
    if kind >= COUNTED:
        added = len(value.entries) if value.entries_added is None else value.entries_added
        first = value.entries[0][0] if value.entries else _NOTHING
        parts += [_lengths(first), _lengths(value.max_deleted_id or _NOTHING), put_length(added)]
    parts.append(put_length(len(value.groups)))
    return b"".join((*parts, *(_group(group, kind) for group in value.groups)))


def _portions(entries: list[_Entry]) -> Iterator[list[_Entry]]:
    portion: list[_Entry] = []
    size = 0
    for entry in entries:
        weight = sum(map(len, entry[1]))
        if portion and (len(portion) == _NODE_ENTRIES or size + weight > _NODE_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(entry)
        size += weight
    if portion:
        yield portion


def _node(entries: list[_Entry]) -> bytes:
    """Id and listpack; the fields of the first entry are those of the node."""
    master, first = entries[0]
    names = first[::2]
    elements: list[bytes | int] = [len(entries), 0, len(names), *names, 0]
    for found, fields in entries:
        same = fields[::2] == names
        entry = [_SAME_FIELDS if same else 0, _apart(found[0], master[0]), _apart(found[1], master[1])]
        words = fields[1::2] if same else [len(fields) // 2, *fields]
        elements += [*entry, *words, len(entry) + len(words)]
    return put_string(_id.pack(*master)) + put_string(pack(elements))


def _apart(number: int, base: int) -> int:
    """What to add to *base* to come to *number*, in 64 bits that wrap."""
    return (number - base + (1 << 63)) % (1 << 64) - (1 << 63)


def _group(group: StreamGroup, kind: int) -> bytes:
    parts = [put_string(group.name), _lengths(group.last_id)]
    if kind >= COUNTED:
        parts.append(put_length(_NEVER_COUNTED if group.entries_read is None else group.entries_read))
    parts.append(put_length(len(group.pending)))
    for item in group.pending:
        parts += [_id.pack(*item.id), _ms.pack(item.delivered_ms), put_length(item.deliveries)]
    parts.append(put_length(len(group.consumers)))
    return b"".join((*parts, *(_consumer(group, name, kind) for name in sorted(group.consumers))))


def _consumer(group: StreamGroup, name: bytes, kind: int) -> bytes:
    owned = [item for item in group.pending if item.consumer == name]
    seen = _ms.pack(max((item.delivered_ms for item in owned), default=0))
    ids = b"".join(_id.pack(*item.id) for item in owned)
    return put_string(name) + seen * (2 if kind >= ACTIVE else 1) + put_length(len(owned)) + ids


def _lengths(found: StreamId) -> bytes:
    return put_length(found[0]) + put_length(found[1])

"""Values as people mean them: what a key holds, apart from how a server encodes it.

Equality of these structs is equality of data: sets and hashes are order-free, scores are doubles
(-0.0 equals 0.0), streams carry their groups and pending entries.
"""

from __future__ import annotations

import msgspec

from transfer.model.record import NO_DEADLINE

StreamId = tuple[int, int]
"""(milliseconds, sequence)"""


class StringValue(msgspec.Struct, frozen=True):
    """Bytes; bitmaps and HyperLogLogs are strings too."""

    data: bytes


class ListValue(msgspec.Struct, frozen=True):
    """Items from head to tail."""

    items: list[bytes]


class SetValue(msgspec.Struct, frozen=True):
    """Members in no order."""

    members: frozenset[bytes]


class SortedSetValue(msgspec.Struct, frozen=True):
    """Member -> score."""

    scores: dict[bytes, float]


class HashValue(msgspec.Struct, frozen=True):
    """Field -> value; `deadlines` holds field -> Unix ms for fields that expire."""

    fields: dict[bytes, bytes]
    deadlines: dict[bytes, int] = msgspec.field(default_factory=dict)


class Pending(msgspec.Struct, frozen=True):
    """One entry that was delivered and not yet acknowledged."""

    id: StreamId
    consumer: bytes
    delivered_ms: int
    deliveries: int


class StreamGroup(msgspec.Struct, frozen=True):
    """A consumer group. `entries_read` is None where unknown (old servers, or never counted)."""

    name: bytes
    last_id: StreamId
    entries_read: int | None
    consumers: frozenset[bytes]
    pending: list[Pending]


class StreamValue(msgspec.Struct, frozen=True):
    """Entries in id order, with counters that servers before 7.0 do not keep (None there)."""

    entries: list[tuple[StreamId, list[bytes]]]
    last_id: StreamId
    entries_added: int | None
    max_deleted_id: StreamId | None
    groups: list[StreamGroup]


Value = StringValue | ListValue | SetValue | SortedSetValue | HashValue | StreamValue


class ReadValue(msgspec.Struct, frozen=True):
    """What a key held and until when.

    `value` is None when the key is gone, or when `problem` says why it cannot be represented here
    (a module type, a server that refuses to read it; `expire_at_ms` is not known then). `dump` is its
    payload at the same moment, b"" unless it was asked for. `too_large`: the problem is that it cannot be held.
    """

    value: Value | None
    expire_at_ms: int = NO_DEADLINE
    problem: str = ""
    dump: bytes = b""
    too_large: bool = False

"""Streams by type commands: the reply of XINFO in, a StreamValue; a StreamValue in, the commands that make it.

    XINFO STREAM key FULL COUNT 0 -> StreamValue -> XADD ... XSETID, XGROUP CREATE, CREATECONSUMER, XCLAIM ...

Rule 1: servers before 7.0 keep no counters; what they do not say is None here.
Rule 2: the order of commands is that of the server's own AOF rewrite (redis/src/aof.c `rewriteStreamObject`).
Rule 3: what XCLAIM cannot rebuild (`unclaimable`) must be asked before a stream is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from transfer.model.value import Pending, StreamGroup, StreamId, StreamValue

_CLAIMS_AT_ONCE = 512
_ZERO: StreamId = (0, 0)

Command = list[bytes | str | int | float]


def parse_stream(reply: list[Any]) -> StreamValue:
    """The flat RESP2 reply of XINFO STREAM key FULL COUNT 0 as a value."""
    facts = _named(reply)
    deleted = facts.get(b"max-deleted-entry-id")
    return StreamValue(
        entries=[(_id(entry), fields) for entry, fields in facts[b"entries"]],
        last_id=_id(facts[b"last-generated-id"]),
        entries_added=facts.get(b"entries-added"),
        max_deleted_id=None if deleted is None else _id(deleted),
        groups=[_group(_named(group)) for group in facts[b"groups"]],
    )


def _group(facts: dict[bytes, Any]) -> StreamGroup:
    pending = [
        Pending(id=_id(entry), consumer=consumer, delivered_ms=delivered_ms, deliveries=deliveries)
        for entry, consumer, delivered_ms, deliveries in facts[b"pending"]
    ]
    return StreamGroup(
        name=facts[b"name"],
        last_id=_id(facts[b"last-delivered-id"]),
        entries_read=facts.get(b"entries-read"),
        consumers=frozenset(_named(consumer)[b"name"] for consumer in facts[b"consumers"]),
        pending=pending,
    )


def stream_commands(key: bytes, value: StreamValue, *, counters: bool) -> Iterator[Command]:
    """The commands that build *value* at an absent *key*; *counters*: the target knows them (7.0+)."""
    for entry, fields in value.entries:
        yield [b"XADD", key, _text(entry), *fields]
    if not value.entries:  # trimmed at once, and the id is set by XSETID
        yield [b"XADD", key, b"MAXLEN", b"0", b"0-1", b"-", b"-"]
    yield from _set_counters(key, value, counters)
    for group in value.groups:
        yield from _group_commands(key, group, counters)


def _set_counters(key: bytes, value: StreamValue, counters: bool) -> Iterator[Command]:
    """XSETID, unless XADD alone left the stream as it should be."""
    count = len(value.entries)
    added = count if value.entries_added is None else value.entries_added
    deleted = value.max_deleted_id or _ZERO
    usual = count and value.entries[-1][0] == value.last_id and (not counters or (added, deleted) == (count, _ZERO))
    if not usual:
        options: Command = [b"ENTRIESADDED", added, b"MAXDELETEDID", _text(deleted)] if counters else []
        yield [b"XSETID", key, _text(value.last_id), *options]


def _group_commands(key: bytes, group: StreamGroup, counters: bool) -> Iterator[Command]:
    read: Command = []
    if counters and group.entries_read is not None:
        read = [b"ENTRIESREAD", group.entries_read]
    yield [b"XGROUP", b"CREATE", key, group.name, _text(group.last_id), *read]
    for consumer in sorted(group.consumers):
        yield [b"XGROUP", b"CREATECONSUMER", key, group.name, consumer]
    for (consumer, delivered_ms, deliveries), alike in groupby(group.pending, _delivery):
        ids = [_text(pending.id) for pending in alike]
        how: Command = [b"TIME", delivered_ms, b"RETRYCOUNT", deliveries, b"JUSTID", b"FORCE"]
        for start in range(0, len(ids), _CLAIMS_AT_ONCE):
            yield [b"XCLAIM", key, group.name, consumer, b"0", *ids[start : start + _CLAIMS_AT_ONCE], *how]


def unclaimable(value: StreamValue, now_ms: int | None) -> str:
    """Why XCLAIM would not rebuild the pending entries, "" if it would. *now_ms*: the target's clock, if known."""
    present = {entry for entry, _ in value.entries}
    for group in value.groups:
        lost = sum(pending.id not in present for pending in group.pending)
        if lost:
            return f"{lost} pending entries belong to deleted ids, which only RESTORE can bring"
        if any(not pending.consumer for pending in group.pending):
            return "pending entries belong to no consumer, which XCLAIM cannot say"
    ahead_ms = latest_delivery_ms(value) - now_ms if now_ms is not None else 0
    if ahead_ms > 0:
        return f"a pending entry was delivered {ahead_ms} ms after the target's clock, which XCLAIM would change"
    return ""


def pending_count(value: StreamValue) -> int:
    """Pending entries of all groups."""
    return sum(len(group.pending) for group in value.groups)


def latest_delivery_ms(value: StreamValue) -> int:
    """When the last pending entry was delivered, 0 if none is pending."""
    return max((pending.delivered_ms for group in value.groups for pending in group.pending), default=0)


def _delivery(pending: Pending) -> tuple[bytes, int, int]:
    return pending.consumer, pending.delivered_ms, pending.deliveries


def _named(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _id(text: bytes) -> StreamId:
    ms, _, sequence = text.partition(b"-")
    return int(ms), int(sequence)


def _text(entry: StreamId) -> bytes:
    return b"%d-%d" % entry

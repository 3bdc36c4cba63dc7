"""Pieces of a large value as commands that build it again under a temporary name.

    Piece -> [SETRANGE | RPUSH | SADD | ZADD | HSET, HPEXPIREAT | XADD ...] -> one MULTI each piece
    stream: XSETID, XGROUP CREATE, CREATECONSUMER -> pages of XCLAIM

Rule 1: a piece is written whole or, where the target refuses it for now (OOM), not at all: so it may be sent again.
Rule 2: XCLAIM says what it took; a pending entry that it leaves out is a failure of the whole key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby

from transfer.codec import resp
from transfer.endpoint.redis.big.pieces import Piece
from transfer.endpoint.redis.streams import Command
from transfer.model.value import Pending, StreamGroup, StreamValue

_ITEMS_AT_ONCE = 1000
_PLAIN = {"list": b"RPUSH", "set": b"SADD"}


def piece_commands(kind: str, name: bytes, piece: Piece, at: int) -> list[bytes]:
    """The commands that add *piece*, which begins at byte *at* of a string, to what is at *name*."""
    if kind == "string":
        return [resp.command(b"SETRANGE", name, at, piece.items[0])]
    if kind == "stream":
        return [resp.command(b"XADD", name, b"%d-%d" % entry, *fields) for entry, fields in piece.items]
    if kind in _PLAIN:
        return [resp.command(_PLAIN[kind], name, *some) for some in _runs(piece.items, 1)]
    if kind == "zset":  # repr() of a float is the shortest text that reads back as the same double
        flat = [word for m, s in resp.pairs(piece.items) for word in (repr(float(s)).encode(), m)]
        return [resp.command(b"ZADD", name, *some) for some in _runs(flat, 2)]
    added = [resp.command(b"HSET", name, *some) for some in _runs(piece.items, 2)]
    return added + list(_field_deadlines(name, piece))


def _runs(items: list[bytes], width: int) -> Iterator[list[bytes]]:
    step = _ITEMS_AT_ONCE * width
    for at in range(0, len(items), step):
        yield items[at : at + step]


def _field_deadlines(name: bytes, piece: Piece) -> Iterator[bytes]:
    by_deadline: defaultdict[int, list[bytes]] = defaultdict(list)
    for field, deadline in zip(piece.items[::2], piece.deadlines, strict=False):
        if deadline >= 0:
            by_deadline[deadline].append(field)
    for deadline, fields in by_deadline.items():
        yield resp.command(b"HPEXPIREAT", name, deadline, b"FIELDS", len(fields), *fields)


def reserve(name: bytes, size_bytes: int) -> list[bytes]:
    """A string of zeros in its final size: to let it grow piece by piece costs five times as much (measured)."""
    return [resp.command(b"SETRANGE", name, size_bytes - 1, b"\0")] if size_bytes else []


def stream_frame(name: bytes, value: StreamValue, *, counters: bool, empty: bool) -> list[bytes]:
    """What makes a stream of its entries: last id, counters, groups and consumers; pending entries come after."""
    commands: list[Command] = []
    if empty:  # trimmed at once, and the id is set by XSETID
        commands.append([b"XADD", name, b"MAXLEN", b"0", b"0-1", b"-", b"-"])
    options: Command = []
    if counters and value.entries_added is not None:
        deleted = b"%d-%d" % (value.max_deleted_id or (0, 0))
        options = [b"ENTRIESADDED", value.entries_added, b"MAXDELETEDID", deleted]
    commands.append([b"XSETID", name, b"%d-%d" % value.last_id, *options])
    for group in value.groups:
        read: Command = [b"ENTRIESREAD", group.entries_read] if counters and group.entries_read is not None else []
        commands.append([b"XGROUP", b"CREATE", name, group.name, b"%d-%d" % group.last_id, *read])
        commands += [[b"XGROUP", b"CREATECONSUMER", name, group.name, who] for who in sorted(group.consumers)]
    return [resp.command(*words) for words in commands]


def claims(name: bytes, group: StreamGroup, page: list[Pending]) -> list[bytes]:
    """The commands that make *page* pending again, consumer by consumer."""
    commands: list[bytes] = []
    for (who, delivered_ms, times), alike in groupby(page, lambda it: (it.consumer, it.delivered_ms, it.deliveries)):
        ids = [b"%d-%d" % it.id for it in alike]
        how: Command = [b"TIME", delivered_ms, b"RETRYCOUNT", times, b"JUSTID", b"FORCE"]
        commands.append(resp.command(b"XCLAIM", name, group.name, who, b"0", *ids, *how))
    return commands

"""One large value, read piece by piece: replies of about 1 MiB, commands of a few milliseconds.

    WATCH, TYPE -> HSCAN | SSCAN | ZSCAN | LRANGE | GETRANGE | XRANGE ... -> XINFO, XPENDING ... -> MULTI deadline,
                                                                            cardinality EXEC: nil where it changed

Rule 1: what was read counts only when `end` says that nobody wrote the key meanwhile.
Rule 2: the SCAN family names every item at least once and may repeat some: who needs each once compares `seen` with
        the cardinality that `end` gives.
Rule 3: WATCH does not notice all that consumers of a stream do, so its groups are looked at again at the end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import msgspec

from transfer.codec import resp
from transfer.endpoint.redis.passing import refuse_passing
from transfer.endpoint.redis.streams import parse_stream
from transfer.model.endpoint import Features
from transfer.model.ports import UNTHROTTLED, Throttle
from transfer.model.record import NO_DEADLINE
from transfer.model.value import Pending, StreamGroup, StreamId, StreamValue
from transfer.wire.link import ErrorReply, Link, Reply

PIECE_BYTES = 1 << 20
_MOST_ITEMS = 1000
"""SSCAN COUNT 1000 takes 0.5 to 2 ms of the server's thread, XRANGE COUNT 1000 about 1.5 (measured on Redis 7.0)."""
_FIRST_ITEMS = 16
_PENDING_AT_ONCE = 1000
_LOOKS_AT_IDLE = 5

READABLE = frozenset({"string", "list", "set", "zset", "hash", "stream"})
UNORDERED = frozenset({"set", "zset", "hash"})
_SCANS = {"set": "SSCAN", "zset": "ZSCAN", "hash": "HSCAN"}
_COUNTS = {"set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "list": "LLEN", "stream": "XLEN", "string": "STRLEN"}


class UnreadableError(Exception):
    """The server refuses to give a piece, in its own words, or the value has a part that cannot be had in pieces."""


class Piece(msgspec.Struct):
    """Some of a value: a string's bytes, items, members, fields and values or members and scores in turn, or entries.

    `deadlines`: of each field of a hash, -1 for none; empty where fields have none on this server. `count` items.
    """

    items: list[Any]
    count: int
    deadlines: list[int] = msgspec.field(default_factory=list)


class End(msgspec.Struct, frozen=True):
    """What holds for the whole value, as of the moment in which it was found unchanged."""

    expire_at_ms: int
    cardinality: int


def cardinality_command(kind: str, key: bytes) -> bytes:
    """HLEN, SCARD ... of *key*."""
    return resp.command(_COUNTS[kind], key)


class PieceReader:
    """Reads one key over one link, which nobody else may use until `end` or `let_go`.

    Attributes:
        seen: items that came, repeated ones among them.
    """

    def __init__(
        self,
        link: Link,
        key: bytes,
        features: Features,
        *,
        throttle: Throttle = UNTHROTTLED,
        piece_bytes: int = PIECE_BYTES,
    ) -> None:
        self.link = link
        self.key = key
        self.kind = "none"
        self.seen = 0
        self._features = features
        self._throttle = throttle
        self._piece_bytes = piece_bytes
        self._groups: list[Any] | None = None

    async def open(self) -> str:
        """Begin to watch the key; returns its type, `none` where there is no such key."""
        _, kind = await self._ask(resp.command("WATCH", self.key) + resp.command("TYPE", self.key), 2)
        self.kind = kind.decode("ascii", "backslashreplace") if isinstance(kind, bytes) else str(kind)
        return self.kind

    async def let_go(self) -> None:
        """Stop watching: what was read does not matter any more."""
        if not self.link.closed:
            await self.link.command("UNWATCH")

    async def pieces(self) -> AsyncIterator[Piece]:
        """All of the value but for groups of a stream.

        Raises:
            UnreadableError: as its text says.
            LinkError, OversizedReplyError: as `Link.ask`.
        """
        reading = {"string": self._string, "list": self._list, "stream": self._entries}.get(self.kind, self._scan)
        async for piece in reading():
            self.seen += piece.count
            yield piece

    async def end(self) -> End | None:
        """Deadline and cardinality, if nobody changed the key since `open`; else None. The link is free again."""
        if self._groups is not None and _groups(await self._info()) != self._groups:
            await self.let_go()
            return None
        exact = self._features.pexpiretime
        ask = resp.command("PEXPIRETIME", self.key) if exact else resp.TIME + resp.command("PTTL", self.key)
        body = ask + cardinality_command(self.kind, self.key)
        answers = await self._ask(resp.transaction(body), (2 if exact else 3) + 2)
        if answers[-1] is None:
            return None
        *clock, ttl, cardinality = answers[-1]
        deadline = ttl if exact or ttl < 0 else int(clock[0][0]) * 1000 + int(clock[0][1]) // 1000 + ttl
        return End(max(NO_DEADLINE, deadline), cardinality)

    async def stream(self) -> StreamValue:
        """Ids, counters and groups of a stream, with one entry and one pending entry of each group, at most."""
        info = await self._info()
        self._groups = _groups(info)
        return parse_stream(info)

    async def length(self) -> int:
        """How many entries a stream has."""
        return int(await self._command(_COUNTS["stream"], self.key))

    def pending_count(self, group: StreamGroup) -> int:
        """How many pending entries a *group* of `stream` has."""
        return next(int(count) for name, _, _, count, *_ in self._groups or () if name == group.name)

    async def pending(self, group: StreamGroup) -> AsyncIterator[list[Pending]]:
        """Pending entries of a *group* of `stream`, by id.

        XPENDING says how long ago, as of its own moment: each page begins with an entry whose time is known.
        """
        if not group.pending:
            return
        known = group.pending[0]
        yield [known]
        while True:
            rows = await self._pending_rows(group.name, known.id)
            now_ms = known.delivered_ms + rows[0][2]
            page = [Pending(_id(entry), owner, now_ms - idle, times) for entry, owner, idle, times in rows[1:]]
            if not page:
                return
            yield page
            known = page[-1]

    async def _pending_rows(self, group: bytes, start: StreamId) -> list[Any]:
        """A page from the entry at *start* on; none of it was delivered in this very millisecond."""
        for _ in range(_LOOKS_AT_IDLE):
            rows = await self._command("XPENDING", self.key, group, b"%d-%d" % start, "+", _PENDING_AT_ONCE)
            if not rows or _id(rows[0][0]) != start:
                raise UnreadableError("its pending entries changed while they were read")
            if all(idle > 0 for _, _, idle, _ in rows):
                return list(rows)
            await anyio.sleep(0.002)
        raise UnreadableError("a pending entry was delivered in the future of the server's clock")

    async def _info(self) -> list[Any]:
        return list(await self._command("XINFO", "STREAM", self.key, "FULL", "COUNT", 1))

    async def _string(self) -> AsyncIterator[Piece]:
        at, size = 0, self._piece_bytes
        while piece := await self._command("GETRANGE", self.key, at, at + size - 1):
            at += len(piece)
            yield Piece([piece], len(piece))
            if len(piece) < size:
                return

    async def _list(self) -> AsyncIterator[Piece]:
        at, step = 0, _Step(self._piece_bytes)
        while items := await step.taken(self.link, self._command("LRANGE", self.key, at, at + step.count - 1)):
            at += len(items)
            yield Piece(items, len(items))

    async def _entries(self) -> AsyncIterator[Piece]:
        start, step = b"-", _Step(self._piece_bytes)
        while rows := await step.taken(self.link, self._command("XRANGE", self.key, start, "+", "COUNT", step.count)):
            entries = [(_id(entry), fields) for entry, fields in rows]
            yield Piece(entries, len(entries))
            if len(entries) < step.asked:
                return
            ms, sequence = entries[-1][0]
            start = b"%d-%d" % (ms, sequence + 1)

    async def _scan(self) -> AsyncIterator[Piece]:
        cursor, step = b"0", _Step(self._piece_bytes)
        width = 1 if self.kind == "set" else 2
        while True:
            asked = self._command(_SCANS[self.kind], self.key, cursor, "COUNT", step.count)
            cursor, items = await step.taken(self.link, asked)
            deadlines = await self._field_deadlines(items[::2]) if self.kind == "hash" and items else []
            yield Piece(items, len(items) // width, deadlines)
            if cursor == b"0":
                return

    async def _field_deadlines(self, fields: list[bytes]) -> list[int]:
        if not self._features.field_ttl:
            return []
        found = await self._command("HPEXPIRETIME", self.key, "FIELDS", len(fields), *fields)
        return [] if max(found) < 0 else [max(NO_DEADLINE, moment) for moment in found]

    async def _command(self, *words: bytes | str | int) -> Reply:
        return (await self._ask(resp.command(*words), 1))[0]

    async def _ask(self, request: bytes, replies: int) -> list[Reply]:
        async with self._throttle:
            answers = await self.link.ask(request, replies)
        errors = [str(answer) for answer in answers if isinstance(answer, ErrorReply)]
        if isinstance(answers[-1], list):
            errors += [str(answer) for answer in answers[-1] if isinstance(answer, ErrorReply)]
        if errors:
            await refuse_passing(self.link, errors)
            raise UnreadableError(errors[0])
        return answers


class _Step:
    """How many items to ask for next, so that a reply comes to some *piece_bytes*."""

    def __init__(self, piece_bytes: int) -> None:
        self._piece_bytes = piece_bytes
        self.count = self.asked = _FIRST_ITEMS

    async def taken(self, link: Link, asked: Any) -> Any:
        before, self.asked = link.received_bytes, self.count
        answer = await asked
        mean = max(1, (link.received_bytes - before) // self.asked)
        self.count = max(1, min(self.asked * 4, _MOST_ITEMS, self._piece_bytes // mean))
        return answer


def _groups(info: list[Any]) -> list[Any]:
    """What tells that consumers did something; when they were last seen is left out."""
    facts = _named(info)
    return [
        (
            group.get(b"name"),
            group.get(b"last-delivered-id"),
            group.get(b"entries-read"),
            group.get(b"pel-count"),
            group.get(b"pending"),
            [(consumer.get(b"name"), consumer.get(b"pel-count")) for consumer in map(_named, group[b"consumers"])],
        )
        for group in map(_named, facts[b"groups"])
    ]


def _named(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _id(text: bytes) -> StreamId:
    ms, _, sequence = text.partition(b"-")
    return int(ms), int(sequence)

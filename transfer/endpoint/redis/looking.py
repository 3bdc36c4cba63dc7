"""What keys of a server hold that are to be changed, or compared with what they are to hold.

    changes -> portions -> WATCH names, deadlines, DUMPs, in one request -> Found | the error

Rule 1: what is read is watched before: whoever changes it next in a transaction does so only while it stands.
Rule 2: what is too large to be read with others is read alone, or in pieces, over a link of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import msgspec

from transfer.codec import fingerprint as prints
from transfer.codec import resp
from transfer.codec.dump import FOOTER_BYTES
from transfer.codec.fingerprint import NOTHING, Intended, by_pieces, matches
from transfer.endpoint.redis.big.through import body_hash
from transfer.endpoint.redis.large import read_large
from transfer.endpoint.redis.passing import refuse_passing
from transfer.endpoint.redis.reading import MomentReader
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.sizes import PayloadSizes
from transfer.model.errors import OversizedReplyError
from transfer.model.ports import UNTHROTTLED
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.understood import understood

GROUP_KEYS = 192
"""To watch n names costs a server n * n / 2 comparisons: 3 us a key at 256 (measured)."""
_LARGE_CAP_BYTES = 32 << 20
"""A payload as large as this is held, of one key at a time, to be captured or compared."""
_TOLERANCE_MS = 50
"""How far off a deadline may be that was read without PEXPIRETIME (before 7.0)."""
MOVED, ALREADY, OTHERS = (b"(moved)", b"(already)", b"(others)")
"""Instead of an answer: somebody wrote between; it holds what it is to hold; it holds what nobody expected."""


class Change(msgspec.Struct, gc=False):
    """One key to change by *command*, in pieces, so that it holds *intended*.

    *dump*: the payload it is to hold, where there is one. *expected*: it is changed only where it holds one of these
    (None: whatever it holds). *spares_equal*: it is not changed where it holds that payload until then already.
    """

    name: bytes
    command: Sequence[bytes]
    intended: Intended = NOTHING
    dump: bytes | None = None
    expected: list[Intended] | None = None
    spares_equal: bool = False


class Found(msgspec.Struct, gc=False):
    """What stands under a name: its payload, None for nothing, empty for a large one; until when.

    `large` is the digest of what was read piece by piece.
    """

    dump: bytes | None
    expire_at_ms: int
    large: bytes = b""


class Looker:
    """Tells of keys of one server whether they hold what they are to hold. Several tasks may call it at once.

    *limit_bytes*: larger values are not read.
    """

    def __init__(self, target: Server, *, limit_bytes: int, group_keys: int = GROUP_KEYS) -> None:
        self._target = target
        self._limit_bytes = limit_bytes
        self._group_keys = 1 if target.features.transaction_keys == 1 else group_keys
        self._sizes: defaultdict[int, PayloadSizes] = defaultdict(PayloadSizes)
        self._large_turn = anyio.Lock()

    async def write(self, link: Link, db: int, changes: list[Change]) -> list[Reply]:
        """Make *changes* (here: none); the answer to each, or MOVED, ALREADY, OTHERS.

        Raises:
            LinkError: the link broke; the same may be asked for again.
            StateFullError: a pre-image could not be kept; its group was not changed.
        """
        answers: list[Reply] = []
        for at in range(0, len(changes), self._group_keys):
            some = changes[at : at + self._group_keys]
            for portion in await self._portions(link, db, some):
                too_large = self._sizes[db].too_large
                large = bool(too_large) and any(change.name in too_large for change in portion)
                async with self._large_turn if large else UNTHROTTLED:
                    answers += await self._write(link, db, portion)
        return answers

    async def _write(self, link: Link, db: int, changes: list[Change]) -> list[Reply]:
        found = await self._look(link, db, changes)
        await link.command("UNWATCH")
        return [
            now if isinstance(now, ErrorReply) else ALREADY if self._holds(now, change.intended) else OTHERS
            for change, now in zip(changes, found, strict=True)
        ]

    def _holds(self, found: Found, wanted: Intended) -> bool:
        now_ms = self._target.now_ms()
        return matches(found.dump, found.expire_at_ms, wanted, now_ms, self._tolerance_ms, found.large)

    @property
    def _tolerance_ms(self) -> int:
        return 0 if self._target.features.pexpiretime else _TOLERANCE_MS

    async def _portions(self, link: Link, db: int, changes: list[Change]) -> list[list[Change]]:
        """*changes* cut so that what they are about can be held."""
        reader = MomentReader(link, self._target.features, self._sizes[db], limit_bytes=self._limit_bytes)
        with understood(link.where, "a question about sizes"):
            portions = await reader.portions([change.name for change in changes])
        cut, at = [], 0
        for names in portions:
            cut.append(changes[at : at + len(names)])
            at += len(names)
        return cut

    def _pieces(self, change: Change) -> bool:
        """Whether what is under the name of *change* is to be read piece by piece, to be compared."""
        return by_pieces(change.intended) or (change.expected is not None and any(map(by_pieces, change.expected)))

    async def _look(self, link: Link, db: int, changes: list[Change]) -> list[Found | ErrorReply]:
        """What stands under the names of *changes*, all of which are watched from now on."""
        names, too_large = [change.name for change in changes], self._sizes[db].too_large
        held = [name for name in names if name not in too_large] if too_large else names
        watched, found = await self._watch_and_read(link, db, names, held)
        if watched is not None:
            return [watched] * len(names)
        known = dict(zip(held, found, strict=True))
        for change in changes:
            if change.name in too_large or self._pieces(change):
                known[change.name] = await self._read_large(db, change, known.get(change.name))
        return [known[name] for name in names]

    async def _watch_and_read(
        self, link: Link, db: int, names: list[bytes], held: list[bytes]
    ) -> tuple[ErrorReply | None, list[Found | ErrorReply]]:
        """Why *names* cannot be watched, or what those of them that are *held* hold from then on."""
        before = link.received_bytes
        watched, replies = await self._watch(link, db, names, held)
        if isinstance(watched, ErrorReply):
            await refuse_passing(link, [str(watched)])
            return watched, []
        return None, await self._taken_in(link, db, held, replies, before) if held else []

    async def _watch(self, link: Link, db: int, names: list[bytes], held: list[bytes]) -> tuple[Reply, list[Reply]]:
        """The answers to WATCH of *names*, and to what asks for deadlines, then for payloads, of those *held*."""
        exact, count = self._target.features.pexpiretime, len(held)
        lives = resp.each(b"PEXPIRETIME" if exact else b"PTTL", held)
        lives = lives if exact else resp.TIME + lives + resp.TIME
        request = resp.command(b"WATCH", *names) + lives + resp.each(b"DUMP", held)
        try:
            watched, *replies = await link.ask(request, 1 + 2 * count + (0 if exact else 2))
        except OversizedReplyError:
            self._sizes[db].distrust(held, link.cap_bytes)
            raise
        return watched, replies

    async def _taken_in(
        self, link: Link, db: int, names: list[bytes], replies: list[Reply], before: int
    ) -> list[Found | ErrorReply]:
        """What *replies* say of *names*; the link had received *before* bytes when they were asked for."""
        exact, count = self._target.features.pexpiretime, len(names)
        refused = ErrorReply in set(map(type, replies))
        if refused:
            await refuse_passing(link, [str(reply) for reply in replies if isinstance(reply, ErrorReply)])
        with understood(link.where, "a read of what is to be changed"):
            found = _found(replies, count, exact=exact, refused=refused)
        sizes = [len(dump) for dump in replies[-count:] if type(dump) is bytes]
        self._sizes[db].learn(sizes, link.received_bytes - before)
        return found

    async def _read_large(self, db: int, change: Change, now: Found | ErrorReply | None) -> Found | ErrorReply:
        """What the watched name of *change* holds; *now* if that is known, but for what it is in pieces.

        Over links of their own: these reads are transactions, which would end the watch.
        """
        if now is None:
            now = await self._read_alone(db, change.name)
        if isinstance(now, ErrorReply) or now.dump is None or not self._pieces(change):
            return now
        async with self._link_for(db) as link:
            value = await read_large(link, change.name, self._target.features)
        if value.problem:
            return ErrorReply(value.problem)
        return Found(now.dump, now.expire_at_ms, prints.of_pieces(value.digest))

    async def _read_alone(self, db: int, name: bytes) -> Found | ErrorReply:
        """What a large key holds, if its payload is not larger than can be held for one key at a time."""
        try:
            async with self._link_for(db) as link:
                moment = await MomentReader(link, self._target.features).read([name])
        except OversizedReplyError:
            async with self._link_for(db) as link:
                digest, _, deadline = await body_hash(link, name, self._target.features, FOOTER_BYTES)
            return Found(b"", deadline, prints.of_body(digest))
        if name in moment.refused:
            return ErrorReply(moment.refused[name])
        dump = moment.payloads[0]
        return Found(dump, moment.deadlines[0] if dump is not None else NO_DEADLINE)

    @asynccontextmanager
    async def _link_for(self, db: int) -> AsyncIterator[Link]:
        link = await self._target.redial(db, cap_bytes=_LARGE_CAP_BYTES)
        try:
            yield link
        finally:
            await link.close()


def _found(replies: list[Reply], count: int, *, exact: bool, refused: bool) -> list[Found | ErrorReply]:
    """Deadlines and payloads, in order; an error where there is one (only if some are *refused*)."""
    deadlines, dumps = replies[:-count], replies[-count:]
    if not exact:
        before, *lives, after = deadlines
        clock_ms = (_clock_ms(before) + _clock_ms(after)) // 2
        deadlines = [clock_ms + life if type(life) is int and life >= 0 else life for life in lives]
    pairs = zip(dumps, deadlines, strict=True)
    if not refused:
        if any(dump is not None and len(dump) <= FOOTER_BYTES for dump in dumps):
            raise ValueError("a payload that is none")
        return [Found(dump, until if until >= 0 and dump is not None else NO_DEADLINE) for dump, until in pairs]
    return [
        next((one for one in pair if isinstance(one, ErrorReply)), None) or Found(pair[0], max(NO_DEADLINE, pair[1]))
        for pair in pairs
    ]


def _clock_ms(answer: list[bytes]) -> int:
    return int(answer[0]) * 1000 + int(answer[1]) // 1000

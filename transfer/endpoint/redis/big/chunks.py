"""A large key copied piece by piece: built under a temporary name, put in place in one transaction.

    source: WATCH key -> pieces ... -> unchanged?  (PieceReader)
    target: UNLINK tmp -> one MULTI each piece -> WATCH tmp, cardinality -> MULTI [PEXPIREAT tmp] RENAMENX tmp name EXEC
                                                                     replace:  UNLINK name, RENAME tmp name

Rule 1: the final name is touched by the last transaction only; a refused rename touches nothing of others.
Rule 2: the deadline is put on the temporary key in that transaction: it travels with the rename.
Rule 3: however it ends, the temporary key is removed, as long as the link to the target lives.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto

import anyio
import msgspec

from transfer.codec import resp
from transfer.endpoint.redis.big.build import claims, piece_commands, reserve, stream_frame
from transfer.endpoint.redis.big.pieces import End, Piece, PieceReader, cardinality_command
from transfer.endpoint.redis.big.place import put_in_place
from transfer.endpoint.redis.captured import CapturedWriter
from transfer.endpoint.redis.landing import Landing, ends_run
from transfer.endpoint.redis.looking import MOVED
from transfer.endpoint.redis.patience import Patience
from transfer.model.crash import crash, point
from transfer.model.endpoint import Features
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.replies import ReplyClass, classify

_WRITTEN = point("big.chunk_written", "a piece of a large value stands under its temporary name")
_BEFORE = point("big.before_rename", "a large value is whole under its temporary name")
_RENAMED = point("big.renamed", "a large value got its own name")
_REMOVED = point("big.temporary_removed", "a temporary key was removed after a refusal")
_SEND_BYTES = 1 << 20
_GRACE_S = 5.0

Land = Callable[[int], Landing | None]


class Fate(Enum):
    """What became of one attempt."""

    WRITTEN = auto()
    BUSY = auto()  # the name is taken
    CHANGED = auto()  # somebody wrote the source key meanwhile
    NOT_LANDING = auto()  # its deadline has passed, or is too near


class BuildError(Exception):
    """The value cannot be built so: its text says why. Nothing of it is at the target."""


class LostPartsError(BuildError):
    """Commands would lose a part of the value, which RESTORE would bring."""


class Built(msgspec.Struct):
    """One attempt's result; `size_bytes` of pieces went over; `lost`: without deadlines of fields."""

    fate: Fate
    landing: Landing | None = None
    size_bytes: int = 0
    lost: bool = False


class Chunks:
    """Copies the key of *reader* over *target* under the temporary *name*.

    Args:
        land: deadline at the source -> where and until when it lands.
        paced: waited for before each piece; what it raises breaks the copy off.
        patience: waits where the target says "not now".
        lossy: deadlines of fields may be left out where the target has no such thing.
    """

    def __init__(
        self,
        reader: PieceReader,
        target: Link,
        name: bytes,
        features: Features,
        *,
        land: Land,
        replace: bool,
        paced: Callable[[int], Awaitable[None]],
        patience: Patience,
        captured: CapturedWriter | None = None,
        db: int = 0,
        lossy: bool = False,
    ) -> None:
        self._captured, self._db = captured, db
        self._lossy, self._lost = lossy, False
        self._reader = reader
        self._target = target
        self._name = name
        self._features = features
        self._land = land
        self._replace = replace
        self._paced = paced
        self._patience = patience
        self._fading = 0
        self._bytes = 0

    async def copy(self, size_bytes: int) -> Built:
        """Read, build, put in place; *size_bytes*: of a string, as it was asked for before.

        Raises:
            BuildError, UnreadableError: the key cannot be copied so.
            LinkError: a link broke; whether the key got its name is unknown then.
        """
        renamed = False
        try:
            await self._build(size_bytes)
            end = await self._reader.end()
            if end is None:
                return Built(Fate.CHANGED)
            landing = self._land(end.expire_at_ms)
            if landing is None:
                return Built(Fate.NOT_LANDING)
            crash(_BEFORE)
            fate = await self._put(landing, end)
            renamed = fate is Fate.WRITTEN
            return Built(fate, landing, self._bytes, self._lost)
        finally:
            if not renamed:
                await self._remove()

    async def _build(self, size_bytes: int) -> None:
        at, kind = 0, self._reader.kind
        if kind == "string":
            await self._write(reserve(self._name, size_bytes))
        async for piece in self._reader.pieces():
            size = _weight(piece)
            await self._paced(size)
            self._leave_out(piece)
            if commands := piece_commands(kind, self._name, piece, at):
                self._check_deadlines(piece, await self._write(commands))
            at += piece.count
            self._bytes += size
            self._patience.progressed()
            crash(_WRITTEN)
        if kind == "stream":
            await self._build_groups()

    def _leave_out(self, piece: Piece) -> None:
        """Drop deadlines of fields where that is allowed, and nothing else is possible."""
        if self._lossy and not self._features.field_ttl and piece.deadlines:
            self._lost = True
            self._fading += sum(deadline >= 0 for deadline in piece.deadlines)
            piece.deadlines = []

    def _check_deadlines(self, piece: Piece, answers: list[Reply]) -> None:
        if not any(deadline >= 0 for deadline in piece.deadlines):
            return
        if not self._features.field_ttl:
            raise LostPartsError("fields of the hash have deadlines of their own, which the target does not know")
        self._fading += sum(deadline >= 0 for deadline in piece.deadlines)
        if any(code not in (1, 2) for answer in answers if isinstance(answer, list) for code in answer):
            raise BuildError("a deadline of a field was not taken")

    async def _build_groups(self) -> None:
        value = await self._reader.stream()
        counters = self._features.pexpiretime  # both came with 7.0
        await self._write(stream_frame(self._name, value, counters=counters, empty=not self._reader.seen))
        for group in value.groups:
            async for page in self._reader.pending(group):
                if any(not it.consumer for it in page):
                    raise LostPartsError("pending entries belong to no consumer, which XCLAIM cannot say")
                latest_ms = max(it.delivered_ms for it in page)
                answers = await self._write(claims(self._name, group, page), latest_ms)
                taken = sum(len(answer) for answer in answers if isinstance(answer, list))
                if taken != len(page):
                    raise LostPartsError("pending entries belong to deleted ids, which only RESTORE can bring")

    async def _write(self, commands: list[bytes], latest_ms: int = 0) -> list[Reply]:
        """Their answers; all of them are carried out, or none and an error is raised.

        *latest_ms*: the target's clock must be past it.
        """
        while commands:
            clock = [resp.TIME] if latest_ms else []
            parts = resp.joined([resp.MULTI, *clock, *commands, resp.EXEC], _SEND_BYTES)
            answers = await self._target.ask_parts(parts, len(clock) + len(commands) + 2)
            if isinstance(answers[-1], list):
                done = answers[-1]
                if error := next((str(answer) for answer in done if isinstance(answer, ErrorReply)), ""):
                    raise BuildError(error)
                if clock and latest_ms > int(done[0][0]) * 1000 + int(done[0][1]) // 1000:
                    raise LostPartsError("a pending entry was delivered after the target's clock")
                return done[len(clock) :]
            await self._wait_or_raise(answers)
        return []

    async def _wait_or_raise(self, answers: list[Reply]) -> None:
        """EXEC did nothing: wait if the target says "not now"."""
        text = next((str(answer) for answer in answers if isinstance(answer, ErrorReply)), "EXEC was not carried out")
        if failure := ends_run(text, self._target.where):
            raise failure
        if classify(text) not in (ReplyClass.FULL, ReplyClass.WAIT):
            raise BuildError(text)
        await self._patience.held(text)

    async def _put(self, landing: Landing, end: End) -> Fate:
        while True:
            looks = resp.command("WATCH", self._name) + cardinality_command(self._reader.kind, self._name)
            _, count = await self._target.ask(looks, 2)
            fits = isinstance(count, int) and end.cardinality - self._fading <= count <= end.cardinality
            if not fits:
                await self._target.command("UNWATCH")
                raise BuildError(f"the temporary key holds {count} of {end.cardinality}: others write to it")
            if self._captured is not None:
                if (fate := await self._put_captured(self._captured, landing)) is not None:
                    return fate
                continue
            commands = self._last_commands(landing)
            request = resp.transaction(b"".join(commands))
            answers = await self._target.ask(request, len(commands) + 2)
            crash(_RENAMED)
            if isinstance(answers[-1], list):
                return self._fate(answers[-1])
            if answers[-1] is None:
                raise BuildError("others wrote to the temporary key")
            await self._wait_or_raise(answers)

    async def _put_captured(self, captured: CapturedWriter, landing: Landing) -> Fate | None:
        """As `_put` over what is there, once that is captured; None: to be tried again."""
        await self._target.command("UNWATCH")
        place = (captured, self._target, self._db, self._name, landing, self._features)
        answer = await put_in_place(*place, deadline=True)
        crash(_RENAMED)
        if answer is MOVED:
            return None
        if isinstance(answer, ErrorReply) and classify(str(answer)) in (ReplyClass.FULL, ReplyClass.WAIT):
            await self._patience.held(str(answer))
            return None
        return self._fate([answer])

    def _last_commands(self, landing: Landing) -> list[bytes]:
        name, lasts = landing.name, landing.expire_at_ms == NO_DEADLINE
        at = [] if lasts else [resp.command("PEXPIREAT", self._name, landing.expire_at_ms)]
        if not self._replace:
            return [*at, resp.command("RENAMENX", self._name, name)]
        return [*at, resp.command("UNLINK", name), resp.command("RENAME", self._name, name)]

    def _fate(self, done: list[Reply]) -> Fate:
        if isinstance(done[-1], ErrorReply):
            if str(done[-1]).startswith("ERR no such key"):  # its deadline passed in that very moment
                return Fate.NOT_LANDING
            raise BuildError(str(done[-1]))
        return Fate.BUSY if done[-1] == 0 else Fate.WRITTEN

    async def _remove(self) -> None:
        if self._target.closed:
            return
        with anyio.move_on_after(_GRACE_S, shield=True):
            await self._target.command("UNLINK", self._name)
            crash(_REMOVED)


def _weight(piece: Piece) -> int:
    """About how many bytes *piece* has."""
    if piece.items and isinstance(piece.items[0], tuple):
        return sum(sum(map(len, fields)) for _, fields in piece.items)
    return sum(map(len, piece.items))

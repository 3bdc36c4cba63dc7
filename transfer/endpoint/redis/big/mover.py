"""Large keys on their way: which way each takes, how often it is tried, and what became of it.

    key -> name taken at the target?  -> digests of both sides -> already | repeated | conflict
        -> small enough for one DUMP  -> pass_through (cut through, atomic)   --- payload refused, too long ---.
        -> larger                     -> Chunks (WATCH, pieces, temporary key) <------------------------------'

Rule 1: a key is counted once, when its fate is known; after a lost answer the target is looked at first.
Rule 2: a key that changes while it is read in pieces is read again, three times; then it is rejected by name.
Rule 3: what is held of one key does not depend on its size. `_AT_ONCE` keys are on their way at once.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from itertools import count

import anyio
import msgspec
import xxhash

from transfer.endpoint.redis.big.chunks import BuildError, Built, Chunks, Fate, LostPartsError
from transfer.endpoint.redis.big.move import (
    REFUSED_CODE,
    TOO_LARGE_CODE,
    UNREADABLE_CODE,
    WHOLE_ONLY,
    BigOptions,
    Move,
    StoppedError,
    has_room,
    most_bulk_bytes,
)
from transfer.endpoint.redis.big.pieces import READABLE, PieceReader, UnreadableError
from transfer.endpoint.redis.big.place import put_in_place
from transfer.endpoint.redis.big.temporary import temporary_name
from transfer.endpoint.redis.big.through import Passed, is_error, pass_through
from transfer.endpoint.redis.bridge import AS_IS, Bridge
from transfer.endpoint.redis.captured import CapturedWriter
from transfer.endpoint.redis.conflicts import NEVER_HELD, ConflictPolicy, Conflicts
from transfer.endpoint.redis.folding import Folding
from transfer.endpoint.redis.landing import Approach, Landing, ends_run
from transfer.endpoint.redis.landmarks import Landmarks
from transfer.endpoint.redis.large import LargeValue, read_large
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.looking import MOVED
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.reading import prepare
from transfer.endpoint.redis.rebuild import OnLoss
from transfer.endpoint.redis.server import Server
from transfer.model.errors import GaveUpError, LinkError, OversizedReplyError
from transfer.model.ports import UNTHROTTLED, Budget, Journal, KeyLedger, ReadListener, Throttle
from transfer.model.record import NO_DEADLINE, Record, deadline_seed, deadlines_match, hash_of_name
from transfer.model.selection import Selection
from transfer.model.tally import Tally
from transfer.model.units import show_bytes
from transfer.wire.link import ErrorReply, Link
from transfer.wire.replies import ReplyClass, classify

_AT_ONCE = 2
_HELD_BYTES = 8 << 20
"""What one large key on its way takes of the memory budget: a piece as bytes, as items, as commands."""
_MOST_CHANGES, _MOST_BREAKS, _MOST_ROUNDS = 3, 20, 20


class BigKeys:
    """Copies large keys one by one; `move` keeps the promise of `source.MoveLarge`.

    *announce* is told of every temporary key, by database and name, before it is made; *on_loss* as in `Rebuild`.
    """

    def __init__(
        self,
        source: Server,
        target: Server,
        options: BigOptions,
        *,
        approach: Approach,
        policy: ConflictPolicy,
        conflicts: Conflicts,
        folding: Folding | None,
        selection: Selection,
        written: KeyLedger,
        journal: Journal,
        tally: Tally,
        budget: Budget,
        landmarks: Landmarks,
        patience: tuple[Patience, Patience],
        paced: Callable[[int], Awaitable[None]],
        stop: anyio.Event,
        throttle: Throttle = UNTHROTTLED,
        on_read: ReadListener = lambda names, moment: None,
        announce: Callable[[int, bytes], None] = lambda db, name: None,
        bridge: Bridge = AS_IS,
        captured: CapturedWriter | None = None,
        on_loss: OnLoss | None = None,
    ) -> None:
        self._captured, self._on_loss = captured, on_loss
        self._bridge = bridge
        self._announce = announce
        self._source, self._target, self._options = source, target, options
        self._approach, self._policy, self._conflicts, self._folding = approach, policy, conflicts, folding
        self._selection, self._written, self._journal, self._tally = selection, written, journal, tally
        self._budget, self._landmarks, self._throttle, self._on_read = budget, landmarks, throttle, on_read
        self._patience = patience
        self._paced, self._stop = paced, stop
        self._from = Links(source, cap_bytes=options.cap_bytes, prepare=lambda link: prepare(link, source.features))
        self._to = Links(target, cap_bytes=options.cap_bytes, writes=True)
        self._turns = anyio.CapacityLimiter(_AT_ONCE)
        self._numbers = count(1)
        self._bulk_bytes = 0

    async def move(self, db: int, key: bytes) -> None:
        """Copy *key* of *db* and count it; returns uncounted when the run is to stop.

        Raises:
            ReplacedError, GaveUpError, ...: as `Sink.write`.
        """
        held = min(_HELD_BYTES, self._budget.total_bytes)
        async with self._turns:
            await self._budget.acquire(held)
            try:
                await self._move(db, key)
            except StoppedError:
                pass
            finally:
                self._budget.release(held)

    async def _move(self, db: int, key: bytes) -> None:
        to_db = self._approach.mapping.dbs[db]
        landing = Landing(Record(db, key, b"", NO_DEADLINE), self._approach.mapping.name(key), NO_DEADLINE)
        if self._folding is not None and not self._folding.claim(to_db, [landing]):
            return
        move = Move(db, key, landing, to_db, in_pieces=self._options.writing == "logical")
        try:
            while not await self._advance(move):
                move.rounds += 1
                if move.rounds > _MOST_ROUNDS:
                    self._reject(move, REFUSED_CODE, "this name kept coming and going at the target")
                    return
        except BaseException:
            if move.sent:
                self._conflicts.doubt_large(to_db, landing.name)
            raise

    async def _advance(self, move: Move) -> bool:
        """One attempt; whether the key's fate is known."""
        self._check_stop()
        try:
            async with self._from.lease(move.db) as source, self._to.lease(move.to_db) as target:
                done = await self._attempt(move, source, target)
                await self._clean(move, target)
        except OversizedReplyError as error:
            if move.in_pieces and not move.only_whole and self._options.writing != "logical":
                move.in_pieces, move.only_whole = False, True
                return False
            self._reject(move, TOO_LARGE_CODE, f"one of its items is too large to be taken: {error.message}")
            return True
        except LinkError as error:
            if not error.retryable:
                raise
            move.lost = move.lost or move.sent
            await self._broke(move, error)
            return False
        for patience in self._patience:
            patience.progressed()
        return done

    async def _broke(self, move: Move, error: LinkError) -> None:
        """A link broke in the middle: wait a moment. What breaks each time is done in pieces."""
        move.breaks += 1
        at_source = error.where == self._source.where
        await self._patience[0 if at_source else 1].broken(error)
        if move.breaks % 3 == 0 and not move.only_whole and self._options.writing not in WHOLE_ONLY:
            move.in_pieces = True
        if move.breaks > _MOST_BREAKS:
            text = f"the connection broke {move.breaks} times while one key was copied: {error.message}"
            raise GaveUpError(text, where=error.where)

    async def _attempt(self, move: Move, source: Link, target: Link) -> bool:
        if not await move.look(source, sized=self._source.features.memory_usage):
            self._tally.settle("gone")
            return True
        if not self._policy.replace or move.lost:
            there = await target.command("EXISTS", move.landing.name)
            if isinstance(there, ErrorReply):
                return await self._refused(move, str(there))
            if there and (not self._policy.replace or move.lost) and await self._compare(move, source, target):
                return True
        self._announce_value(move)
        if move.in_pieces or await self._needs_pieces(move, source):
            return await self._in_pieces(move, source, target)
        return await self._through(move, source, target)

    def _announce_value(self, move: Move) -> None:
        """Note that something is about to be sent under the key's name: found there by the next process, it is ours."""
        if not move.sent:
            move.sent = True
            self._journal.sent(hash_of_name(move.to_db, move.landing.name), NEVER_HELD)

    async def _needs_pieces(self, move: Move, source: Link) -> bool:
        if move.only_whole or move.kind not in READABLE or self._options.writing == "raw":
            return False
        return move.size_bytes > self._options.above_bytes or not await has_room(source, move.size_bytes)

    async def _through(self, move: Move, source: Link, target: Link) -> bool:
        most = self._bulk_bytes = self._bulk_bytes or await most_bulk_bytes(target)
        started = time.monotonic()

        aside = self._name_aside(move) if self._captured is not None else b""
        async with self._throttle:
            passed = await pass_through(
                source,
                target,
                move.key,
                self._source.features,
                most_bytes=most,
                land=lambda deadline: self._land_aside(move, deadline, aside),
                replace=self._policy.replace,
                use=self._options.use,
                bridge=self._bridge,
                paced=self._pace,
            )
        match passed.stop:
            case "gone":
                self._tally.settle("gone")
            case "not_landing":
                pass
            case "refused":
                self._reject(move, UNREADABLE_CODE, f"the source refused to give it: {passed.answer}")
            case "other_form":
                return self._other_form(move)
            case "too_long":
                return self._too_long(move, passed.size_bytes, most)
            case _:
                if not await self._answered(move, passed, target, aside):
                    return False
                self._on_read([move.key], started)
        return True

    def _other_form(self, move: Move) -> bool:
        """Its type is not one that the target loads: too large to be encoded anew, it goes in pieces."""
        if move.kind in READABLE and not move.only_whole and self._options.writing not in WHOLE_ONLY:
            move.in_pieces = True
            return False
        self._reject(move, REFUSED_CODE, "the target loads no payload of its type, and it is too large to encode anew")
        return True

    def _too_long(self, move: Move, size_bytes: int, most_bytes: int) -> bool:
        if move.kind in READABLE and not move.only_whole and self._options.writing not in WHOLE_ONLY:
            move.in_pieces = True
            return False
        cause = f"its payload has {show_bytes(size_bytes)}, the target takes {show_bytes(most_bytes)} at once"
        self._reject(move, TOO_LARGE_CODE, cause)
        return True

    def _name_aside(self, move: Move) -> bytes:
        """A temporary name at the target."""
        name = temporary_name(self._options.job, next(self._numbers), move.landing.name)
        move.stale.append(name)
        self._announce(move.to_db, name)
        return name

    def _land_aside(self, move: Move, deadline: int, aside: bytes) -> Landing | None:
        """Where it lands: under its name, or *aside* first, where what it replaces is to be captured."""
        landing = self._land(move, deadline)
        return msgspec.structs.replace(landing, name=aside) if landing is not None and aside else landing

    async def _answered(self, move: Move, passed: Passed, target: Link, aside: bytes) -> bool:
        landing = passed.landing
        assert landing is not None
        if is_error(passed.answer):
            return await self._refused(move, str(passed.answer))
        if aside and self._captured is not None:
            landing = msgspec.structs.replace(landing, name=move.landing.name)
            answer = await put_in_place(
                self._captured, target, move.to_db, aside, landing, self._target.features, deadline=False
            )
            if answer is MOVED:
                return False
            if is_error(answer):
                return await self._refused(move, str(answer))
        self._tally.bytes_read += passed.size_bytes
        self._settle_written(move, landing, passed.value_hash, passed.size_bytes)
        return True

    async def _refused(self, move: Move, text: str) -> bool:
        """The target refused: now, so that it is tried again, in this form, or for good."""
        if failure := ends_run(text, self._target.where):
            raise failure
        match classify(text):
            case ReplyClass.BUSY_KEY:
                return False
            case ReplyClass.FULL | ReplyClass.WAIT:
                move.rounds -= 1
                await self._patience[1].held(text)
                return False
            case ReplyClass.PAYLOAD if (
                move.kind in READABLE and not move.only_whole and self._options.writing not in WHOLE_ONLY
            ):
                move.in_pieces = True
                return False
        self._reject(move, REFUSED_CODE, text)
        return True

    async def _in_pieces(self, move: Move, source: Link, target: Link) -> bool:
        name = self._name_aside(move)
        started = time.monotonic()
        reader = PieceReader(
            source, move.key, self._source.features, throttle=self._throttle, piece_bytes=self._options.piece_bytes
        )
        try:
            kind = await reader.open()
            if kind not in READABLE:
                return await self._not_in_pieces(move, reader)
            chunks = Chunks(
                reader,
                target,
                name,
                self._target.features,
                land=lambda deadline: self._land(move, deadline),
                replace=self._policy.replace,
                paced=self._pace,
                patience=self._patience[1],
                captured=self._captured,
                db=move.to_db,
                lossy=self._on_loss is not None,
            )
            built = await chunks.copy(move.size_bytes if kind == "string" else 0)
        except (UnreadableError, BuildError) as error:
            await reader.let_go()
            return self._failed(move, error)
        except BaseException:
            await source.close()
            raise
        move.stale.remove(name)
        if built.fate is Fate.WRITTEN:
            self._on_read([move.key], started)
        return self._conclude(move, built)

    async def _not_in_pieces(self, move: Move, reader: PieceReader) -> bool:
        await reader.let_go()
        if reader.kind == "none":
            self._tally.settle("gone")
        else:
            self._reject(move, TOO_LARGE_CODE, f"a {reader.kind} can only be copied by one RESTORE")
        return True

    def _failed(self, move: Move, error: Exception) -> bool:
        whole = isinstance(error, LostPartsError) and self._options.writing == "auto" and not move.only_whole
        if whole:
            move.in_pieces, move.only_whole = False, True
            return False
        code = UNREADABLE_CODE if isinstance(error, UnreadableError) else REFUSED_CODE
        said = "type commands would lose a part of it: " if isinstance(error, LostPartsError) else ""
        self._reject(move, code, f"{said}{error}")
        return True

    def _conclude(self, move: Move, built: Built) -> bool:
        if built.fate is Fate.CHANGED:
            move.changes += 1
            if move.changes < _MOST_CHANGES:
                return False
            cause = f"it changes faster than it can be read: it was written during each of {_MOST_CHANGES} readings"
            self._reject(move, UNREADABLE_CODE, cause)
        elif built.fate is Fate.WRITTEN and built.landing is not None:
            noted = xxhash.xxh3_64_digest(b"in pieces", deadline_seed(built.landing.record.expire_at_ms))
            self._tally.bytes_read += built.size_bytes
            self._settle_written(move, built.landing, noted, built.size_bytes)
            if built.lost and self._on_loss is not None:
                self._on_loss(move.db, move.key, built.landing.name, "deadlines of fields")
        return built.fate is not Fate.BUSY

    async def _compare(self, move: Move, source: Link, target: Link) -> bool:
        """The name is taken: whether that settles it (equal, or another's)."""
        started = time.monotonic()
        features = self._source.features
        if self._on_loss is not None:  # what the target cannot hold is no difference
            features = msgspec.structs.replace(features, field_ttl=False)
        here = await read_large(source, move.key, features, throttle=self._throttle)
        there = await read_large(target, move.landing.name, self._target.features)
        self._check_stop()
        if "none" in (here.kind, there.kind):
            return False
        landing = self._land(move, here.expire_at_ms)
        if landing is None:
            return True
        if not self._same(here, there, landing):
            if self._policy.replace:
                return False
            self._conflicts.settle_other(move.to_db, landing)
            return True
        self._on_read([move.key], started)
        digest = xxhash.xxh3_64_digest(here.digest, deadline_seed(here.expire_at_ms))
        ledger = self._conflicts.settle_equal(move.to_db, landing.name, lost=move.lost)
        ledger.note_hash(move.to_db, landing.name, digest)
        return True

    def _same(self, here: LargeValue, there: LargeValue, landing: Landing) -> bool:
        fit = deadlines_match(landing.expire_at_ms, there.expire_at_ms, self._policy.tolerance_ms)
        return fit and not here.problem and here.same_data(there)

    def _land(self, move: Move, deadline: int) -> Landing | None:
        """Where a key with *deadline* lands; None if it does not, counted or left out by then."""
        now = self._source.now_ms()
        if not self._selection.lives_long_enough(deadline, now):
            return None
        record = Record(move.db, move.key, b"", deadline)
        return next(iter(self._approach.land([record], now, self._target.now_ms())), None)

    def _settle_written(self, move: Move, landing: Landing, value_hash: bytes, size_bytes: int) -> None:
        self._written.note_hash(move.to_db, landing.name, value_hash)
        self._tally.settle("written")
        self._tally.bytes_written += size_bytes
        self._landmarks.note((move.db, move.key), (move.to_db, landing.name), landing.expire_at_ms)

    def _reject(self, move: Move, code: str, cause: str) -> None:
        self._tally.reject(move.db, move.key, code, cause)

    async def _clean(self, move: Move, target: Link) -> None:
        """Temporary keys of attempts whose link broke."""
        if move.stale and not target.closed:
            await target.command("UNLINK", *move.stale)
            move.stale.clear()

    async def _pace(self, size_bytes: int) -> None:
        await self._paced(size_bytes)
        self._check_stop()

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError

    async def close(self) -> None:
        await self._from.close()
        await self._to.close()

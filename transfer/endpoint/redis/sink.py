"""A live server as a target: batches in, every record's fate into the Tally.

    Batch -> Approach (name, deadline) -> RESTORE, or MSETNX and SET, in one request -> all OK: written
                                              -> BUSYKEY: Conflicts looks at both sides
                                              -> payload refused: encoded anew; then Rebuild, by type commands
                                              -> OOM, LOADING ...: the same records again after a pause

Rule 1: a record is counted once, when its fate is known; a lost reply is never taken for an answer:
        its records are sent again, and those that had arrived are found equal (repeated).
Rule 2: keys that are not ours never change unless the policy is `replace`.
Rule 3: where what they hold is to be captured (captured.py), none is changed before.
"""

from __future__ import annotations

from transfer.endpoint.redis.bridge import Bridge
from transfer.endpoint.redis.conflicts import ConflictPolicy, Conflicts
from transfer.endpoint.redis.crossing import take_fresh, take_whole
from transfer.endpoint.redis.folding import Folding
from transfer.endpoint.redis.landing import Approach, Delivery, Landing, ends_run, lasting
from transfer.endpoint.redis.landmarks import Landmarks
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.looking import ALREADY
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.rebuild import REFUSED_CODE, Rebuild
from transfer.endpoint.redis.sending import LARGE_BYTES, UNDECIDED, send_batch, send_captured, send_landings
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.wholesale import BatchWriter
from transfer.model.crash import crash, point
from transfer.model.errors import LinkError
from transfer.model.ports import HashLedger, Journal, Origin
from transfer.model.record import NO_DEADLINE, Batch
from transfer.model.tally import Tally
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.replies import ReplyClass, classify, waits
from transfer.wire.understood import foreign

_ANSWERED = point("sink.answered", "the target has answered that a batch is written; nothing is noted of that")
_DONE = (b"OK", 1)
"""What RESTORE, SET, MSET say; what MSETNX says."""
_MOST_ROUNDS = 200
"""Attempts, waits not counted, after which a key that comes and goes at the target is given up."""


class RedisSink:
    """Writes batches to one server. Several tasks may call `write` at once."""

    def __init__(
        self,
        source: Origin,
        target: Server,
        *,
        approach: Approach,
        policy: ConflictPolicy,
        conflicts: Conflicts,
        rebuild: Rebuild,
        folding: Folding | None,
        written: HashLedger,
        journal: Journal,
        tally: Tally,
        writing: str,
        bridge: Bridge,
        patience: Patience,
        landmarks: Landmarks,
        cap_bytes: int = 64 << 20,
        use: str = "",
        captured: BatchWriter | None = None,
    ) -> None:
        self._captured = captured
        self._source = source
        self._target = target
        self._links = Links(target, cap_bytes=cap_bytes, writes=True)
        self._approach = approach
        self._policy = policy
        self._conflicts = conflicts
        self._rebuild = rebuild
        self._folding = folding
        self._written = written
        self._journal = journal
        self._tally = tally
        self._writing = writing
        self._bridge = bridge
        self._patience = patience
        self._landmarks = landmarks
        self._use = use

    async def write(self, batch: Batch) -> None:
        """As `Sink.write`; all records of a batch come from one logical database."""
        if not batch.keys:
            return
        delivery = Delivery(self._approach.mapping.dbs[batch.db], [], strings=batch.strings)
        if self._lands_whole(batch):
            take_whole(self._bridge, delivery, batch)
        else:
            self._unfold(delivery, batch)
        try:
            while delivery.open:
                await self._advance(delivery)
        except BaseException:
            if delivery.lost:
                self._conflicts.doubt(delivery)
            raise

    def _lands_whole(self, batch: Batch) -> bool:
        """Whether *batch* may be sent column by column: nothing is to be changed, claimed or sent in pieces."""
        return (
            self._folding is None
            and (self._captured is None or (self._captured.takes_batches and not batch.strings))
            and not self._by_type(batch)
            and not batch.uses
            and max(batch.sizes) <= LARGE_BYTES
            and self._approach.straight(batch, self._target.now_ms())
        )

    def _by_type(self, batch: Batch) -> bool:
        """Whether type commands write *batch*; strings come as themselves and need no payload to be taken."""
        return self._writing == "logical" and not batch.strings

    def _unfold(self, delivery: Delivery, batch: Batch) -> None:
        landings = self._approach.land(batch.records(), self._source.now_ms(), self._target.now_ms())
        if self._folding is not None:
            landings = self._folding.claim(delivery.db, landings)
        if self._by_type(batch):
            delivery.refused = [(landing, "written by type commands") for landing in landings]
        else:
            delivery.fresh = landings

    async def _advance(self, delivery: Delivery) -> None:
        """One attempt on one link; what could not be decided stays in *delivery*."""
        open_before, held = delivery.open, ""
        try:
            async with self._links.lease(delivery.db) as link:
                if delivery.whole is not None and delivery.wire is not None:
                    held = await self._send_whole(link, delivery, delivery.whole, delivery.wire)
                if delivery.fresh and not held:
                    held = await self._send(link, delivery)
                if delivery.busy and not held:
                    await self._conflicts.resolve(delivery)
                if delivery.refused and not held:
                    held = await self._rebuild.write(link, delivery)
        except LinkError as error:
            if not error.retryable:
                raise
            await self._patience.broken(error)
            return
        if held:
            if delivery.open < open_before:
                self._patience.advanced()
            await self._patience.held(held)
        else:
            self._patience.progressed()
            self._count_round(delivery)

    def _count_round(self, delivery: Delivery) -> None:
        delivery.rounds += 1
        if delivery.rounds > _MOST_ROUNDS:
            for landing in (*delivery.fresh, *delivery.busy, *(landing for landing, _ in delivery.refused)):
                self._reject(landing, "this name kept coming and going at the target while it was to be written")
            delivery.fresh, delivery.busy, delivery.refused = [], [], []

    async def _send_whole(self, link: Link, delivery: Delivery, batch: Batch, wire: Batch) -> str:
        """Send a batch as it is, *wire* for it; returns a refusal that holds for now ("OOM ..."), else ""."""
        records = self._written.hashed(delivery.db, batch.keys, batch.dumps, batch.deadlines)
        number = self._journal.sent(*records)
        try:
            answers = await self._sent(link, delivery.db, wire)
        except BaseException:
            delivery.lost = True
            delivery.unfold()
            raise
        if answers is None:
            crash(_ANSWERED)
            delivery.whole = delivery.wire = None
            self._written.add(*records)
            self._journal.landed(number)
            self._count(len(batch.keys), sum(batch.sizes))
            lasts = batch.deadlines.index(NO_DEADLINE) if NO_DEADLINE in batch.deadlines else 0
            key, deadline = batch.keys[lasts], batch.deadlines[lasts]
            self._landmarks.note((batch.db, key), (delivery.db, key), deadline)
            return ""
        delivery.unfold()
        return self._sort(delivery, answers)

    async def _sent(self, link: Link, db: int, wire: Batch) -> list[Reply] | None:
        if self._captured is not None:
            return await self._captured.write_batch(link, db, wire)
        together = self._target.features.transaction_keys
        return await send_batch(link, wire, replace=self._policy.replace, together=together)

    async def _send(self, link: Link, delivery: Delivery) -> str:
        """Send all fresh landings; returns a refusal that holds for now ("OOM ..."), else ""."""
        payloads = take_fresh(self._bridge, delivery)
        fresh = delivery.fresh
        if not fresh:
            return ""
        self._journal.sent(*self._written.hashed(delivery.db, *_columns(fresh)))
        try:
            if self._captured is not None:
                answers = await send_captured(link, delivery, payloads, self._captured, use=self._use)
            else:
                answers = await send_landings(link, delivery, payloads, replace=self._policy.replace, use=self._use)
        except BaseException:
            delivery.lost = True
            raise
        if answers is None:
            crash(_ANSWERED)
            delivery.fresh = []
            self._settle_written(delivery, fresh)
            return ""
        return self._sort(delivery, answers)

    def _settle_written(self, delivery: Delivery, landings: list[Landing]) -> None:
        if not landings:
            return
        names, dumps, deadlines = _columns(landings)
        over = sum(name in delivery.counted for name in names) if delivery.counted else 0
        self._written.note(delivery.db, names, dumps, deadlines)
        self._count(len(names), sum(map(len, dumps)), over)
        mark = lasting(landings)
        self._landmarks.note((mark.record.db, mark.record.key), (delivery.db, mark.name), mark.expire_at_ms)

    def _count(self, keys: int, size_bytes: int, over: int = 0) -> None:
        """*keys* were written; *over* of them over what this run had written before."""
        self._tally.settle("written", keys - over)
        self._tally.settle("repeated", over)
        self._tally.bytes_written += size_bytes

    def _sort(self, delivery: Delivery, answers: list[Reply]) -> str:
        """Put every landing where its answer belongs."""
        answered = list(zip(delivery.fresh, answers, strict=True))
        delivery.fresh = [landing for landing, answer in answered if answer is UNDECIDED]
        # first, since a refusal may end the run: what was written is said then, too
        written = [it for it, answer in answered if answer in _DONE]
        self._settle_written(delivery, written)
        if standing := [it for it, answer in answered if answer is ALREADY]:
            self._conflicts.already(delivery.db, standing)
        held = ""
        for landing, answer in answered:
            if isinstance(answer, ErrorReply):
                held = self._place(delivery, landing, str(answer)) or held
            elif answer is not UNDECIDED and answer is not ALREADY and answer not in _DONE:
                raise foreign(self._target.where, "a write", type(answer).__name__)
        return held

    def _place(self, delivery: Delivery, landing: Landing, refusal: str) -> str:
        """Put one landing where its refusal belongs; returns *refusal* if it holds for now only."""
        if failure := ends_run(refusal, self._target.where):
            raise failure
        kind = classify(refusal)
        if kind is ReplyClass.BUSY_KEY:
            delivery.busy.append(landing)
        elif kind is ReplyClass.PAYLOAD and self._writing != "raw" and not delivery.strings:
            if self._bridge.may_encode_anew(landing.record.dump) and landing.name not in delivery.anew:
                delivery.anew.add(landing.name)
                delivery.fresh.append(landing)
            else:
                delivery.refused.append((landing, refusal))
        elif waits(refusal):
            delivery.fresh.append(landing)
            return refusal
        else:
            self._reject(landing, refusal)
        return ""

    def _reject(self, landing: Landing, cause: str) -> None:
        self._tally.reject(landing.record.db, landing.record.key, REFUSED_CODE, cause)

    async def close(self) -> None:
        await self._links.close()


def _columns(landings: list[Landing]) -> tuple[list[bytes], list[bytes], list[int]]:
    """Names at the target, values and deadlines as they were read: what the ledger of what was written holds."""
    records = [landing.record for landing in landings]
    names = [landing.name for landing in landings]
    return names, [record.dump for record in records], [record.expire_at_ms for record in records]

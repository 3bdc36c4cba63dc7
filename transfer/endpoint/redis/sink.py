"""A live server as a target: batches in, every record's fate into the Tally.

    Batch -> Approach (name, deadline) -> RESTORE x n in one request -> all OK: written
                                              -> BUSYKEY: Conflicts looks at both sides
                                              -> payload refused: Rebuild writes by type commands
                                              -> OOM, LOADING ...: the same records again after a pause

Rule 1: a record is counted once, when its fate is known; a lost reply is never taken for an answer:
        its records are sent again, and those that had arrived are found equal (repeated).
Rule 2: keys that are not ours never change unless the policy is `replace`.
"""

from __future__ import annotations

from transfer.codec import resp
from transfer.endpoint.redis.conflicts import ConflictPolicy, Conflicts
from transfer.endpoint.redis.folding import Folding
from transfer.endpoint.redis.landing import Approach, Delivery, Landing, ends_run
from transfer.endpoint.redis.landmarks import Landmarks
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.rebuild import REFUSED_CODE, Rebuild
from transfer.endpoint.redis.server import Server
from transfer.model.errors import LinkError
from transfer.model.ports import KeyLedger
from transfer.model.record import Batch
from transfer.model.tally import Tally
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.replies import ReplyClass, classify

_LARGE_BYTES = 256 << 10
_MOST_ROUNDS = 200
"""Attempts, waits not counted, after which a key that comes and goes at the target is given up."""


class RedisSink:
    """Writes batches to one server. Several tasks may call `write` at once."""

    def __init__(
        self,
        source: Server,
        target: Server,
        *,
        approach: Approach,
        policy: ConflictPolicy,
        conflicts: Conflicts,
        rebuild: Rebuild,
        folding: Folding | None,
        written: KeyLedger,
        tally: Tally,
        writing: str,
        patience: Patience,
        landmarks: Landmarks,
        cap_bytes: int = 64 << 20,
    ) -> None:
        self._source = source
        self._target = target
        self._links = Links(target, cap_bytes=cap_bytes)
        self._approach = approach
        self._policy = policy
        self._conflicts = conflicts
        self._rebuild = rebuild
        self._folding = folding
        self._written = written
        self._tally = tally
        self._writing = writing
        self._patience = patience
        self._landmarks = landmarks

    async def write(self, batch: Batch) -> None:
        """As `Sink.write`; all records of a batch come from one logical database."""
        if not batch.records:
            return
        db = self._approach.mapping.dbs[batch.records[0].db]
        landings = self._approach.land(batch.records, self._source.now_ms(), self._target.now_ms())
        if self._folding is not None:
            landings = self._folding.claim(db, landings)
        delivery = Delivery(db, landings)
        if self._writing == "logical":
            delivery.refused = [(landing, "written by type commands") for landing in landings]
            delivery.fresh = []
        try:
            while delivery.open:
                await self._advance(delivery)
        except BaseException:
            if delivery.lost:
                self._conflicts.doubt(delivery)
            raise

    async def _advance(self, delivery: Delivery) -> None:
        """One attempt on one link; what could not be decided stays in *delivery*."""
        open_before, held = delivery.open, ""
        try:
            async with self._links.lease(delivery.db) as link:
                if delivery.fresh:
                    held = await self._restore(link, delivery)
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

    async def _restore(self, link: Link, delivery: Delivery) -> str:
        """Send all fresh landings; returns a refusal that holds for now ("OOM ..."), else ""."""
        fresh, replace = delivery.fresh, self._policy.replace
        try:
            answers = await _send(link, fresh, replace=replace, ours=delivery.ours)
        except BaseException:
            delivery.lost = True
            raise
        if answers is None:
            delivery.fresh = []
            self._settle_written(delivery, fresh)
            return ""
        return self._sort(delivery, answers)

    def _settle_written(self, delivery: Delivery, landings: list[Landing]) -> None:
        if not landings:
            return
        db, dumps = delivery.db, [landing.record.dump for landing in landings]
        deadlines = [landing.record.expire_at_ms for landing in landings]
        self._written.note(db, [landing.name for landing in landings], dumps, deadlines)
        over = sum(landing.name in delivery.ours for landing in landings) if delivery.ours else 0
        self._tally.settle("written", len(landings) - over)
        self._tally.settle("repeated", over)
        self._tally.bytes_written += sum(map(len, dumps))
        self._landmarks.note(db, landings)

    def _sort(self, delivery: Delivery, answers: list[Reply]) -> str:
        """Put every landing where its answer belongs."""
        answered = list(zip(delivery.fresh, answers, strict=True))
        delivery.fresh = []
        # first, since a refusal may end the run: what was written is said then, too
        self._settle_written(delivery, [landing for landing, answer in answered if not isinstance(answer, ErrorReply)])
        held = ""
        for landing, answer in answered:
            if isinstance(answer, ErrorReply):
                held = self._place(delivery, landing, str(answer)) or held
        return held

    def _place(self, delivery: Delivery, landing: Landing, refusal: str) -> str:
        """Put one landing where its refusal belongs; returns *refusal* if it holds for now only."""
        if failure := ends_run(refusal, self._target.where):
            raise failure
        kind = classify(refusal)
        if kind is ReplyClass.BUSY_KEY:
            delivery.busy.append(landing)
        elif kind is ReplyClass.PAYLOAD and self._writing != "raw":
            delivery.refused.append((landing, refusal))
        elif kind in (ReplyClass.FULL, ReplyClass.WAIT):
            delivery.fresh.append(landing)
            return refusal
        else:
            self._reject(landing, refusal)
        return ""

    def _reject(self, landing: Landing, cause: str) -> None:
        self._tally.reject(landing.record.db, landing.record.key, REFUSED_CODE, cause)

    async def close(self) -> None:
        await self._links.close()


async def _send(link: Link, landings: list[Landing], *, replace: bool, ours: set[bytes]) -> list[Reply] | None:
    """One request for all, None if all were written."""
    return await link.ask_acknowledged(_request(landings, replace, ours), len(landings))


def _request(landings: list[Landing], replace: bool, ours: set[bytes]) -> list[bytes]:
    """RESTORE of every landing, joined, but for large payloads, which stay the bytes they are."""
    restore = resp.restore
    if not ours and max([len(landing.record.dump) for landing in landings]) <= _LARGE_BYTES:
        return [b"".join([restore(it.name, it.record.dump, it.expire_at_ms, replace=replace) for it in landings])]
    parts: list[bytes] = []
    for it in landings:
        parts += resp.restore_parts(it.name, it.record.dump, it.expire_at_ms, replace=replace or it.name in ours)
    return resp.joined(parts, 4 * _LARGE_BYTES)

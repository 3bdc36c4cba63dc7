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

from collections import deque

from transfer.codec import resp
from transfer.endpoint.redis.conflicts import ConflictPolicy, Conflicts
from transfer.endpoint.redis.folding import Folding
from transfer.endpoint.redis.landing import Approach, Delivery, Landing
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.rebuild import REFUSED_CODE, Rebuild
from transfer.endpoint.redis.server import Server
from transfer.model.errors import IncompatibleError, LinkError, ReadOnlyTargetError
from transfer.model.ports import KeyLedger
from transfer.model.record import Batch
from transfer.model.tally import Tally
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.replies import ReplyClass, classify

_JOINED_BYTES = 1 << 20
_RECENT_KEYS = 100


class RedisSink:
    """Writes batches to one server. Several tasks may call `write` at once.

    Attributes:
        recent: (db, name) of keys acknowledged last, to recognise the target by after a replacement.
    """

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
        self.recent: deque[tuple[int, bytes]] = deque(maxlen=_RECENT_KEYS)

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
        while delivery.open:
            await self._advance(delivery)

    async def _advance(self, delivery: Delivery) -> None:
        """One attempt on one link; what could not be decided stays in *delivery*."""
        held = ""
        try:
            async with self._links.lease(delivery.db) as link:
                if delivery.fresh:
                    held = await self._restore(link, delivery)
                if delivery.busy and not held:
                    await self._conflicts.resolve(link, delivery)
                if delivery.refused and not held:
                    held = await self._rebuild.write(link, delivery)
        except LinkError as error:
            if not error.retryable:
                raise
            delivery.lost = True
            await self._patience.broken(error)
            return
        if held:
            await self._patience.held(held)
        else:
            self._patience.progressed()

    async def _restore(self, link: Link, delivery: Delivery) -> str:
        """Send all fresh landings; returns a refusal that holds for now ("OOM ..."), else ""."""
        fresh, replace = delivery.fresh, self._policy.replace
        answers = await _send(link, fresh, replace=replace)
        if answers is None:
            self._settle_written(delivery.db, fresh)
            delivery.fresh = []
            return ""
        return self._sort(delivery, answers)

    def _settle_written(self, db: int, landings: list[Landing]) -> None:
        if not landings:
            return
        dumps = [landing.record.dump for landing in landings]
        self._written.note(db, [landing.name for landing in landings], dumps)
        self._tally.settle("written", len(landings))
        self._tally.bytes_written += sum(map(len, dumps))
        self.recent.append((db, landings[-1].name))

    def _sort(self, delivery: Delivery, answers: list[Reply]) -> str:
        """Put every landing where its answer belongs."""
        held, again = "", []
        written: list[Landing] = []
        for landing, answer in zip(delivery.fresh, answers, strict=True):
            if not isinstance(answer, ErrorReply):
                written.append(landing)
                continue
            text = str(answer)
            kind = classify(text)
            if kind is ReplyClass.BUSY_KEY:
                delivery.busy.append(landing)
            elif kind is ReplyClass.PAYLOAD and self._writing != "raw":
                delivery.refused.append((landing, text))
            elif kind in (ReplyClass.FULL, ReplyClass.WAIT):
                held = text
                again.append(landing)
            else:
                self._refuse(landing, kind, text)
        delivery.fresh = again
        self._settle_written(delivery.db, written)
        return held

    def _refuse(self, landing: Landing, kind: ReplyClass, text: str) -> None:
        if kind is ReplyClass.READ_ONLY:
            raise ReadOnlyTargetError(f"the target became a replica: {text}", where=self._target.where)
        if kind is ReplyClass.REDIRECT:
            raise IncompatibleError(f"a cluster node that does not serve this slot: {text}", where=self._target.where)
        self._tally.reject(landing.record.db, landing.record.key, REFUSED_CODE, text)

    async def close(self) -> None:
        await self._links.close()


async def _send(link: Link, landings: list[Landing], *, replace: bool) -> list[Reply] | None:
    """One request for all; None says that all were OK. Large payloads are passed on without being joined."""
    restore = resp.restore
    commands = [
        restore(landing.name, landing.record.dump, landing.expire_at_ms, replace=replace) for landing in landings
    ]
    small = sum(map(len, commands)) <= _JOINED_BYTES
    return await link.ask_acknowledged([b"".join(commands)] if small else commands, len(commands))

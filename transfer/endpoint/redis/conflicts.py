"""BUSYKEY is looked at before it is called a conflict.

    busy landings -> bodies and deadlines at the target -> equal                -> already, or repeated
                                                        -> bodies differ: values of both sides -> equal  -> the same
                                                        -> this run wrote it    -> written over with the newer read
                                                        -> another's            -> conflict: it stays

Equal payloads prove equality, unequal ones prove nothing: equal sets have unequal payloads.
"""

from __future__ import annotations

import msgspec

from transfer.codec import resp
from transfer.codec.dump import FOOTER_BYTES
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.landing import Delivery, Landing
from transfer.model.ports import KeyLedger, SameValue, ValuesOf
from transfer.model.record import NO_DEADLINE
from transfer.model.report import Reject
from transfer.model.tally import Tally
from transfer.model.value import ReadValue
from transfer.wire.link import ErrorReply, Link

CONFLICT_CODE = "E301"
_KEYS_AT_ONCE = 512


class ConflictPolicy(msgspec.Struct, frozen=True):
    """What happens to a key whose name holds another value at the target.

    `replace` never meets one (RESTORE REPLACE); `listed` says that conflicts are told one by one
    (policy fail) instead of counted only (policy skip). `ours_where_equal` says that the target was
    empty at the start, so that an equal key there can only be this run's.
    """

    replace: bool = False
    listed: bool = True
    ours_where_equal: bool = False
    tolerance_ms: int = 500


class Conflicts:
    """Decides about busy landings of one run.

    *kept* notes the names of conflicts whose own value stayed.
    """

    def __init__(
        self,
        target: LiveKeyspace,
        policy: ConflictPolicy,
        written: KeyLedger,
        found_equal: KeyLedger,
        tally: Tally,
        source_values: ValuesOf,
        same: SameValue,
        kept: KeyLedger,
    ) -> None:
        self._target = target
        self._policy = policy
        self._written = written
        self._found_equal = found_equal
        self._tally = tally
        self._source_values = source_values
        self._same = same
        self._kept = kept

    async def resolve(self, link: Link, delivery: Delivery) -> None:
        """Decide about every busy landing; those that are gone by now become fresh again."""
        while delivery.busy:
            some = delivery.busy[:_KEYS_AT_ONCE]
            there = await self._target.dumps(delivery.db, [landing.name for landing in some])
            differing: list[Landing] = []
            unread = there.refused.keys() | there.too_large.keys()
            for landing, dump, deadline in zip(some, there.payloads, there.deadlines, strict=True):
                if dump is None and landing.name not in unread:
                    delivery.fresh.append(landing)
                elif dump is None or not self._alike(landing, dump, deadline):
                    differing.append(landing)
                else:
                    self._equal(delivery, landing)
            delivery.busy[: len(some)] = differing
            await self._weigh(link, delivery, differing)

    def _alike(self, landing: Landing, dump: bytes, deadline: int) -> bool:
        same_body = dump[:-FOOTER_BYTES] == landing.record.dump[:-FOOTER_BYTES]
        return same_body and self._same_deadline(landing.expire_at_ms, deadline)

    def _same_deadline(self, left_ms: int, right_ms: int) -> bool:
        if NO_DEADLINE in (left_ms, right_ms):
            return left_ms == right_ms
        return abs(left_ms - right_ms) <= self._policy.tolerance_ms

    def _equal(self, delivery: Delivery, landing: Landing) -> None:
        name, dump = [landing.name], [landing.record.dump]
        ours = self._policy.ours_where_equal or delivery.lost or self._is_ours(delivery.db, landing)
        (self._written if ours else self._found_equal).note(delivery.db, name, dump)
        self._tally.settle("repeated" if ours else "already")

    def _is_ours(self, db: int, landing: Landing) -> bool:
        return self._written.value_hash(db, landing.name) is not None

    async def _weigh(self, link: Link, delivery: Delivery, landings: list[Landing]) -> None:
        """Compare as values those whose bodies or deadlines differ."""
        if not landings:
            return
        names = [landing.name for landing in landings]
        left = await self._source_values(landings[0].record.db, [landing.record.key for landing in landings])
        right = await self._target.values(delivery.db, names)
        for landing, here, there in zip(landings, left, right, strict=True):
            await self._judge(link, delivery, landing, here, there)
            delivery.busy.remove(landing)

    async def _judge(
        self, link: Link, delivery: Delivery, landing: Landing, here: ReadValue, there: ReadValue
    ) -> None:
        same_deadline = self._same_deadline(landing.expire_at_ms, there.expire_at_ms)
        if here.value is not None and there.value is not None and same_deadline and self._same(here.value, there.value):
            self._equal(delivery, landing)
        elif there.value is None and not there.problem:
            delivery.fresh.append(landing)
        elif self._is_ours(delivery.db, landing):
            await self._write_over(link, delivery, landing)
        else:
            self._conflict(delivery, landing)

    async def _write_over(self, link: Link, delivery: Delivery, landing: Landing) -> None:
        """This run wrote an older read of the same key."""
        request = resp.restore(landing.name, landing.record.dump, landing.expire_at_ms, replace=True)
        answer = (await link.ask(request, 1))[0]
        if isinstance(answer, ErrorReply):
            self._tally.reject(landing.record.db, landing.record.key, "E204", f"changed while it was copied: {answer}")
            return
        self._written.note(delivery.db, [landing.name], [landing.record.dump])
        self._tally.settle("repeated")

    def _conflict(self, delivery: Delivery, landing: Landing) -> None:
        self._kept.note(delivery.db, [landing.name], [b""])
        self._tally.settle("conflicts")
        if self._policy.listed:
            cause = f"db {delivery.db} of the target holds another value under this name; it stays"
            self._tally.on_reject(Reject(landing.record.db, landing.record.key, CONFLICT_CODE, cause))


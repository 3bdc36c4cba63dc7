"""BUSYKEY is looked at before it is called a conflict.

    busy landings -> bodies and deadlines at the target -> equal                -> already, or repeated
                                                        -> both decoded -> equal -> the same
                                                        -> bodies differ: values of both sides -> equal  -> the same
                                                        -> what this run wrote  -> fresh again, to be written over
                                                        -> perhaps this run's, and changed since at the source
                                                                                -> it stays; the proof lists it
                                                        -> another's            -> conflict: it stays

Equal payloads prove equality, unequal ones prove nothing: equal sets have unequal payloads.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import xxhash

from transfer.codec.dump import FOOTER_BYTES, stamp
from transfer.codec.rdb.decode import decode_both
from transfer.codec.strings import string_of
from transfer.codec.unordered import same_items
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.landing import Delivery, Landing
from transfer.model.ports import KeyLedger, SameValue, ValuesOf
from transfer.model.record import deadline_seed, deadlines_match
from transfer.model.report import Reject
from transfer.model.tally import Tally
from transfer.model.value import ReadValue

CONFLICT_CODE = "E301"
_KEYS_AT_ONCE = 512
_WITH_DUMPS_BYTES = 4 << 20
"""Values larger than this together are read without their payloads, which would come on top."""
NEVER_HELD = bytes(8)
"""Noted for a value that was never held whole, in place of its hash: what stands there is not known by it."""
_Differing = tuple[Landing, bytes | None]
"""A landing and the payload at the target, None where that could not be read."""


class ConflictPolicy(msgspec.Struct, frozen=True):
    """What happens to a key whose name holds another value at the target.

    `replace` never meets one (RESTORE REPLACE); `listed` says that conflicts are told one by one
    (policy fail) instead of counted only (policy skip).
    """

    replace: bool = False
    listed: bool = True
    tolerance_ms: int = 500


class Conflicts:
    """Decides about busy landings of one run.

    *kept* notes the names of conflicts whose own value stayed; *doubtful* the bodies of what was sent when a run
    of the flow ended without an answer: found there later, they are this run's. *announced* what an earlier process of
    this job was about to send, noted as `written` is. *source_version* is the RDB version
    of the source's payloads. What was noted of a string may be its payload or the string itself. *on_overtaken* is told
    of keys of the source that changed between two reads, of which the first may be what stays at the target.
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
        *,
        doubtful: KeyLedger,
        announced: KeyLedger,
        source_version: Callable[[], int],
        on_overtaken: Callable[[bytes], None],
    ) -> None:
        self._target = target
        self._policy = policy
        self._written = written
        self._found_equal = found_equal
        self._tally = tally
        self._source_values = source_values
        self._same = same
        self._kept = kept
        self._doubtful = doubtful
        self._announced = announced
        self._source_version = source_version
        self._on_overtaken = on_overtaken

    async def resolve(self, delivery: Delivery) -> None:
        """Decide about every busy landing; those that are gone by now, or are to be written over, become fresh."""
        while delivery.busy:
            names = [landing.name for landing in delivery.busy[:_KEYS_AT_ONCE]]
            names = (await self._target.portions(delivery.db, names))[0]
            some = delivery.busy[: len(names)]
            there = await self._target.dumps(delivery.db, names)
            differing: list[_Differing] = []
            unread = there.refused.keys() | there.too_large.keys()
            for landing, dump, deadline in zip(some, there.payloads, there.deadlines, strict=True):
                if dump is None and landing.name not in unread:
                    delivery.fresh.append(landing)
                elif dump is None or not self._alike(delivery, landing, dump, deadline):
                    differing.append((landing, dump))
                else:
                    self._equal(delivery, landing)
            delivery.busy[: len(some)] = [landing for landing, _ in differing]
            await self._weigh(delivery, differing)

    def doubt_large(self, db: int, name: bytes) -> None:
        """Remember that a large value was sent under *name*, and nobody learned what became of it."""
        self._doubtful.note_hash(db, name, NEVER_HELD)

    def doubt(self, delivery: Delivery) -> None:
        """Remember what *delivery* sent without learning what became of it."""
        for landing in (*delivery.fresh, *delivery.busy):
            body = landing.record.dump if delivery.strings else landing.record.dump[:-FOOTER_BYTES]
            self._doubtful.note(delivery.db, [landing.name], [body])

    def _alike(self, delivery: Delivery, landing: Landing, dump: bytes, deadline: int) -> bool:
        if not deadlines_match(landing.expire_at_ms, deadline, self._policy.tolerance_ms):
            return False
        if delivery.strings:
            return string_of(dump) == landing.record.dump
        here, there = landing.record.dump[:-FOOTER_BYTES], dump[:-FOOTER_BYTES]
        if here == there or same_items(here, there) is not None:
            return True
        values = decode_both(landing.record.dump, dump)
        return values is not None and self._same(*values)

    def already(self, db: int, landings: list[Landing]) -> None:
        """What *landings* bring stands in *db* of the target, and no write of this job put it there."""
        records = [landing.record for landing in landings]
        names, dumps = [landing.name for landing in landings], [record.dump for record in records]
        self._found_equal.note(db, names, dumps, [record.expire_at_ms for record in records])
        self._tally.settle("already", len(landings))

    def _equal(self, delivery: Delivery, landing: Landing, here: ReadValue | None = None) -> None:
        """*here* is what the source says now, if that was compared instead of what had been read."""
        dump = (here.dump if here is not None else b"") or landing.record.dump
        ledger = self.settle_equal(delivery.db, landing.name, lost=delivery.lost)
        ledger.note(delivery.db, [landing.name], [dump], [landing.record.expire_at_ms])

    def settle_equal(self, db: int, name: bytes, *, lost: bool) -> KeyLedger:
        """Count a key whose *name* holds what was to be written there; the ledger that is to remember it.

        *lost*: it was sent before, and no answer came.
        """
        for known in (self._written, self._found_equal):
            if known.value_hash(db, name) is not None:
                self._tally.settle("repeated")
                return known
        landed = lost or self._sent(db, name)
        self._tally.settle("written" if landed else "already")
        return self._written if landed else self._found_equal

    def _sent(self, db: int, name: bytes) -> bool:
        """Whether this job sent something under *name* and never learned what became of it."""
        return any(ledger.value_hash(db, name) is not None for ledger in (self._announced, self._doubtful))

    def _wrote(self, db: int, name: bytes) -> bool:
        return self._written.value_hash(db, name) is not None

    def _is_ours(self, db: int, landing: Landing, there: bytes | None, deadline: int) -> bool:
        """Whether this run wrote what stands *there* (its payload, if it could be read) under the name.

        Having written the name once is no proof: others may have written it since, or another server answer now.
        The payload itself must be the one that was noted, as the source would stamp it.
        """
        if there is None:
            return False
        forms = [there[:-FOOTER_BYTES]]
        if (string := string_of(there)) is not None:
            forms.append(string)
        if self._doubtful.value_hash(db, landing.name) in [xxhash.xxh3_64_digest(form) for form in forms]:
            return True
        noted = {ledger.value_hash(db, landing.name) for ledger in (self._written, self._announced)}
        forms[0] = stamp(forms[0], self._source_version())
        return not noted.isdisjoint(xxhash.xxh3_64_digest(form, deadline_seed(deadline)) for form in forms)

    def _overtaken(self, db: int, landing: Landing, there: bytes | None) -> bytes | None:
        """The hash of another value of the source that was sent, where nothing tells if it stands *there*; or None.

        Servers pack most types anew, by a hash seed of their own: only a string is known by its hash for sure.
        """
        if there is not None and string_of(there) is not None:
            return None
        dump, deadline = landing.record.dump, landing.record.expire_at_ms
        now = (xxhash.xxh3_64_digest(dump, deadline_seed(deadline)), xxhash.xxh3_64_digest(dump[:-FOOTER_BYTES]))
        ledgers = (self._written, self._announced, self._doubtful)
        noted = [known for ledger in ledgers if (known := ledger.value_hash(db, landing.name)) is not None]
        return noted[0] if noted and not set(noted) & {*now, NEVER_HELD} else None

    async def _weigh(self, delivery: Delivery, differing: list[_Differing]) -> None:
        """Compare as values those whose bodies or deadlines differ."""
        if not differing:
            return
        landings = [landing for landing, _ in differing]
        keys = [landing.record.key for landing in landings]
        small = sum(len(landing.record.dump) for landing in landings) <= _WITH_DUMPS_BYTES
        left = await self._source_values(landings[0].record.db, keys, dumps=small)
        right = await self._target.values(delivery.db, [landing.name for landing in landings])
        del delivery.busy[: len(landings)]
        for (landing, dump), here, there in zip(differing, left, right, strict=True):
            self._judge(delivery, landing, dump, here, there)

    def _judge(
        self, delivery: Delivery, landing: Landing, dump: bytes | None, here: ReadValue, there: ReadValue
    ) -> None:
        same_deadline = deadlines_match(landing.expire_at_ms, there.expire_at_ms, self._policy.tolerance_ms)
        if here.value is not None and there.value is not None and same_deadline and self._same(here.value, there.value):
            self._equal(delivery, landing, here)
        elif there.value is None and not there.problem:
            delivery.fresh.append(landing)
        elif self._is_ours(delivery.db, landing, dump, there.expire_at_ms):
            delivery.ours.add(landing.name)
            if self._wrote(delivery.db, landing.name):
                delivery.counted.add(landing.name)
            delivery.fresh.append(landing)
        elif sent := self._overtaken(delivery.db, landing, dump):
            self.settle_equal(delivery.db, landing.name, lost=delivery.lost).note_hash(delivery.db, landing.name, sent)
            self._on_overtaken(landing.record.key)
        else:
            self.conflict(delivery.db, landing)

    def settle_other(self, db: int, landing: Landing) -> None:
        """A large value stands there that is not the source's: a conflict, unless this job wrote under the name.

        Which of both changed since is for the proof to tell.
        """
        if self._wrote(db, landing.name):
            self._tally.settle("repeated")
        else:
            self.conflict(db, landing)

    def conflict(self, db: int, landing: Landing) -> None:
        """Another value stands under the name of *landing* in *db* of the target, and stays."""
        told = self._policy.listed and self._kept.value_hash(db, landing.name) is not None
        self._kept.note(db, [landing.name], [b""])
        self._tally.settle("repeated" if told else "conflicts")
        if self._policy.listed and not told:
            cause = f"db {db} of the target holds another value under this name; it stays"
            self._tally.on_reject(Reject(landing.record.db, landing.record.key, CONFLICT_CODE, cause))

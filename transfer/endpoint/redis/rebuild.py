"""Keys whose payload the target cannot load, written by type commands instead.

refused landings -> what cannot be rebuilt is rejected by name
                 -> value and deadline read anew from the source, in one moment -> one MULTI per group at the target

The ledger keeps a hash of the payload that stands for what was written. So the payload is read along with the value;
only a value that is large by itself is taken for what was read at first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import accumulate

from transfer.codec.dump import MODULE_TYPES, has_field_ttl
from transfer.codec.fingerprint import Intended, of_value
from transfer.endpoint.redis.captured import CapturedWriter
from transfer.endpoint.redis.landing import Approach, Delivery, Landing, ends_run, lasting
from transfer.endpoint.redis.landmarks import Landmarks
from transfer.endpoint.redis.logical import BUSY, SHIFTED, WRITTEN, LogicalItem, Outcome, unwritable, write_values
from transfer.endpoint.redis.looking import Change
from transfer.endpoint.redis.server import Server
from transfer.model.ports import HashLedger, Journal, Origin, ValuesOf
from transfer.model.tally import Tally
from transfer.model.value import HashValue, ReadValue, Value
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.replies import waits

REFUSED_CODE = "E204"
OnLoss = Callable[[int, bytes, bytes, str], None]
"""Told the database and name at the source, the name at the target, and what is lost."""
_KEYS_AT_ONCE = 64
_BYTES_AT_ONCE = 4 << 20
"""Payload bytes of keys whose values are taken apart together: as Python objects they are several times larger."""


class Rebuild:
    """Writes refused landings by type commands, obeying the conflict policy; without *commands* it rejects them.

    *on_loss*: a value may be written without what the target cannot hold; told the database and name at the source,
    the name at the target, and what is lost.
    """

    def __init__(
        self,
        source: Origin,
        target: Server,
        approach: Approach,
        source_values: ValuesOf,
        written: HashLedger,
        journal: Journal,
        tally: Tally,
        *,
        replace: bool,
        landmarks: Landmarks,
        commands: bool = True,
        on_loss: OnLoss | None = None,
        captured: CapturedWriter | None = None,
    ) -> None:
        self._captured = captured
        self._source = source
        self._target = target
        self._approach = approach
        self._source_values = source_values
        self._written = written
        self._journal = journal
        self._tally = tally
        self._replace = replace
        self._commands = commands
        self._on_loss = on_loss
        self._landmarks = landmarks

    async def write(self, link: Link, delivery: Delivery) -> str:
        """Write what stands in `delivery.refused`; returns a refusal that holds for now ("OOM ..."), else ""."""
        self._reject_parts(delivery)
        while delivery.refused:
            some = _few(delivery)
            values = await self._source_values(
                some[0].record.db,
                [landing.record.key for landing in some],
                dumps=sum(len(landing.record.dump) for landing in some) <= _BYTES_AT_ONCE,
            )
            items = self._items(some, values)
            delivery.refused[: len(some)] = [(landing, "") for landing, _ in items]
            self._announce(delivery.db, [landing for landing, _ in items])
            try:
                replace = self._replace or some[0].name in delivery.ours
                outcomes = await self._written_over(link, delivery.db, [item for _, item in items], replace)
            except BaseException:
                delivery.lost = True
                raise
            del delivery.refused[: len(items)]
            held = self._settle(delivery, items, outcomes)
            if held or SHIFTED in outcomes:
                return held
        return ""

    async def _written_over(self, link: Link, db: int, items: list[LogicalItem], replace: bool) -> list[Outcome]:
        features = self._target.features

        async def write(some: list[LogicalItem], *, watched: bool = False) -> list[Outcome]:
            return await write_values(
                link,
                some,
                replace=replace,
                stream_counters=features.pexpiretime,  # both came with 7.0
                field_ttl=features.field_ttl,
                keys_at_once=features.transaction_keys,
                watched=watched,
            )

        if self._captured is None:
            return await write(items)
        outcomes: list[Outcome] = []
        step = features.transaction_keys
        for at in range(0, len(items), step):
            outcomes += await over_captured(self._captured, link, db, items[at : at + step], write)
        return outcomes

    def _announce(self, db: int, landings: list[Landing]) -> None:
        """Have the journal know what is about to be written."""
        records = [landing.record for landing in landings]
        names, dumps = [landing.name for landing in landings], [record.dump for record in records]
        self._journal.sent(*self._written.hashed(db, names, dumps, [record.expire_at_ms for record in records]))

    def _reject_parts(self, delivery: Delivery) -> None:
        """Reject by name what type commands would bring over without some of its parts."""
        vendor = self._source.identity.vendor
        kept: list[tuple[Landing, str]] = []
        for landing, refusal in delivery.refused:
            dump = landing.record.dump
            if has_field_ttl(dump, vendor) and not self._target.features.field_ttl and self._on_loss is None:
                self._reject(
                    landing, f"a hash with deadlines on fields: {self._target.identity.name} has none (--allow lossy)"
                )
            elif dump[0] in MODULE_TYPES:
                self._reject(landing, f"a module's type; the target does not take its payload: {refusal}")
            elif not self._commands:
                self._reject(landing, f"no payload of it is taken, and --format forbids type commands: {refusal}")
            else:
                kept.append((landing, refusal))
        delivery.refused = kept

    def _items(self, landings: list[Landing], values: list[ReadValue]) -> list[tuple[Landing, LogicalItem]]:
        items: list[tuple[Landing, LogicalItem]] = []
        source_now, target_now = self._source.now_ms(), self._target.now_ms()
        field_ttl = self._target.features.field_ttl
        for landing, found in zip(landings, values, strict=True):
            if found.problem:
                self._reject(landing, found.problem)
            elif found.value is None:
                self._tally.settle("gone")
            elif lost := unwritable(value := self._holdable(landing, found.value), field_ttl=field_ttl):
                self._reject(landing, f"{lost}: type commands would lose it")
            else:
                newer = self._approach.again(landing, found, source_now, target_now)
                items.append((newer, LogicalItem(newer.name, value, newer.expire_at_ms)))
        return items

    def _holdable(self, landing: Landing, value: Value) -> Value:
        """*value*, without what the target cannot hold where that may be left out."""
        if self._on_loss is None or self._target.features.field_ttl:
            return value
        if not isinstance(value, HashValue) or not value.deadlines:
            return value
        record = landing.record
        self._on_loss(record.db, record.key, landing.name, deadlines_lost(len(value.deadlines)))
        return HashValue(value.fields)

    def _settle(self, delivery: Delivery, items: list[tuple[Landing, LogicalItem]], outcomes: list[str]) -> str:
        written = [landing for (landing, _), outcome in zip(items, outcomes, strict=True) if outcome == WRITTEN]
        self._settle_written(delivery, written)
        held = ""
        for (landing, _), outcome in zip(items, outcomes, strict=True):
            if outcome == BUSY:
                delivery.busy.append(landing)
            elif outcome == SHIFTED:
                delivery.refused.append((landing, ""))
            elif outcome != WRITTEN:
                held = self._place(delivery, landing, outcome) or held
        return held

    def _settle_written(self, delivery: Delivery, landings: list[Landing]) -> None:
        for landing in landings:
            record = landing.record
            self._written.note(delivery.db, [landing.name], [record.dump], [record.expire_at_ms])
            self._tally.settle("repeated" if landing.name in delivery.counted else "written")
            self._tally.bytes_written += len(record.dump)
        if landings:
            mark = lasting(landings)
            self._landmarks.note((mark.record.db, mark.record.key), (delivery.db, mark.name), mark.expire_at_ms)

    def _place(self, delivery: Delivery, landing: Landing, refusal: str) -> str:
        if failure := ends_run(refusal, self._target.where):
            raise failure
        if waits(refusal):
            delivery.refused.append((landing, refusal))
            return refusal
        self._reject(landing, refusal)
        return ""

    def _reject(self, landing: Landing, cause: str) -> None:
        self._tally.reject(landing.record.db, landing.record.key, REFUSED_CODE, cause)


async def over_captured(
    captured: CapturedWriter,
    link: Link,
    db: int,
    items: list[LogicalItem],
    write: Callable[..., Awaitable[list[Outcome]]],
) -> list[Outcome]:
    """Write *items* in one transaction over what they hold, once that is captured."""
    outcomes: dict[int, Outcome] = {}

    async def act(places: list[int]) -> list[Reply] | None:
        said = await write([items[place] for place in places], watched=True)
        outcomes.update(zip(places, said, strict=True))
        if SHIFTED in said:
            return None
        return [None if one == WRITTEN else ErrorReply(one) for one in said]

    changes = [Change(item.key, (), Intended(of_value(item.value), item.expire_at_ms)) for item in items]
    answers = await captured.around(link, db, changes, act)
    return [outcomes.get(place) or str(answer) for place, answer in enumerate(answers)]


def deadlines_lost(count: int) -> str:
    """What is lost of a hash, in words."""
    return "the deadline of 1 field" if count == 1 else f"the deadlines of {count:,} fields"


def _few(delivery: Delivery) -> list[Landing]:
    """The first refused landings: not too many, not too large together, all or none of them to be written over."""
    landings = [landing for landing, _ in delivery.refused[:_KEYS_AT_ONCE]]
    sizes = accumulate(len(landing.record.dump) for landing in landings)
    over = landings[0].name in delivery.ours
    fits = [
        size <= _BYTES_AT_ONCE and (landing.name in delivery.ours) == over
        for landing, size in zip(landings, sizes, strict=True)
    ]
    return landings[: max(1, fits.index(False) if False in fits else len(fits))]

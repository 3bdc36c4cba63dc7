"""Records on their way down: under which name and deadline each lands, and what is still to do for it."""

from __future__ import annotations

import msgspec

from transfer.endpoint.redis.passing import replaced_data
from transfer.model.errors import IncompatibleError, PermissionDeniedError, ReplacedError, TransferError
from transfer.model.record import NO_DEADLINE, Batch, Record
from transfer.model.selection import Mapping
from transfer.model.tally import Tally
from transfer.model.value import ReadValue
from transfer.wire.replies import ReplyClass, classify


class Landing(msgspec.Struct, frozen=True, gc=False):
    """One record with the name and deadline it gets at the target."""

    record: Record
    name: bytes
    expire_at_ms: int


class Delivery(msgspec.Struct):
    """A batch in the middle of being written; each landing stands in one list until its fate is known.

    `fresh` is to be sent, `busy` was answered BUSYKEY, `refused` holds landings whose payload was refused, with the
    reply. `lost` says that a request broke off, so that some of them may have arrived. `ours` are names whose value
    there is this run's own older read: they are written over; `counted` are those of them that were counted as
    written before. `rounds` counts the attempts so far. `strings`: the records hold strings, not DUMP payloads.
    `whole` is a batch that lands as it is and was not sent yet, `wire` what is sent for it: only if its answers are
    not as hoped for does it become landings. `anew` are names whose payload was refused in its first form: they go
    encoded anew.
    """

    db: int
    fresh: list[Landing]
    busy: list[Landing] = msgspec.field(default_factory=list)
    refused: list[tuple[Landing, str]] = msgspec.field(default_factory=list)
    lost: bool = False
    ours: set[bytes] = msgspec.field(default_factory=set)
    counted: set[bytes] = msgspec.field(default_factory=set)
    rounds: int = 0
    strings: bool = False
    whole: Batch | None = None
    wire: Batch | None = None
    anew: set[bytes] = msgspec.field(default_factory=set)

    @property
    def open(self) -> int:
        """How many records have no fate yet."""
        unsent = len(self.whole.keys) if self.whole is not None else 0
        return unsent + len(self.fresh) + len(self.busy) + len(self.refused)

    def unfold(self) -> None:
        """Make landings of `whole`, those without a deadline first: so they are sent."""
        if self.whole is not None:
            landings = [Landing(record, record.key, record.expire_at_ms) for record in self.whole.records()]
            self.fresh = sorted(landings, key=_expires)
            self.whole = self.wire = None


class Approach:
    """Turns records into landings by the mapping and both servers' clocks."""

    def __init__(self, mapping: Mapping, tally: Tally) -> None:
        self.mapping = mapping
        self._tally = tally
        self._plain = mapping.keeps_names and mapping.ttl.kind == "keep"

    def straight(self, batch: Batch, target_now_ms: int) -> bool:
        """Whether every record of *batch* lands under its own name and deadline, and none has passed."""
        return self._plain and not [at for at in batch.deadlines if -1 < at <= target_now_ms]

    def land(self, records: list[Record], source_now_ms: int, target_now_ms: int) -> list[Landing]:
        """Name and deadline of every record; those whose deadline has passed at the target are counted out."""
        if self._plain:
            landings = [Landing(record, record.key, record.expire_at_ms) for record in records]
        else:
            landings = [self._place(record, source_now_ms, target_now_ms) for record in records]
        alive = [
            landing
            for landing in landings
            if landing.expire_at_ms == NO_DEADLINE or landing.expire_at_ms > target_now_ms
        ]
        if len(alive) < len(landings):
            self._tally.settle("expired", len(landings) - len(alive))
        return alive

    def _place(self, record: Record, source_now_ms: int, target_now_ms: int) -> Landing:
        deadline = self.mapping.ttl.apply(record.expire_at_ms, source_now_ms, target_now_ms)
        return Landing(record, self.mapping.name(record.key), deadline)

    def again(self, landing: Landing, found: ReadValue, source_now_ms: int, target_now_ms: int) -> Landing:
        """The same landing for a record that was read anew; a payload that was not read stays the old one."""
        old = landing.record
        deadline = self.mapping.ttl.apply(found.expire_at_ms, source_now_ms, target_now_ms)
        return Landing(Record(old.db, old.key, found.dump or old.dump, found.expire_at_ms), landing.name, deadline)


def lasting(landings: list[Landing]) -> Landing:
    """The first without a deadline, if there is one, else the last."""
    return next((landing for landing in landings if not _expires(landing)), landings[-1])


def _expires(landing: Landing) -> bool:
    return landing.expire_at_ms != NO_DEADLINE


def ends_run(text: str, where: str) -> TransferError | None:
    """The failure that *text*, an error reply to a write, means for the whole run; None if for its key only."""
    kind = classify(text)
    if kind is ReplyClass.LOADING:
        return replaced_data(text, where)
    if kind is ReplyClass.READ_ONLY:
        return ReplacedError(f"the target became a replica: {text}", where=where, reply=text)
    if kind is ReplyClass.REDIRECT:
        return IncompatibleError(f"a cluster node that does not serve this slot: {text}", where=where)
    if kind in (ReplyClass.AUTH, ReplyClass.DENIED):
        return PermissionDeniedError(f"the target refuses to be written: {text}", where=where)
    return None

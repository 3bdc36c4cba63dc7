"""The parts of one copy, put together: source, flow, sink, and what they share.

    Server -> RedisSource (Governor), or FullSyncSource -> Flow (ByteBudget, Pace) -> RedisSink -> Server
                    `------------ Tally, ledgers, tracker ------------------'

What is shared outlives an attempt: when a server was replaced, a new source and sink go on with the same
ledgers and tally, so that what is there already is found equal and counted as repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import anyio

from transfer.endpoint.redis import probe
from transfer.endpoint.redis.big.mover import BigKeys
from transfer.endpoint.redis.conflicts import CONFLICT_CODE
from transfer.endpoint.redis.folding import FOLD_CODE
from transfer.endpoint.redis.fullsync.kept import KeptSync
from transfer.endpoint.redis.fullsync.source import PARTITION, FullSyncSource
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.landing import Approach
from transfer.endpoint.redis.landmarks import Landmarks
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.source import RedisSource
from transfer.endpoint.redis.tracking import WriteTracker
from transfer.endpoint.redis.wholesale import BatchWriter
from transfer.job.sinks import big_keys_of, conflicts_of, sink_of
from transfer.job.sources import (
    flowing,
    largest_value_bytes,
    mapping_of,
    patience_with,
    scan_source,
    selection_of,
    sync_source,
)
from transfer.job.trail import Facts, Trail
from transfer.model.errors import FullSyncError, ReplacedError, StateFullError, TransferError
from transfer.model.plan import CopyPlan, CopyRequest, allows_loss
from transfer.model.ports import Observer
from transfer.model.record import hashes_of_names
from transfer.model.report import Reject
from transfer.model.tally import Tally
from transfer.model.units import some
from transfer.pipeline.budget import ByteBudget
from transfer.pipeline.flow import Flow, ungrouped
from transfer.pipeline.frontier import Frontier
from transfer.pipeline.ledger import Ledger
from transfer.pipeline.pace import Pace
from transfer.pipeline.throttle import Governor
from transfer.report.names import hashed_name, shown_name

_MOST_TOLD = 1000
"""Keys written with a loss that are told one by one; all of them are counted."""
NewSource = Callable[[ByteBudget, BigKeys, anyio.Event], RedisSource | FullSyncSource]


class Engine:
    """One copy between two open servers, through as many attempts as it takes."""

    source_is_live = True
    """Whether a server answers there, whose latency others feel."""
    target_is_live = True

    def __init__(
        self,
        request: CopyRequest,
        plan: CopyPlan,
        source: Server,
        target: Server,
        tally: Tally,
        observer: Observer,
        trail: Trail,
        job: str = "none",
    ) -> None:
        self.job = job
        self.request = request
        self.plan = plan
        self.source = source
        self.target = target
        self.tally = tally
        source.on_wait = target.on_wait = observer.warning
        self.tracker = WriteTracker()
        self.pace = Pace(request.rate_keys_per_s, request.bwlimit_bytes_per_s)
        self.governor = Governor(request.max_source_latency_ms, regulates=request.pace == "polite")
        self.selection = selection_of(request)
        self.mapping = mapping_of(request, plan)
        self.trail = trail
        self.written, self.found_equal, self.kept = map(self._ledger, ("written", "found_equal", "kept"))
        self.landmarks = Landmarks()
        self.doubtful, self.announced = Ledger(spill_dir=request.spill_dir), Ledger(spill_dir=request.spill_dir)
        self.owners = self._ledger("owners") if self.mapping.can_fold(self.selection) else None
        self._after: dict[str, str] = {}
        self._kept: KeptSync | None = None
        self._recent: set[bytes] = set()
        self.unwatched = False
        """Whether keys were copied while nobody watched the source for later writes."""
        self._observer = observer
        self.rejected: set[tuple[int, bytes]] = set()
        """(database, name) at the target of keys that were rejected."""
        self.lossy: dict[tuple[int, bytes], str] = {}
        """(database, name) at the target of keys that were written without what it cannot hold -> a line that says so;
        "" beyond the first thousand."""
        self.folded: set[tuple[int, bytes]] = set()
        """(database, name) at the source of keys whose name at the target another one had taken."""
        self._source: RedisSource | FullSyncSource | None = None
        self.route, self._synced = plan.route, False
        self.instant_ms = self._later_before = 0
        """What moment the copy is of, by the source's clock; 0 where it is of none."""
        self.mixed = False
        """Whether keys were copied before that moment."""
        self.captured: BatchWriter | None = None
        """Changes keys of the target where what they held is kept before."""
        self.rerouted = False
        """Whether some keys may have come by a full sync that broke off, and again by SCAN."""

    def note_reject(self, reject: Reject) -> None:
        """Remember a key that is not to be found wanting again by verify."""
        if reject.code == FOLD_CODE:
            self.folded.add((reject.db, reject.key))
            return
        target_db = self.mapping.dbs.get(reject.db, reject.db)
        self.rejected.add((target_db, self.mapping.name(reject.key)))

    def _ledger(self, kind: str) -> Ledger:
        return Ledger(spill_dir=self.request.spill_dir, on_note=self.trail.noting(kind))

    def recall(self, facts: Facts, rejects: list[Reject]) -> None:
        """Take up what earlier processes of this job did: counts, hashes of what was written, rejected keys."""
        refused = [reject for reject in rejects if reject.code != CONFLICT_CODE]
        self.tally.recall(facts.counts, facts.bytes_read, facts.bytes_written, refused)
        for reject in refused:
            self.note_reject(reject)
        self.landmarks.recall(facts.marks)
        self.landmarks.held, self.landmarks.lasting = facts.held, facts.lasting
        self.landmarks.until_ms, self._later_before = facts.until_ms, facts.read_later
        kinds = {"written": self.written, "found_equal": self.found_equal, "kept": self.kept, "sent": self.announced}
        if self.owners is not None:
            kinds["owners"] = self.owners
        for kind, hashes, values in self.trail.records():
            if kind in kinds:
                kinds[kind].add(hashes, values)

    def go_on(self, after: dict[str, str], kept: KeptSync | None = None) -> None:
        """Begin the next attempt at the positions *after*; nobody watched the source for writes to what lies before.

        *kept*: the full sync that the positions are of.
        """
        self._after, self._kept = after, kept
        self.unwatched = bool(after)
        self._recent = self.trail.recent() if after else set()

    def _not_settled(self, db: int, names: list[bytes]) -> list[bytes]:
        """*names* of the source without those that were settled just before an earlier process died."""
        if not (recent := self._recent):
            return names
        hashes = hashes_of_names(self.mapping.dbs[db], map(self.mapping.name, names))
        return [key for key, known in zip(names, hashes, strict=True) if known not in recent]

    async def attempt(self, stop: anyio.Event) -> None:
        """Copy what is left; returns when it is acknowledged, or drained after *stop*. The next one starts anew.

        Raises:
            ReplacedError: one of the servers is another process than before.
        """
        after, self._after = self._after, {}
        if not after:
            self.trail.restart()
        if self.plan.route == "psync":
            if not after or PARTITION in after:
                if await self._full_sync(stop, after):
                    return
                after = {}
            self.route, self.rerouted = "scan", True
        async with self._parts(stop, self._scan) as flow, self.trail.kept():
            await self._run(flow, after)
        self._recent = set()
        self._tell_temporaries()
        if not stop.is_set():
            await self._check_source()

    async def _run(self, flow: Flow, after: dict[str, str]) -> None:
        """Move what is left; what arrived is in the trail, also of a batch that was refused in part."""
        try:
            await flow.run(after)
        except TransferError:
            with suppress(StateFullError):
                self.trail.flush()
            raise
        self.trail.flush()

    async def _full_sync(self, stop: anyio.Event, after: dict[str, str]) -> bool:
        """Copy by a full sync, the only one of a run; whether that came to its end (or *stop*). Else SCAN is to do it.

        Where it was kept it is gone on with at *after*.

        Raises:
            ReplacedError: as `attempt`.
        """
        first, self._synced = not self._synced, True
        self.route, self.rerouted, self.instant_ms = "psync" if first else "scan", True, 0
        if not first:
            self._observer.warning("a second full sync is not asked for: the copy goes on by SCAN, not of one instant")
            return False
        try:
            with ungrouped():
                async with self._parts(stop, self._sync) as flow, self.trail.kept():
                    await self._run(flow, after)
        except FullSyncError as error:
            self.route = "scan"
            self.trail.restart()
            self.trail.sync_note.forget()
            self._observer.warning(f"{error.message}: the copy goes on by SCAN, and is not of one instant")
            return False
        source = self._source
        assert isinstance(source, FullSyncSource)
        self.rerouted = False
        self.instant_ms, self.mixed = source.instant_ms, source.mixed
        self._recent = set()
        if not stop.is_set():
            self.trail.sync_note.let_go()
        if source.large:
            said = f"{some(source.large, 'value')} too large to be held, read from the live source: not of the instant"
            self._observer.warning(said)
        self._tell_temporaries()
        return True

    def _tell_temporaries(self) -> None:
        if self._source is not None and self._source.temporaries:
            count = self._source.temporaries
            self._observer.warning(f"{some(count, 'temporary key')} of interrupted copies at the source not copied")

    async def _check_source(self) -> None:
        """A replica that was resynchronised in mid-scan kept our links, and may have shown an empty keyspace."""
        known = self.source.identity
        if known.role == "master":
            return
        now = await self.source.asked(probe.identify)
        if now.syncing or not now.continues(known):
            raise ReplacedError("the source, a replica, took over another data set", where=self.source.where)

    def share_done(self) -> float:
        keys = {db.source_db: db.keys for db in self.plan.dbs}
        return self._source.share_done(keys) if self._source is not None else 0.0

    @asynccontextmanager
    async def _parts(self, stop: anyio.Event, new_source: NewSource) -> AsyncIterator[Flow]:
        request = self.request
        budget = ByteBudget(request.max_memory_bytes)
        limit_bytes = largest_value_bytes(request)
        here = LiveKeyspace(self.source, limit_bytes=limit_bytes, throttle=self.governor)
        there = LiveKeyspace(self.target, limit_bytes=limit_bytes)
        approach, conflicts = Approach(self.mapping, self.tally), conflicts_of(self, here.values, there)
        big = big_keys_of(self, approach, conflicts, budget, stop)
        source = self._source = new_source(budget, big, stop)
        sink = sink_of(self, approach, conflicts, here.values, stop)
        async with flowing(self, source, sink, budget, stop, big, here, there) as flow:
            yield flow

    def _scan(self, budget: ByteBudget, big: BigKeys, stop: anyio.Event) -> RedisSource:
        frontier, patience = Frontier(self.trail.moved), self.patience(self.source, stop)
        return scan_source(self, budget, big, stop, frontier, patience, self._not_settled)

    def _sync(self, budget: ByteBudget, big: BigKeys, stop: anyio.Event) -> FullSyncSource:
        return sync_source(self, budget, big, stop, self._kept, self._not_settled)

    @property
    def lossy_fields(self) -> bool:
        """Whether hashes are written without deadlines of their fields."""
        return allows_loss(self.request, self.target.features)

    def lost(self, db: int, key: bytes, name: bytes, what: str) -> None:
        """A key is written without *what*: listed once; the proof compares the rest of it."""
        mark = (self.mapping.dbs.get(db, db), name)
        if mark not in self.lossy:
            self.lossy[mark] = ""
            if len(self.lossy) <= _MOST_TOLD:
                shown = hashed_name(key) if self.request.hash_keys else shown_name(key)
                self.lossy[mark] = f"{what} of {shown}, db {db} (--allow lossy)"
                self._observer.warning(f"not copied: {self.lossy[mark]}")

    @property
    def later(self) -> int:
        """Of a copy of one instant: so many keys are of a later one, as far as it has come."""
        return self._later_before + (self._source.large if isinstance(self._source, FullSyncSource) else 0)

    def patience(self, server: Server, stop: anyio.Event) -> Patience:
        return patience_with(self.request, server, self._observer.warning, stop)

    def settle_repeats(self, *, rewritten: bool) -> None:
        """Keys met several times by this run had one fate, and were repeated afterwards.

        *rewritten*: the same key may have been written several times (another attempt, or policy `replace`).
        """
        counts = self.tally.counts
        for fate, ledger in (("written", self.written), ("already", self.found_equal), ("conflicts", self.kept)):
            counted = getattr(counts, fate)
            if counted and (rewritten or fate != "written"):
                self.tally.moved(fate, "repeated", max(0, counted - ledger.distinct()))

    def close(self) -> None:
        for ledger in (self.written, self.found_equal, self.kept, self.doubtful, self.announced, self.owners):
            if ledger is not None:
                ledger.close()

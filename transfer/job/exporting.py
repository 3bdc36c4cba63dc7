"""Carry out an export: a live server read as a copy reads it, into a new file that gets its name at the end.

    open the source -> planner -> consent -> RedisSource -> Flow -> FileSink -> file looked through -> named -> verify

Rule 1: until all keys are in it and it was read back, the file has a temporary name; a failure removes it.
Rule 2: what is large is held whole, so --max-memory bounds what a single value may take.
Rule 3: there is no resume: a file that was begun by a process that is gone is begun anew.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import anyio
import anyio.to_thread
import msgspec
import structlog

from transfer.codec.archive.items import AsOf
from transfer.codec.rdb.items import Use
from transfer.endpoint.file.block import Walk
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.file.sink import FileSink
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.big.move import TOO_LARGE_CODE
from transfer.endpoint.redis.fullsync.source import FullSyncSource
from transfer.endpoint.redis.functions import FunctionsRefusedError, libraries_of
from transfer.endpoint.redis.landing import Approach
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.source import RedisSource, SourceOptions
from transfer.job.consent import ask_consent, check_approval
from transfer.job.copy import CopyRun, Planner, counted, open_one, reject_limit
from transfer.job.engine import Engine
from transfer.job.forms import Making, making_of
from transfer.job.importing import look_through
from transfer.job.orders import orders_of
from transfer.job.pacing import Pacing
from transfer.job.proof import Promised, march
from transfer.job.record import record_run
from transfer.job.replica import tell_standby
from transfer.job.sinks import folding_of
from transfer.job.sources import PAGE_KEYS, links_to, sync_options
from transfer.job.steer import Steering
from transfer.job.store import JobStore
from transfer.job.trail import Trail
from transfer.model.endpoint import Identity
from transfer.model.errors import AGAIN, RESUME, RESUME_HINT, TransferError
from transfer.model.plan import CopyPlan, CopyRequest, narrows
from transfer.model.ports import UNTHROTTLED, Observer
from transfer.model.report import Report
from transfer.model.units import some
from transfer.pipeline.buckets import BucketStore
from transfer.pipeline.budget import ByteBudget
from transfer.pipeline.flow import Flow, ungrouped
from transfer.pipeline.frontier import Frontier
from transfer.verify.changes import ChangesSinceCopy

_STREAMED = "the archive went to standard output and cannot be read back here: whoever imports it verifies it"
ExportPlanner = Callable[[CopyRequest, Server], Awaitable[CopyPlan]]
_HELD_TIMES = 3
"""A value stands in the reader's buffer, as bytes, and in the file's buffer for a moment."""


async def run_export(
    request: CopyRequest, observer: Observer, planner: ExportPlanner, kind: type[ExportRun] | None = None
) -> Report:
    """Write the keys of a server into the file `request.target`; the report is also in the job store.

    *kind*: what carries it out, where that is another than `ExportRun`.

    Raises:
        TransferError: what stopped the run before its end; there is no such file then, or the one that was there.
    """

    async def work(store: JobStore, report: Report) -> None:
        await (kind or ExportRun)(request, observer, cast(Planner, planner), store, report, resumes=False).run()

    return await record_run("export", request, observer, work)


class _NoTarget:
    """Stands where a copy has its target server."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.on_wait: Callable[[str], None] = lambda text: None


class _NoTrail:
    """Nothing is kept for a later process."""

    def noting(self, kind: str) -> Callable[[bytes, bytes], None]:
        return lambda hashes, values: None


class ExportEngine(Engine):
    """One export from an open server: one attempt, since a file is begun anew."""

    target_is_live = False

    def __init__(
        self, request: CopyRequest, plan: CopyPlan, source: Server, run: CopyRun, observer: Observer, job: str
    ) -> None:
        target, trail = cast(Server, _NoTarget(plan.target.identity)), cast(Trail, _NoTrail())
        super().__init__(request, plan, source, target, run.tally, observer, trail, job)

    async def written_by(self, sink: FileSink, stop: anyio.Event) -> None:
        """Read everything into *sink*."""
        async with self._flow(sink, stop) as flow:
            await flow.run({})
        if isinstance(self._source, FullSyncSource):
            self.instant_ms = self._source.instant_ms
        if not stop.is_set():
            await self._check_source()

    def new_sink(self, making: Making) -> FileSink:
        request, synced = self.request, self.route == "psync"
        return FileSink(
            making.opened,
            self.job,
            making.form,
            approach=Approach(self.mapping, self.tally),
            folding=folding_of(self),
            written=self.written if request.verify != "none" else None,
            names=BucketStore(0, spill_dir=request.spill_dir) if not synced else None,
            tally=self.tally,
            clock=self.source,
            use=cast(Use, self.plan.keeps_use),
            checks=not synced,
        )

    @asynccontextmanager
    async def _flow(self, sink: FileSink, stop: anyio.Event) -> AsyncIterator[Flow]:
        budget = ByteBudget(self.request.max_memory_bytes)
        source = self._source = self._sync_reader(budget, stop) if self.route == "psync" else self._reader(budget, stop)
        self.pace.stop = stop
        try:
            yield Flow(
                source,
                sink,
                budget=budget,
                pace=self.pace,
                writers=1,
                acknowledged=source.acknowledged,
                unsettled=source.unsettled,
                stop=stop,
            )
        finally:
            with anyio.CancelScope(shield=True):
                await source.close()

    def _reader(self, budget: ByteBudget, stop: anyio.Event) -> RedisSource:
        request = self.request
        return RedisSource(
            self.source,
            self.selection,
            SourceOptions(
                dbs=tuple(self.mapping.dbs),
                readers=request.workers or links_to(self.source),
                page_keys=request.batch or PAGE_KEYS,
                limit_bytes=budget.total_bytes // _HELD_TIMES,
                keys_from=request.keys_from,
                use=self.plan.keeps_use,
            ),
            budget=budget,
            tally=self.tally,
            patience=self.patience(self.source, stop),
            stop=stop,
            throttle=self.governor,
            pace=self.pace,
            on_read=self.tracker.clean,
            frontier=Frontier(),
        )

    def _sync_reader(self, budget: ByteBudget, stop: anyio.Event) -> FullSyncSource:
        limit_bytes = budget.total_bytes // _HELD_TIMES

        async def refuse(db: int, key: bytes) -> None:
            cause = f"its value has more than {limit_bytes:,} bytes, which --max-memory leaves for one"
            self.tally.reject(db, key, TOO_LARGE_CODE, cause)

        return FullSyncSource(
            self.source,
            self.selection,
            sync_options(self, limit_bytes, strings=False),
            budget=budget,
            tally=self.tally,
            stop=stop,
            move_large=refuse,
            frontier=Frontier(),
            on_read=self.tracker.clean,
        )


class ExportRun(CopyRun):
    """One export."""

    def _next_command(self, error: TransferError) -> str:
        """There is no resume: an export begins anew."""
        return error.hint.replace(RESUME_HINT, f"{AGAIN}: an export begins anew").replace(RESUME, AGAIN)

    async def _run(self) -> None:
        source = await open_one(self._request, self._request.source, self._report.job)
        source = await self._stand_by(source)
        plan = await cast(ExportPlanner, self._planner)(self._request, source)
        if self._standby is not None:
            tell_standby(plan, self._standby, self._request)
        self._store.save_plan(self._report.job, msgspec.json.encode(plan).decode())
        self._observer.planned(plan)
        self._report.not_copied += plan.not_copied
        if self._request.dry_run:
            return
        check_approval(self._request, plan)
        await ask_consent(self._request, plan, self._observer, self._store, self._report.job)
        self._store.state(self._report.job, "running")
        self._report.route = plan.route
        self.tally.reject_limit = reject_limit(self._request.max_rejects, plan.keys)
        engine = ExportEngine(self._request, plan, source, self, self._observer, self._report.job)
        self._engine = engine
        try:
            orders = orders_of(self._store, self._report.job)
            async with Steering(self._request.max_duration_ms, orders).held() as steering:
                await self._export(engine, plan, source, steering)
        finally:
            self._settle()
            engine.close()

    async def _export(self, engine: ExportEngine, plan: CopyPlan, source: Server, steering: Steering) -> None:
        self._began_ms, self._writes_before = source.now_ms(), await self._writes(source)
        pacing = Pacing(engine, self._store, self._report.job, self._observer, self._standby)
        with ungrouped():
            async with pacing.kept(), engine.tracker.running(source):
                file = await self._written(engine, plan, source, steering)
                if file is not None:
                    try:
                        await self._compare(engine, source, file)
                    except BaseException:
                        self._tell_file("it was not compared with the source to the end")
                        raise
                    finally:
                        file.close()
                    self._tell_file(apart_from_source(self._report))

    def _tell_file(self, why: str) -> None:
        """Say that the file has its name although it was not found equal, unless *why* is empty."""
        if not why:
            return
        request = self._request
        filters = " and the same filters" if narrows(request) or request.dbs or request.renames else ""
        again = f"transfer verify {request.source} {request.target}{filters} compares them again"
        anew = "the same export with --allow overwrite makes it anew"
        self._tell(f"{request.target} is there and whole, but {why}: {again}; {anew}")

    async def _written(
        self, engine: ExportEngine, plan: CopyPlan, source: Server, steering: Steering
    ) -> DataFile | None:
        """The file under its name, looked through; None if nothing is to be compared, or it was a stream."""
        started, request = time.monotonic(), self._request
        structlog.get_logger().info("reading", keys=plan.keys)
        making = making_of(request, plan, source, await self._libraries(source, plan), self._began_ms)
        sink = engine.new_sink(making)
        try:
            async with self._ticking(plan):
                await engine.written_by(sink, steering.stop)
            await self._date(source)
            steering.check()
            steering.abort_on_stop()
            walk = await sink.finish(self._as_of())
            file = await self._read_back(sink, walk)
            sink.file.keep()
        finally:
            sink.drop()
            self._report.seconds = time.monotonic() - started
        if file is None:
            self._report.dbs = counted(plan, await source.asked(probe.keyspace), sink.counts)
            return None
        file.moved_to(sink.file.path)
        file.now_ms = source.now_ms
        return file

    async def _read_back(self, sink: FileSink, walk: Walk | None) -> DataFile | None:
        """What is on the disk is what was written; looked through where it is to be compared."""
        if walk is None:
            self._report.notes.append(_STREAMED)
        elif self._request.verify == "none":
            await anyio.to_thread.run_sync(sink.file.read_back)
        else:
            return await look_through(self._request, walk, indexed=True)
        return None

    def _as_of(self) -> AsOf:
        told = self._report.as_of
        assert told is not None
        return AsOf(told.kind, told.from_ms, told.to_ms)  # type: ignore[arg-type]  # one of its two words

    async def _libraries(self, source: Server, plan: CopyPlan) -> list[bytes]:
        """The code of each that the plan names."""
        if not plan.functions:
            return []
        try:
            return [library.code for library in await source.asked(libraries_of)]
        except FunctionsRefusedError:
            return []

    async def _compare(self, engine: ExportEngine, source: Server, file: DataFile) -> None:
        ledgers = engine.written, engine.found_equal, engine.announced
        await march(
            self._request,
            self._report,
            self._observer,
            left=source,
            right=file,
            selection=engine.selection,
            mapping=engine.mapping,
            total_keys=engine.plan.keys,
            changes=ChangesSinceCopy(engine.tracker, ledgers, deadlines_noted=True),
            promise=Promised(engine),
            throttles=(engine.governor, UNTHROTTLED),
        )


def apart_from_source(report: Report) -> str:
    """What the comparison found between the source and the file, "" if nothing."""
    found = report.verify
    if found is None:
        return ""
    names = ("missing", "extra", "type", "value", "ttl")
    kinds = ", ".join(f"{name} {count:,}" for name in names if (count := getattr(found, name)))
    parts = [f"{some(found.differences(), 'key', 'differs', 'differ')} from the source ({kinds})"] if kinds else []
    parts += [f"{some(found.changed, 'key')} changed there since"] if found.changed else []
    return " and ".join(parts)

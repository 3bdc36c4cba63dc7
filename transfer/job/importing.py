"""Carry out an import: as a copy, with a file where the source is.

    look through the file -> open the target -> planner -> consent -> [ ImportEngine.attempt ]* -> verify -> Report

Rule 1: the file is looked through, to its checksum, before the target is written to: damage is exit 12, and harmless.
Rule 2: a position is an offset of the file; a file that changed since is refused.
Rule 3: with --ttl rebase a key gets the time that remained when the file was saved.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import cast

import anyio

from transfer.endpoint.archive.walk import ArchiveWalk
from transfer.endpoint.file.block import Walk
from transfer.endpoint.file.file import DataFile, changed
from transfer.endpoint.file.index import WIDTH_BYTES, NameIndex
from transfer.endpoint.file.instream import name_stdin, received
from transfer.endpoint.file.kinds import walk_of
from transfer.endpoint.file.source import FileSource
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.functions import library_of, place_libraries
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.landing import Approach
from transfer.endpoint.redis.landmarks import some_names
from transfer.endpoint.redis.server import Server
from transfer.job.copy import CopyRun, Planner, counted, open_one
from transfer.job.engine import Engine, NewSource
from transfer.job.extra import FileNames, Names
from transfer.job.proof import Promised, choosing, march
from transfer.job.record import record_run
from transfer.job.replacement import Replacement
from transfer.job.resume import moved, recognise
from transfer.job.sinks import conflicts_of, sink_of
from transfer.job.sources import flowing, largest_value_bytes
from transfer.job.store import JobStore
from transfer.job.trail import Facts, Trail, trail_path
from transfer.model.errors import FormatError, ReplacedError
from transfer.model.plan import CopyPlan, CopyRequest, narrows
from transfer.model.ports import UNTHROTTLED, Observer
from transfer.model.report import AsOf, DbTable, Report
from transfer.model.units import some
from transfer.pipeline.buckets import BucketStore
from transfer.pipeline.budget import ByteBudget
from transfer.pipeline.flow import Flow
from transfer.pipeline.frontier import Frontier
from transfer.verify.changes import Unchanging

ImportPlanner = Callable[[CopyRequest, DataFile, Server], Awaitable[CopyPlan]]


async def run_import(request: CopyRequest, observer: Observer, planner: ImportPlanner, job: str = "") -> Report:
    """Bring the keys of the file `request.source` to a server; the report is also in the job store.

    With *job*, which this process has taken over, what its earlier processes did is gone on with.

    Raises:
        FormatError: the file is damaged; nothing was written.
        TransferError: what stopped the run before its end.
    """

    async def work(store: JobStore, report: Report) -> None:
        await ImportRun(request, observer, cast(Planner, planner), store, report, resumes=bool(job)).run()

    return await record_run("import", request, observer, work, job)


async def look_through(request: CopyRequest, walk: Walk, *, indexed: bool) -> DataFile:
    """The file of *walk*, read to its end: again where names are repeated, or may be and only its end tells.

    Raises as `DataFile.open`.
    """
    if not indexed and isinstance(walk, ArchiveWalk):
        file = await DataFile.open(walk)
        if not walk.repeats or request.dry_run:
            return file
    return await DataFile.open(walk, index=NameIndex(BucketStore(WIDTH_BYTES, spill_dir=request.spill_dir)))


class ImportEngine(Engine):
    """One import into an open server, through as many attempts as it takes."""

    source_is_live = False

    def __init__(self, file: DataFile, request: CopyRequest, *others: object) -> None:
        self._file = file
        super().__init__(request, *others)  # type: ignore[arg-type]  # as Engine's own
        self._reading: FileSource | None = None

    @asynccontextmanager
    async def _parts(self, stop: anyio.Event, new_source: NewSource) -> AsyncIterator[Flow]:
        request, limit_bytes = self.request, largest_value_bytes(self.request)
        budget = ByteBudget(request.max_memory_bytes)
        there = LiveKeyspace(self.target, limit_bytes=limit_bytes)
        approach = Approach(self.mapping, self.tally)
        async with choosing(self._file, request.keys_from, request.spill_dir) as chosen:
            source = self._reading = FileSource(
                self._file,
                self.selection,
                frozenset(self.mapping.dbs),
                budget=budget,
                tally=self.tally,
                frontier=Frontier(self.trail.moved),
                stop=stop,
                checks="trust-file" not in request.allow,
                most_keys=request.batch,
                pace=self.pace,
                left=self._not_settled,
                chosen=chosen,
                use=self.plan.keeps_use,
            )
            conflicts = conflicts_of(self, source.values, there)
            sink = sink_of(self, approach, conflicts, source.values, stop)
            async with flowing(self, source, sink, budget, stop, there) as flow:
                yield flow

    async def _check_source(self) -> None:
        self._file.check_unchanged()

    def share_done(self) -> float:
        return self._reading.share_done() if self._reading is not None else 0.0


class ImportRun(CopyRun):
    """One import. What asks a copy's source is told by the file here."""

    _file: DataFile

    async def _run(self) -> None:
        request = self._request
        async with self._source_file() as path:
            walk = walk_of(path, identity=request.identity, salvage=request.salvage)
            indexed = (request.verify != "none" or request.delete_extra) and not request.dry_run
            try:
                self._file = await look_through(request, walk, indexed=indexed)
            except FormatError as error:
                if request.source.is_stdio:
                    name_stdin(error, "send it again; --salvage takes what is whole")
                raise
            self._file.named = str(request.source) if request.source.is_stdio else ""
            self._report.damage, self._report.missing = walk.damage, walk.missing
            await self._import(self._file)

    def _source_file(self) -> AbstractAsyncContextManager[Path]:
        """Where the file is, for the length of the block: what comes from standard input is kept aside that long."""
        request = self._request
        return received(request.spill_dir) if request.source.is_stdio else nullcontext(Path(request.source.path))

    async def _import(self, file: DataFile) -> None:
        request = self._request
        target = await open_one(request, request.target, self._report.job)
        file.now_ms = target.now_ms
        self._trail = Trail.open(trail_path(self._store.path.parent, self._report.job))
        try:
            # what a copy asks its source beyond `Origin` is asked by the methods below
            await self._plan_and_move(cast(Server, file), target)
        finally:
            self._trail.close()
            file.close()

    def _new_engine(self, plan: CopyPlan, source: Server, target: Server) -> Engine:
        job = self._report.job
        shared = self.tally, self._observer, self._trail, job
        return ImportEngine(self._file, self._request, plan, source, target, *shared)

    async def _exact(self, source: Server, target: Server) -> bool:
        return False

    def _names(self) -> Names:
        return FileNames(self._file)

    async def _take_up(self, before: Facts, source: Server, target: Server) -> None:
        if before.source.run_id != self._file.identity.run_id:
            raise changed(self._file.where)
        self._engine.recall(before, self._store.rejects(self._report.job))
        unknown = await recognise(before, self._engine)
        said = moved("target", before.target, target)
        self._engine.go_on({} if said else self._trail.positions())
        self._report.resumed, self._report.seconds = self._store.get(self._report.job).runs - 1, before.seconds
        self._began_ms = before.began_ms
        text = said or f"going on after {some(before.counts.read, 'key')} of the file"
        self._tell(text, *unknown)

    async def _note_names(self) -> None:
        """Names to recognise the target by; and from here on the file's clock runs, with --ttl rebase from its save."""
        target = self._engine.target
        self._engine.landmarks.target = await target.asked(some_names)
        if self._request.ttl == "rebase":
            behind_ms = self._began_ms - self._file.dated_ms
            self._file.now_ms = lambda: target.now_ms() - behind_ms

    async def _copy_functions(self, plan: CopyPlan, source: Server, target: Server) -> None:
        """Functions travel ahead of the keys; where filters choose keys nobody expects functions."""
        codes = self._file.walk.functions
        if not codes:
            return
        if narrows(self._request):
            said = [
                f"{len(codes)} function librar{'y' if len(codes) == 1 else 'ies'} of the file: filters choose keys only"
            ]
        else:
            here = list(map(library_of, codes))
            keep = self._keeping.keep_library if self._keeping is not None else None
            counts = self._report.functions = await place_libraries(here, target, self._request.on_conflict, keep)
            said = counts.not_copied
        self._tell_not_copied(said)

    def _watched(self, source: Server) -> AbstractAsyncContextManager[object]:
        return nullcontext()

    async def _writes(self, source: Server) -> int:
        return 0

    async def _date(self, source: Server) -> None:
        saved_ms, told = self._file.saved_ms, self._file.walk.as_of
        if not saved_ms:
            return  # nobody knows
        if told is None:
            self._report.as_of = AsOf("instant", saved_ms, saved_ms, 0)
        else:
            until_ms = told.to_ms if told.kind == "interval" else told.from_ms
            self._report.as_of = AsOf(told.kind, told.from_ms, until_ms, 0)

    async def _adopt(self, error: ReplacedError, source: Server, target: Server) -> list[str]:
        self._file.check_unchanged()
        return await Replacement(None, target, self._engine).adopt(error)

    async def _counted(self, plan: CopyPlan, source: Server, target: Server) -> list[DbTable]:
        return counted(plan, self._file.counts(), await target.asked(probe.keyspace))

    async def _prove(self) -> None:
        engine = self._engine
        await march(
            self._request,
            self._report,
            self._observer,
            left=self._file,
            right=engine.target,
            selection=engine.selection,
            mapping=engine.mapping,
            total_keys=engine.plan.keys,
            changes=Unchanging(),
            promise=Promised(engine),
            throttles=(UNTHROTTLED, UNTHROTTLED),
            began_ms=self._began_ms,
        )
        self._file.check_unchanged()

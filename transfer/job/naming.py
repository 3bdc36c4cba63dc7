"""Carry out the export of names alone: those that pass the filters, a line each; no value is read.

open the source -> planner -> consent -> SCAN -> NamesFile -> disk, read back -> named
"""

from __future__ import annotations

import time
from pathlib import Path

import anyio.to_thread
import structlog

from transfer.endpoint.names.sink import NamesFile
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.server import Server
from transfer.job.clearing import matching
from transfer.job.copy import counted
from transfer.job.exporting import ExportEngine, ExportPlanner, ExportRun, run_export
from transfer.job.pacing import Pacing
from transfer.job.steer import Steering
from transfer.model.plan import CopyPlan, CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import Report
from transfer.pipeline.buckets import BucketStore
from transfer.pipeline.flow import ungrouped

_NO_VALUES = "a list of names holds no values: it was read back from the disk, and there is nothing to compare"


async def run_names(request: CopyRequest, observer: Observer, planner: ExportPlanner) -> Report:
    """As `run_export`, of the names alone."""
    return await run_export(request, observer, planner, NamesRun)


class NamesRun(ExportRun):
    """One list of names."""

    async def _export(self, engine: ExportEngine, plan: CopyPlan, source: Server, steering: Steering) -> None:
        self._began_ms, self._writes_before = source.now_ms(), await self._writes(source)
        pacing = Pacing(engine, self._store, self._report.job, self._observer, self._standby)
        structlog.get_logger().info("listing names", keys=plan.keys)
        started, request = time.monotonic(), self._request
        engine.pace.stop = steering.stop
        file = NamesFile(Path(request.target.path), self._report.job, BucketStore(0, spill_dir=request.spill_dir))
        try:
            with ungrouped():
                async with pacing.kept(), self._ticking(plan):
                    await self._list(engine, source, file, steering)
            await self._date(source)
            steering.check()
            steering.abort_on_stop()
            repeated = await anyio.to_thread.run_sync(file.finish)
            self.tally.moved("written", "repeated", repeated)
            file.keep()
        finally:
            file.drop()
            self._report.seconds = time.monotonic() - started
        self._report.notes.append(_NO_VALUES)
        listed = {db: (keys, 0) for db, keys in file.counts.items()}
        there = {db: (keys, 0) for db, (keys, _) in (await source.asked(probe.keyspace)).items()}
        self._report.dbs = counted(plan, there, listed)

    async def _list(self, engine: ExportEngine, source: Server, file: NamesFile, steering: Steering) -> None:
        """Every name that passes the filters, database after database."""
        for db, into in engine.mapping.dbs.items():
            async for names in matching(self._request, source, db, engine.governor):
                size_bytes = sum(map(len, names))
                await engine.pace.wait(len(names), size_bytes)
                if steering.stop.is_set():
                    return
                file.write(into, names)
                self.tally.settle("written", len(names))
                self.tally.bytes_read += size_bytes
                self.tally.bytes_written += size_bytes

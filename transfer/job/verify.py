"""Compare two places as they are: servers, files, or one of each.

open both -> planner (which databases) -> trackers on servers -> March -> Report
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from transfer.endpoint.file.file import DataFile
from transfer.endpoint.file.kinds import walk_of
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.tracking import WriteTracker
from transfer.job.copy import open_one
from transfer.job.importing import look_through
from transfer.job.orders import orders_of
from transfer.job.proof import march
from transfer.job.record import record_run
from transfer.job.sources import selection_of
from transfer.job.sparing import spared
from transfer.job.steer import Steering
from transfer.job.store import JobStore
from transfer.model.endpoint import Address
from transfer.model.plan import CopyRequest
from transfer.model.ports import UNTHROTTLED, Observer, Throttle
from transfer.model.report import Report, worst
from transfer.model.selection import Mapping
from transfer.verify.changes import ChangesNow, Unchanging, Watch

Place = Server | DataFile
VerifyPlanner = Callable[[CopyRequest, Place, Place], Awaitable[tuple[dict[int, int], int]]]
"""Gives the databases to compare (left -> right) and how many keys there are at the left."""


async def run_verify(request: CopyRequest, observer: Observer, planner: VerifyPlanner) -> Report:
    """Compare `request.source` with `request.target`; the report is also in the job store.

    Raises:
        FormatError: a file is damaged.
        TransferError: what stopped the comparison before its end.
    """

    async def work(store: JobStore, report: Report) -> None:
        left, right = [await _open(request, address, report.job) for address in (request.source, request.target)]
        _share_clock(left, right)
        dbs, total_keys = await planner(request, left, right)
        store.state(report.job, "running")
        trackers = WriteTracker(), WriteTracker()
        changes = ChangesNow(_watch(trackers[0], left), _watch(trackers[1], right), time.monotonic())
        async with Steering(request.max_duration_ms, orders_of(store, report.job)).held() as steering:
            steering.abort_on_stop()
            async with (
                _watching(trackers[0], left),
                _watching(trackers[1], right),
                _spared(left, request) as spares_left,
                _spared(right, request) as spares_right,
            ):
                await march(
                    request,
                    report,
                    observer,
                    left=left,
                    right=right,
                    selection=selection_of(request),
                    mapping=Mapping(dbs, request.renames),
                    total_keys=total_keys,
                    changes=changes,
                    promise=None,
                    throttles=(spares_left, spares_right),
                )
        assert report.verify is not None
        report.seconds = report.verify.seconds
        report.exit = worst([6 if report.verify.differences() else 0, 7 if report.verify.changed else 0])

    return await record_run("verify", request, observer, work)


async def _open(request: CopyRequest, address: Address, job: str) -> Place:
    if address.is_file:
        identity = request.identity if address.encrypted else ""
        return await look_through(request, walk_of(Path(address.path), identity=identity), indexed=True)
    return await open_one(request, address, job)


def _share_clock(left: Place, right: Place) -> None:
    """A file's deadlines are judged by the clock of the server it is compared with."""
    for file, other in ((left, right), (right, left)):
        if isinstance(file, DataFile) and isinstance(other, Server):
            file.now_ms = other.now_ms


def _spared(place: Place, request: CopyRequest) -> AbstractAsyncContextManager[Throttle]:
    return nullcontext(UNTHROTTLED) if isinstance(place, DataFile) else spared(place, request)


def _watch(tracker: WriteTracker, place: Place) -> Watch:
    return Unchanging() if isinstance(place, DataFile) else tracker


def _watching(tracker: WriteTracker, place: Place) -> AbstractAsyncContextManager[object]:
    return nullcontext() if isinstance(place, DataFile) else tracker.running(place)

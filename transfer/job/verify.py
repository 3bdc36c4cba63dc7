"""Compare two live servers as they are.

open both -> planner (which databases) -> trackers on both -> March -> Report
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.tracking import WriteTracker
from transfer.job.copy import open_pair
from transfer.job.orders import orders_of
from transfer.job.proof import march
from transfer.job.record import record_run
from transfer.job.sources import selection_of
from transfer.job.steer import Steering
from transfer.job.store import JobStore
from transfer.model.plan import CopyRequest
from transfer.model.ports import UNTHROTTLED, Observer
from transfer.model.report import Report, worst
from transfer.model.selection import Mapping
from transfer.verify.changes import ChangesNow

VerifyPlanner = Callable[[CopyRequest, Server, Server], Awaitable[tuple[dict[int, int], int]]]
"""Gives the databases to compare (left -> right) and how many keys there are at the left."""


async def run_verify(request: CopyRequest, observer: Observer, planner: VerifyPlanner) -> Report:
    """Compare `request.source` with `request.target`; the report is also in the job store.

    Raises:
        TransferError: what stopped the comparison before its end.
    """

    async def work(store: JobStore, report: Report) -> None:
        left, right = await open_pair(request, report.job)
        dbs, total_keys = await planner(request, left, right)
        store.state(report.job, "running")
        watches = WriteTracker(), WriteTracker()
        began = time.monotonic()
        async with Steering(request.max_duration_ms, orders_of(store, report.job)).held() as steering:
            steering.abort_on_stop()
            async with watches[0].running(left), watches[1].running(right):
                await march(
                    request,
                    report,
                    observer,
                    left=left,
                    right=right,
                    selection=selection_of(request),
                    mapping=Mapping(dbs, request.renames),
                    total_keys=total_keys,
                    changes=ChangesNow(*watches, began),
                    promise=None,
                    throttle=UNTHROTTLED,
                )
        assert report.verify is not None
        report.seconds = report.verify.seconds
        report.exit = worst([6 if report.verify.differences() else 0, 7 if report.verify.changed else 0])

    return await record_run("verify", request, observer, work)

"""Read one server through: counts, digests, and every key that cannot be had.

open -> planner (which databases) -> Survey -> Report
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from transfer.codec.canonical import CANONICAL
from transfer.endpoint.redis.server import Server
from transfer.job.copy import open_one
from transfer.job.orders import orders_of
from transfer.job.proof import held_bytes, keyspace_of, ticking
from transfer.job.record import record_run
from transfer.job.sources import selection_of
from transfer.job.sparing import spared
from transfer.job.steer import Steering
from transfer.job.store import JobStore
from transfer.model.plan import CopyRequest
from transfer.model.ports import Observer, Throttle
from transfer.model.report import Report
from transfer.pipeline.buckets import BucketStore
from transfer.report.meter import Meter
from transfer.verify.sides import MarchOptions
from transfer.verify.survey import Survey

SurveyPlanner = Callable[[CopyRequest, Server], Awaitable[tuple[list[int], int]]]
"""Gives the databases to read, and how many keys they hold."""


async def run_survey(request: CopyRequest, observer: Observer, planner: SurveyPlanner) -> Report:
    """Read every key of `request.source`; the report is also in the job store.

    Raises:
        TransferError: what stopped it before its end.
    """

    async def work(store: JobStore, report: Report) -> None:
        server = await open_one(request, request.source, report.job)
        dbs, total_keys = await planner(request, server)
        store.state(report.job, "running")
        async with Steering(request.max_duration_ms, orders_of(store, report.job)).held() as steering:
            steering.abort_on_stop()
            async with spared(server, request) as throttle:
                await _survey(request, report, observer, server, dbs, Meter("verify", total_keys), throttle)
        assert report.verify is not None
        report.seconds = report.verify.seconds
        report.exit = 6 if report.verify.differences() else 0

    return await record_run("verify", request, observer, work)


async def _survey(
    request: CopyRequest,
    report: Report,
    observer: Observer,
    server: Server,
    dbs: list[int],
    meter: Meter,
    throttle: Throttle,
) -> None:
    async with keyspace_of(server, held_bytes(request), observer, throttle, request, request.keys_from) as place:
        survey = Survey(
            place,
            dbs,
            selection=selection_of(request),
            new_records=lambda value_bytes: BucketStore(value_bytes, spill_dir=request.spill_dir),
            options=MarchOptions(digest=request.digest),
            on_finding=observer.finding,
            on_progress=meter.count,
        )
        async with ticking(meter, observer):
            report.verify = result = await survey.run()
    result.digest = CANONICAL if request.digest == "canonical" else "payloads"
    report.dbs = survey.tables
    report.verified = not result.differences()

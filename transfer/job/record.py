"""One run's row in the store, kept true whatever happens.

store row -> first output -> work -> finished: report in the store, told to the observer
                               `-> failed: the same, with the error, which goes on to the caller
"""

from __future__ import annotations

import resource
from collections.abc import Awaitable, Callable

import anyio
import msgspec
import structlog

from transfer.endpoint.redis.conflicts import CONFLICT_CODE
from transfer.job.claim import begin
from transfer.job.state_dir import passing
from transfer.job.store import JobStore
from transfer.job.trail import leave_nothing
from transfer.model.errors import TransferError
from transfer.model.plan import CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import Reject, Report
from transfer.pipeline.flow import first_failure
from transfer.report.log import quiet_unless_configured

_REPORTED = 1000
"""Rejected keys that a report names; the store has all of them."""
_MOST_CAUSES = 100

Work = Callable[[JobStore, Report], Awaitable[None]]


async def record_run(command: str, request: CopyRequest, observer: Observer, work: Work, job: str = "") -> Report:
    """Run *work*, which fills the report it is given, under a job of its own, or under *job*, taken over before.

    Raises:
        TransferError: what stopped the run; `job` is among its facts.
    """
    with JobStore.open(request.state_dir, hash_keys=request.hash_keys) as store:
        job = job or begin(store, command, request, msgspec.json.encode(_shown(request)).decode())
        report = Report(command=command, job=job)
        observer.job_started(job, command)
        if text := passing(store.path.parent):
            observer.warning(text)
        quiet_unless_configured()
        log = structlog.get_logger().bind(job=job)
        log.info("started", command=command, source=str(request.source), target=str(request.target))
        failure: BaseException | None = None
        try:
            await work(store, report)
        except BaseExceptionGroup as group:
            failure = first_failure(group)
        except BaseException as error:
            failure = error
        report.peak_rss_bytes = peak_rss_bytes()
        known = failure if isinstance(failure, TransferError) else _wrapped(failure)
        if known is not None:
            known.facts["job"] = job
            report.exit = known.exit_code
        log.info("ended", exit=report.exit, keys=report.keys.read, seconds=round(report.seconds, 3))
        try:
            store.finish(job, report, known)
            if not store.get(job).holds:
                leave_nothing(store.path.parent, job)
        except TransferError as error:
            if failure is None:
                failure, report.exit = error, error.exit_code
            log.error("the end of the job is not in the store", error=error.message)
        observer.finished(report)
        if failure is not None:
            raise failure
        return report


def note_reject(reject: Reject, store: JobStore, report: Report, observer: Observer) -> None:
    """Keep and tell one rejected key; the report names the first ones."""
    store.add_reject(report.job, reject)
    if len(report.rejects) < _REPORTED:
        report.rejects.append(reject)
    if reject.code != CONFLICT_CODE and (reject.cause in report.causes or len(report.causes) < _MOST_CAUSES):
        report.causes[reject.cause] = report.causes.get(reject.cause, 0) + 1
    observer.reject(reject)


def peak_rss_bytes() -> int:
    """The largest resident set of this process. getrusage would tell a larger parent's: it survives exec on Linux."""
    try:
        with open("/proc/self/status", "rb") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith(b"VmHWM:"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _wrapped(failure: BaseException | None) -> TransferError | None:
    """How an error that is not ours is kept in the store: by its type alone, its text may hold anything."""
    if failure is None:
        return None
    if isinstance(failure, (KeyboardInterrupt, anyio.get_cancelled_exc_class())):
        wrapped = TransferError("interrupted")
        wrapped.exit_code = 130
        return wrapped
    return TransferError(f"{type(failure).__name__} (a fault of this program)")


def _shown(request: CopyRequest) -> dict[str, object]:
    """The words of a request as they may be kept: places redacted, bytes escaped, defaults left out."""
    plain = CopyRequest(source=request.source, target=request.target)
    return {
        name: _plain(getattr(request, name))
        for name in request.__struct_fields__
        if name not in ("source", "target", "alone", "state_dir") and getattr(request, name) != getattr(plain, name)
    }


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("ascii", "backslashreplace")
    if isinstance(value, (tuple, frozenset)):
        return [_plain(item) for item in value]
    return value

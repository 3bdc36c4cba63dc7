"""Rows of the job store as people and programs see them."""

from __future__ import annotations

import socket

import msgspec

from transfer.job.identity import is_alive
from transfer.model.errors import TransferError
from transfer.model.report import Report

_LIVE = ("planned", "running")
COLUMNS = (
    "job, command, state, source, target, request, label, plan, report, error, exit, pid, process, host, version,"
    " started_ms, ended_ms, whole, holds, runs, (SELECT count(*) FROM rejects WHERE rejects.job = jobs.job)"
)


class StoredError(msgspec.Struct, frozen=True):
    """How a job failed."""

    code: str
    message: str
    where: str = ""
    hint: str = ""


HOLDING = ("copy", "import", "undo", "clear")
"""Commands whose jobs hold their pair of places until they are through, and can be resumed."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `state` is `died` where the row says running and the process is gone from this machine.

    `whole` is the request as JSON, all of it but secrets; `holds` that the job is not through with its pair of
    places: it is at work, or can be resumed. `runs` counts the processes that worked on it.
    """

    job: str
    command: str
    state: str
    source: str
    target: str
    request: str
    label: str
    plan: str | None
    report: Report | None
    error: StoredError | None
    exit: int | None
    pid: int
    process: str
    host: str
    version: str
    started_ms: int
    ended_ms: int | None
    whole: str
    holds: bool
    runs: int
    rejected: int

    @property
    def live(self) -> bool:
        """Whether a process works on it now, as far as can be seen from this machine."""
        return self.state in _LIVE


def stored_error(error: TransferError) -> StoredError:
    return StoredError(error.code, error.message, error.where, error.hint)


def job_of(row: tuple[object, ...]) -> Job:
    """A row as a Job. A report that a later version wrote otherwise is left out rather than fatal."""
    values = dict(zip(Job.__struct_fields__, row, strict=True))
    values["report"] = _decoded(values["report"], Report)
    values["error"] = _decoded(values["error"], StoredError)
    values["holds"] = bool(values["holds"])
    job = msgspec.convert(values, Job)
    here = job.host == socket.gethostname()
    gone = job.state in _LIVE and here and not is_alive(job.pid, job.process)
    return msgspec.structs.replace(job, state="died") if gone else job


def _decoded(text: object, kind: type[msgspec.Struct]) -> object:
    try:
        return msgspec.json.decode(text, type=kind) if isinstance(text, str) else None
    except msgspec.MsgspecError:
        return None

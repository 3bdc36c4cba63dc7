"""Who may work on a pair of places: one job at a time, and one process on a job.

    copy SRC DST -> nobody holds the pair                          -> a new job, which holds it until it is through
                 -> a job that can be resumed holds it             -> exit 2, with both commands; --fresh: it lets go
                 -> a process is at work on it                     -> exit 11
    resume JOB   -> its process is gone                            -> this process takes it over

Looking and taking are one transaction, so that of two processes one is refused. A process of another machine
cannot be seen from here: its job counts as at work until it is known to have ended.
"""

from __future__ import annotations

import os
import socket
import sqlite3

import msgspec

from transfer.job.identity import process_mark
from transfer.job.rows import HOLDING, Job
from transfer.job.store import JobStore, insert_job
from transfer.model.crash import crash
from transfer.model.endpoint import Secret
from transfer.model.errors import AGAIN, RESUME, RESUME_HINT, LockedError, StateFullError, TransferError, UsageError
from transfer.model.plan import CopyRequest


def begin(store: JobStore, command: str, request: CopyRequest, shown: str) -> str:
    """A new job for *request*; a dry run, a verify, an export and what comes from standard input hold nothing.

    Raises:
        UsageError: an unfinished job holds this pair of places, and --fresh was not said.
        LockedError: another process is at work on it.
    """
    places = str(request.source), "" if request.alone else str(request.target)
    if command not in HOLDING or request.dry_run or request.source.is_stdio:
        return store.new_job(command, *places, shown, request.label)
    with store.transaction() as database:
        for job in store.holding():
            if (job.source, job.target) == places:
                _supersede(database, job, request)
        begun = insert_job(database, command, *places, shown, request.label, stored(request))
    crash("store.begun")
    return begun


def resume_command(job: str, request: CopyRequest) -> str:
    """What to type to go on with *job*, which is for *request*."""
    state = f" --state {request.state_dir}" if request.state_dir else ""
    return f"transfer resume {job}{state}" + (" --identity FILE" if request.encrypt_to else "")


def next_command(
    error: TransferError, store: JobStore, job: str, request: CopyRequest, *, resumes: bool = False
) -> str:
    """The hint of *error* with the command that goes on: with this job, once it has begun and while it is kept.

    A store that cannot be written keeps the job as it was, which holds its pair of places; one that holds nothing
    cannot be gone on with. *resumes*: an earlier process had begun it.
    """
    hint = error.hint
    if RESUME not in hint:
        return hint
    begun = store.path.exists() and (isinstance(error, StateFullError) or _is_begun(store.get(job)))
    if not begun and not resumes:
        return AGAIN if hint == RESUME_HINT else hint.replace(RESUME, AGAIN)
    return hint.replace(RESUME, resume_command(job, request))


def _is_begun(job: Job) -> bool:
    return job.holds and job.state == "running"


def _supersede(database: sqlite3.Connection, job: Job, request: CopyRequest) -> None:
    _refuse_live(job)
    if not request.fresh:
        raise UsageError(
            f"job {job.job} copies from here to there and is not through ({job.state})",
            where=f"{job.source} {job.target}",
            hint=f"{resume_command(job.job, request)} goes on with it; the same copy --fresh begins anew",
        )
    database.execute("UPDATE jobs SET holds = 0 WHERE job = ?", (job.job,))


def resumable(store: JobStore, name: str) -> Job:
    """Job *name* ("": the last one that can be resumed).

    Raises:
        UsageError: there is no such job, or it is through.
        LockedError: another process is at work on it.
    """
    job = store.get(name) if name else _last(store)
    if not job.holds:
        hint = "transfer jobs list" if job.live else "run the copy again; transfer jobs show " + job.job
        raise UsageError(f"job {job.job} cannot be resumed: it is {job.state}", hint=hint)
    _refuse_live(job)
    return job


def reopen(store: JobStore, name: str) -> None:
    """Take over job *name* for this process. Raises as `resumable`."""
    with store.transaction() as database:
        job = resumable(store, name)
        pid = os.getpid()
        database.execute(
            "UPDATE jobs SET state = 'planned', runs = runs + 1, pid = ?, process = ?, host = ?, ended_ms = NULL,"
            " exit = NULL, error = NULL WHERE job = ?",
            (pid, process_mark(pid), socket.gethostname(), job.job),
        )
    crash("store.reopened")


def _last(store: JobStore) -> Job:
    waiting = [job for job in store.holding() if not job.live]
    if not waiting:
        raise UsageError("there is no job to resume", hint="transfer jobs list")
    return waiting[0]


def _refuse_live(job: Job) -> None:
    if job.live:
        away = "" if job.host == socket.gethostname() else f" on {job.host}"
        hint = f"wait for it: transfer jobs show {job.job}"
        if away:
            hint = f"if no process {job.pid} runs on {job.host} any more: transfer jobs clean {job.job}"
        raise LockedError(
            f"job {job.job} is at work: process {job.pid}{away}", where=f"{job.source} {job.target}", hint=hint
        )


def stored(request: CopyRequest) -> str:
    """A request as JSON. Of a password only that there was one is kept."""
    return msgspec.json.encode(request, enc_hook=_without_secret).decode()


def restored(text: str) -> CopyRequest:
    """What `stored` kept; passwords in it are empty.

    Raises:
        UsageError: another version of this program stored it.
    """
    try:
        return msgspec.json.decode(text, type=CopyRequest, dec_hook=_empty_secret)
    except msgspec.MsgspecError:
        raise UsageError("another version of transfer began this job", hint="use that version, or --fresh") from None


def _without_secret(value: object) -> object:
    assert isinstance(value, Secret)
    return ""


def _empty_secret(kind: type, value: object) -> object:
    assert kind is Secret
    return Secret("")

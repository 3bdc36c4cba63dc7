"""Taking away what jobs left: rows of the store, files of the state directory, keys at the target.

    prune -> rows and files of jobs that are through and old enough
    clean -> temporary keys of one job at its target, its files; it lets go of its pair of places

Rule 1: a job that runs, or can be resumed, is never pruned, and so is its undo archive.
Rule 2: a job that was cleaned is never resumed. One that runs is not cleaned; of one on another machine the target is
        asked whether it is connected there.
"""

from __future__ import annotations

import socket
import time

import msgspec

from transfer.endpoint.archive.undo import files_of, size_of
from transfer.endpoint.redis.leftovers import remove_temporaries
from transfer.endpoint.redis.neighbours import neighbours
from transfer.job.copy import open_one
from transfer.job.rows import Job
from transfer.job.store import JobStore
from transfer.job.trail import leave_nothing
from transfer.job.undo import archive_folder, remove_archive
from transfer.model.errors import LockedError
from transfer.model.plan import CopyRequest

_TABLES = ("rejects", "paces", "orders", "jobs")


class Cleaned(msgspec.Struct, frozen=True):
    """What was taken away. *temporaries* is None where the target was not asked."""

    job: str
    temporaries: int | None
    files: int
    was_resumable: bool


class Pruned(msgspec.Struct, frozen=True):
    """Jobs that were forgotten; bytes of their undo archives, and of those that stay (`unfinished` of these)."""

    pruned: list[str]
    undo_bytes: int = 0
    undo_bytes_left: int = 0
    unfinished: int = 0


def prune(store: JobStore, older_ms: int, keep: int = 0) -> Pruned:
    """Forget jobs that are through and ended more than *older_ms* ago, but not the last *keep* of them."""
    limit_ms = time.time_ns() // 1_000_000 - older_ms
    through = [job for job in store.list_jobs() if not job.live and not job.holds][keep:]
    gone = [job.job for job in through if (job.ended_ms or job.started_ms) <= limit_ms]
    folders = {job.job: archive_folder(job, store.path.parent) for job in through}
    with store.transaction() as database:
        for table in _TABLES:
            database.executemany(f"DELETE FROM {table} WHERE job = ?", [(job,) for job in gone])  # noqa: S608
    for name in gone:
        leave_nothing(store.path.parent, name)
    freed = sum(remove_archive(folders[name]) for name in gone)
    stay = [job for job in store.list_jobs() if files_of(archive_folder(job, store.path.parent))]
    left = sum(size_of(archive_folder(job, store.path.parent)) for job in stay)
    return Pruned(gone, freed, left, sum(job.holds or job.live for job in stay))


def refuse_running(job: Job) -> None:
    """Raises LockedError if a process of this machine is at work on *job*."""
    if job.live and job.host == socket.gethostname():
        hint = f"transfer jobs cancel {job.job}"
        raise LockedError(f"job {job.job} runs: process {job.pid}", where=f"{job.source} {job.target}", hint=hint)


async def clean_target(job: str, request: CopyRequest) -> int:
    """Remove the temporary keys of *job* at the target of its *request*; returns how many there were.

    Raises:
        LockedError: a process of it is connected there.
        TransferError: the target cannot be reached, or refuses.
    """
    server = await open_one(request, request.target, "")
    others = (await neighbours(server, job)).found
    if others:
        raise LockedError(f"it runs: {others[0]}", where=server.where, hint=f"transfer jobs cancel {job}")
    return await remove_temporaries(server, job)


def clean_here(store: JobStore, job: Job, temporaries: int | None) -> Cleaned:
    """Remove the files of *job* and let go of its pair of places; it can never be resumed then."""
    files = len(list(store.path.parent.glob(f"{job.job}.*")))
    with store.transaction() as database:
        state = "cancelled" if job.holds else job.state
        if job.holds or job.live:
            database.execute("UPDATE jobs SET holds = 0, state = ? WHERE job = ?", (state, job.job))
        database.execute("DELETE FROM orders WHERE job = ?", (job.job,))
    leave_nothing(store.path.parent, job.job)
    return Cleaned(job.job, temporaries, files, job.holds)

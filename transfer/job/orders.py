"""Orders from another shell to a job that runs: stop here and go on later, or end for good.

    jobs pause | cancel -> give: a row in the store -> the run looks there five times a second -> obeys: the row is gone
                        -> wait_end: until the job's own row says how it ended, or it is dead

Rule 1: an order is for a job that runs on this machine; any other is refused with what is known of it.
Rule 2: an order that nobody took is taken back: it must not meet the job when it is resumed.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Literal

from transfer.job.rows import HOLDING, Job
from transfer.job.store import JobStore
from transfer.model.errors import UsageError

Word = Literal["pause", "cancel"]

ENDS_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.05
_LIVE = ("planned", "running")


def orders_of(store: JobStore, job: str) -> Callable[[], str]:
    """What the run asks again and again: the order for *job*, once, or ""."""

    def take() -> str:
        rows = store._read("SELECT word FROM orders WHERE job = ?", (job,))
        if rows:
            withdraw(store, job)
        return str(rows[0][0]) if rows else ""

    return take


def give(store: JobStore, job: Job, word: Word) -> None:
    """Order the process of *job* to end.

    Raises:
        UsageError: it is not one that runs on this machine, or not one that can be paused.
    """
    _check(job, word)
    store._write(
        "INSERT INTO orders (job, word) VALUES (?, ?) ON CONFLICT (job) DO UPDATE SET word = excluded.word",
        (job.job, word),
    )


def withdraw(store: JobStore, job: str) -> None:
    """Take back an order that was not obeyed."""
    store._write("DELETE FROM orders WHERE job = ?", (job,))


def wait_end(store: JobStore, job: str, within_s: float = ENDS_WITHIN_S) -> Job:
    """*job* as it is once it has ended, or when the time is up."""
    until_s = time.monotonic() + within_s
    while True:
        found = store.get(job)
        if found.state not in _LIVE or time.monotonic() > until_s:
            withdraw(store, job)
            return found
        time.sleep(_LOOK_EVERY_S)


def runs(job: Job) -> bool:
    """Whether *job* has not ended, as far as can be told from here."""
    return job.state in _LIVE


def _check(job: Job, word: Word) -> None:
    if not runs(job):
        hint = f"transfer jobs clean {job.job} makes sure that it is never gone on with" if word == "cancel" else ""
        said = f"job {job.job} does not run: it is {job.state}"
        raise UsageError(said, hint=hint or f"transfer jobs show {job.job}")
    if job.host != socket.gethostname():
        said = f"job {job.job} runs on {job.host}, not here ({socket.gethostname()}): it takes orders there"
        raise UsageError(said, hint=f"on {job.host}: transfer jobs {word} {job.job}")
    if word == "pause" and job.command not in HOLDING:
        said = f"job {job.job} is a {job.command}: only a copy can be paused and gone on with"
        raise UsageError(said, hint=f"transfer jobs cancel {job.job}")

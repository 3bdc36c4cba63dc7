"""The job store: one SQLite file that remembers every run.

    JobStore.open(dir) -> new_job -> state ... -> save_plan -> add_rejects ... -> finish      (one process per job)
                       -> list_jobs, get, rejects, ask_pace, and orders.py                    (any process, any time)

Rule 1: a row is on disk before its job says a word: WAL and synchronous=FULL.
Rule 2: nothing secret is kept: places come redacted, argv is not stored; with `hash_keys` names are not either.
Rule 3: several processes may write at once; each waits for the others up to BUSY_MS.
Rule 4: file 0600 from its first byte on, directory 0700.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from transfer import __version__
from transfer.job.database import committed, failures_of, opened, store_path
from transfer.job.identity import new_job_id, process_mark
from transfer.job.rows import COLUMNS, Job, job_of, stored_error
from transfer.model.crash import crash, point
from transfer.model.errors import CancelledRunError, TransferError, UsageError
from transfer.model.report import Reject, Report
from transfer.report.names import hashed_name, without_quoted

_BEGUN = point("store.begun", "the row of a new job is in the store")
_REOPENED = point("store.reopened", "this process has taken over the row of an interrupted job")
_PLANNED = point("store.planned", "the plan is in the store")
_STATE = point("store.state", "the state of the job was changed")
_REJECTS = point("store.rejects", "rejected keys are in the store")
_FINISHED = point("store.finished", "the job's end is in the store")

STATES = ("planned", "running", "finished", "failed", "interrupted", "cancelled")
_BATCH = 500
_BATCH_S = 1.0
_ID_TRIES = 100


class JobStore:
    """An open store. Methods block for a moment: call them from a worker thread where time matters.

    Safe to use from several threads. Every method raises UsageError if the file cannot be written,
    FormatError if it is damaged, LockedError if another process holds it for longer than BUSY_MS.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, hash_keys: bool) -> None:
        self.path = path
        self._database = database
        self._hash_keys = hash_keys
        self._lock = threading.RLock()
        self._waiting: list[tuple[str, int, bytes, str, str]] = []
        self._flush_s = 0.0

    @classmethod
    def open(cls, directory: str = "", *, hash_keys: bool = False) -> JobStore:
        """The store in *directory* ("": the state directory of the user), made if it is not there."""
        path = store_path(directory)
        database = opened(path)
        return cls(path, database, hash_keys)

    def close(self) -> None:
        """Write what waits and close the file."""
        with self._lock:
            self.flush()
            self._database.close()

    def __enter__(self) -> JobStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def new_job(
        self, command: str, source: str, target: str, request: str = "", label: str = "", whole: str = ""
    ) -> str:
        """Store a row in state `planned` under an id that nobody has; when this returns it is on disk.

        With a *whole* request the job holds its pair of places.
        """
        with self.transaction() as database:
            job = insert_job(database, command, source, target, request, label, whole)
        crash(_BEGUN)
        return job

    def create(self, job: str, command: str, source: str, target: str, request: str = "", label: str = "") -> None:
        """`new_job` under a given id. Raises UsageError if there is one of that name."""
        with self.transaction() as database:
            if not insert_job(database, command, source, target, request, label, "", ids=(job,)):
                raise UsageError(
                    f"there is a job {job} already", where=str(self.path), hint=f"transfer jobs show {job}"
                )

    def state(self, job: str, state: str) -> None:
        """Move *job* to one of STATES."""
        assert state in STATES, state
        self._write("UPDATE jobs SET state = ? WHERE job = ?", (state, job))
        crash(_STATE)

    def save_plan(self, job: str, plan: str) -> None:
        """Keep the plan, as JSON."""
        self._write("UPDATE jobs SET plan = ? WHERE job = ?", (plan, job))
        crash(_PLANNED)

    def save_request(self, job: str, whole: str) -> None:
        """Keep the request as it is by now."""
        self._write("UPDATE jobs SET whole = ? WHERE job = ?", (whole, job))

    def let_go(self, job: str) -> None:
        """*job* will not be resumed: others may work on its pair of places."""
        self._write("UPDATE jobs SET holds = 0 WHERE job = ?", (job,))

    def add_reject(self, job: str, reject: Reject) -> None:
        """Keep one rejected key. It reaches the disk with the next batch, at the latest at `finish`."""
        self.add_rejects(job, (reject,))

    def add_rejects(self, job: str, rejects: Iterable[Reject]) -> None:
        """Keep rejected keys, written every _BATCH keys or _BATCH_S seconds."""
        with self._lock:
            self._waiting += [
                (job, item.db, self._name(item.key), item.code, self._cause(item.cause)) for item in rejects
            ]
            if len(self._waiting) >= _BATCH or time.monotonic() - self._flush_s > _BATCH_S:
                self.flush()

    def flush(self) -> None:
        """Write rejects that wait for their batch."""
        with self._lock:
            if self._waiting:
                with self.transaction() as database:
                    database.executemany(
                        "INSERT INTO rejects (job, db, key, code, cause) SELECT ?1, ?2, ?3, ?4, ?5 WHERE NOT EXISTS"
                        " (SELECT 1 FROM rejects WHERE job = ?1 AND db = ?2 AND key = ?3 AND code = ?4)",
                        self._waiting,
                    )
                self._waiting.clear()
                crash(_REJECTS)
            self._flush_s = time.monotonic()

    def finish(self, job: str, report: Report, error: TransferError | None = None) -> None:
        """The end of *job*: its state follows from the exit code, the rejects have their own rows.

        A job that had begun to move keys and is not through can be resumed: it goes on to hold its pair.
        """
        self.flush()
        code = error.exit_code if error else report.exit
        through = code in (0, 3, 6, 7) or (error is None and bool(report.damage))
        state = "interrupted" if code in (130, 143) else "finished" if through else "failed"
        state = "cancelled" if isinstance(error, CancelledRunError) else state
        kept = msgspec.json.encode(msgspec.structs.replace(report, rejects=[], causes={})).decode()
        failure = msgspec.json.encode(stored_error(error)).decode() if error else None
        self._write(
            "UPDATE jobs SET state = ?,"
            " holds = (holds AND (state = 'running' OR runs > 1) AND ? NOT IN ('finished', 'cancelled')),"
            " report = ?, error = ?, exit = ?, ended_ms = ? WHERE job = ?",
            (state, state, kept, failure, code, _now_ms(), job),
        )
        crash(_FINISHED)

    def list_jobs(self) -> list[Job]:
        """Every job, newest first."""
        return self._jobs("ORDER BY started_ms DESC, rowid DESC", ())

    def get(self, job: str) -> Job:
        """The job of this id, or the only one whose id begins or ends so. Raises UsageError if there is not one."""
        exact = self._jobs("WHERE job = ?", (job,))
        found = exact or self._jobs("WHERE instr(job, ?) = 1 OR job LIKE ? ESCAPE '!'", (job, f"%-{_literal(job)}"))
        if len(found) == 1 and job:
            return found[0]
        many = f"{len(found)} jobs fit {job!r}: " + ", ".join(sorted(item.job for item in found)[:5])
        raise UsageError(many if found and job else f"there is no job {job!r}", hint="transfer jobs list")

    def rejects(self, job: str) -> list[Reject]:
        """The rejected keys of *job* in the order they came."""
        self.flush()
        rows = self._read("SELECT db, key, code, cause FROM rejects WHERE job = ? ORDER BY number", (job,))
        return [msgspec.convert(dict(zip(("db", "key", "code", "cause"), row, strict=True)), Reject) for row in rows]

    def ask_pace(self, job: str, changes: dict[str, str | int]) -> int:
        """Ask the process of *job* for another pace: *changes* are added to what was asked before. Its number."""
        with self.transaction() as database:
            row = database.execute("SELECT asked, number FROM paces WHERE job = ?", (job,)).fetchone() or ("{}", 0)
            asked = msgspec.json.encode(msgspec.json.decode(row[0]) | changes).decode()
            database.execute(
                "INSERT INTO paces (job, asked, number) VALUES (?, ?, ?)"
                " ON CONFLICT (job) DO UPDATE SET asked = excluded.asked, number = excluded.number",
                (job, asked, row[1] + 1),
            )
        return int(row[1]) + 1

    def asked_pace(self, job: str) -> tuple[int, dict[str, str | int]]:
        """(number of the last request, what was asked so far); (0, {}) where nobody asked."""
        rows = self._read("SELECT number, asked FROM paces WHERE job = ?", (job,))
        number, asked = rows[0] if rows else (0, "{}")
        return msgspec.convert(number, int), msgspec.json.decode(str(asked), type=dict[str, str | int])

    def tell_pace(self, job: str, present: str, taken: int) -> None:
        """Keep the pace of *job* as it is now, as JSON, and the number of the last request that is obeyed."""
        self._write(
            "INSERT INTO paces (job, present, taken) VALUES (?, ?, ?)"
            " ON CONFLICT (job) DO UPDATE SET present = excluded.present, taken = excluded.taken",
            (job, present, taken),
        )

    def present_pace(self, job: str) -> tuple[int, str]:
        """(number of the last request that is obeyed, the pace as JSON); (0, "") where none was told."""
        rows = self._read("SELECT taken, coalesce(present, '') FROM paces WHERE job = ?", (job,))
        return (msgspec.convert(rows[0][0], int), str(rows[0][1])) if rows else (0, "")

    def _name(self, key: bytes) -> bytes:
        return hashed_name(key).encode() if self._hash_keys else key

    def _cause(self, text: str) -> str:
        return without_quoted(text) if self._hash_keys else text

    def holding(self) -> list[Job]:
        """Jobs that are at work on a pair of places, or can be resumed; newest first."""
        return self._jobs("WHERE holds ORDER BY started_ms DESC, rowid DESC", ())

    def _jobs(self, rest: str, values: tuple[object, ...]) -> list[Job]:
        rows = self._read(f"SELECT {COLUMNS} FROM jobs {rest}", values)  # noqa: S608 - constants of this module
        return [job_of(row) for row in rows]

    def _read(self, statement: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        with self._lock, failures_of(self.path), closing(self._database.execute(statement, values)) as cursor:
            return cursor.fetchall()

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        with self.transaction() as database:
            return database.execute(statement, values).rowcount

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction of ours alone: what is read in it stays so until it ends."""
        with self._lock, failures_of(self.path), committed(self._database) as database:
            yield database


def insert_job(
    database: sqlite3.Connection,
    command: str,
    source: str,
    target: str,
    request: str,
    label: str,
    whole: str,
    *,
    ids: Iterable[str] = (),
) -> str:
    """A new row, in a transaction that the caller holds; its id (the first of *ids* that is free), "" if none is."""
    pid = os.getpid()
    rest = (command, source, target, request, label, pid, process_mark(pid), socket.gethostname())
    names = "job, command, source, target, request, label, pid, process, host, version, started_ms, whole, holds, state"
    marks = ", ".join("?" * 13)
    statement = f"INSERT OR IGNORE INTO jobs ({names}) VALUES ({marks}, 'planned')"  # noqa: S608 - constants
    for job in ids or (new_job_id() for _ in range(_ID_TRIES)):
        if database.execute(statement, (job, *rest, __version__, _now_ms(), whole, bool(whole))).rowcount == 1:
            return job
    return ""


def _literal(text: str) -> str:
    """For LIKE with ESCAPE '!'."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

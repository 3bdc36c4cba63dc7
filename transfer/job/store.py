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
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import platformdirs

from transfer import __version__
from transfer.job.identity import is_alive, new_job_id, process_mark
from transfer.model.crash import crash, point
from transfer.model.errors import CancelledRunError, FormatError, LockedError, StateFullError, TransferError, UsageError
from transfer.model.report import Reject, Report
from transfer.report.names import hashed_name, without_quoted

_BEGUN = point("store.begun", "the row of a new job is in the store")
_REOPENED = point("store.reopened", "this process has taken over the row of an interrupted job")
_PLANNED = point("store.planned", "the plan is in the store")
_STATE = point("store.state", "the state of the job was changed")
_REJECTS = point("store.rejects", "rejected keys are in the store")
_FINISHED = point("store.finished", "the job's end is in the store")

FILE_NAME = "jobs.sqlite3"
BUSY_MS = 15_000
SCHEMA = 4
STATES = ("planned", "running", "finished", "failed", "interrupted", "cancelled")
_LIVE = ("planned", "running")
_BATCH = 500
_BATCH_S = 1.0
_ID_TRIES = 100

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
  job TEXT PRIMARY KEY, command TEXT NOT NULL, state TEXT NOT NULL, source TEXT NOT NULL, target TEXT NOT NULL,
  request TEXT NOT NULL, label TEXT NOT NULL, plan TEXT, report TEXT, error TEXT, exit INTEGER,
  pid INTEGER NOT NULL, process TEXT NOT NULL, host TEXT NOT NULL, version TEXT NOT NULL,
  started_ms INTEGER NOT NULL, ended_ms INTEGER, whole TEXT NOT NULL DEFAULT '', holds INTEGER NOT NULL DEFAULT 0,
  runs INTEGER NOT NULL DEFAULT 1);
CREATE TABLE IF NOT EXISTS rejects (
  number INTEGER PRIMARY KEY, job TEXT NOT NULL, db INTEGER NOT NULL, key BLOB NOT NULL, code TEXT NOT NULL,
  cause TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS rejects_of_job ON rejects (job, number);
CREATE INDEX IF NOT EXISTS rejects_by_key ON rejects (job, db, key);
CREATE TABLE IF NOT EXISTS paces (
  job TEXT PRIMARY KEY, asked TEXT NOT NULL DEFAULT '{}', number INTEGER NOT NULL DEFAULT 0, present TEXT,
  taken INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS orders (job TEXT PRIMARY KEY, word TEXT NOT NULL);
"""
_ADDED = {
    "whole": "TEXT NOT NULL DEFAULT ''",
    "holds": "INTEGER NOT NULL DEFAULT 0",
    "runs": "INTEGER NOT NULL DEFAULT 1",
}
"""Columns of jobs that came with schema 3."""
_COLUMNS = (
    "job, command, state, source, target, request, label, plan, report, error, exit, pid, process, host, version,"
    " started_ms, ended_ms, whole, holds, runs, (SELECT count(*) FROM rejects WHERE rejects.job = jobs.job)"
)


class StoredError(msgspec.Struct, frozen=True):
    """How a job failed."""

    code: str
    message: str
    where: str = ""
    hint: str = ""


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
        with _failures_of(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            database = sqlite3.connect(
                path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False, cached_statements=32
            )
            try:
                _prepare(database, path)
            except BaseException:
                database.close()
                raise
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
        state = "interrupted" if code in (130, 143) else "finished" if code in (0, 3, 6, 7) else "failed"
        state = "cancelled" if isinstance(error, CancelledRunError) else state
        kept = msgspec.json.encode(msgspec.structs.replace(report, rejects=[])).decode()
        failure = msgspec.json.encode(_stored(error)).decode() if error else None
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
        rows = self._read(f"SELECT {_COLUMNS} FROM jobs {rest}", values)  # noqa: S608 - constants of this module
        return [_job(row) for row in rows]

    def _read(self, statement: str, values: tuple[object, ...]) -> list[tuple[object, ...]]:
        with self._lock, _failures_of(self.path), closing(self._database.execute(statement, values)) as cursor:
            return cursor.fetchall()

    def _write(self, statement: str, values: tuple[object, ...]) -> int:
        with self.transaction() as database:
            return database.execute(statement, values).rowcount

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE: a transaction that starts as a reader cannot wait for its turn to write."""
        with self._lock, _failures_of(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


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


def state_dir(directory: str = "") -> Path:
    """*directory* if given, else where this system keeps the state of programs for this user."""
    return Path(directory).expanduser() if directory else Path(platformdirs.user_state_dir("transfer", appauthor=False))


def store_path(directory: str = "") -> Path:
    """The file of the store in *directory*; it need not be there."""
    return state_dir(directory) / FILE_NAME


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    _retried(lambda: database.execute("PRAGMA journal_mode = WAL").fetchone())
    database.execute("PRAGMA synchronous = FULL")
    found = database.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA:
        raise UsageError(
            f"the job store is of a newer version of transfer (schema {found}, this one knows {SCHEMA})",
            where=str(path),
            hint="use that version, or another directory with --state DIR",
        )
    if found < SCHEMA:
        database.execute("BEGIN IMMEDIATE")
        for statement in filter(str.strip, _TABLES.split(";")):
            database.execute(statement)
        there = {row[1] for row in database.execute("PRAGMA table_info(jobs)")}
        for name, kind in _ADDED.items():
            if name not in there:
                database.execute(f"ALTER TABLE jobs ADD COLUMN {name} {kind}")
        database.execute(f"PRAGMA user_version = {SCHEMA}")
        database.execute("COMMIT")
    database.execute("SELECT job FROM jobs LIMIT 1").fetchone()


def _retried(change_mode: Callable[[], object]) -> None:
    """Going over to WAL does not wait for other processes as everything else does, so it is tried again here."""
    until_s = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            change_mode()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until_s:
                raise
            time.sleep(0.01)


@contextmanager
def _failures_of(path: Path) -> Iterator[None]:
    """What sqlite3 and the file system say, as errors of ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            raise LockedError(
                f"another process holds the job store for more than {BUSY_MS // 1000} s", where=str(path)
            ) from None
        if "malformed" in text or "no such" in text:
            raise _damaged(path, text) from None
        if "full" in text or "disk I/O" in text:
            raise StateFullError(f"the job store cannot be written: {text}", where=str(path)) from None
        raise UsageError(f"the job store cannot be used: {text}", where=str(path), hint=_ELSEWHERE) from None
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from None
    except OSError as error:
        raise UsageError(f"the job store cannot be used: {error.strerror}", where=str(path), hint=_ELSEWHERE) from None


_ELSEWHERE = "check the directory and the space on its disk, or name another with --state DIR"


def _damaged(path: Path, said: str) -> FormatError:
    hint = f"move it away (mv {path} {path}.damaged), or name another directory with --state DIR"
    return FormatError(f"the job store is damaged: {said}", where=str(path), hint=hint)


def _stored(error: TransferError) -> StoredError:
    return StoredError(error.code, error.message, error.where, error.hint)


def _job(row: tuple[object, ...]) -> Job:
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


def _literal(text: str) -> str:
    """For LIKE with ESCAPE '!'."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

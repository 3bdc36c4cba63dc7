"""The file of the job store: where it lies, its tables, and what sqlite3 says of it as errors of ours.

Rule 1: WAL and synchronous=FULL: what was committed is on the disk.
Rule 2: file 0600 from its first byte on, directory 0700.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from transfer.model.errors import FormatError, LockedError, StateFullError, UsageError

FILE_NAME = "jobs.sqlite3"
BUSY_MS = 15_000
SCHEMA = 4

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


def opened(path: Path) -> sqlite3.Connection:
    """The database in *path*, made if it is not there.

    Raises:
        UsageError, StateFullError: the file cannot be written.
        FormatError: it is damaged.
        LockedError: another process holds it for longer than BUSY_MS.
    """
    with failures_of(path):
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
    return database


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
def failures_of(path: Path) -> Iterator[None]:
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


@contextmanager
def committed(database: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """BEGIN IMMEDIATE ... COMMIT: a transaction that starts as a reader cannot wait for its turn to write."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield database
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise

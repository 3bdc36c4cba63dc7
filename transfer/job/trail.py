"""The trail of one running job: how far it has come and what it wrote, for the process that goes on after its death.

    before a request is sent: hashes of its records, `sent`              } a transaction each, in the WAL of a SQLite
    after it was answered:    the same as `written`, positions, counts   } file of its own: a dead process loses none
    every second, in a thread: fsync                                     - a dead machine loses a second: done again

Rule 1: a position is written with, or after, the records that it leaves behind, never before.
Rule 2: rejected keys are in the job store before a position passes them (`before`).
Rule 3: a trail that is lost or damaged costs time, never keys: everything is read again, what is equal is skipped.
Rule 4: 16 bytes of hashes a key; names are kept of at most 150 landmarks. The file is 0600, and goes with a success.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from transfer.endpoint.redis.fullsync.kept import SyncNote
from transfer.endpoint.redis.landmarks import Mark
from transfer.job.database import committed
from transfer.model.crash import crash, point
from transfer.model.endpoint import Identity
from transfer.model.errors import StateFullError
from transfer.model.report import KeyCounts

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS positions (partition TEXT PRIMARY KEY, cursor TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, hashes BLOB NOT NULL,
  vals BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS landed (number INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS temporaries (db INTEGER NOT NULL, name BLOB NOT NULL);
"""
_KIND = "CASE WHEN number IN landed THEN 'written' ELSE kind END"
"""What has landed is told beside the records: to update a row would write its hashes once more."""
_SYNC_S = 1.0
_FACTS_S = 0.5
_RECENT = 64
"""Batches; more than are ever on their way at once."""

_SENT = point("trail.sent", "the records about to be sent are in the trail, nothing was sent")
_FLUSHED = point("trail.flushed", "records and positions of acknowledged batches are in the trail")
_RESTARTED = point("trail.restarted", "the positions were forgotten, since a server was replaced")
_SYNCED = point("trail.synced", "the trail was brought to the disk")


class Facts(msgspec.Struct, kw_only=True):
    """What is known of a run beside its positions."""

    source: Identity
    target: Identity
    began_ms: int
    writes_before: int
    counts: KeyCounts = msgspec.field(default_factory=KeyCounts)
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
    marks: list[Mark] = msgspec.field(default_factory=list)
    held: int = 0
    lasting: int = 0
    until_ms: int = 0
    read_later: int = 0


class Trail:
    """An open trail; see the module. Used by one task group, `sync` by a thread beside it.

    Raises, everywhere: StateFullError where the file cannot be written.

    Attributes:
        facts: called for what is kept beside records and positions.
        before: called before positions are written.
        sync_note: of the full sync that the positions may be of.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self.sync_note = SyncNote(path.parent, path.stem)
        self.facts: Callable[[], Facts] | None = None
        self.before: Callable[[], None] = lambda: None
        self._database = database
        self._noted: list[tuple[str, bytes, bytes]] = []
        self._landed: list[tuple[int]] = []
        self._moved: dict[str, str] = {}
        self._facts_at, self._marks = float("-inf"), 0

    @classmethod
    def open(cls, path: Path) -> Trail:
        """The trail in *path*, made if it is not there. One that is damaged is put aside and begun anew."""
        with _failures_of(path):
            try:
                return cls(path, _opened(path))
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                    raise
                leave_nothing(path.parent, path.stem)
                return cls(path, _opened(path))

    def sent(self, hashes: bytes, values: bytes) -> int:
        """Records that are about to be sent; the number to tell `landed`."""
        with _failures_of(self.path):
            row = self._database.execute(
                "INSERT INTO records (kind, hashes, vals) VALUES ('sent', ?, ?)", (hashes, values)
            )
        crash(_SENT)
        return row.lastrowid or 0

    def temporary(self, db: int, name: bytes) -> None:
        """The temporary key *name* is about to be made in *db* of the target."""
        with _failures_of(self.path):
            self._database.execute("INSERT INTO temporaries VALUES (?, ?)", (db, name))

    def temporaries(self) -> dict[int, list[bytes]]:
        """Names of temporary keys that were made, by database; most are gone."""
        found: defaultdict[int, list[bytes]] = defaultdict(list)
        with _failures_of(self.path):
            for db, name in self._database.execute("SELECT db, name FROM temporaries"):
                found[db].append(name)
        return found

    def landed(self, number: int) -> None:
        """All records of this number were written."""
        self._landed.append((number,))

    def noting(self, kind: str) -> Callable[[bytes, bytes], None]:
        """For a ledger: its records are kept as *kind*."""
        return lambda hashes, values: self._noted.append((kind, hashes, values))

    def moved(self, partition: str, cursor: str) -> None:
        """Everything of *partition* up to *cursor* has its fate."""
        self._moved[partition] = cursor

    def flush(self) -> None:
        """Write what was noted since, in one transaction."""
        self.before()
        with self._transaction() as database:
            if self._landed:
                database.executemany("INSERT INTO landed VALUES (?)", self._landed)
            if self._noted:
                database.executemany("INSERT INTO records (kind, hashes, vals) VALUES (?, ?, ?)", self._noted)
            if self._moved:
                database.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", list(self._moved.items()))
            self._write_facts(database)
        self._landed, self._noted, self._moved = [], [], {}
        crash(_FLUSHED)

    def _write_facts(self, database: sqlite3.Connection) -> None:
        if self.facts is None:
            return
        facts = self.facts()
        due = time.monotonic() - self._facts_at > _FACTS_S
        if due or len(facts.marks) > 2 * self._marks:  # the first ones soon: a run may be short
            self._facts_at, self._marks = time.monotonic(), len(facts.marks)
            self._fact(database, "facts", msgspec.json.encode(facts))
        self._fact(database, "counts", msgspec.json.encode((facts.counts, facts.bytes_read, facts.bytes_written)))

    @staticmethod
    def _fact(database: sqlite3.Connection, name: str, value: bytes) -> None:
        database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value.decode()))

    def restart(self) -> None:
        """Everything is to be read again: positions are void, records stay."""
        self._moved = {}
        self._facts_at = float("-inf")
        with self._transaction() as database:
            database.execute("DELETE FROM positions")
            self._write_facts(database)
        crash(_RESTARTED)

    def positions(self) -> dict[str, str]:
        """Cursor by partition."""
        with _failures_of(self.path):
            return dict(self._database.execute("SELECT partition, cursor FROM positions"))

    def last_facts(self) -> Facts | None:
        """What the process before knew, None if there was none."""
        with _failures_of(self.path):
            rows = dict(self._database.execute("SELECT name, value FROM facts"))
        try:
            facts = msgspec.json.decode(rows["facts"], type=Facts)
            counted = msgspec.json.decode(rows["counts"], type=tuple[KeyCounts, int, int])
        except (KeyError, msgspec.MsgspecError):
            return None
        facts.counts, facts.bytes_read, facts.bytes_written = counted
        return facts

    def records(self) -> Iterator[tuple[str, bytes, bytes]]:
        """(kind, hashes, values) in the order they were kept."""
        with _failures_of(self.path), closing(self._database.cursor()) as cursor:
            yield from cursor.execute(f"SELECT {_KIND}, hashes, vals FROM records ORDER BY number")  # noqa: S608

    def recent(self) -> set[bytes]:
        """Hashes of the names that were settled last: those beyond the positions are among them."""
        settled = "(kind IN ('found_equal', 'kept', 'written') OR number IN landed)"
        query = f"SELECT hashes FROM records WHERE {settled} ORDER BY number DESC LIMIT {_RECENT}"  # noqa: S608
        with _failures_of(self.path):
            rows = [row[0] for row in self._database.execute(query)]
        return {hashes[at : at + 8] for hashes in rows for at in range(0, len(hashes), 8)}

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Bring the trail to the disk now and then for the length of the block, and at its end."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._sync_often)
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    async def _sync_often(self) -> None:
        while True:
            await anyio.sleep(_SYNC_S)
            await anyio.to_thread.run_sync(self.sync)

    def sync(self) -> None:
        """fsync, from any thread: a checkpoint of the WAL over a connection of its own."""
        with _failures_of(self.path), closing(sqlite3.connect(self.path, timeout=5.0)) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        crash(_SYNCED)

    def close(self) -> None:
        """Let go of the file; what was noted and not flushed is not kept."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _failures_of(self.path), committed(self._database) as database:
            yield database


def trail_path(directory: Path, job: str) -> Path:
    """The file of *job*'s trail in a state directory."""
    return directory / f"{job}.trail"


def leave_nothing(directory: Path, job: str) -> None:
    """Take away what *job* kept for being resumed; its row in the store stays."""
    SyncNote(directory, job).forget()
    for path in directory.glob(f"{job}.*"):
        path.unlink(missing_ok=True)


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL").fetchone()
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("malformed")
        database.executescript(_TABLES)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def _failures_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise StateFullError(f"how far the job has come cannot be written: {said}", where=str(path)) from None

"""Names of keys as lines of a file, `name.txt`, as `--keys-from` reads them. Each name of a database once.

names -> lines -> NewFile -> those that SCAN gave twice? -> written anew without them -> disk -> read back -> named
"""

from __future__ import annotations

import time
from itertools import chain, repeat
from pathlib import Path

from transfer.endpoint.file.newfile import NewFile
from transfer.endpoint.file.sink import Names
from transfer.endpoint.redis.keyfile import line_of, name_of
from transfer.model.record import hash_of_name, hashes_of_names


class NamesFile:
    """The file of names *path*, made for *job*: `write`, database after database, `finish`, `keep`; or `drop` it.

    *seen* tells names that came twice. Raises, everywhere: as `NewFile`.

    Attributes:
        counts: database -> lines.
    """

    def __init__(self, path: Path, job: str, seen: Names) -> None:
        self.path, self._job, self._seen = path, job, seen
        self.counts: dict[int, int] = {}
        self._file = NewFile(path, job)

    def write(self, db: int, names: list[bytes]) -> None:
        """*names* of *db*, none of whose lines stand before those of another database."""
        self._seen.add_joined(b"".join(hashes_of_names(db, names)), b"")
        self.counts[db] = self.counts.get(db, 0) + len(names)
        self._file.write(b"".join(map(line_of, names)))

    def finish(self) -> int:
        """Bring it to the disk and read it back; how many lines were left out, since their names came twice."""
        self._file.sync()
        repeated = sum(self.counts.values()) - self._seen.distinct()
        if repeated:
            self._write_anew(self._seen.repeated())
        self._file.read_back()
        return repeated

    def keep(self) -> None:
        """Give it its name."""
        self._file.keep()

    def drop(self) -> None:
        """Leave nothing of it; harmless after `keep`."""
        self._file.drop()
        self._seen.close()

    def _write_anew(self, marks: set[bytes]) -> None:
        old, self._file = self._file, NewFile(self.path, f"{self._job}-{time.monotonic_ns()}")
        dbs = chain.from_iterable([repeat(db, lines) for db, lines in self.counts.items()])
        told = set[bytes]()
        try:
            with old.part.open("rb") as lines:
                for db, line in zip(dbs, lines, strict=True):
                    mark = hash_of_name(db, name_of(line[:-1]))
                    if mark not in told:
                        self._file.write(line)
                    else:
                        self.counts[db] -= 1
                    if mark in marks:
                        told.add(mark)
        finally:
            old.drop()
        self._file.sync()

"""An RDB file as a target: payloads as the source gave them, without their footers, one after the other.

    open -> header, AUX, functions -> batches: select database, keys -> end, checksum -> read back -> named

Rule 1: a payload whose own checksum does not hold is rejected by name: nobody behind a file would find that out.
Rule 2: a key that SCAN gave twice would end a server that loads the file: then it is written anew, the last one kept.
Rule 3: the version is the one in the source's payloads, so that no body need be touched.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Protocol

import anyio.to_thread

from transfer.codec.dump import FOOTER_BYTES, is_whole
from transfer.codec.rdb.items import Keys
from transfer.codec.rdb.writer import RdbWriter
from transfer.endpoint.file.checking import DAMAGED_CODE
from transfer.endpoint.file.newfile import NewFile
from transfer.endpoint.rdb.walk import RdbWalk
from transfer.endpoint.redis.folding import Folding
from transfer.endpoint.redis.landing import Approach, Landing
from transfer.model.ports import HashLedger, Origin
from transfer.model.record import Batch, hashes_of_names
from transfer.model.tally import Tally


class Names(Protocol):
    """Hashes of names, with those that were added more than once."""

    def add_joined(self, hashes: bytes, values: bytes) -> None: ...
    def distinct(self) -> int: ...
    def repeated(self) -> set[bytes]: ...
    def close(self) -> None: ...


class Head:
    """What stands before the keys."""

    def __init__(self, version: int, aux: dict[bytes, bytes], functions: list[bytes]) -> None:
        self.version, self.aux, self.functions = version, aux, functions

    def begin(self) -> tuple[RdbWriter, bytes]:
        """A writer, and the bytes of all this."""
        writer = RdbWriter(self.version)
        parts = [writer.header()]
        parts += [writer.aux(name, value) for name, value in self.aux.items()]
        parts += [writer.function(code) for code in self.functions]
        return writer, b"".join(parts)


class RdbSink:
    """Writes one file; `finish` it or `drop` it."""

    def __init__(
        self,
        path: Path,
        job: str,
        head: Head,
        *,
        approach: Approach,
        folding: Folding | None,
        written: HashLedger,
        names: Names,
        tally: Tally,
        clock: Origin,
    ) -> None:
        self._job, self._head = job, head
        self._approach, self._folding, self._written, self._tally = approach, folding, written, tally
        self._names, self._clock = names, clock
        self._count = 0
        self._db: int | None = None
        self.file = NewFile(path, job)
        self._writer, begun = head.begin()
        self.file.write(begun)

    async def write(self, batch: Batch) -> None:
        """As `Sink.write`, but durable only once `finish` was called."""
        db = self._approach.mapping.dbs[batch.db]
        now = self._clock.now_ms()
        landings = self._approach.land(batch.records(), now, now)
        if self._folding is not None:
            landings = self._folding.claim(db, landings)
        sound = [landing for landing in landings if self._holds(landing)]
        if not sound:
            return
        self.file.write(self._bytes(db, sound))
        names, dumps = [landing.name for landing in sound], [landing.record.dump for landing in sound]
        self._written.note(db, names, dumps, [landing.record.expire_at_ms for landing in sound])
        self._names.add_joined(b"".join(hashes_of_names(db, names)), b"")
        self._count += len(sound)
        self._tally.settle("written", len(sound))
        self._tally.bytes_written += sum(map(len, dumps))

    def _holds(self, landing: Landing) -> bool:
        record = landing.record
        if is_whole(record.dump):
            return True
        self._tally.reject(record.db, record.key, DAMAGED_CODE, "the checksum of its payload does not hold")
        return False

    def _bytes(self, db: int, landings: list[Landing]) -> bytes:
        parts: list[bytes] = []
        if db != self._db:
            parts.append(self._writer.select_db(db))
            self._db = db
        names, deadlines = [it.name for it in landings], [it.expire_at_ms for it in landings]
        bodies = [it.record.dump[:-FOOTER_BYTES] for it in landings]
        parts.append(self._writer.keys(Keys(db, names, bodies, deadlines, [], "", 0)))
        return b"".join(parts)

    async def finish(self) -> None:
        """End the file, and bring it to the disk under its temporary name, each key in it once."""
        self.file.write(self._writer.end())
        await anyio.to_thread.run_sync(self.file.sync)
        if self._names.distinct() < self._count:
            await anyio.to_thread.run_sync(self._write_anew)

    def _write_anew(self) -> None:
        """The same without repetitions: of each name the last is kept."""
        marks, part = self._names.repeated(), self.file.part
        left: Counter[tuple[int, bytes]] = Counter()
        for block in RdbWalk(part).blocks():
            hashes = hashes_of_names(block.db, block.keys)
            left.update((block.db, key) for key, mark in zip(block.keys, hashes, strict=True) if mark in marks)
        anew = NewFile(self.file.path, f"{self._job}-{time.monotonic_ns()}")
        try:
            self._copy_last(RdbWalk(part), left, anew)
        except BaseException:
            anew.drop()
            raise
        self.file.drop()
        self.file = anew

    def _copy_last(self, walk: RdbWalk, left: Counter[tuple[int, bytes]], anew: NewFile) -> None:
        writer, begun = self._head.begin()
        anew.write(begun)
        db = -1
        for block in walk.blocks():
            if block.db != db:
                db = block.db
                anew.write(writer.select_db(db))
            for key, body, deadline in zip(block.keys, block.bodies, block.deadlines, strict=True):
                if (db, key) in left:
                    left[db, key] -= 1
                    if left[db, key]:
                        self._tally.moved("written", "repeated", 1)
                        continue
                anew.write(writer.key(key, body, deadline))
        anew.write(writer.end())
        anew.sync()

    def drop(self) -> None:
        """Leave nothing of the file, unless it was given its name."""
        self.file.drop()
        self._names.close()

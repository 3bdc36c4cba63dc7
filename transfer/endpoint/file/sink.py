"""A file as a target: payloads as the source gave them, without their footers, one after the other.

    open -> what stands before the keys -> batches -> Form -> bytes -> end -> disk -> (read back and named by the job)

Rule 1: a payload whose own checksum does not hold is rejected by name: nobody behind a file would find that out.
Rule 2: a key that SCAN gave twice would end a server that loads an RDB: then it is written anew, the last one kept.
Rule 3: bodies are not touched; the RDB version is the one in the source's payloads.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import compress
from pathlib import Path
from typing import Protocol

import anyio.lowlevel
import anyio.to_thread

from transfer.codec.archive.items import AsOf, Columns
from transfer.codec.dump import FOOTER_BYTES, is_whole, version_of
from transfer.codec.rdb.items import Use
from transfer.endpoint.file.block import Block, Walk
from transfer.endpoint.file.checking import DAMAGED_CODE
from transfer.endpoint.redis.folding import Folding
from transfer.endpoint.redis.landing import Approach
from transfer.model.ports import HashLedger, Origin
from transfer.model.record import NO_DEADLINE, Batch, hashes_of_names
from transfer.model.tally import Tally


class Form(Protocol):
    """How one kind of file is written. Bytes come out as they are ready, in their order."""

    def begin(self) -> bytes:
        """What stands before the keys."""

    async def keys(self, columns: Columns) -> bytes:
        """The next keys; bytes of these and earlier ones."""

    def end(self, as_of: AsOf | None, repeated: int) -> AsyncIterator[bytes]:
        """All that is left, and what stands behind the keys.

        *as_of*: of what time they turned out to be; *repeated*: how many names came again.
        """

    def anew(self) -> Form:
        """The same form, nothing written yet."""

    def walk(self, path: Path) -> Walk:
        """The way through a file of this form."""

    def close(self) -> None:
        """Let go of threads."""


class OutFile(Protocol):
    """Where the bytes go: newfile.NewFile, or outstream.OutStream, which `waits` for who reads."""

    path: Path
    part: Path

    @property
    def waits(self) -> bool: ...
    def write(self, data: bytes) -> None: ...
    def sync(self) -> None: ...
    def read_back(self) -> None: ...
    def keep(self) -> None: ...
    def drop(self) -> None: ...


class Names(Protocol):
    """Hashes of names, with those that were added more than once."""

    def add_joined(self, hashes: bytes, values: bytes) -> None: ...
    def distinct(self) -> int: ...
    def repeated(self) -> set[bytes]: ...
    def close(self) -> None: ...


class FileSink:
    """Writes one file; `finish` it or `drop` it. `counts`: database -> keys, those with a deadline among them.

    Args:
        written: remembers what a comparison will ask for, if there is to be one.
        names: tells names that came twice; None where none can.
        opened: opens a file to be, by a word that no other one of the same name has.
        use: what `Batch.uses` counts.
        checks: whether checksums of payloads are looked at; not where they were made here, of a stream with its own.
    """

    def __init__(
        self,
        opened: Callable[[str], OutFile],
        job: str,
        form: Form,
        *,
        approach: Approach,
        folding: Folding | None,
        written: HashLedger | None,
        names: Names | None,
        tally: Tally,
        clock: Origin,
        use: Use = "",
        checks: bool = True,
    ) -> None:
        self._checks = checks
        self._job, self._form, self._use = job, form, use
        self._approach, self._folding, self._written, self._tally = approach, folding, written, tally
        self._names, self._clock = names, clock
        self.counts: dict[int, tuple[int, int]] = {}
        self._opened = opened
        self.file = opened(job)
        self._begun = form.begin()

    async def write(self, batch: Batch) -> None:
        """As `Sink.write`, but durable only once `finish` was called."""
        if not batch.keys:
            return
        db = self._approach.mapping.dbs[batch.db]
        names, dumps, deadlines, uses = self._sound(batch, *self._landed(db, batch))
        if not names:
            return
        bodies = [dump[:-FOOTER_BYTES] for dump in dumps]
        use = self._use if uses else ""
        data = await self._form.keys(Columns(db, version_of(dumps[0]), names, bodies, deadlines, uses, use))
        await self._put(self.file, data)
        if self._written is not None:
            self._written.note(db, names, dumps, deadlines)
        if self._names is not None:
            self._names.add_joined(b"".join(hashes_of_names(db, names)), b"")
        self._counted(db, deadlines, 1)
        self._tally.settle("written", len(names))
        self._tally.bytes_written += sum(map(len, dumps))

    async def _put(self, file: OutFile, data: bytes) -> None:
        begun, self._begun = self._begun, b""
        if begun or data:
            if file.waits:
                await anyio.to_thread.run_sync(file.write, begun + data)
            else:
                file.write(begun + data)

    def _landed(self, db: int, batch: Batch) -> tuple[list[bytes], list[bytes], list[int], list[int]]:
        """Names, payloads, deadlines and uses as they are to stand in the file."""
        now = self._clock.now_ms()
        if self._folding is None and self._approach.straight(batch, now):
            return batch.keys, batch.dumps, batch.deadlines, batch.uses
        landings = self._approach.land(batch.records(), now, now)
        if self._folding is not None:
            landings = self._folding.claim(db, landings)
        uses = dict(zip(batch.keys, batch.uses, strict=True)) if batch.uses else {}
        return (
            [it.name for it in landings],
            [it.record.dump for it in landings],
            [it.expire_at_ms for it in landings],
            [uses[it.record.key] for it in landings] if uses else [],
        )

    def _sound(
        self, batch: Batch, names: list[bytes], dumps: list[bytes], deadlines: list[int], uses: list[int]
    ) -> tuple[list[bytes], list[bytes], list[int], list[int]]:
        """Those whose payloads hold; the others are rejected."""
        whole = list(map(is_whole, dumps)) if self._checks else []
        if all(whole):
            return names, dumps, deadlines, uses
        for name, sound in zip(names, whole, strict=True):
            if not sound:
                self._tally.reject(batch.db, name, DAMAGED_CODE, "the checksum of its payload does not hold")
        kept = [list(compress(column, whole)) for column in (names, dumps, deadlines, uses)]
        return kept[0], kept[1], kept[2], kept[3]  # type: ignore[return-value]  # as they came

    async def finish(self, as_of: AsOf | None = None) -> Walk | None:
        """End the file, and bring it to the disk under its temporary name, each key in it once; the way through it.

        None: it is a stream, in which a key may stand twice, and which cannot be read back.
        """
        count = sum(keys for keys, _ in self.counts.values())
        repeated = count - self._names.distinct() if self._names is not None else 0
        await self._put(self.file, b"")  # its beginning, where no key came
        await self._end(self.file, self._form, as_of, repeated)
        if self.file.waits:
            return None
        if repeated:
            await self._write_anew(as_of)
        return self._form.walk(self.file.part)

    async def _end(self, file: OutFile, form: Form, as_of: AsOf | None, repeated: int) -> None:
        async for data in form.end(as_of, repeated):
            await self._put(file, data)
        await anyio.to_thread.run_sync(file.sync)

    def _counted(self, db: int, deadlines: list[int], sign: int) -> None:
        keys, mortal = self.counts.get(db, (0, 0))
        size = len(deadlines)
        self.counts[db] = (keys + sign * size, mortal + sign * (size - deadlines.count(NO_DEADLINE)))

    async def _write_anew(self, as_of: AsOf | None) -> None:
        """The same without repetitions: of each name the last is kept."""
        assert self._names is not None
        marks, walk = self._names.repeated(), self._form.walk(self.file.part)
        left: Counter[tuple[int, bytes]] = Counter()
        for block in walk.blocks():
            hashes = hashes_of_names(block.db, block.keys)
            left.update((block.db, key) for key, mark in zip(block.keys, hashes, strict=True) if mark in marks)
            await anyio.lowlevel.checkpoint()
        form, anew = self._form.anew(), self._opened(f"{self._job}-{time.monotonic_ns()}")
        try:
            anew.write(form.begin())
            for block in walk.blocks():
                anew.write(await form.keys(self._last_ones(block, left)))
            await self._end(anew, form, as_of, 0)
        except BaseException:
            anew.drop()
            raise
        finally:
            form.close()
        self.file.drop()
        self.file = anew

    def _last_ones(self, block: Block, left: Counter[tuple[int, bytes]]) -> Columns:
        """*block* without keys of which another one follows."""
        columns = Columns(
            block.db, block.version, block.keys, block.bodies, block.deadlines, block.uses, block.use
        )  # fmt: skip
        kept = [self._is_last((block.db, key), left) for key in block.keys]
        if not all(kept):
            self._tally.moved("written", "repeated", kept.count(False))
            self._counted(block.db, [at for at, stays in zip(block.deadlines, kept, strict=True) if not stays], -1)
            for name in ("keys", "bodies", "deadlines", "uses"):
                column = getattr(columns, name)
                setattr(columns, name, list(compress(column, kept)) if column else column)
        return columns

    @staticmethod
    def _is_last(name: tuple[int, bytes], left: Counter[tuple[int, bytes]]) -> bool:
        if name not in left:
            return True
        left[name] -= 1
        return not left[name]

    def drop(self) -> None:
        """Leave nothing of the file, unless it was given its name."""
        self.file.drop()
        self._form.close()
        if self._names is not None:
            self._names.close()

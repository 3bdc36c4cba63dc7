"""How an archive is written: blocks of keys are packed by threads while the next ones are read.

    columns -> gathered to a block -> seal, in a thread -> in their order -> ArchiveWriter -> bytes
    a large value ------------------> piece by piece ---------^

Rule 1: at most `_AHEAD` blocks wait to be packed or written; who brings more waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import anyio.to_thread

from transfer.codec.archive.items import AsOf, Columns, Facts, Head, LargeKey
from transfer.codec.archive.keymap import Marks
from transfer.codec.archive.writer import BLOCK_BYTES, LARGE_BYTES, ArchiveWriter, Sealed, seal
from transfer.endpoint.archive.walk import ArchiveWalk

_THREADS, _AHEAD = 2, 3
_PIECE_BYTES = 4 << 20
_MOST_KEYS = 1 << 16


class ArchiveForm:
    """As `file.sink.Form`.

    Args:
        level: of zstd.
        new_marks: makes what keeps 8 bytes for every key until the end.
    """

    def __init__(self, head: Head, facts: Facts, level: int, new_marks: Callable[[], Marks]) -> None:
        self._head, self._facts, self._level, self._new_marks = head, facts, level, new_marks
        self._marks = new_marks()
        self._writer = ArchiveWriter(level, marks=self._marks)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="seal")
        self._sealing: deque[Future[Sealed]] = deque()
        self._gathered: Columns | None = None
        self._gathered_bytes = 0

    def begin(self) -> bytes:
        return self._writer.begin(self._head) + self._writer.facts(self._facts)

    async def keys(self, columns: Columns) -> bytes:
        out = bytearray()
        for part in _parts(columns):
            if len(part.bodies[0]) > LARGE_BYTES:
                self._seal()
                out += await self._written(0)
                out += self._large(part)
            else:
                self._gather(part)
                out += await self._written(_AHEAD)
        return bytes(out)

    async def end(self, as_of: AsOf | None) -> AsyncIterator[bytes]:
        self._seal()
        yield await self._written(0)
        pieces = await anyio.to_thread.run_sync(lambda: list(self._writer.end(as_of)))
        for data in pieces:
            yield data

    def anew(self) -> ArchiveForm:
        return ArchiveForm(self._head, self._facts, self._level, self._new_marks)

    def walk(self, path: Path) -> ArchiveWalk:
        return ArchiveWalk(path)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._marks.close()

    def _gather(self, part: Columns) -> None:
        held = self._gathered
        if held is not None and (held.db, held.version, held.use) != (part.db, part.version, part.use):
            self._seal()
            held = None
        if held is None:
            self._gathered = held = Columns(part.db, part.version, [], [], [], [], part.use)
        held.keys += part.keys
        held.bodies += part.bodies
        held.deadlines += part.deadlines
        held.uses += part.uses
        self._gathered_bytes += sum(map(len, part.bodies)) + sum(map(len, part.keys))
        if self._gathered_bytes >= BLOCK_BYTES or len(held.keys) >= _MOST_KEYS:
            self._seal()

    def _seal(self) -> None:
        """Give what was gathered to a thread."""
        if self._gathered is not None:
            self._sealing.append(self._pool.submit(seal, self._gathered, self._level))
            self._gathered, self._gathered_bytes = None, 0

    async def _written(self, most: int) -> bytes:
        """Frames, in their order, until at most *most* are on their way."""
        out = bytearray()
        while self._sealing and (len(self._sealing) > most or self._sealing[0].done()):
            sealed = await anyio.to_thread.run_sync(self._sealing.popleft().result)
            out += self._writer.add(sealed)
        return bytes(out)

    def _large(self, part: Columns) -> bytes:
        writer, body = self._writer, part.bodies[0]
        use = part.uses[0] if part.uses else -1
        key = LargeKey(part.db, part.keys[0], body[0], part.deadlines[0], use, part.use, version=part.version)
        pieces = (writer.piece(body[at : at + _PIECE_BYTES]) for at in range(0, len(body), _PIECE_BYTES))
        return b"".join((writer.large(key), *pieces, writer.large_end()))


def _parts(columns: Columns) -> Iterator[Columns]:
    """Cut so that none is larger than a block, but for those of one value."""
    sizes = list(map(len, columns.bodies))
    if sum(sizes) <= BLOCK_BYTES:
        if sizes:
            yield columns
        return
    start, held = 0, 0
    for at, size in enumerate(sizes):
        if at > start and held + size > BLOCK_BYTES:
            yield _cut(columns, start, at)
            start, held = at, 0
        held += size
    yield _cut(columns, start, len(sizes))


def _cut(columns: Columns, start: int, end: int) -> Columns:
    return Columns(
        columns.db,
        columns.version,
        columns.keys[start:end],
        columns.bodies[start:end],
        columns.deadlines[start:end],
        columns.uses[start:end],
        columns.use,
    )

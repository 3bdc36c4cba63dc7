"""How an archive is written: blocks of keys are packed by threads while the next ones are read.

    columns -> gathered to a block -> seal, in a thread -> in their order -> ArchiveWriter -> bytes
    a large value ------------------> piece by piece ---------^

Rule 1: at most `_AHEAD` blocks wait to be packed or written; who brings more waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import anyio.to_thread

from transfer.codec.archive.gathering import Gatherer
from transfer.codec.archive.items import AsOf, Columns, Facts, Head, LargeKey
from transfer.codec.archive.keymap import Marks
from transfer.codec.archive.writer import LARGE_BYTES, ArchiveWriter, Sealed, seal
from transfer.endpoint.archive.walk import ArchiveWalk, Opener, plainly

_THREADS, _AHEAD = 2, 3
_PIECE_BYTES = 4 << 20


class ArchiveForm:
    """As `file.sink.Form`.

    Args:
        level: of zstd.
        new_marks: makes what keeps 8 bytes for every key until the end.
        opened: opens what was written, to be read back.
    """

    def __init__(
        self, head: Head, facts: Facts, level: int, new_marks: Callable[[], Marks], opened: Opener = plainly
    ) -> None:
        self._head, self._facts, self._level, self._new_marks, self._opened = head, facts, level, new_marks, opened
        self._marks = new_marks()
        self._writer = ArchiveWriter(level, marks=self._marks)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="seal")
        self._sealing: deque[Future[Sealed]] = deque()
        self._gatherer = Gatherer()

    def begin(self) -> bytes:
        return self._writer.begin(self._head) + self._writer.facts(self._facts)

    async def keys(self, columns: Columns) -> bytes:
        out = bytearray()
        for block in self._gatherer.add(columns):
            out += await self._block(block)
        return bytes(out)

    async def end(self, as_of: AsOf | None, repeated: int) -> AsyncIterator[bytes]:
        for block in self._gatherer.flush():
            yield await self._block(block)
        yield await self._written(0)
        pieces = await anyio.to_thread.run_sync(lambda: list(self._writer.end(as_of, repeated_keys=repeated)))
        for data in pieces:
            yield data

    def anew(self) -> ArchiveForm:
        return ArchiveForm(self._head, self._facts, self._level, self._new_marks, self._opened)

    def walk(self, path: Path) -> ArchiveWalk:
        return ArchiveWalk(path, self._opened)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._marks.close()

    async def _block(self, block: Columns) -> bytes:
        """Give *block* to a thread, or write it at once where it is one large value."""
        if len(block.bodies[0]) > LARGE_BYTES:
            return await self._written(0) + self._large(block)
        self._sealing.append(self._pool.submit(seal, block, self._level))
        return await self._written(_AHEAD)

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

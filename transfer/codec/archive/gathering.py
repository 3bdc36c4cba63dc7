"""Keys as they come into blocks of the size that an archive wants."""

from __future__ import annotations

from collections.abc import Iterator

from transfer.codec.archive.items import Columns
from transfer.codec.archive.payloads import MOST_KEYS

BLOCK_BYTES = 2 << 20
"""Names and bodies that a block should hold. A million mixed keys in blocks are larger than as one zstd stream of RDB:
by 5.0 % in blocks of 512 KiB, 2.7 % of 1 MiB, 0.6 % of 2 MiB, -0.4 % of 4 MiB; one of 2 MiB is unpacked in 4 ms."""
BLOCK_KEYS = MOST_KEYS // 2


class Gatherer:
    """Joins columns until a block is full, or the next ones are of another database, version or kind of use."""

    def __init__(self, block_bytes: int = BLOCK_BYTES, block_keys: int = BLOCK_KEYS) -> None:
        self._block_bytes, self._block_keys = block_bytes, block_keys
        self._held: Columns | None = None
        self._held_bytes = 0

    def add(self, more: Columns) -> Iterator[Columns]:
        """Yield the blocks that are full now. What holds more than a block is taken key by key."""
        size = sum(map(len, more.keys)) + sum(map(len, more.bodies))
        if size <= self._block_bytes and len(more.keys) <= self._block_keys:
            yield from self._join(more, size)
            return
        for at in range(len(more.keys)):
            one = slice(at, at + 1)
            lists = (more.keys[one], more.bodies[one], more.deadlines[one], more.uses[one])
            size = len(more.keys[at]) + len(more.bodies[at])
            yield from self._join(Columns(more.db, more.version, *lists, more.use), size)

    def flush(self) -> Iterator[Columns]:
        """Yield what is left."""
        held, self._held, self._held_bytes = self._held, None, 0
        if held is not None and held.keys:
            yield held

    def _join(self, more: Columns, size: int) -> Iterator[Columns]:
        held = self._held
        full = self._held_bytes + size > self._block_bytes or (held and len(held.keys) >= self._block_keys)
        if held is None or full or (held.db, held.version, held.use) != (more.db, more.version, more.use):
            yield from self.flush()
            lists = (more.keys.copy(), more.bodies.copy(), _deadlines(more).copy(), more.uses.copy())
            self._held, self._held_bytes = Columns(more.db, more.version, *lists, more.use), size
            return
        held.keys += more.keys
        held.bodies += more.bodies
        held.deadlines += _deadlines(more)
        held.uses += more.uses
        self._held_bytes += size


def _deadlines(columns: Columns) -> list[int]:
    return columns.deadlines or [-1] * len(columns.keys)

"""An RDB file as a source: blocks of it, what passes of them, batches out.

    Walk from the last acknowledged block -> names, types, deadlines selected -> payloads checked -> stamped -> emit

Rule 1: a position is where a block begins and the database that holds there; a block is read again as a whole.
Rule 2: a key whose payload does not hold is rejected by name, and no server is given it.
Rule 3: what is on its way can be asked for its values, which are those of its own payload.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping
from itertools import accumulate

import anyio
import anyio.lowlevel

from transfer.codec.dump import stamped
from transfer.codec.rdb.decode import decode_payload
from transfer.endpoint.file.block import Block
from transfer.endpoint.file.checking import DAMAGED_CODE, TAKEN, fault
from transfer.endpoint.file.chosen import ChosenNames
from transfer.endpoint.file.file import DataFile, failures_of
from transfer.model.errors import FormatError
from transfer.model.ports import UNTHROTTLED, Budget, Portion, Spans
from transfer.model.record import DONE, Batch, Span
from transfer.model.selection import Selection
from transfer.model.tally import Tally
from transfer.model.value import ReadValue

PARTITION = "file"
_KEYS_AT_ONCE = 1000
_BYTES_AT_ONCE = 1 << 20
"""Payload bytes of a batch; a larger payload stands alone."""


class FileSource:
    """Reads the selected keys of one file.

    Args:
        dbs: logical databases that are wanted.
        checks: whether payloads are looked into before they are given away.
        most_keys: of a batch, 0: chosen.
        pace: how much one batch may hold.
        left: takes out names that need not be copied again.
        chosen: names that are wanted, where a list was given.
        use: idletime | freq, if it is to be carried where the file tells it.
        stop: when set, nothing further is read: what was read is still emitted.

    `skipped` counts empty collections that were met among what is wanted.
    """

    def __init__(
        self,
        file: DataFile,
        selection: Selection,
        dbs: frozenset[int],
        *,
        budget: Budget,
        tally: Tally,
        frontier: Spans,
        stop: anyio.Event,
        checks: bool = True,
        most_keys: int = 0,
        pace: Portion = UNTHROTTLED,
        left: Callable[[int, list[bytes]], list[bytes]] = lambda db, names: names,
        chosen: ChosenNames | None = None,
        use: str = "",
    ) -> None:
        self._chosen, self._use = chosen, use
        self._file, self._selection, self._dbs = file, selection, dbs
        self._budget, self._tally, self._frontier, self._stop = budget, tally, frontier, stop
        self._checks, self._left = checks, left
        self._most_keys, self._pace = most_keys or _KEYS_AT_ONCE, pace
        self._types = frozenset(selection.types)
        self._underway: list[Batch] = []
        self.at = 0

    async def read(self, emit: Callable[[Batch], Awaitable[None]], after: Mapping[str, str]) -> None:
        """As `Source.read`."""
        cursor = after.get(PARTITION, "")
        self._frontier.open(PARTITION, cursor)
        if cursor == DONE:
            return
        start, _, db = cursor.partition(":")
        with self._file.blamed(), failures_of(self._file.path):
            blocks = self._file.walk.blocks(int(start or 0), int(db or 0))
            for block in blocks:
                self._file.check_unchanged()  # some 20 us a block: what changed may read as keys, too
                await self._give(block, emit)
                await anyio.lowlevel.checkpoint()
                if self._stop.is_set():
                    return
        self._frontier.read(self._frontier.begin(PARTITION, DONE), 0)

    async def _give(self, block: Block, emit: Callable[[Batch], Awaitable[None]]) -> None:
        span = self._frontier.begin(PARTITION, f"{block.end}:{block.db}")
        rows = self._wanted(block) if block.db in self._dbs else []
        self._frontier.read(span, len(rows))
        self.at = block.end
        while rows:
            some = rows[: _fitting(block, rows, *self._most())]
            del rows[: len(some)]
            await self._send(block, some, span, emit)

    def _most(self) -> tuple[int, int]:
        """Keys and bytes of a batch."""
        return min(self._most_keys, self._pace.most_keys), min(_BYTES_AT_ONCE, self._pace.most_bytes)

    def _wanted(self, block: Block) -> list[int]:
        """Places of the keys that pass by name, type and time to live."""
        keys, selection, file = block.keys, self._selection, self._file
        names = self._left(block.db, self._last_ones(block, self._named(block.db, selection.names(keys))))
        rows = list(range(len(keys)))
        if len(names) < len(keys):
            passing = set(names)
            rows = [row for row in rows if keys[row] in passing]
        if len(names) < len(rows):  # one of them stands twice in this block
            rows = sorted({keys[row]: row for row in rows}.values())
        if self._types:
            rows = [row for row in rows if file.type_name(block.bodies[row][0]) in self._types]
        if selection.min_ttl_ms:
            now = file.now_ms()
            rows = [row for row in rows if selection.lives_long_enough(block.deadlines[row], now)]
        return rows

    def _named(self, db: int, names: list[bytes]) -> list[bytes]:
        return names if self._chosen is None else self._chosen.passing(db, names)

    def _last_ones(self, block: Block, names: list[bytes]) -> list[bytes]:
        """Without names that come again later: two values of one key on their way at once could land in any order."""
        last = self._file.last_ones(block.db, names, block.start, block.end)
        self._tally.settle("repeated", len(names) - len(last))
        return last

    async def _send(self, block: Block, rows: list[int], span: Span, emit: Callable[[Batch], Awaitable[None]]) -> None:
        sound = self._sound(block, rows) if self._checks else rows
        if len(sound) < len(rows):
            self._frontier.settle(span, len(rows) - len(sound))
        if not sound:
            return
        batch = self._batch(block, sound, span)
        self._tally.bytes_read += sum(batch.sizes)
        await self._budget.acquire(batch.size_bytes)
        self._underway.append(batch)
        await emit(batch)

    def _sound(self, block: Block, rows: list[int]) -> list[int]:
        """Those whose payloads hold; the others are rejected by name."""
        bodies = block.bodies
        faults = {
            row: found
            for row in rows
            if bodies[row][0] not in TAKEN and (found := fault(bodies[row], block.version)) is not None
        }
        for row, found in faults.items():
            cause = f"its payload in the file does not hold: {found}"
            self._tally.reject(block.db, block.keys[row], DAMAGED_CODE, cause)
        return [row for row in rows if row not in faults] if faults else rows

    def _batch(self, block: Block, rows: list[int], span: Span) -> Batch:
        dumps = stamped(map(block.bodies.__getitem__, rows), block.version)
        sizes = list(map(len, dumps))
        keys = list(map(block.keys.__getitem__, rows))
        held = min(sum(sizes) + sum(map(len, keys)), self._total_bytes)
        uses = [max(0, block.uses[row]) for row in rows] if self._use and block.use == self._use else []
        deadlines = list(map(block.deadlines.__getitem__, rows))
        return Batch(span, block.db, keys, dumps, sizes, deadlines, held, uses=uses)

    @property
    def _total_bytes(self) -> int:
        return self._budget.total_bytes

    def unsettled(self) -> int:
        """How many keys were read and have no fate yet."""
        return self._frontier.unsettled()

    def acknowledged(self, batch: Batch) -> None:
        """*batch* has arrived."""
        self._underway.remove(batch)
        self._frontier.settle(batch.span, len(batch.keys))

    async def values(self, db: int, keys: list[bytes], *, dumps: bool = False) -> list[ReadValue]:
        """As `ValuesOf`, of keys that are on their way."""
        wanted = set(keys)
        found: dict[bytes, ReadValue] = {}
        for batch in self._underway:
            if batch.db == db:
                rows = zip(batch.keys, batch.dumps, batch.deadlines, strict=True)
                found |= {key: read_value(dump, at) for key, dump, at in rows if key in wanted}
        return [found.get(key) or ReadValue(None) for key in keys]

    def share_done(self) -> float:
        return self.at / self._file.size_bytes if self._file.size_bytes else 0.0

    async def close(self) -> None:
        self._underway.clear()


def read_value(dump: bytes, deadline_ms: int) -> ReadValue:
    """What *dump* holds, as if a server had been asked for it."""
    try:
        return ReadValue(decode_payload(dump), deadline_ms, dump=dump)
    except FormatError as error:
        return ReadValue(None, deadline_ms, problem=error.message, dump=dump)


def _fitting(block: Block, rows: list[int], most_keys: int, most_bytes: int) -> int:
    """How many of *rows* go into one batch."""
    sizes = map(len, map(block.bodies.__getitem__, rows[:most_keys]))
    return max(1, bisect_right(list(accumulate(sizes)), most_bytes))

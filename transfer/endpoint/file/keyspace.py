"""A file's keys for a comparison: names page by page as they stand in it, payloads of any by its index.

    pages -> Walk over the blocks of a database -> names, and their records kept for a while
    dumps, values -> records kept | NameIndex -> offset -> read again

Rule 1: what was named is asked for soon after: the records of the last pages are kept, bounded by `_KEPT_BYTES`.
Rule 2: anything else costs a small read for each key, shared by those that stand side by side.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from itertools import repeat

import anyio.lowlevel
import msgspec

from transfer.codec.dump import stamp
from transfer.endpoint.file.chosen import ChosenNames
from transfer.endpoint.file.file import DataFile, failures_of
from transfer.endpoint.file.source import read_value
from transfer.model.endpoint import Population
from transfer.model.record import NO_DEADLINE
from transfer.model.value import ReadValue

_PAGE_KEYS = 1000
_KEPT_BYTES = 24 << 20
_PORTION_BYTES = 8 << 20
_Record = tuple[bytes, int]
"""Payload, deadline."""


class FileReading(msgspec.Struct):
    """As `verify.sides.Reading`; nothing is refused, nothing too large."""

    payloads: list[bytes | None]
    deadlines: list[int]
    refused: dict[bytes, str] = msgspec.field(default_factory=dict)
    too_large: dict[bytes, int] = msgspec.field(default_factory=dict)


class FileLargeValue(msgspec.Struct, frozen=True):
    """As `verify.sides.LargeValue`, for a side that can be asked for any value whole."""

    kind: str = "unknown"
    digest: bytes = b""
    in_pieces: bool = False
    size_bytes: int = 0
    counters: tuple[object, ...] = ()
    problem: str = "a value too large to be taken whole from the server"
    expire_at_ms: int = NO_DEADLINE


class FileKeyspace:
    """All logical databases of a file that was opened with an index. Keeps `verify.sides.Keyspace`.

    *chosen*: `pages` names only these.
    """

    def __init__(self, file: DataFile, chosen: ChosenNames | None = None) -> None:
        self.file, self._chosen = file, chosen
        self.vendor = file.vendor
        self._kept: OrderedDict[tuple[int, int], dict[bytes, _Record]] = OrderedDict()
        self._sizes: dict[tuple[int, int], int] = {}
        self._held_bytes = self._asked = 0

    def now_ms(self) -> int:
        return self.file.now_ms()

    def moments_ms(self) -> list[int]:
        """The clock of a file is never set."""
        return [self.now_ms()]

    async def look_at_clock(self) -> None:
        """There is none to look at."""

    async def pages(self, db: int, match: bytes | None = None, kind: str | None = None) -> AsyncIterator[list[bytes]]:
        """Names in *db*; what *match* and *kind* would leave out is among them, too."""
        for number, place in enumerate(self.file.blocks):
            if place.db == db:
                names = list(self._block(number))
                names = names if self._chosen is None else self._chosen.passing(db, names)
                for at in range(0, len(names), _PAGE_KEYS):
                    yield names[at : at + _PAGE_KEYS]
            await anyio.lowlevel.checkpoint()

    async def portions(self, db: int, keys: list[bytes]) -> list[list[bytes]]:
        """*keys* cut, in order, into lists that can be held in memory at once."""
        found: list[list[bytes]] = []
        held = 0
        records = self._records(db, keys)
        for key in keys:
            size = len(records[key][0]) if key in records else 0
            if held + size > _PORTION_BYTES or not found:
                found.append([key])
                held = size
            else:
                found[-1].append(key)
                held += size
        return found

    async def dumps(self, db: int, keys: list[bytes]) -> FileReading:
        """Payload and deadline of each of *keys*."""
        records = self._records(db, keys)
        rows = [records.get(key, (None, NO_DEADLINE)) for key in keys]
        return FileReading([payload for payload, _ in rows], [deadline for _, deadline in rows])

    async def values(self, db: int, keys: list[bytes]) -> list[ReadValue]:
        """The value of each of *keys*."""
        records = self._records(db, keys)
        return [read_value(*records[key]) if key in records else ReadValue(None) for key in keys]

    async def large(self, db: int, key: bytes, *, field_deadlines: bool = True) -> FileLargeValue:
        """Nothing is too large here; what is so at the other side cannot be compared in pieces."""
        return FileLargeValue()

    async def population(self, db: int) -> Population | None:
        """A file stays as it is."""
        return Population(self.file.counts().get(db, (0, 0))[0], ())

    async def close(self) -> None:
        self._kept.clear()

    def _records(self, db: int, keys: list[bytes]) -> dict[bytes, _Record]:
        """Those of *keys* that the file holds."""
        found: dict[bytes, _Record] = {}
        left = set(keys)
        for (at, _), records in reversed(self._kept.items()):
            if at == db and left:
                met = left & records.keys()
                found |= {key: records[key] for key in met}
                left -= met
        return found | self._found(db, left) if left else found

    def _found(self, db: int, names: set[bytes]) -> dict[bytes, _Record]:
        """*names* by the index."""
        found: dict[bytes, _Record] = {}
        places = [at for at, _ in self.file.index.find(db, list(names))]
        with failures_of(self.file.path):
            for block in self.file.walk.near(places, db):
                rows = zip(block.keys, block.bodies, block.deadlines, strict=True)
                found |= {
                    key: (stamp(body, block.version), at) for key, body, at in rows if key in names and block.db == db
                }
        self._asked += 1
        self._keep((db, -self._asked), found)  # who asks for portions asks for their payloads next
        return found

    def _block(self, number: int) -> dict[bytes, _Record]:
        place = self.file.blocks[number]
        mark = (place.db, number)
        if mark not in self._kept:
            with failures_of(self.file.path):
                block = self.file.walk.block(place.start, place.db)
            dumps = map(stamp, block.bodies, repeat(block.version))
            records = dict(zip(block.keys, zip(dumps, block.deadlines, strict=True), strict=True))
            if self.file.repeats is not None:
                last = self.file.last_ones(block.db, block.keys, block.start, block.end)
                records = {name: records[name] for name in last}
            self._keep(mark, records)
        self._kept.move_to_end(mark)
        return self._kept[mark]

    def _keep(self, mark: tuple[int, int], records: dict[bytes, _Record]) -> None:
        self._kept[mark] = records
        self._sizes[mark] = sum(len(payload) for payload, _ in records.values())
        self._held_bytes += self._sizes[mark]
        while self._held_bytes > _KEPT_BYTES and len(self._kept) > 1:
            oldest, _ = self._kept.popitem(last=False)
            self._held_bytes -= self._sizes.pop(oldest)

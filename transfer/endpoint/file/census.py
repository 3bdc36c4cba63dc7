"""What kinds of keys a file holds, all of them: types, times to live, sizes as they stand in it, the largest.

DataFile.open -> every block -> FileCensus per database
"""

from __future__ import annotations

import heapq
import time
from collections import Counter

import msgspec

from transfer.codec.dump import type_name
from transfer.endpoint.file.block import Block, Walk
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.redis.census import BigKey, span_of
from transfer.model.record import NO_DEADLINE

_BIGGEST = 10
_MOST_PREFIXES = 20_000
"""Different ones that are counted at once; beyond that the rarer half is let go."""
PASSED = "passed"
"""The class of deadlines that lie before now."""


class FileCensus(msgspec.Struct):
    """Counts of one database; sizes in bytes of payload in the file. Types are numbers of the RDB.

    `prefixes`: what names have before their first colon; of very many the rare ones are not exact.
    """

    db: int
    kinds: Counter[int] = msgspec.field(default_factory=Counter)
    sizes: Counter[int] = msgspec.field(default_factory=Counter)
    spans: Counter[str] = msgspec.field(default_factory=Counter)
    biggest: list[tuple[int, bytes, int]] = msgspec.field(default_factory=list)
    prefixes: Counter[bytes] = msgspec.field(default_factory=Counter)

    def add(self, block: Block, now_ms: int) -> None:
        """Count all keys of *block*."""
        sizes = list(map(len, block.bodies))
        for body, size in zip(block.bodies, sizes, strict=True):
            self.kinds[body[0]] += 1
            self.sizes[body[0]] += size
        self.prefixes.update([key.partition(b":")[0] for key in block.keys if b":" in key])
        if len(self.prefixes) > _MOST_PREFIXES:
            self.prefixes = Counter(dict(self.prefixes.most_common(_MOST_PREFIXES // 2)))
        lasting = block.deadlines.count(NO_DEADLINE)
        self.spans["none"] += lasting
        if lasting < len(block.deadlines):
            self.spans.update(_span(at - now_ms) for at in block.deadlines if at != NO_DEADLINE)
        largest = heapq.nlargest(_BIGGEST, zip(sizes, block.keys, (body[0] for body in block.bodies), strict=True))
        self.biggest = heapq.nlargest(_BIGGEST, self.biggest + largest)

    def by_type(self, vendor: str) -> tuple[Counter[str], Counter[str]]:
        """Type -> keys, type -> bytes."""
        kinds: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for kind, count in self.kinds.items():
            name = type_name(bytes((kind,)), vendor)
            kinds[name] += count
            sizes[name] += self.sizes[kind]
        return kinds, sizes

    def big_keys(self, vendor: str) -> list[BigKey]:
        return [BigKey(size, self.db, key, type_name(bytes((kind,)), vendor)) for size, key, kind in self.biggest]


async def take_file_census(walk: Walk) -> tuple[DataFile, list[FileCensus]]:
    """The file, looked through, and a census of each database. Raises as `DataFile.open`."""
    found: dict[int, FileCensus] = {}
    now_ms = int(time.time() * 1000)

    def count(block: Block) -> None:
        if block.keys:
            found.setdefault(block.db, FileCensus(block.db)).add(block, now_ms)

    file = await DataFile.open(walk, on_block=count)
    return file, [found[db] for db in sorted(found)]


def _span(left_ms: int) -> str:
    return PASSED if left_ms < 0 else span_of(left_ms)

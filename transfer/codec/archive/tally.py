"""What keys add up to, whatever their order: counts, and 256 sums by which two archives are compared.

    (db, name) -> name hash: xxh3-64, seeded by db     -> bucket: its first byte
    body, deadline -> xxh3-128 of the body, seeded by the name hash + (deadline + 1) * 0x9E3779B97F4A7C15
                   -> added to the sum of the bucket, modulo 2^128

Rule 1: equal sums mean equal names, bodies and deadlines, but for chance; xxh3 is no defence against who chooses them.
Rule 2: a body is bytes: the same value in another encoding has another sum.
"""

from __future__ import annotations

import struct
from operator import itemgetter

import msgspec
import xxhash

from transfer.codec.archive.items import Columns
from transfer.codec.dump import type_name
from transfer.codec.rdb.decode import FIRST_VALKEY_VERSION
from transfer.model.record import hashes_of_names, seed

BUCKETS, SUM_BYTES = 256, 16
_SPREAD = seed(1)
_ALL_64, _ALL_128 = (1 << 64) - 1, (1 << 128) - 1
_first = itemgetter(0)


class Tally(msgspec.Struct):
    """`dbs`: database -> type name -> keys."""

    keys: int = 0
    with_deadline: int = 0
    dbs: dict[int, dict[str, int]] = msgspec.field(default_factory=dict)
    sums: list[int] = msgspec.field(default_factory=lambda: [0] * BUCKETS)

    def add(self, other: Tally) -> None:
        """Count what *other* counted, too."""
        self.keys += other.keys
        self.with_deadline += other.with_deadline
        for db, types in other.dbs.items():
            mine = self.dbs.setdefault(db, {})
            for name, count in types.items():
                mine[name] = mine.get(name, 0) + count
        self.sums = [a + b for a, b in zip(self.sums, other.sums, strict=True)]

    def joined_sums(self) -> bytes:
        """All sums in one, 16 bytes each, little-endian."""
        return b"".join([(total & _ALL_128).to_bytes(SUM_BYTES, "little") for total in self.sums])


def type_of(kind: int, version: int) -> str:
    """The type that a body of RDB *version* holds which begins with *kind*."""
    return type_name(bytes((kind,)), "valkey" if version >= FIRST_VALKEY_VERSION else "redis")


def name_hashes(db: int, keys: list[bytes]) -> bytes:
    """8 bytes for each of *keys*, in one."""
    return b"".join(hashes_of_names(db, keys))


def counts_of(columns: Columns) -> Tally:
    """How many keys of which type, without the sums."""
    kinds, types = bytes(map(_first, columns.bodies)), dict[str, int]()
    for kind in set(kinds):
        name = type_of(kind, columns.version)
        types[name] = types.get(name, 0) + kinds.count(kind)
    size = len(columns.keys)
    without = columns.deadlines.count(-1) if columns.deadlines else size
    return Tally(size, size - without, {columns.db: types})


def tally_of(columns: Columns, hashes: bytes) -> Tally:
    """All of it; *hashes* as `name_hashes` gave them."""
    tally, sums = counts_of(columns), [0] * BUCKETS
    seeds: tuple[int, ...] | list[int] = struct.unpack(f">{len(columns.keys)}Q", hashes)
    if tally.with_deadline:
        both = zip(seeds, columns.deadlines, strict=True)
        seeds = [name if until == -1 else value_seed(name, until) for name, until in both]
    for bucket, value in zip(hashes[::8], map(xxhash.xxh3_128_intdigest, columns.bodies, seeds), strict=True):
        sums[bucket] += value
    tally.sums = sums
    return tally


def value_seed(name: int, deadline: int) -> int:
    """Which seed a body is hashed with: its name's hash as a number, and its deadline."""
    return name + (deadline + 1) * _SPREAD & _ALL_64

"""Counts and digests of the two sides of one logical database: exact, order-free, each key once.

    key -> hash of the name (8) + contribution (16) + has a deadline (1) -> Records both | left | right
    both + left -> row of the left        both + right -> row of the right

    contribution := xxh3-128(length of the name, name, deadline or not, hash of the value)
    digest       := sum of the contributions of all distinct keys, mod 2^128, in hex

Rule 1: a name that SCAN gives twice counts once; what was said last holds.
Rule 2: a key that is equal on both sides is kept once for both.
Names are those of the target, so that equal data has equal digests under a renaming too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

import xxhash

from transfer.model.record import NO_DEADLINE
from transfer.model.report import DbTable
from transfer.verify.sides import NewRecords

_BUCKETS = 256
_VALUE_BYTES = 17
_FLAG = itemgetter(_VALUE_BYTES - 1)
_FLAGS = (b"\x00", b"\x01")

name_hash = xxhash.xxh3_64_digest


class DbTally:
    """What was seen of one database of the target and the databases of the source that lead there."""

    def __init__(self, db: int, new_records: NewRecords) -> None:
        self.db = db
        self._both, self._left, self._right = (new_records(_VALUE_BYTES) for _ in range(3))
        self._right_names = new_records(0)

    def both(self, names: list[bytes], hashes: Iterable[bytes], deadlines: Sequence[int]) -> None:
        """Keys that are equal on both sides; *hashes* are of their values."""
        self._both.add_records(_records(names, hashes, deadlines))

    def left(
        self, names: list[bytes], hashes: Iterable[bytes], deadlines: Sequence[int], promised: Sequence[int]
    ) -> None:
        """Keys of the left; *promised* deadlines (those the right should have) make the digest comparable."""
        self._left.add_records(_records(names, hashes, deadlines, promised))

    def right(self, names: list[bytes], hashes: Iterable[bytes], deadlines: Sequence[int]) -> None:
        self._right.add_records(_records(names, hashes, deadlines))

    def named_at_right(self, names: list[bytes]) -> None:
        """Names that a scan of the right gave."""
        self._right_names.add_records(map(name_hash, names))

    def unmet(self) -> Iterator[bytes]:
        """Hashes of names given at the right that no key of the left led to, bucket by bucket."""
        for number in range(_BUCKETS):
            names = self._right_names.bucket(number).keys()
            yield from names - self._both.bucket(number).keys() - self._left.bucket(number).keys()

    def row(self) -> DbTable:
        """Counts and digests of both sides."""
        sides = [_Sum(), _Sum()]
        for number in range(_BUCKETS):
            both = self._both.bucket(number)
            for side, own in zip(sides, (self._left, self._right), strict=True):
                side.add((both | own.bucket(number)).values())
        left, right = sides
        return DbTable(
            self.db, (left.keys, right.keys), (left.with_deadline, right.with_deadline), (left.hex(), right.hex())
        )

    def close(self) -> None:
        for records in (self._both, self._left, self._right, self._right_names):
            records.close()


class _Sum:
    """Keys, keys with a deadline, and the sum of contributions."""

    def __init__(self) -> None:
        self.keys = self.with_deadline = self._total = 0

    def add(self, values: Iterable[bytes]) -> None:
        held = list(values)
        flags = sum(map(_FLAG, held))
        self.keys += len(held)
        self.with_deadline += flags
        self._total += (sum(map(int.from_bytes, held)) - flags) >> 8

    def hex(self) -> str:
        return f"{self._total % 2**128:032x}"


def _records(
    names: list[bytes], hashes: Iterable[bytes], deadlines: Sequence[int], promised: Sequence[int] | None = None
) -> Iterator[bytes]:
    flags = [_FLAGS[deadline != NO_DEADLINE] for deadline in deadlines]
    hashed = flags if promised is None else [_FLAGS[deadline != NO_DEADLINE] for deadline in promised]
    whole = [
        b"%d:%b%b%b" % (len(name), name, flag, value) for name, flag, value in zip(names, hashed, hashes, strict=True)
    ]
    parts = zip(map(name_hash, names), map(xxhash.xxh3_128_digest, whole), flags, strict=True)
    return map(b"".join, parts)

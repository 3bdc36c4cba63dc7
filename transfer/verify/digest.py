"""Counts and digests of the two sides of one logical database: exact, order-free, each key once.

    key -> hash of the name (8) + contribution (16) + has a deadline (1) -> Records both | left | right
    both + left -> row of the left        both + right -> row of the right

    contribution := xxh3-128(hash of the value (16), has a deadline (1), name)
    digest       := sum of the contributions of all distinct keys, mod 2^128, in hex

Rule 1: a name that SCAN gives twice counts once; what was said last holds. Sums are kept along the way and
        hold if no hash is there twice; else they are made anew from the records.
Rule 2: a key that is equal on both sides is kept once for both.
Names are those of the target, so that equal data has equal digests under a renaming too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import add, itemgetter

import msgspec
import xxhash

from transfer.model.record import NO_DEADLINE
from transfer.model.report import DbTable
from transfer.verify.sides import NewRecords, Records

_BUCKETS = 256
_VALUE_BYTES = 17
_HAS_DEADLINE = itemgetter(_VALUE_BYTES - 1)
_FLAGS = (b"\x00", b"\x01")

name_hash = xxhash.xxh3_64_digest


class DbTally:
    """What was seen of one database of the target and the databases of the source that lead there."""

    def __init__(self, db: int, new_records: NewRecords) -> None:
        self.db = db
        self._both, self._left, self._right = (_Column(new_records(_VALUE_BYTES)) for _ in range(3))
        self._right_names = new_records(0)
        self._distinct_of: dict[int, int] = {}

    def both(self, names: list[bytes], hashes: Iterable[bytes], deadlines: Sequence[int]) -> None:
        """Keys that are equal on both sides; *hashes* are of their values."""
        self._both.add(names, hashes, deadlines, deadlines)

    def left(
        self, names: list[bytes], hashes: Iterable[bytes], deadlines: Sequence[int], promised: Sequence[int]
    ) -> None:
        """Keys of the left; *promised* deadlines (those the right should have) make the digest comparable."""
        self._left.add(names, hashes, deadlines, promised)

    def right(self, names: list[bytes], hashes: Iterable[bytes], deadlines: Sequence[int]) -> None:
        self._right.add(names, hashes, deadlines, deadlines)

    def named_at_right(self, names: list[bytes]) -> None:
        """Names that a scan of the right gave."""
        self._right_names.add_records(map(name_hash, names))

    def equals(self, keys: int) -> bool:
        """Whether *keys* keys were equal on both sides, and no key was on one side only or different."""
        return self._both.sum.keys == keys and not self._left.sum.keys and not self._right.sum.keys

    def no_name_twice(self) -> None:
        """Every name was given once: nothing has to be counted anew."""
        self._distinct_of = {self._both.sum.keys: self._both.sum.keys}

    def unmet(self) -> Iterator[bytes]:
        """Hashes of names given at the right that no key of the left led to, bucket by bucket."""
        seen, distinct = self._both.sum.keys, 0
        for number in range(_BUCKETS):
            met = self._both.records.hashes(number)
            distinct += len(met)
            yield from self._right_names.hashes(number).difference(met, self._left.records.hashes(number))
        if seen == self._both.sum.keys:
            self._distinct_of = {seen: distinct}

    def row(self) -> DbTable:
        """Counts and digests of both sides."""
        left, right = (self._total(own) for own in (self._left, self._right))
        return DbTable(
            self.db, (left.keys, right.keys), (left.with_deadline, right.with_deadline), (left.hex(), right.hex())
        )

    def alone(self) -> DbTable:
        """Counts and digest of the left, the one place that was read."""
        row = self.row()
        return DbTable(row.db, row.keys[:1], row.with_deadline[:1], row.digest[:1])

    def _total(self, own: _Column) -> _Sum:
        """The sum over `both` and *own*; of a name that is there twice, its last record in *own*, else in `both`."""
        both = self._both
        if self._distinct(own) == both.sum.keys + own.sum.keys:
            return _Sum(
                both.sum.keys + own.sum.keys,
                both.sum.with_deadline + own.sum.with_deadline,
                both.sum.total + own.sum.total,
            )
        exact = _Sum()
        for number in range(_BUCKETS):
            held = (both.records.bucket(number) | own.records.bucket(number)).values()
            exact.keys += len(held)
            exact.with_deadline += sum(map(_HAS_DEADLINE, held))
            exact.total += sum(int.from_bytes(value[:-1]) for value in held)
        return exact

    def _distinct(self, own: _Column) -> int:
        """How many names are in `both` and *own* together."""
        if not own.sum.keys and self._both.sum.keys in self._distinct_of:
            return self._distinct_of[self._both.sum.keys]
        numbers = range(_BUCKETS)
        return sum(len(self._both.records.hashes(n) | own.records.hashes(n)) for n in numbers)

    def close(self) -> None:
        for column in (self._both, self._left, self._right):
            column.records.close()
        self._right_names.close()


class _Sum(msgspec.Struct):
    """Keys, keys with a deadline, and the sum of contributions."""

    keys: int = 0
    with_deadline: int = 0
    total: int = 0

    def hex(self) -> str:
        return f"{self.total % 2**128:032x}"


class _Column:
    """Records, and their sum as if no name were there twice."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.sum = _Sum()

    def add(
        self, names: list[bytes], hashes: Iterable[bytes], deadlines: Sequence[int], promised: Sequence[int]
    ) -> None:
        flags = _flags(deadlines)
        hashed = flags if promised is deadlines else _flags(promised)
        whole = map(b"".join, zip(hashes, hashed, names, strict=True))
        contributions = list(map(xxhash.xxh3_128_digest, whole))
        self.sum.keys += len(names)
        self.sum.with_deadline += flags.count(_FLAGS[True])
        self.sum.total += sum(map(int.from_bytes, contributions))
        self.records.add(map(name_hash, names), map(add, contributions, flags))


def _flags(deadlines: Sequence[int]) -> list[bytes]:
    if max(deadlines) == NO_DEADLINE:
        return [_FLAGS[False]] * len(deadlines)
    return [_FLAGS[deadline != NO_DEADLINE] for deadline in deadlines]

"""Where in a file a name is, found again without holding the names.

    (db, name) -> xxh3-64, seeded by db -> BucketStore -> offset (6 bytes), sorted when the first question is asked

Two names with one hash are taken for one: in 10 million keys the chance of any such pair is 3 in a million.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

from transfer.model.record import hashes_of_names

WIDTH_BYTES = 6
_RECORD_BYTES = 8 + WIDTH_BYTES
_AGAIN_SHOWN = 1000
_HELD_BYTES = 64 << 20
"""Sorted buckets that are kept; others are made again."""


class Records(Protocol):
    """An append-only map from 8-byte hashes to values of 6 bytes; of records with one hash the last holds."""

    def add_joined(self, hashes: bytes, values: bytes) -> None: ...
    def bucket(self, number: int) -> dict[bytes, bytes]: ...
    def again(self, most: int) -> tuple[int, set[bytes]]: ...
    def close(self) -> None: ...


class NoIndex:
    """Remembers nothing: for a file that is only read through."""

    wanted = False

    def add(self, db: int, names: list[bytes], offsets: list[int]) -> None:
        return

    def again(self) -> tuple[int, set[bytes]]:
        return 0, set()

    def find(self, db: int, names: list[bytes]) -> list[tuple[int, bytes]]:
        raise LookupError("this file was opened without an index")

    def close(self) -> None:
        return


class NameIndex:
    """Offsets by name; *records* hold 6 bytes for each hash."""

    wanted = True

    def __init__(self, records: Records) -> None:
        self._records = records
        self._sorted: dict[int, bytes] = {}
        self._held_bytes = 0

    def add(self, db: int, names: list[bytes], offsets: list[int]) -> None:
        """Names of *db* and where each begins; before the first question."""
        hashes = b"".join(hashes_of_names(db, names))
        self._records.add_joined(hashes, _joined(offsets))

    def again(self) -> tuple[int, set[bytes]]:
        """How many names were added that had been added before, and hashes of some of those."""
        return self._records.again(_AGAIN_SHOWN)

    def find(self, db: int, names: list[bytes]) -> list[tuple[int, bytes]]:
        """(offset, name) for those of *names* that may be in the file, in the order of the file."""
        found: list[tuple[int, bytes]] = []
        for mark, name in sorted(zip(hashes_of_names(db, names), names, strict=True)):
            bucket = self._bucket(mark[0])
            at = bisect_left(bucket, mark)
            if at < len(bucket) and bucket[at] == mark:
                found.append((bucket.offset(at), name))
        return sorted(found)

    def _bucket(self, number: int) -> _Bucket:
        data = self._sorted.get(number)
        if data is None:
            records = self._records.bucket(number)
            data = b"".join(map(b"".join, sorted(records.items())))
            while self._sorted and self._held_bytes + len(data) > _HELD_BYTES:
                self._held_bytes -= len(self._sorted.pop(next(iter(self._sorted))))
            self._sorted[number] = data
            self._held_bytes += len(data)
        return _Bucket(data)

    def close(self) -> None:
        self._records.close()
        self._sorted.clear()


def _joined(offsets: list[int]) -> bytes:
    """*offsets* one after the other; those of a block of an archive are all one, which is made once."""
    count = len(offsets)
    if count and offsets.count(offsets[0]) == count:
        return offsets[0].to_bytes(WIDTH_BYTES, "big") * count
    return b"".join([at.to_bytes(WIDTH_BYTES, "big") for at in offsets])


class _Bucket(Sequence[bytes]):
    """Sorted records as a sequence of their hashes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data) // _RECORD_BYTES

    def __getitem__(self, at: int) -> bytes:  # type: ignore[override]  # never a slice
        return self._data[at * _RECORD_BYTES : at * _RECORD_BYTES + 8]

    def offset(self, at: int) -> int:
        return int.from_bytes(self._data[at * _RECORD_BYTES + 8 : (at + 1) * _RECORD_BYTES], "big")

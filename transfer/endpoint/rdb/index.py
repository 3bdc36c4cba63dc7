"""In which block of a file a name is, found again without holding the names.

    (db, name) -> xxh3-64, seeded by db -> BucketStore -> number of the block (4 bytes)

Two names with one hash are taken for one: in 10 million keys the chance of any such pair is 3 in a million.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import repeat
from typing import Protocol

import xxhash

from transfer.model.record import seed

_WIDTH = 4
_FEW = 64
"""Questions above this are answered bucket by bucket."""


class Records(Protocol):
    """An append-only map from 8-byte hashes to values of 4 bytes."""

    def add_joined(self, hashes: bytes, values: bytes) -> None: ...
    def find(self, wanted: bytes) -> bytes | None: ...
    def bucket(self, number: int) -> dict[bytes, bytes]: ...
    def close(self) -> None: ...


class NoIndex:
    """Remembers nothing: for a file that is only read through."""

    def add(self, db: int, names: list[bytes], block: int) -> None:
        return

    def find(self, db: int, names: list[bytes]) -> dict[int, list[bytes]]:
        raise LookupError("this file was opened without an index")

    def close(self) -> None:
        return


class NameIndex:
    """Blocks by name; *records* hold 4 bytes for each hash."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def add(self, db: int, names: list[bytes], block: int) -> None:
        hashes = b"".join(map(xxhash.xxh3_64_digest, names, repeat(seed(db))))
        self._records.add_joined(hashes, block.to_bytes(_WIDTH, "big") * len(names))

    def find(self, db: int, names: list[bytes]) -> dict[int, list[bytes]]:
        """Those of *names* that may be in the file, by the number of their block."""
        wanted = [(xxhash.xxh3_64_digest(name, seed(db)), name) for name in names]
        found: defaultdict[int, list[bytes]] = defaultdict(list)
        if len(wanted) <= _FEW:
            pairs = [(self._records.find(mark), name) for mark, name in wanted]
        else:
            pairs = self._by_bucket(wanted)
        for value, name in pairs:
            if value is not None:
                found[int.from_bytes(value, "big")].append(name)
        return found

    def _by_bucket(self, wanted: list[tuple[bytes, bytes]]) -> list[tuple[bytes | None, bytes]]:
        pairs: list[tuple[bytes | None, bytes]] = []
        number, bucket = -1, {}
        for mark, name in sorted(wanted):
            if mark[0] != number:
                number = mark[0]
                bucket = self._records.bucket(number)
            pairs.append((bucket.get(mark), name))
        return pairs

    def close(self) -> None:
        self._records.close()

"""What this run did with which key, in 16 bytes a key.

    (db, key, value) -> xxh3-64 of the name (seeded by db) + xxh3-64 of the value -> BucketStore

Two names with one hash are taken for one: in 10 million keys the chance of any such pair is 3 in a million.
xxh3 is no defence against somebody who chooses names to collide.

Seeds stand for the database, and for the deadline (`model.record.seed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import xxhash

from transfer.model.record import deadline_seed, hash_of_name, hashes_of_names
from transfer.pipeline.buckets import HASH_BYTES, BucketStore

Noted = Callable[[bytes, bytes], None]
"""Told of hashes of names and of values, each in one."""


def _to_nobody(hashes: bytes, values: bytes) -> None:
    pass


class Ledger:
    """Keeps the promise of `model.ports.KeyLedger`; bounded by *memory_bytes*, then by the disk.

    *on_note* is told of every `note`.
    """

    def __init__(self, *, memory_bytes: int = 8 << 20, spill_dir: str = "", on_note: Noted = _to_nobody) -> None:
        self._store = BucketStore(HASH_BYTES, memory_bytes=memory_bytes, spill_dir=spill_dir)
        self._on_note = on_note

    def note(self, db: int, keys: list[bytes], values: list[bytes], deadlines: Sequence[int] | None = None) -> None:
        """Remember *keys* of logical database *db* with the hash of each value's bytes, and of *deadlines* if given.

        Raises:
            LimitError: memory is used up and the disk has no room.
        """
        records = self.hashed(db, keys, values, deadlines)
        self.add(*records)
        self._on_note(*records)

    def hashed(
        self, db: int, keys: list[bytes], values: list[bytes], deadlines: Sequence[int] | None = None
    ) -> tuple[bytes, bytes]:
        """What `note` remembers of these: hashes of names, and of values, each in one."""
        names = hashes_of_names(db, keys)
        if deadlines is None or max(deadlines, default=-1) < 0:
            return b"".join(names), b"".join(map(xxhash.xxh3_64_digest, values))
        seeds = [0 if at < 0 else deadline_seed(at) for at in deadlines]
        return b"".join(names), b"".join(map(xxhash.xxh3_64_digest, values, seeds))

    def add(self, hashes: bytes, values: bytes) -> None:
        """Remember what `hashed` gave; whoever is told of notes knows of it already."""
        self._store.add_joined(hashes, values)

    def note_hash(self, db: int, key: bytes, value_hash: bytes) -> None:
        """Remember *key* with a hash made elsewhere, as `note` would: of a value that was never held whole."""
        name = hash_of_name(db, key)
        self.add(name, value_hash)
        self._on_note(name, value_hash)

    def value_hash(self, db: int, key: bytes) -> bytes | None:
        """The hash noted last for this key, None if it was never noted. Slow: for the few keys in doubt."""
        name = hash_of_name(db, key)
        return self._store.find(name)

    def distinct(self) -> int:
        """How many different keys were noted."""
        return self._store.distinct()

    def missing_from(self, other: Ledger) -> Iterator[bytes]:
        """Name hashes noted here and not in *other*, bucket by bucket."""
        return self._store.missing_from(other._store)

    def close(self) -> None:
        """Let go of memory and file."""
        self._store.close()

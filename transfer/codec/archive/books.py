"""What is remembered while an archive passes by, written or read: its blocks, its sums, its hash.

The writer makes index and manifest of them; a reader keeps the same books and holds them against what it finds there.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Any

import xxhash

from transfer.codec.archive.frames import Frame
from transfer.codec.archive.items import AsOf, LargeKey, Manifest
from transfer.codec.archive.keymap import MOST_BLOCKS, TABLE, Index, Marks, bits_for, marks_of
from transfer.codec.archive.tally import Tally, type_of, value_seed
from transfer.model.record import hash_of_name

_U32, _U64 = struct.Struct("<I").pack, struct.Struct("<Q").pack


class Books:
    """Of one archive, from its first byte on.

    Args:
        marks: keeps what the key map is made of; None: none will be made.
    """

    def __init__(self, marks: Marks | None = None) -> None:
        self.marks = marks
        self.tally, self.tombstones, self.blocks = Tally(), 0, 0
        self.plain_bytes, self.stored_bytes = 0, 0
        self._sha = hashlib.sha256()
        self._table = [bytearray() for _ in TABLE]

    def bytes_passed(self, data: bytes) -> None:
        """The next bytes of the file."""
        self._sha.update(data)

    def block(self, frame: Frame, db: int, hashes: bytes, tally: Tally) -> None:
        """A frame that begins keys."""
        if self.marks is not None and self.blocks < MOST_BLOCKS:
            self.marks.add_joined(marks_of(hashes, self.blocks), b"")
        self.blocks += 1
        self.tally.add(tally)
        self.plain_bytes += frame.plain_bytes
        self.stored_bytes += frame.stored_bytes
        sizes = (frame.plain_bytes, frame.stored_bytes, tally.keys, tally.with_deadline, db)
        row = (_U64(frame.offset), *map(_U32, sizes), _U64(frame.sequence), frame.checksum)
        for column, value in zip(self._table, row, strict=True):
            column += value

    def piece(self, frame: Frame) -> None:
        """A frame that goes on with a large value."""
        self.plain_bytes += frame.plain_bytes
        self.stored_bytes += frame.stored_bytes

    @property
    def mapped(self) -> bool:
        """Whether a key map can be made."""
        return self.marks is not None and self.blocks <= MOST_BLOCKS

    def index(self, segments: bytes) -> Index:
        """The table of blocks; *segments*: offset and size of each frame of the key map, 16 bytes each."""
        columns: dict[str, Any] = dict(zip(TABLE, map(bytes, self._table), strict=True))
        if segments:
            slot_bits, segment_bits = bits_for(self.tally.keys)
            columns |= {"slot_bits": slot_bits, "segment_bits": segment_bits, "segments": segments}
        return Index(**columns)

    def facts(self) -> dict[str, Any]:
        """The part of the manifest that every reader can find out, by field."""
        return {
            "keys": self.tally.keys,
            "with_deadline": self.tally.with_deadline,
            "tombstones": self.tombstones,
            "dbs": self.tally.dbs,
            "plain_bytes": self.plain_bytes,
            "stored_bytes": self.stored_bytes,
        }

    def sha256(self) -> bytes:
        """Of every byte so far."""
        return self._sha.digest()

    def manifest(self, as_of: AsOf, frames: int, repeated_keys: int | None, digests: Mapping[str, str]) -> Manifest:
        """What is to be written now, after so many *frames*."""
        return Manifest(
            as_of=as_of,
            frames=frames,
            sums=self.tally.joined_sums(),
            sha256=self.sha256(),
            repeated_keys=repeated_keys,
            digests=dict(digests),
            **self.facts(),
        )


class LargeBook:
    """Sums up the body of one value that comes in pieces."""

    def __init__(self, key: LargeKey) -> None:
        self.key, self.size_bytes = key, 0
        self.hashes = hash_of_name(key.db, key.key)
        self._hash = xxhash.xxh3_128(seed=value_seed(int.from_bytes(self.hashes, "big"), key.deadline))

    def tally(self) -> Tally:
        """Of the key, without its sum."""
        key = self.key
        return Tally(1, int(key.deadline != -1), {key.db: {type_of(key.kind, key.version): 1}})

    def add(self, data: bytes) -> None:
        """The next bytes of the body."""
        self._hash.update(data)
        self.size_bytes += len(data)

    def add_to(self, tally: Tally) -> None:
        """The sum, now that the body is whole."""
        tally.sums[self.hashes[0]] += self._hash.intdigest()

"""Many small records by hash, in memory as long as they fit, then on disk: exact, and bounded.

    hash (8 bytes) + value (fixed width) -> unsorted -> bucket (first byte of the hash) -> ... bytearray
                                              `-> full: one unlinked file <-----------------------'

Rule 1: records are only appended; of those with the same hash the last one holds. They are put into their buckets
        when the first question is asked: most stores of a run are never asked one.
Rule 2: reading back goes bucket by bucket: 1/256 of everything is in memory as a dict at a time.
Rule 3: the file has no name while it is in use, mode 0600, and is gone with the process.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from transfer.model.errors import LimitError

HASH_BYTES = 8
_BUCKETS = 256
_PIECES = struct.Struct(f"{HASH_BYTES}s").iter_unpack
_AT_ONCE = 128
"""Records unpacked by one call."""
_HEADROOM_BYTES = 64 << 20
"""Room that a spill leaves free on the disk."""


class BucketStore:
    """An append-only map from 8-byte hashes to values of *value_bytes* each.

    Args:
        memory_bytes: records beyond this are moved to a file in *spill_dir* (default: the system's).
    """

    def __init__(self, value_bytes: int, *, memory_bytes: int = 32 << 20, spill_dir: str = "") -> None:
        self.record_bytes = HASH_BYTES + value_bytes
        self._memory_bytes = max(memory_bytes, self.record_bytes * _BUCKETS)
        self._spill_dir = spill_dir or tempfile.gettempdir()
        self._shape = f"{HASH_BYTES}s{value_bytes}s"
        self._values = struct.Struct(f"{value_bytes or 1}s").iter_unpack
        self._one = struct.Struct(f"{HASH_BYTES}s{value_bytes}x")
        self._many = struct.Struct(f"{HASH_BYTES}s{value_bytes}x" * _AT_ONCE)
        self._buckets = [bytearray() for _ in range(_BUCKETS)]
        self._unsorted: list[tuple[bytes, bytes]] = []
        self._aside: list[tuple[int, int, int]] = []
        self._held_bytes = 0
        self._file = -1
        self._file_bytes = 0
        self._segments: list[list[tuple[int, int]]] = [[] for _ in range(_BUCKETS)]

    def add(self, hashes: Iterable[bytes], values: Iterable[bytes]) -> None:
        """Append one record for each pair. Raises as `add_joined`."""
        self.add_joined(b"".join(hashes), b"".join(values))

    def add_joined(self, hashes: bytes, values: bytes) -> None:
        """Append records: their hashes in one, their values in one.

        Raises:
            LimitError: memory is used up and the disk has no room.
        """
        self._unsorted.append((hashes, values))
        self._held_bytes += len(hashes) + len(values)
        if self._held_bytes > self._memory_bytes:
            self._set_aside()

    def add_records(self, records: Iterable[bytes]) -> None:
        """Like `add`, hash and value of each in one."""
        self._sort()
        buckets, count = self._buckets, 0
        for record in records:
            buckets[record[0]] += record
            count += 1
        self._held_bytes += count * self.record_bytes
        if self._held_bytes > self._memory_bytes:
            self._spill()

    def find(self, wanted: bytes) -> bytes | None:
        """The value of the last record with hash *wanted*; searches its bucket, for rare questions only."""
        number = wanted[0]
        self._sort()
        found = self._find_in(self._buckets[number], wanted)
        for at, size in reversed(self._segments[number]) if found is None else ():
            found = self._find_in(os.pread(self._file, size, at), wanted)
            if found is not None:
                break
        return found

    def bucket(self, number: int) -> dict[bytes, bytes]:
        """Hash -> value of one bucket, 0 <= *number* < 256."""
        return dict(struct.iter_unpack(self._shape, self.joined(number)))

    def hashes(self, number: int) -> set[bytes]:
        """The hashes of one bucket: twice as fast as with their values."""
        return self._hashes(self.joined(number))

    def _hashes(self, whole: bytes) -> set[bytes]:
        even = len(whole) - len(whole) % self._many.size
        return {
            *chain.from_iterable(self._many.iter_unpack(whole[:even])),
            *chain.from_iterable(self._one.iter_unpack(whole[even:])),
        }

    def distinct(self) -> int:
        """How many different hashes are held."""
        return sum(len(self.hashes(number)) for number in range(_BUCKETS))

    def repeated(self) -> set[bytes]:
        """Hashes that were added more than once."""
        return set().union(*(self._repeated(self.joined(number)) for number in range(_BUCKETS)))

    def again(self, most: int) -> tuple[int, set[bytes]]:
        """How many records came after one of the same hash, and at most *most* of those hashes."""
        count, some = 0, set[bytes]()
        for number in range(_BUCKETS):
            whole = self.joined(number)
            if more := len(whole) // self.record_bytes - len(self._hashes(whole)):
                count += more
                some.update(islice(self._repeated(whole), most - len(some)))
        return count, some

    def _repeated(self, whole: bytes) -> set[bytes]:
        counts = Counter(mark for (mark,) in self._one.iter_unpack(whole))
        return {mark for mark, count in counts.items() if count > 1}

    def missing_from(self, *others: BucketStore) -> Iterator[bytes]:
        """Hashes held here and in none of *others*."""
        for number in range(_BUCKETS):
            yield from self.hashes(number).difference(*(other.hashes(number) for other in others))

    def close(self) -> None:
        """Let go of memory and file; safe to call twice."""
        self._buckets = [bytearray() for _ in range(_BUCKETS)]
        self._segments = [[] for _ in range(_BUCKETS)]
        self._unsorted, self._aside = [], []
        self._held_bytes = self._file_bytes = 0
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            os.close(self._file)

    def _sort(self) -> None:
        """Put what was added since into its buckets."""
        aside, self._aside = self._aside, []
        for at, hashes_bytes, values_bytes in aside:
            self._take(os.pread(self._file, hashes_bytes, at), os.pread(self._file, values_bytes, at + hashes_bytes))
            self._held_bytes += hashes_bytes + values_bytes
            if self._held_bytes > self._memory_bytes:
                self._spill()
        unsorted, self._unsorted = self._unsorted, []
        for hashes, values in unsorted:
            self._take(hashes, values)

    def _take(self, hashes: bytes, values: bytes) -> None:
        buckets = self._buckets
        if self.record_bytes == HASH_BYTES:
            for (key,) in _PIECES(hashes):
                buckets[key[0]] += key
            return
        for (key,), (value,) in zip(_PIECES(hashes), self._values(values), strict=True):
            buckets[key[0]] += key + value

    def _set_aside(self) -> None:
        """Move what is not sorted yet to the file as it is; if that is not what fills the memory, the buckets."""
        self._open_file()
        waiting, self._unsorted = self._unsorted, []
        for hashes, values in waiting:
            self._aside.append((self._file_bytes, len(hashes), len(values)))
            self._file_bytes = _write_all(self._file, hashes + values, self._file_bytes)
            self._held_bytes -= len(hashes) + len(values)
        if self._held_bytes > self._memory_bytes // 2:
            self._spill()

    def joined(self, number: int) -> bytes:
        """All records of one bucket, in the order they were added."""
        self._sort()
        parts = [os.pread(self._file, size, at) for at, size in self._segments[number]]
        return b"".join((*parts, self._buckets[number]))

    def _find_in(self, data: bytes | bytearray, wanted: bytes) -> bytes | None:
        at = data.rfind(wanted)
        while at >= 0 and at % self.record_bytes:
            at = data.rfind(wanted, 0, at + HASH_BYTES - 1)
        return bytes(data[at + HASH_BYTES : at + self.record_bytes]) if at >= 0 else None

    def _spill(self) -> None:
        """Move the buckets to the file."""
        self._open_file()
        for number, bucket in enumerate(self._buckets):
            if bucket:
                self._segments[number].append((self._file_bytes, len(bucket)))
                self._file_bytes = _write_all(self._file, bucket, self._file_bytes)
                self._held_bytes -= len(bucket)
        self._buckets = [bytearray() for _ in range(_BUCKETS)]

    def _open_file(self) -> None:
        disk = os.statvfs(self._spill_dir)
        free = disk.f_bavail * disk.f_frsize
        if free < self._held_bytes + _HEADROOM_BYTES:
            raise LimitError(
                f"no room to remember more keys: {free:,} bytes are free in {self._spill_dir}, "
                f"{self._held_bytes:,} are needed and {_HEADROOM_BYTES:,} stay free",
                hint="name a larger disk with --spill-dir, or verify a share of the keys with --verify sample:1%",
                free=free,
            )
        if self._file < 0:
            self._file, path = tempfile.mkstemp(prefix="transfer-", dir=self._spill_dir)
            os.unlink(path)


def _write_all(file: int, data: bytes | bytearray, at: int) -> int:
    """Returns where the data ends."""
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.pwrite(file, view[done:], at + done)
    return at + len(data)

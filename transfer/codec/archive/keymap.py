"""Where in an archive a name may be: found by reading one part of the key map, without making objects of it.

    h := name hash (8 bytes big-endian, tally.py), its bits counted from the top
    h -> segment (first g bits: one KEYMAP frame) -> slot (first k bits) -> fingerprints (byte 4 of h) -> block numbers

Rule 1: k is such that a slot holds one or two keys; a wrong fingerprint fits for less than one name in a hundred.
Rule 2: columns of numbers are byte planes, the lowest first, and as few as needed: they compress well and cut fast.
Rule 3: while writing, 8 bytes a key are kept: five of the hash, three of the block.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import repeat
from operator import rshift
from typing import Annotated, NamedTuple, Protocol

import msgspec

from transfer.codec.archive.frames import HEADER_BYTES
from transfer.model.errors import FormatError
from transfer.model.record import hash_of_name

MARK_BYTES = 8
_BUCKETS = 256
_BLOCK_BITS, _MOST_SLOT_BITS, _SEGMENT_SLOT_BITS, _MOST_SEGMENT_BITS = 24, 32, 16, 8
MOST_BLOCKS = 1 << _BLOCK_BITS
_POSITIVE = b"\x3f"


_Planes = Annotated[list[bytes], msgspec.Meta(min_length=1, max_length=4)]


class Marks(Protocol):
    """Append-only 8-byte records in 256 buckets by their first byte; pipeline/buckets.BucketStore(0) is one."""

    def add_joined(self, hashes: bytes, values: bytes) -> None: ...
    def joined(self, number: int) -> bytes: ...
    def close(self) -> None: ...


class Block(NamedTuple):
    """One frame that begins keys (KEYS, or LARGE with its pieces), as the index tells it."""

    number: int
    offset: int
    plain_bytes: int
    stored_bytes: int
    keys: int
    with_deadline: int
    db: int
    sequence: int
    checksum: bytes

    @property
    def end(self) -> int:
        """The offset behind its frame."""
        return self.offset + HEADER_BYTES + self.stored_bytes


class KeyMap(msgspec.Struct, frozen=True, array_like=True):
    """One segment: keys of each slot, then for all keys in order of their hashes fingerprint and block number."""

    counts: _Planes
    prints: bytes
    blocks: _Planes

    def __post_init__(self) -> None:
        if len(set(map(len, self.counts))) > 1 or any(len(plane) != len(self.prints) for plane in self.blocks):
            raise ValueError("planes of one column differ in length")

    def find(self, slot: int, mark: int) -> list[int]:
        """Blocks that may hold the name of hash *mark*; *slot* counts from the first of this segment."""
        first, size = _sum(self.counts, 0, slot), _sum(self.counts, slot, slot + 1)
        wanted, found = _print_of(mark), []
        at = self.prints.find(wanted, first, first + size)
        while at >= 0:
            found.append(sum(plane[at] << 8 * place for place, plane in enumerate(self.blocks)))
            at = self.prints.find(wanted, at + 1, first + size)
        return found


TABLE = ("offsets", "plain_bytes", "stored_bytes", "keys", "with_deadline", "dbs", "sequences", "checksums")
"""The columns of the table of blocks, in the order of `Index`."""


class Index(msgspec.Struct, frozen=True):
    """The table of blocks, column by column (little-endian), and where the segments of the key map stand.

    `slot_bits` is None where there is no key map; then every block may hold any name.
    """

    offsets: bytes
    plain_bytes: bytes
    stored_bytes: bytes
    keys: bytes
    with_deadline: bytes
    dbs: bytes
    sequences: bytes
    checksums: bytes
    slot_bits: int | None = None
    segment_bits: int = 0
    segments: bytes = b""

    def __post_init__(self) -> None:
        wide, narrow = (self.offsets, self.sequences), (self.plain_bytes, self.stored_bytes, self.keys, self.dbs)
        count, odd = divmod(len(self.offsets), 8)
        if odd or any(len(c) != 8 * count for c in wide) or any(len(c) != 4 * count for c in narrow):
            raise ValueError("the columns of the index differ in length")
        if len(self.with_deadline) != 4 * count or len(self.checksums) != 16 * count:
            raise ValueError("the columns of the index differ in length")
        if self.slot_bits is None:
            return
        if not 0 <= self.segment_bits <= min(self.slot_bits, _MOST_SEGMENT_BITS) or self.slot_bits > _MOST_SLOT_BITS:
            raise ValueError("the key map has impossible bits")
        if len(self.segments) != 16 << self.segment_bits:
            raise ValueError("segments of the key map are missing")

    def __len__(self) -> int:
        return len(self.offsets) // 8

    def block(self, number: int) -> Block:
        """Raises FormatError: there is none of this number."""
        if not 0 <= number < len(self):
            raise FormatError(f"the index has {len(self):,} blocks, none of number {number:,}", number=number)
        narrow = (self.plain_bytes, self.stored_bytes, self.keys, self.with_deadline, self.dbs)
        sizes = [int.from_bytes(column[4 * number : 4 * number + 4], "little") for column in narrow]
        at = 8 * number
        offset, sequence = (int.from_bytes(column[at : at + 8], "little") for column in (self.offsets, self.sequences))
        return Block._make((number, offset, *sizes, sequence, self.checksums[2 * at : 2 * at + 16]))

    def blocks(self) -> Iterator[Block]:
        """All of them, in the order of the file."""
        return map(self.block, range(len(self)))

    def segment_of(self, mark: int) -> tuple[int, int] | None:
        """Offset and size of the KEYMAP frame that tells of hash *mark*; None: there is no key map."""
        if self.slot_bits is None:
            return None
        number = mark >> 64 - self.segment_bits
        offset, size = struct.unpack_from("<QQ", self.segments, 16 * number)
        return offset, size

    def find(self, segment: KeyMap, mark: int) -> list[Block]:
        """The blocks that may hold the name of hash *mark*, the latest first; *segment* is that of `segment_of`."""
        assert self.slot_bits is not None
        slot = (mark >> 64 - self.slot_bits) & (1 << self.slot_bits - self.segment_bits) - 1
        return [self.block(number) for number in sorted(set(segment.find(slot, mark)), reverse=True)]


def mark_of(db: int, key: bytes) -> int:
    """The hash by which *key* of database *db* is found."""
    return int.from_bytes(hash_of_name(db, key), "big")


def marks_of(hashes: bytes, block: int) -> bytes:
    """What is kept of these names: five bytes of each hash (8 in *hashes*), three of the number of their block."""
    marks, size = bytearray(hashes), len(hashes) // MARK_BYTES
    for place in range(3):
        marks[5 + place :: MARK_BYTES] = bytes((block >> 16 - 8 * place & 255,)) * size
    return bytes(marks)


def bits_for(keys: int) -> tuple[int, int]:
    """(slot bits, segment bits) of a map of so many *keys*."""
    slot_bits = min(_MOST_SLOT_BITS, max(0, keys.bit_length() - 1))
    return slot_bits, min(_MOST_SEGMENT_BITS, max(0, slot_bits - _SEGMENT_SLOT_BITS))


def key_maps(marks: Marks, slot_bits: int, segment_bits: int) -> Iterator[KeyMap]:
    """All segments in their order."""
    together, slots = _BUCKETS >> segment_bits, 1 << slot_bits - segment_bits
    for number in range(1 << segment_bits):
        buckets = range(number * together, (number + 1) * together)
        joined = b"".join([_in_order(marks.joined(bucket), bucket) for bucket in buckets])
        counted = Counter(map(rshift, _first_words(joined), repeat(32 - slot_bits)))
        counts = [*map(counted.get, range(number * slots, (number + 1) * slots), repeat(0))]
        yield KeyMap(_planes_of(counts), joined[4::8], _needed([joined[7::8], joined[6::8], joined[5::8]]))


def _in_order(marks: bytes, bucket: int) -> bytes:
    """Sorted as doubles, three times as fast as bytes are sorted: for that, all begin with one byte meanwhile."""
    data, size = bytearray(marks), len(marks) // MARK_BYTES
    data[::MARK_BYTES] = _POSITIVE * size
    found = array("d", bytes(data))
    if sys.byteorder == "little":
        found.byteswap()
    found = array("d", sorted(found))
    if sys.byteorder == "little":
        found.byteswap()
    data = bytearray(found.tobytes())
    data[::MARK_BYTES] = bytes((bucket,)) * size
    return bytes(data)


def _first_words(marks: bytes) -> array[int]:
    """The first four bytes of each of *marks*, as numbers; unpacking them would take three times as long."""
    words = bytearray(len(marks) // 2)
    for place in range(4):
        words[place::4] = marks[place::MARK_BYTES]
    found = array("I", bytes(words))
    if sys.byteorder == "little":
        found.byteswap()
    return found


def _planes_of(numbers: list[int]) -> list[bytes]:
    if max(numbers) < 256:
        return [bytes(numbers)]
    packed = struct.pack(f"<{len(numbers)}I", *numbers)
    return _needed([packed[place::4] for place in range(4)])


def _needed(planes: list[bytes]) -> list[bytes]:
    """Without the upper ones that are all zero."""
    while len(planes) > 1 and not any(planes[-1]):
        planes = planes[:-1]
    return planes


def _sum(planes: list[bytes], start: int, end: int) -> int:
    return sum(sum(plane[start:end]) << 8 * place for place, plane in enumerate(planes))


def _print_of(mark: int) -> int:
    """Byte 4 of the hash."""
    return mark >> 24 & 255

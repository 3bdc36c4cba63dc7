"""The outer form of an archive: a prefix, then frames that can be checked one by one and in their order.

    prefix := magic (8)  version (u16)  0 (u16)
    frame  := header (88)  stored bytes
    header := sync (4)  kind  flags  0 (u16)  sequence (u64)  plain size (u32)  stored size (u32)
              archive id (16)  checksum of the frame before (16)  checksum of the stored bytes (16)
              checksum of the 72 bytes so far (16), which is the checksum of the frame

Rule 1: all numbers are little-endian, all checksums xxh3-128 as 16 bytes big-endian.
Rule 2: a header is checked before any of its sizes is believed, and every size has a cap.
Rule 3: a frame alone proves its bytes and its archive; the one before it proves its place.
"""

from __future__ import annotations

import struct
from enum import IntEnum

import msgspec
import xxhash

from transfer.model.errors import ChecksumError, FormatError, UnknownFormError

MAGIC = b"\x89XFER\r\n\x1a"
"""A byte above 127, both line ends and the end mark of DOS: what a transfer as text would spoil."""
VERSION = 1
SYNC = b"\xf5xfr"
_PREFIX = struct.Struct("<8sHH")
_HEADER = struct.Struct("<4sBBHQII16s16s16s")
SUM_BYTES = 16
PREFIX_BYTES, HEADER_BYTES = _PREFIX.size, _HEADER.size + SUM_BYTES
NO_SUM = bytes(SUM_BYTES)
COMPRESSED, SKIPPABLE = 1, 128
_MIB = 1 << 20

checksum = xxhash.xxh3_128_digest


class Kind(IntEnum):
    """What a frame holds."""

    HEAD = 1
    FACTS = 2
    KEYS = 3
    TOMBSTONES = 4
    LARGE = 5
    PIECE = 6
    LARGE_END = 7
    NOTE = 8
    KEYMAP = 9
    INDEX = 10
    MANIFEST = 11
    END = 12


MOST_PLAIN_BYTES: dict[int, int] = {
    Kind.HEAD: _MIB,
    Kind.FACTS: 64 * _MIB,
    Kind.KEYS: 64 * _MIB,
    Kind.TOMBSTONES: 64 * _MIB,
    Kind.LARGE: 64 * _MIB,
    Kind.PIECE: 16 * _MIB,
    Kind.LARGE_END: 1024,
    Kind.NOTE: 16 * _MIB,
    Kind.KEYMAP: 64 * _MIB,
    Kind.INDEX: 256 * _MIB,
    Kind.MANIFEST: 16 * _MIB,
    Kind.END: 40,
}
_MOST_UNKNOWN_BYTES = 64 * _MIB


class Frame(msgspec.Struct, frozen=True):
    """A header that holds, and where it stands: `offset` is that of its first byte in the file."""

    offset: int
    kind: int
    flags: int
    sequence: int
    plain_bytes: int
    stored_bytes: int
    archive_id: bytes
    previous: bytes
    stored_sum: bytes
    checksum: bytes

    @property
    def end(self) -> int:
        """The offset after its last byte."""
        return self.offset + HEADER_BYTES + self.stored_bytes


class RawFrame(msgspec.Struct, frozen=True):
    """A frame whose stored bytes were checked."""

    frame: Frame
    stored: bytes

    def header(self) -> bytes:
        """The bytes before them."""
        frame = self.frame
        sizes = (frame.plain_bytes, frame.stored_bytes)
        return put_header(
            frame.kind, frame.flags, frame.sequence, sizes, frame.archive_id, frame.previous, frame.stored_sum
        )


def put_prefix() -> bytes:
    """The first bytes of every archive."""
    return _PREFIX.pack(MAGIC, VERSION, 0)


def check_prefix(data: bytes) -> None:
    """Raises FormatError: *data* does not begin as an archive; UnknownFormError: as one of a later version."""
    magic, version, zero = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise FormatError("no archive: the bytes at offset 0 are not its magic", offset=0)
    if version != VERSION or zero:
        raise UnknownFormError(f"version {version} of archives (at offset 8) is not known", offset=8, version=version)


def put_header(
    kind: int, flags: int, sequence: int, sizes: tuple[int, int], archive_id: bytes, previous: bytes, stored_sum: bytes
) -> bytes:
    """The 88 bytes before the stored ones, *sizes* of which are (plain, stored); their last 16 are the checksum."""
    begun = _HEADER.pack(SYNC, kind, flags, 0, sequence, *sizes, archive_id, previous, stored_sum)
    return begun + checksum(begun)


def read_header(data: bytes, at: int, offset: int) -> Frame:
    """The header at *at* of *data*, which is *offset* in the file.

    Raises:
        ChecksumError: no frame begins there, or its checksum does not hold.
        UnknownFormError: it needs a reader of a later version.
        FormatError: a size is none that it can have.
    """
    sync, kind, flags, zero, sequence, plain, stored, archive_id, previous, stored_sum = _HEADER.unpack_from(data, at)
    if sync != SYNC:
        raise ChecksumError(f"no frame begins at offset {offset}", offset=offset)
    told = data[at + _HEADER.size : at + HEADER_BYTES]
    if checksum(data[at : at + _HEADER.size]) != told:
        raise ChecksumError(f"the checksum of the frame header at offset {offset} does not hold", offset=offset)
    frame = Frame(offset, kind, flags, sequence, plain, stored, archive_id, previous, stored_sum, told)
    if zero or flags & ~(COMPRESSED | SKIPPABLE) or (kind not in MOST_PLAIN_BYTES and not flags & SKIPPABLE):
        message = f"frame {sequence} at offset {offset} has kind {kind} and flags {flags:#x}, which are not known"
        raise UnknownFormError(message, offset=offset, sequence=sequence, kind=kind)
    most = MOST_PLAIN_BYTES.get(kind, _MOST_UNKNOWN_BYTES)
    if plain > most or stored > plain or (stored != plain and not flags & COMPRESSED):
        message = f"frame {sequence} at offset {offset} claims {plain:,} bytes in {stored:,}; {most:,} are allowed"
        raise FormatError(message, offset=offset, sequence=sequence)
    return frame


def check_stored(frame: Frame, stored: bytes) -> RawFrame:
    """Raises ChecksumError: *stored* is not what was written behind this header."""
    if checksum(stored) != frame.stored_sum:
        begun = frame.offset + HEADER_BYTES
        message = f"the checksum of frame {frame.sequence} (offsets {begun} to {frame.end}) does not hold"
        raise ChecksumError(message, offset=begun, sequence=frame.sequence)
    return RawFrame(frame, stored)


def read_frame(data: bytes, offset: int) -> RawFrame:
    """The frame that *data* begins with, read from *offset* of the file; bytes behind it do not matter.

    Raises:
        FormatError: as `read_header` and `check_stored`, or it is not whole.
    """
    if len(data) < HEADER_BYTES:
        raise FormatError(f"no whole frame at offset {offset}", offset=offset)
    frame = read_header(data, 0, offset)
    if len(data) < HEADER_BYTES + frame.stored_bytes:
        raise FormatError(f"frame {frame.sequence} at offset {offset} is not whole", offset=offset)
    return check_stored(frame, data[HEADER_BYTES : HEADER_BYTES + frame.stored_bytes])

"""Archives out of keys: each call gives the next bytes of the file, no I/O.

    begin -> (facts | add | tombstones | note | large piece* large_end)* -> end
    Columns -> seal (any thread) -> Sealed -> add -> bytes

Rule 1: what costs time is in `seal`, which knows nothing of the archive; `add` only numbers, chains and remembers.
Rule 2: after every call the bytes so far are a readable archive that lacks its end: the process may die at any byte.
Rule 3: a large value's pieces follow it at once; nothing else may come between.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping

import msgspec

from transfer.codec.archive import payloads
from transfer.codec.archive.books import Books, LargeBook
from transfer.codec.archive.frames import (
    HEADER_BYTES,
    MOST_PLAIN_BYTES,
    NO_SUM,
    PREFIX_BYTES,
    SKIPPABLE,
    Frame,
    Kind,
    checksum,
    put_header,
    put_prefix,
)
from transfer.codec.archive.items import AsOf, Columns, End, Facts, Head, LargeKey, Note, Tombstones
from transfer.codec.archive.keymap import Marks, bits_for, key_maps
from transfer.codec.archive.packing import LEVEL, pack
from transfer.codec.archive.tally import Tally, name_hashes, tally_of
from transfer.model.errors import TooLargeError

LARGE_BYTES = 8 << 20
"""A value above this is better written as `large` and pieces of at most so many bytes."""
ARCHIVE_ID_BYTES = 16
END_BYTES = HEADER_BYTES + MOST_PLAIN_BYTES[Kind.END]
"""Size of the last frame."""


class Sealed(msgspec.Struct, frozen=True):
    """A frame to be, and what is to be remembered of it."""

    kind: int
    flags: int
    plain_bytes: int
    stored: bytes
    stored_sum: bytes
    db: int = 0
    hashes: bytes = b""
    tally: Tally | None = None


def seal(columns: Columns, level: int = LEVEL) -> Sealed:
    """Make the frame of these keys; pure, and for the most part without the lock of the interpreter.

    Raises:
        TooLargeError: they are more than a frame may hold: 64 MiB, 262,144 keys.
    """
    if len(columns.keys) > payloads.MOST_KEYS:
        raise TooLargeError(f"{len(columns.keys):,} keys are more than a block holds", keys=len(columns.keys))
    hashes = name_hashes(columns.db, columns.keys)
    tally = tally_of(columns, hashes)
    plain = payloads.put_keys(columns)
    return _sealed(Kind.KEYS, plain, level, columns.db, hashes, tally)


def _sealed(
    kind: Kind, plain: bytes, level: int, db: int = 0, hashes: bytes = b"", tally: Tally | None = None, extra: int = 0
) -> Sealed:
    if len(plain) > MOST_PLAIN_BYTES[kind]:
        message = f"{len(plain):,} bytes are more than a frame of kind {kind} holds ({MOST_PLAIN_BYTES[kind]:,})"
        raise TooLargeError(message, size=len(plain))
    flags, stored = pack(plain, level)
    return Sealed(kind, flags | extra, len(plain), stored, checksum(stored), db, hashes, tally)


class ArchiveWriter:
    """Makes one archive.

    Args:
        level: of zstd; 0 stores everything as it is.
        marks: keeps 8 bytes for every key until the end; None: there will be no key map.
        archive_id: 16 bytes, random if not given.

    Attributes:
        offset: how many bytes were given out.
        sequence: the number of the next frame.
    """

    def __init__(self, level: int = LEVEL, *, marks: Marks | None = None, archive_id: bytes = b"") -> None:
        self.archive_id = archive_id or os.urandom(ARCHIVE_ID_BYTES)
        self.offset, self.sequence, self._previous = 0, 0, NO_SUM
        self.books = Books(marks)
        self._level = level
        self._as_of = AsOf("interval", 0)
        self._large: LargeBook | None = None

    def begin(self, head: Head) -> bytes:
        """The prefix and the first frame."""
        self._as_of = head.as_of
        prefix = put_prefix()
        self.books.bytes_passed(prefix)
        self.offset = PREFIX_BYTES
        return prefix + self._frame(Kind.HEAD, payloads.put_struct(head))

    def going_on(self, head: Head, last: Frame, books: Books) -> ArchiveWriter:
        """The same writer behind frame *last* of an archive that was read from its start; *books* are the reader's.

        They must be of a reader that kept all (`deep`), with the marks that this one is to end with. Where its `last`
        is not its `whole` (a large value was begun), the file is to be cut there and read again first.
        """
        self._as_of, self.books, self.archive_id = head.as_of, books, last.archive_id
        self.offset, self.sequence, self._previous = last.end, last.sequence + 1, last.checksum
        return self

    def facts(self, facts: Facts) -> bytes:
        """What is known of the server."""
        return self._frame(Kind.FACTS, payloads.put_struct(facts))

    def keys(self, columns: Columns) -> bytes:
        """`seal` and `add` in one. Raises as `seal`."""
        return self.add(seal(columns, self._level))

    def add(self, sealed: Sealed) -> bytes:
        """The next frame, of keys."""
        assert sealed.tally is not None
        assert self._large is None
        data, frame = self._out(sealed)
        self.books.block(frame, sealed.db, sealed.hashes, sealed.tally)
        return data

    def tombstones(self, gone: Tombstones) -> bytes:
        """Names that do not exist."""
        self.books.tombstones += len(gone.keys)
        return self._frame(Kind.TOMBSTONES, payloads.put_tombstones(gone))

    def note(self, note: Note) -> bytes:
        """What readers that do not know it pass over."""
        return self._out(_sealed(Kind.NOTE, payloads.put_note(note), self._level, extra=SKIPPABLE))[0]

    def large(self, key: LargeKey) -> bytes:
        """A key whose body follows in pieces. Raises TooLargeError: its name alone is more than a frame holds."""
        large = LargeBook(key)
        sealed = _sealed(Kind.LARGE, payloads.put_large(key), self._level, key.db, large.hashes, large.tally())
        data = self.add(sealed)
        self._large = large
        return data

    def piece(self, data: bytes) -> bytes:
        """The next bytes of the body (at most 16 MiB), the first of which is the type byte."""
        assert self._large is not None
        self._large.add(data)
        framed, frame = self._out(_sealed(Kind.PIECE, data, self._level))
        self.books.piece(frame)
        return framed

    def large_end(self) -> bytes:
        """The body is whole."""
        assert self._large is not None
        large, self._large = self._large, None
        large.add_to(self.books.tally)
        return self._frame(Kind.LARGE_END, payloads.put_large_end(large.size_bytes))

    def end(
        self,
        as_of: AsOf | None = None,
        *,
        repeated_keys: int | None = None,
        digests: Mapping[str, str] | None = None,
    ) -> Iterator[bytes]:
        """Key map, index, manifest and end, in pieces.

        Args:
            as_of: if it is known better than when the head was written.
            repeated_keys: how many names stand in it more than once; None: nobody counted.
            digests: others than our own sums, by name.
        """
        segments = bytearray()
        for data in self._key_maps():
            segments += struct.pack("<QQ", self.offset - len(data), len(data))
            yield data
        index_offset = self.offset
        yield self._frame(Kind.INDEX, payloads.put_struct(self.books.index(bytes(segments))))
        manifest = self.books.manifest(as_of or self._as_of, self.sequence, repeated_keys, digests or {})
        manifest_offset = self.offset
        yield self._frame(Kind.MANIFEST, payloads.put_struct(manifest))
        end = End(index_offset, manifest_offset, self.offset, manifest.keys)
        yield self._frame(Kind.END, payloads.put_end(end))

    def _key_maps(self) -> Iterator[bytes]:
        books = self.books
        if books.marks is not None and books.mapped:
            for segment in key_maps(books.marks, *bits_for(books.tally.keys)):
                yield self._frame(Kind.KEYMAP, payloads.put_struct(segment))

    def _frame(self, kind: Kind, plain: bytes) -> bytes:
        return self._out(_sealed(kind, plain, 0 if kind == Kind.END else self._level))[0]

    def _out(self, sealed: Sealed) -> tuple[bytes, Frame]:
        sizes = (sealed.plain_bytes, len(sealed.stored))
        chained = (self.archive_id, self._previous, sealed.stored_sum)
        header = put_header(sealed.kind, sealed.flags, self.sequence, sizes, *chained)
        frame = Frame(self.offset, sealed.kind, sealed.flags, self.sequence, *sizes, *chained, header[-16:])
        self.books.bytes_passed(header)
        self.books.bytes_passed(sealed.stored)
        self._previous = frame.checksum
        self.sequence += 1
        self.offset = frame.end
        return header + sealed.stored, frame

"""Bytes of an archive in, checked frames out.

    feed -> pieces -> one buffer -> prefix -> header -> stored bytes -> RawFrame

Rule 1: any cut of the same bytes gives the same frames; a header is believed before its bytes have come, never unread.
Rule 2: every frame must follow the one before it: number, chain and archive; the first one that does not is an error.
"""

from __future__ import annotations

from collections.abc import Iterator

from transfer.codec.archive.frames import (
    HEADER_BYTES,
    NO_SUM,
    PREFIX_BYTES,
    Frame,
    Kind,
    RawFrame,
    check_prefix,
    check_stored,
    read_header,
)
from transfer.model.errors import FormatError


class FrameCutter:
    """Cuts an archive into frames.

    Attributes:
        offset: how far into the file everything was checked.
        last: the frame that ended there.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.last: Frame | None = None
        self.prefix = b""
        self._next, self._previous, self._id = 0, NO_SUM, b""
        self._fed: list[bytes] = []
        self._data, self._at, self._waiting = b"", 0, 0
        self._need = PREFIX_BYTES
        self._header: Frame | None = None

    def going_on(self, offset: int, sequence: int, previous: bytes = b"", archive_id: bytes = b"") -> FrameCutter:
        """The same for bytes from *offset* on, where frame *sequence* begins.

        *previous* is the checksum of the frame before it, *archive_id* the archive's: what is not told is not checked.
        """
        self.offset, self._next, self._previous, self._id = offset, sequence, previous, archive_id
        self._need = HEADER_BYTES
        return self

    @property
    def pending_bytes(self) -> int:
        """Fed, and not yet part of a whole frame."""
        return len(self._data) - self._at + self._waiting

    def feed(self, data: bytes) -> None:
        """Add received bytes; checks nothing."""
        if data:
            self._fed.append(bytes(data))
            self._waiting += len(data)

    def rest(self) -> bytes:
        """The pending bytes."""
        return self._data[self._at :] + b"".join(self._fed)

    def take(self) -> Iterator[RawFrame]:
        """Yield every whole frame. Raises FormatError: the next one is none, or does not belong here."""
        while self.pending_bytes >= self._need:
            if self._fed:
                self._data, self._at = self.rest(), 0
                self._fed, self._waiting = [], 0
            if not self.offset:
                self.prefix = self._data[:PREFIX_BYTES]
                check_prefix(self.prefix)
                self.offset = self._at = PREFIX_BYTES
                self._need = HEADER_BYTES
                continue
            if self._header is None:
                self._header = self._belonging(read_header(self._data, self._at, self.offset))
                self._need = HEADER_BYTES + self._header.stored_bytes
                continue
            yield self._whole(self._header)

    def _whole(self, frame: Frame) -> RawFrame:
        begun = self._at + HEADER_BYTES
        raw = check_stored(frame, self._data[begun : begun + frame.stored_bytes])
        self._at = begun + frame.stored_bytes
        self.offset, self.last, self._header = frame.end, frame, None
        self._next, self._previous, self._id = frame.sequence + 1, frame.checksum, frame.archive_id
        self._need = HEADER_BYTES
        return raw

    def _belonging(self, frame: Frame) -> Frame:
        if self._id and frame.archive_id != self._id:
            raise _misplaced(frame, "belongs to another archive")
        if frame.sequence != self._next:
            raise _misplaced(frame, f"stands where frame {self._next} belongs")
        if self._previous and frame.previous != self._previous:
            raise _misplaced(frame, "does not follow the frame before it")
        if (frame.kind == Kind.HEAD) != (frame.sequence == 0):
            raise _misplaced(frame, "is no first frame" if frame.sequence == 0 else "is a first frame")
        return frame


def _misplaced(frame: Frame, how: str) -> FormatError:
    message = f"frame {frame.sequence} at offset {frame.offset} {how}"
    return FormatError(message, offset=frame.offset, sequence=frame.sequence)

"""Whatever is whole in a damaged archive: every frame that verifies by itself, wherever it stands.

    feed -> buffer -> header holds? -> stored bytes hold? -> unseal -> Item
                `<-- find sync <---------------'                    `-> Damage before it, if bytes or frames are missing

Rule 1: a frame is taken where header and bytes verify and the archive's id is that of the first frame taken.
Rule 2: after a damaged frame the search begins behind its header, not behind its end: bytes may be missing inside it.
Rule 3: pieces of a large value without its beginning are damage; a LargeKey that no LargeEnd follows is not whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from transfer.codec.archive.frames import (
    HEADER_BYTES,
    NO_SUM,
    PREFIX_BYTES,
    SYNC,
    Frame,
    Kind,
    check_prefix,
    check_stored,
    read_header,
)
from transfer.codec.archive.payloads import Item, unseal
from transfer.model.errors import FormatError

_IN_LARGE = (Kind.PIECE, Kind.LARGE_END)


class Damage(msgspec.Struct, frozen=True):
    """Nothing of the bytes from `start` to `end` could be used; `why` is what was wrong first.

    `missing` frames from number `first_missing` on did not come before the next one that is whole; None: nobody knows
    how many, the archive ends here. Where start is end, no byte is damaged, but frames are missing or out of order.
    """

    start: int
    end: int
    why: str
    first_missing: int
    missing: int | None


class SalvageReader:
    """Like ArchiveReader, but errors are items, and it goes on behind them.

    Attributes:
        ended: the end was read.
        last: the frame whose item was given last.
    """

    def __init__(self) -> None:
        self.ended = False
        self.last: Frame | None = None
        self._data, self._at, self._base = b"", 0, 0
        self._fed: list[bytes] = []
        self._last, self._next, self._previous, self._id = False, 0, NO_SUM, b""
        self._bad_from, self._why = -1, ""
        self._waiting, self._need = 0, PREFIX_BYTES
        self._in_large = self._begun = False

    def going_on(self, offset: int) -> SalvageReader:
        """The same reader for bytes from *offset* on, where a frame begins or damage does."""
        self._begun, self._base, self._need = True, offset, HEADER_BYTES
        return self

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._fed.append(bytes(data))
        self._waiting += len(data)

    def take(self) -> Iterator[Item | Damage]:
        """Yield what is whole, and what is damaged."""
        if len(self._data) - self._at + self._waiting < self._need and not self._last:
            return
        if self._fed:
            self._waiting, self._need = 0, HEADER_BYTES
            self._data = self._data[self._at :] + b"".join(self._fed)
            self._base, self._at, self._fed = self._base + self._at, 0, []
        if not self._begun:
            if len(self._data) < PREFIX_BYTES and not self._last:
                return
            self._begin()
        while not self.ended and self._ready(HEADER_BYTES):
            begun = self._base + self._at
            try:
                frame = read_header(self._data, self._at, begun)
                size = HEADER_BYTES + frame.stored_bytes
                if not self._ready(size) and not self._last:
                    self._need = size
                    return
                item = self._whole(frame)
            except FormatError as error:
                self._wrong(error)
                continue
            yield from self._before(frame)
            self._passed(frame)
            yield item

    def finish(self) -> Iterator[Item | Damage]:
        """No more bytes come: yield what can be said now."""
        self._last = True
        yield from self.take()
        size = self._base + len(self._data)
        if self.ended and size == self._base + self._at:
            return
        why = "bytes follow the end of the archive" if self.ended else self._why or "the archive is cut"
        start = self._bad_from if self._bad_from >= 0 else self._base + self._at
        yield Damage(start, size, why, self._next, 0 if self.ended else None)

    def _begin(self) -> None:
        self._begun = True
        try:
            if len(self._data) < PREFIX_BYTES:
                raise FormatError("no archive: the first bytes are missing")
            check_prefix(self._data)
            self._at = PREFIX_BYTES
        except FormatError as error:
            self._bad_from, self._why = 0, error.message

    def _ready(self, size: int) -> bool:
        return len(self._data) - self._at >= size

    def _whole(self, frame: Frame) -> Item:
        if self._id and frame.archive_id != self._id:
            raise FormatError(f"the frame at offset {frame.offset} belongs to another archive")
        if frame.kind in _IN_LARGE and not (self._in_large and frame.sequence == self._next):
            raise FormatError(f"the beginning of the large value that goes on at offset {frame.offset} is missing")
        if not self._ready(HEADER_BYTES + frame.stored_bytes):
            raise FormatError(f"the archive is cut inside frame {frame.sequence}, which began at {frame.offset}")
        begun = self._at + HEADER_BYTES
        return unseal(check_stored(frame, self._data[begun : begun + frame.stored_bytes]))

    def _wrong(self, error: FormatError) -> None:
        """Go to where the next frame may begin."""
        if self._bad_from < 0:
            self._bad_from, self._why = self._base + self._at, error.message
        self._in_large = False
        found = self._data.find(SYNC, self._at + 1)
        self._at = found if found >= 0 else max(self._at + 1, len(self._data) - len(SYNC) + 1)

    def _before(self, frame: Frame) -> Iterator[Damage]:
        first = not self._id and not frame.sequence
        chained = first or (frame.sequence == self._next and frame.previous == self._previous)
        if self._bad_from >= 0 or not chained:
            start = self._bad_from if self._bad_from >= 0 else frame.offset
            why = self._why or f"frame {frame.sequence} at offset {frame.offset} is out of order"
            yield Damage(start, frame.offset, why, self._next, max(0, frame.sequence - self._next))
        self._bad_from, self._why = -1, ""

    def _passed(self, frame: Frame) -> None:
        self.last = frame
        self._at += HEADER_BYTES + frame.stored_bytes
        self._next, self._previous, self._id = frame.sequence + 1, frame.checksum, frame.archive_id
        self._in_large = frame.kind in (Kind.LARGE, Kind.PIECE)
        self.ended = frame.kind == Kind.END


class LaterFrame:
    """Tells whether bytes hold a header of the same archive with a number from *sequence* on; keeps none of them."""

    def __init__(self, archive_id: bytes, sequence: int) -> None:
        self.found = False
        self._id, self._sequence, self._kept = archive_id, sequence, b""

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        data = self._kept + data
        at = data.find(SYNC)
        while 0 <= at <= len(data) - HEADER_BYTES and not self.found:
            self.found = self._is_header(data, at)
            at = data.find(SYNC, at + 1)
        self._kept = data[max(0, len(data) - HEADER_BYTES + 1) :]

    def _is_header(self, data: bytes, at: int) -> bool:
        try:
            frame = read_header(data, at, 0)
        except FormatError:
            return False
        return frame.archive_id == self._id and frame.sequence >= self._sequence

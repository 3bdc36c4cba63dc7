"""Archives read from the first byte on, or from any frame: bytes in, items out (items.py), no I/O.

    feed -> FrameCutter -> RawFrame -> unseal -> in its order? -> books -> Item
                                                               `-> index and manifest are held against the books

Rule 1: any cut of the same bytes gives the same items.
Rule 2: everything before a damaged place is delivered first, then the error is raised, now and ever after.
Rule 3: an archive is whole when `finish` says so: its end was read, the manifest agrees, and nothing follows.
"""

from __future__ import annotations

from collections.abc import Iterator

from transfer.codec.archive.books import Books, LargeBook
from transfer.codec.archive.cutter import FrameCutter
from transfer.codec.archive.frames import HEADER_BYTES, Frame, Kind, RawFrame
from transfer.codec.archive.items import End, Head, Keys, LargeEnd, LargeKey, Manifest, Piece, Tombstones
from transfer.codec.archive.keymap import Index, KeyMap, Marks
from transfer.codec.archive.payloads import Item, unseal
from transfer.codec.archive.salvage import LaterFrame
from transfer.codec.archive.tally import Tally, name_hashes, tally_of
from transfer.model.errors import ChecksumError, CutError, FormatError

_DATA, _LARGE, _MAPS, _INDEXED, _TOLD, _ENDED = range(6)
_AFTER: dict[int, tuple[tuple[int, ...], int]] = {
    Kind.HEAD: ((_DATA,), _DATA),
    Kind.FACTS: ((_DATA,), _DATA),
    Kind.KEYS: ((_DATA,), _DATA),
    Kind.TOMBSTONES: ((_DATA,), _DATA),
    Kind.NOTE: ((_DATA,), _DATA),
    Kind.LARGE: ((_DATA,), _LARGE),
    Kind.PIECE: ((_LARGE,), _LARGE),
    Kind.LARGE_END: ((_LARGE,), _DATA),
    Kind.KEYMAP: ((_DATA, _MAPS), _MAPS),
    Kind.INDEX: ((_DATA, _MAPS), _INDEXED),
    Kind.MANIFEST: ((_INDEXED,), _TOLD),
    Kind.END: ((_TOLD,), _ENDED),
}
"""Kind -> in which states it may come, and the state after it."""


class ArchiveReader:
    """Cuts an archive into items.

    Args:
        deep: count types and sum up every key as well, and hold that against the manifest; takes twice as long.
        marks: keep what a key map is made of, for a writer that goes on (needs *deep*).
        torn: the archive may end anywhere, as that of a process that died does: what is not whole at its end was never
            written. Damage before a later frame remains damage.

    Attributes:
        ended: the end was read.
        head: once it was read.
        torn_from: with *torn*, where the end that is not whole begins, -1 if there is none; known after `finish`.
    """

    def __init__(self, *, deep: bool = False, marks: Marks | None = None, torn: bool = False) -> None:
        self.books = Books(marks)
        self.ended = False
        self.head: Head | None = None
        self._cutter, self._deep, self._state = FrameCutter(), deep, _DATA
        self._from_start, self._torn, self.torn_from = True, torn, -1
        self._later: LaterFrame | None = None
        self._whole: Frame | None = None
        self._large: LargeBook | None = None
        self._failure: FormatError | None = None
        self._suspect: FormatError | None = None
        self._index_offset = self._manifest_offset = 0
        self._maps: list[tuple[int, int]] = []

    def going_on(self, offset: int, sequence: int, previous: bytes = b"", archive_id: bytes = b"") -> ArchiveReader:
        """The same reader for bytes from *offset* on, where frame *sequence* begins; the manifest is only read then.

        *previous* is the checksum of the frame before it, *archive_id* the archive's: what is not told is not checked.
        """
        self._cutter.going_on(offset, sequence, previous, archive_id)
        self._from_start = False
        return self

    @property
    def offset(self) -> int:
        """How far into the file everything was understood; a whole frame ends there."""
        return self._cutter.offset

    @property
    def last(self) -> Frame | None:
        """The frame that ended there; None before the first."""
        return self._cutter.last

    @property
    def whole(self) -> Frame | None:
        """The last frame that does not leave a large value unfinished; a writer may go on behind it."""
        return self._whole

    def feed(self, data: bytes) -> None:
        """Add received bytes; checks nothing."""
        if self._later is None:
            self._cutter.feed(data)
        else:
            self._later.feed(data)
            self._fail_if_later()

    def take(self) -> Iterator[Item]:
        """Yield what is whole.

        Raises:
            UnknownFormError: a version or kind of frame that is not known.
            ChecksumError: bytes are not what was written.
            FormatError: frames are missing, strange or out of order.
        """
        for raw in self.frames():
            yield self.accept(raw, self._unsealed(raw))

    def _unsealed(self, raw: RawFrame) -> Item:
        try:
            return unseal(raw)
        except FormatError as error:
            self._failure = error
            raise

    def frames(self) -> Iterator[RawFrame]:
        """Yield checked frames, for who calls `unseal` elsewhere; `accept` must be told of each, in this order."""
        if self._failure is not None:
            raise self._failure
        if self._later is not None:
            return
        try:
            yield from self._cutter.take()
        except FormatError as error:
            self._failed(error)
            if self._failure is not None:
                raise self._failure from None
        self._check_nothing_follows()

    def accept(self, raw: RawFrame, item: Item) -> Item:
        """Enter the *item* that *raw* holds in the books, and return it; also after `frames` met damage behind it.

        Raises:
            FormatError: it does not fit there.
        """
        try:
            self._enter(raw, item)
        except FormatError as error:
            self._failure = error
            raise
        if self._large is None:
            self._whole = raw.frame
        return item

    def finish(self) -> None:
        """No more bytes come.

        Raises:
            CutError: the end was not among them; its facts tell how much is there: frames, keys, offset.
            FormatError: as `take` did.
        """
        if self._failure is not None:
            raise self._failure
        self._check_nothing_follows()
        if not self.ended and not self._torn:
            raise self._cut()
        if not self.ended and (self._later is not None or self._cutter.pending_bytes):
            self.torn_from = self.offset

    def _cut(self) -> CutError:
        size, last, keys = self.offset + self._cutter.pending_bytes, self.last, self.books.tally.keys
        frames = 0 if last is None else last.sequence + 1
        inside = f"inside frame {frames} that began at {self.offset:,}" if size > self.offset else "before its end"
        message = (
            f"cut: the archive ends at offset {size:,}, {inside}; {keys:,} keys in {frames:,} whole frames are there"
        )
        return CutError(message, offset=size, whole=self.offset, frames=frames, keys=keys)

    def _failed(self, error: FormatError) -> None:
        """Where the end may be torn, only a frame after the next tells that this is not it."""
        last = self.last
        if not self._torn or last is None or not isinstance(error, ChecksumError):
            self._failure = error
            return
        self._suspect, self._later = error, LaterFrame(last.archive_id, last.sequence + 2)
        self.feed(self._cutter.rest())

    def _fail_if_later(self) -> None:
        if self._later is not None and self._later.found:
            self._failure = self._suspect

    def _check_nothing_follows(self) -> None:
        if self.ended and self._cutter.pending_bytes:
            message = f"bytes follow the end of the archive at offset {self.offset}"
            self._failure = FormatError(message, offset=self.offset)
            raise self._failure

    def _enter(self, raw: RawFrame, item: Item) -> None:
        frame = raw.frame
        self._follow(frame)
        if frame.kind == Kind.MANIFEST:
            self._compare_manifest(frame, item)
        if self._from_start:
            self._pass(raw)
        match item:
            case Keys():
                hashes = name_hashes(item.db, item.keys) if self._deep else b""
                self.books.block(frame, item.db, hashes, tally_of(item, hashes) if self._deep else _counted(item))
            case LargeKey():
                self._large = LargeBook(item)
                self.books.block(frame, item.db, self._large.hashes, self._large.tally())
            case Piece():
                self._add_piece(frame, item)
            case LargeEnd():
                self._end_large(frame, item)
            case Tombstones():
                self.books.tombstones += len(item.keys)
            case Head():
                self.head = item
            case KeyMap():
                self._maps.append((frame.offset, HEADER_BYTES + frame.stored_bytes))
            case Index():
                self._compare_index(frame, item)
            case End():
                self._compare_end(frame, item)

    def _pass(self, raw: RawFrame) -> None:
        if raw.frame.sequence == 0:
            self.books.bytes_passed(self._cutter.prefix)
        self.books.bytes_passed(raw.header())
        self.books.bytes_passed(raw.stored)

    def _follow(self, frame: Frame) -> None:
        known = _AFTER.get(frame.kind)
        if known is None:
            return
        before, after = known
        if self._state not in before:
            message = f"frame {frame.sequence} at offset {frame.offset} has kind {frame.kind}, which cannot come here"
            raise FormatError(message, offset=frame.offset, sequence=frame.sequence)
        self._state = after

    def _add_piece(self, frame: Frame, piece: Piece) -> None:
        self.books.piece(frame)
        assert self._large is not None
        if not self._large.size_bytes and piece.data[:1] != bytes((self._large.key.kind,)):
            raise _differs(frame, "type of the large value")
        self._large.add(piece.data)

    def _end_large(self, frame: Frame, end: LargeEnd) -> None:
        assert self._large is not None
        if end.size_bytes != self._large.size_bytes or not end.size_bytes:
            raise _differs(frame, "size of the large value")
        self._large.add_to(self.books.tally)
        self._large = None

    def _compare_index(self, frame: Frame, index: Index) -> None:
        self._index_offset = frame.offset
        segments = b"".join([place.to_bytes(8, "little") for pair in self._maps for place in pair])
        if self._from_start and (index.segments != segments or index != self.books.index(segments)):
            raise _differs(frame, "index")

    def _compare_manifest(self, frame: Frame, manifest: Item) -> None:
        assert isinstance(manifest, Manifest)
        self._manifest_offset = frame.offset
        if not self._from_start:
            return
        if manifest.sha256 != self.books.sha256():
            message = f"the SHA-256 in the manifest at offset {frame.offset} is not that of the bytes before it"
            raise ChecksumError(message, offset=frame.offset, sequence=frame.sequence)
        for name, found in self.books.facts().items():
            told = getattr(manifest, name)
            if told != found and (name != "dbs" or self._deep or _keys_of(told) != _keys_of(found)):
                raise _differs(frame, f"manifest ({name})")
        if self._deep and manifest.sums != self.books.tally.joined_sums():
            raise _differs(frame, "manifest (sums)")
        if manifest.frames != frame.sequence:
            raise _differs(frame, "manifest (frames)")

    def _compare_end(self, frame: Frame, end: End) -> None:
        if (end.manifest_offset, end.end_offset) != (self._manifest_offset, frame.offset):
            raise _differs(frame, "end")
        if end.index_offset != self._index_offset or (self._from_start and end.keys != self.books.tally.keys):
            raise _differs(frame, "end")
        self.ended = True


def _counted(item: Keys) -> Tally:
    """Without types: looking at every body would take a sixth of the time."""
    size = len(item.keys)
    return Tally(size, size - item.deadlines.count(-1), {item.db: {"": size}})


def _keys_of(dbs: dict[int, dict[str, int]]) -> dict[int, int]:
    return {db: sum(types.values()) for db, types in dbs.items()}


def _differs(frame: Frame, what: str) -> FormatError:
    message = f"the {what} that ends with frame {frame.sequence} at offset {frame.offset} is not that of what was read"
    return FormatError(message, offset=frame.offset, sequence=frame.sequence)

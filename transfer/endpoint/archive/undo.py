"""The undo archive of a job: a folder of its own with a file for each process that worked on it.

    capture -> zstd in a thread -> KEYS, TOMBSTONES, note -> write -> fsync -> number: now the keys may be changed
    took    -> note -> write                                 (outlives the process; the machine with the next fsync)
    JOB/0001.xfer 0002.xfer ... -> read in this order, the end of each may be torn -> entries

Rule 1: folder 0700, files 0600, opened O_EXCL: nothing that is there is written to, and no link is followed.
Rule 2: files only grow. A process that goes on with a job begins a file of its own.
Rule 3: one fsync serves every capture written before it began: several writers share them.
Rule 4: where there are recipients, what is appended is encrypted first, each part by itself (0001.xfer.parts).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread
import msgspec

from transfer.codec.archive.items import Columns, Head, Keys, Note, Tombstones
from transfer.codec.archive.payloads import Item
from transfer.codec.archive.reader import ArchiveReader
from transfer.codec.archive.undo import (
    AgainNote,
    CapturedNote,
    IntendedColumns,
    LibraryNote,
    TookNote,
    put_again,
    put_captured,
    put_library,
    put_took,
    read_library,
    read_note,
)
from transfer.codec.archive.writer import ArchiveWriter, Sealed, seal
from transfer.codec.fingerprint import Intended
from transfer.endpoint.archive.parts import PARTS_ENDING, part, plain_parts
from transfer.endpoint.file.age import Identities, Recipients
from transfer.model.crash import crash, point
from transfer.model.errors import FileMissingError, FormatError, StateFullError

_CAPTURED = point("undo.captured", "pre-images are on the disk, nothing was changed for them")
_APPENDED = point("undo.appended", "pre-images were written, not yet brought to the disk")
_TOOK = point("undo.took", "it is noted which changes were made")
_LEVEL = 1
_INLINE_BYTES = 128 << 10
_READ_BYTES = 1 << 20
_ENDING = ".xfer"


class Held(msgspec.Struct):
    """Pre-images of one group: *columns* of what has a value, then names that hold nothing."""

    columns: Columns
    absent: list[bytes]


class Captured(msgspec.Struct):
    """A group as it was read back: `bodies` is None for a name that held nothing, of RDB version `version`."""

    number: int
    db: int
    version: int
    names: list[bytes]
    bodies: list[bytes | None]
    deadlines: list[int]
    intended: list[Intended]


Entry = Captured | AgainNote | TookNote


class UndoArchive:
    """Appends to the archive in *folder*; the file is made with the first capture.

    *recipients*: for whom it is encrypted, if it is.

    Attributes:
        size_bytes: of what this process wrote.
    """

    def __init__(self, folder: Path, head: Head, recipients: Recipients = ()) -> None:
        self.folder, self._head, self._recipients = folder, head, recipients
        self._number = 1
        self._writer = ArchiveWriter(_LEVEL)
        self._file = -1
        self._durable_bytes = self.size_bytes = 0
        self._syncing = anyio.Lock()
        self._failure: StateFullError | None = None

    def go_on(self, number: int) -> None:
        """Number groups from *number* on: earlier processes had those before."""
        self._number = number

    async def capture(self, db: int, held: Held, intended: IntendedColumns) -> int:
        """Keep the pre-images of a group and what is *intended*, in the order of the columns, then of the absent.

        Returns its number once all of it is on the disk.

        Raises:
            StateFullError: it cannot be kept; nothing may be changed.
        """
        columns = held.columns
        sealed = await _sealed(columns)
        number = self._next()
        note = put_captured(number, db, len(columns.keys), len(held.absent), intended)
        parts = [] if sealed is None else [self._writer_at_work().add(sealed)]
        parts += [self._writer_at_work().tombstones(Tombstones(db, held.absent))] if held.absent else []
        self._append(b"".join((*parts, self._writer_at_work().note(note))))
        crash(_APPENDED)
        await self._sync()
        crash(_CAPTURED)
        return number

    async def again(self, db: int, names: list[bytes], intended: list[Intended]) -> int:
        """Names that were captured before are to be written once more. As `capture`."""
        number = self._next()
        self._append(self._writer_at_work().note(put_again(AgainNote(number, db, names, intended))))
        await self._sync()
        return number

    async def library(self, name: bytes, before: bytes | None, after: bytes | None) -> None:
        """The function library *name*, of code *before*, is to have code *after*. As `capture`."""
        self._append(self._writer_at_work().note(put_library(LibraryNote(name, before, after))))
        await self._sync()

    def took(self, number: int, places: list[int] | None) -> None:
        """These places of the group were changed; None: all."""
        self._append(self._writer_at_work().note(put_took(TookNote(number, places))))
        crash(_TOOK)

    def close(self) -> None:
        """Bring all of it to the disk, with the index behind it, and let go of the file."""
        if self._file < 0:
            return
        try:
            self._append(b"".join(self._writer.end()))
            os.fsync(self._file)
        except (StateFullError, OSError):
            pass  # it is read as torn there; what counts is on the disk
        finally:
            os.close(self._file)
            self._file = -1

    def _next(self) -> int:
        number, self._number = self._number, self._number + 1
        return number

    def _writer_at_work(self) -> ArchiveWriter:
        if self._file < 0:
            self._begin()
        return self._writer

    def _begin(self) -> None:
        try:
            for folder in (self.folder.parent, self.folder):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            parts = PARTS_ENDING if self._recipients else ""
            name = f"{len(files_of(self.folder)) + 1:04d}{_ENDING}{parts}"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self.folder / name, flags, 0o600)
            for folder in (self.folder, self.folder.parent, self.folder.parent.parent):
                _sync_folder(folder)
        except OSError as error:
            raise self._full(error) from None
        self._append(self._writer.begin(self._head))

    def _append(self, data: bytes) -> None:
        if self._failure is not None:  # a frame may be torn there: what came behind it could not be read
            raise self._failure
        if self._recipients:
            data = part(data, self._recipients)
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise self._full(error) from None
        self.size_bytes += len(data)

    async def _sync(self) -> None:
        wanted = self.size_bytes
        async with self._syncing:
            if self._durable_bytes >= wanted:
                return
            reached = self.size_bytes
            try:
                await anyio.to_thread.run_sync(os.fdatasync, self._file)
            except OSError as error:
                raise self._full(error) from None
            self._durable_bytes = reached

    def _full(self, error: OSError) -> StateFullError:
        said = error.strerror or errno.errorcode.get(error.errno or 0, "it cannot be written")
        text = f"the undo archive cannot be written: {said}; nothing was changed that is not in it"
        self._failure = StateFullError(text, where=str(self.folder))
        return self._failure


async def _sealed(columns: Columns) -> Sealed | None:
    """The frame of *columns*; in a thread where it takes longer than to go there."""
    if not columns.keys:
        return None
    if sum(map(len, columns.bodies)) < _INLINE_BYTES:
        return seal(columns, _LEVEL)
    return await anyio.to_thread.run_sync(seal, columns, _LEVEL)


def files_of(folder: Path) -> list[Path]:
    """The files of an archive, in the order they were written; none if there is no such folder."""
    endings = (_ENDING, _ENDING + PARTS_ENDING)
    return sorted(path for path in folder.glob(f"[0-9]*{_ENDING}*") if path.name.endswith(endings))


def size_of(folder: Path) -> int:
    """Bytes that an archive takes."""
    return sum(path.stat().st_size for path in files_of(folder))


def entries(folder: Path, identities: Identities = ()) -> Iterator[Entry]:
    """What stands in the archive in *folder*, in the order it was written; *identities* open an encrypted one.

    Raises:
        FileMissingError: there is none, or it cannot be read.
        FormatError: it is damaged.
        UsageError, WrongKeyError: it is encrypted, and there is no identity, or none that opens it.
    """
    keys: Keys | None = None
    gone: Tombstones | None = None
    for item in _items_of(folder, identities):
        match item:
            case Head():
                keys = gone = None
            case Keys():
                keys, gone = item, None
            case Tombstones():
                gone = item
            case Note():
                note = read_note(item)
                if isinstance(note, CapturedNote):
                    yield _captured(note, keys, gone)
                    keys = gone = None
                elif note is not None:
                    yield note


def _items_of(folder: Path, identities: Identities) -> Iterator[Item]:
    paths = files_of(folder)
    if not paths:
        raise FileMissingError("there is no undo archive", where=str(folder))
    for path in paths:
        try:
            yield from _items(path, identities)
        except FormatError as error:
            error.where = str(path)
            raise
        except OSError as error:
            raise FileMissingError(f"the undo archive cannot be read: {error.strerror}", where=str(path)) from None


def libraries(folder: Path, identities: Identities = ()) -> dict[bytes, LibraryNote]:
    """What the archive in *folder* says of function libraries: of each what was there, and what the job left.

    Of one that was written several times the first is told as it was, unless others wrote it between.

    Raises: as `entries`.
    """
    found: dict[bytes, LibraryNote] = {}
    for item in _items_of(folder, identities):
        if isinstance(item, Note) and (note := read_library(item)) is not None:
            known = found.get(note.name)
            ours = known is not None and note.before in (known.before, known.after)
            found[note.name] = LibraryNote(note.name, known.before, note.after) if known and ours else note
    return found


def _items(path: Path, identities: Identities) -> Iterator[Item]:
    reader = ArchiveReader(torn=True)
    with path.open("rb") as file:
        for data in plain_parts(file, path, identities) if path.suffix == PARTS_ENDING else _pieces(file):
            reader.feed(data)
            yield from reader.take()
    reader.finish()


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(_READ_BYTES):
        yield data


def _captured(note: CapturedNote, keys: Keys | None, gone: Tombstones | None) -> Captured:
    found = (len(keys.keys) if keys is not None else 0, len(gone.keys) if gone is not None else 0)
    if found != (note.present, note.absent):
        raise FormatError(f"group {note.number} of the undo archive lacks keys: {found}")
    names = (keys.keys if keys is not None else []) + (gone.keys if gone is not None else [])
    bodies: list[bytes | None] = [*(keys.bodies if keys is not None else ()), *[None] * note.absent]
    deadlines = (keys.deadlines if keys is not None else []) + [-1] * note.absent
    return Captured(note.number, note.db, keys.version if keys else 0, names, bodies, deadlines, note.intended)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

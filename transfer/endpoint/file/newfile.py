"""A file that is there when it is whole, and not before.

.NAME.JOB.part (0600, locked) -> written -> fsync -> rename to NAME -> fsync of the folder
                             `-> any failure: removed;  a kill: what is left is no NAME.rdb, and the next export
                                 of the same name removes it, since nobody holds its lock
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import xxhash

from transfer.model.crash import crash, point
from transfer.model.errors import AGAIN, ChecksumError, FileMissingError, LimitError

_READ_BYTES = 1 << 20
_WRITTEN = point("file.written", "a part of a new file was written")
_SYNCED = point("file.synced", "a new file is on the disk, under its temporary name")
_NAMED = point("file.named", "a new file has its name")
Seal = Callable[[BinaryIO], "Sealed"]
"""Makes of a file one that encrypts what is written; closing it writes its end and leaves the file open."""


class Sealed(Protocol):
    """What a Seal makes."""

    def write(self, data: bytes, /) -> int: ...
    def close(self) -> None: ...


class _Summed:
    """A file that sums up what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = xxhash.xxh3_128()

    def write(self, data: bytes, /) -> int:
        self.sum.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


class NewFile:
    """Bytes on their way to *path*, through *seal* if there is one.

    Raises, everywhere: LimitError: the disk is full; FileMissingError: other failures.

    Attributes:
        part: where they are until `keep`.
    """

    waits = False

    def __init__(self, path: Path, job: str, seal: Seal | None = None) -> None:
        self.path = Path(os.path.realpath(path.parent)) / path.name
        self.part = self.path.with_name(f".{self.path.name}.{job}.part")
        with file_failures(self.path):
            self._remove_left_behind()
            self._file = os.fdopen(os.open(self.part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", 1 << 20)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._summed = _Summed(self._file)
        self._sealed = seal(cast(BinaryIO, self._summed)) if seal is not None else None
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        with file_failures(self.path):
            (self._sealed or self._summed).write(data)
        self.size_bytes += len(data)
        crash(_WRITTEN)

    def sync(self) -> None:
        """Bring everything to the disk; nothing is written after it."""
        with file_failures(self.path):
            if self._sealed is not None:
                self._sealed.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        crash(_SYNCED)

    def read_back(self) -> None:
        """Read all of it again; raise ChecksumError if the disk does not hold what was written."""
        found = xxhash.xxh3_128()
        with file_failures(self.path), self.part.open("rb") as file:
            while data := file.read(_READ_BYTES):
                found.update(data)
        if found.digest() != self._summed.sum.digest():
            raise ChecksumError("the disk does not give back what was written", where=str(self.path))

    def keep(self) -> None:
        """Give it its name, in place of what had it."""
        with file_failures(self.path):
            os.replace(self.part, self.path)
            crash(_NAMED)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
            self._file.close()

    def drop(self) -> None:
        """Leave nothing of it; harmless after `keep`."""
        with contextlib.suppress(OSError):
            if self._sealed is not None:
                self._sealed.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self.part.unlink(missing_ok=True)

    def _remove_left_behind(self) -> None:
        for other in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.part"):
            with contextlib.suppress(OSError), other.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                other.unlink(missing_ok=True)


@contextlib.contextmanager
def file_failures(path: Path) -> Iterator[None]:
    """Maps what the file system says of a file that is written."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            hint = "make room there and run the same command again"
            raise LimitError(f"the file cannot grow: {said}", where=str(path), hint=hint) from None
        if error.errno == errno.EPIPE:
            raise FileMissingError("who read the archive has gone away", where=str(path), hint=AGAIN) from None
        raise FileMissingError(f"the file cannot be written: {said}", where=str(path)) from None

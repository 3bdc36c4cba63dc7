"""A full sync that stays on the disk until all of it has arrived: a job that was killed goes on from there.

    note: which file, of which instant -> the RDB as it comes -> note: whole, so many bytes, this digest
          `-> resume: these bytes? -> what lies behind the last position is read     `-> removed with the job

Rule 1: the note is written first, so there is no file that nobody knows of.
Rule 2: believed is a file of ours alone (regular, one name, our user's, 0600) whose bytes have the digest that was
        noted, and the RDB's own checksum. A file of a sync that did not come to its end is nothing.
Rule 3: there is one a job.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anycrc
import anyio.to_thread
import msgspec
import xxhash

from transfer.model.crash import crash, point
from transfer.model.errors import FullSyncError, StateFullError

_PREFIX = "transfer-sync-"
_PIECE_BYTES = 1 << 20
_CRC_BYTES = 8
_NO_CRC = bytes(_CRC_BYTES)
_ENDING = ".sync"

_crc64 = anycrc.Model("CRC64-REDIS").calc

_BEGUN = point("sync.begun", "a file for a full sync that is kept was noted, nothing of it came")
_WHOLE = point("sync.whole", "a full sync that is kept came to its end, and was noted")


class KeptSync(msgspec.Struct):
    """The RDB of one full sync in the file `path`: `instant_ms` as the source's clock told; no digest: not whole.

    `mixed`: whether keys were copied before.
    """

    path: str
    instant_ms: int
    size_bytes: int = 0
    digest: str = ""
    mixed: bool = False


class SyncNote:
    """What is known of the full sync of one job, in a file beside its trail.

    Raises, where it writes: StateFullError.
    """

    def __init__(self, directory: Path, job: str) -> None:
        self._path, self._job = directory / f"{job}{_ENDING}", job

    def begin(self, spill_dir: str, instant_ms: int, *, mixed: bool = False) -> str:
        """Note a new one, in place of another; the path of the file to be made for it."""
        self.forget()
        path = os.path.join(os.path.abspath(spill_dir or tempfile.gettempdir()), _PREFIX + self._job)
        self._write(KeptSync(path, instant_ms, mixed=mixed))
        _remove(path)  # of a note that was lost
        crash(_BEGUN)
        return path

    def whole(self, size_bytes: int, digest: str) -> None:
        """All of it is in its file."""
        if known := self.read():
            known.size_bytes, known.digest = size_bytes, digest
            self._write(known)
            crash(_WHOLE)

    def read(self) -> KeptSync | None:
        """What was noted; None where that is nothing, or not understood."""
        try:
            known = msgspec.json.decode(self._path.read_bytes(), type=KeptSync)
        except (OSError, msgspec.MsgspecError):
            return None
        return known if Path(known.path).name == _PREFIX + self._job else None

    def held_bytes(self) -> int:
        """How large its file is, whole or not; 0 where there is none."""
        try:
            return os.stat(known.path).st_size if (known := self.read()) else 0
        except OSError:
            return 0

    def let_go(self) -> None:
        """Remove the file: all of it has arrived. What was noted stays."""
        if known := self.read():
            _remove(known.path)

    def forget(self) -> None:
        """Remove file and note."""
        self.let_go()
        _remove(str(self._path))

    def _write(self, known: KeptSync) -> None:
        part = self._path.with_suffix(f"{_ENDING}-part")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(known))
            os.replace(part, self._path)
        except OSError as error:
            said = f"what a resume needs cannot be written: {error.strerror}"
            raise StateFullError(said, where=str(self._path)) from None


async def is_sound(known: KeptSync) -> bool:
    """Whether its file is there as it was noted, to the last byte."""
    return bool(known.digest) and await anyio.to_thread.run_sync(_is_sound, known)


def _is_sound(known: KeptSync) -> bool:
    try:
        with open(_opened(known.path), "rb") as file:
            found = os.fstat(file.fileno())
            if not _is_ours(found) or found.st_size != known.size_bytes:
                return False
            digest, crc, end = xxhash.xxh3_128(), 0, b""
            while data := file.read(_PIECE_BYTES):
                digest.update(data)
                data = end + data
                end = data[-_CRC_BYTES:]
                crc = _crc64(memoryview(data)[:-_CRC_BYTES], crc)
    except OSError:
        return False
    return digest.hexdigest() == known.digest and end in (_NO_CRC, crc.to_bytes(_CRC_BYTES, "little"))


def _is_ours(found: os.stat_result) -> bool:
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_nlink == 1
        and found.st_uid == os.geteuid()
        and not found.st_mode & 0o077
    )


class SyncFile:
    """Reads the file of a kept sync from *offset* on, as `Spool.take`.

    Raises, everywhere: FullSyncError: it cannot be read.
    """

    def __init__(self, known: KeptSync, offset: int) -> None:
        self._path, self._at = known.path, offset
        with self._failures():
            self._file = _opened(known.path)

    async def take(self, least_bytes: int = 1) -> bytes:
        """The next bytes; b"" at the end."""
        with self._failures():
            data = await anyio.to_thread.run_sync(os.pread, self._file, _PIECE_BYTES, self._at)
        self._at += len(data)
        return data

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = f"the full sync that was kept cannot be read: {error.strerror}"
            raise FullSyncError(said, where=self._path) from None

    def close(self) -> None:
        os.close(self._file)


def _opened(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)

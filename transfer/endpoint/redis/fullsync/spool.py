"""First in, first out, for a stream that must not be held up: a window of memory, then a file.

    put -> window ------------------------------> take
      |      `-> full: only in the file, read back piece by piece before what came later
      `-> file: always, where it is to be kept; else what the window has no room for

Rule 1: `put` never waits for whoever takes: the server that sends would keep its fork, and its buffers, so long.
Rule 2: a byte stands in the file where it stands in the stream; what only the window held is a hole there.
Rule 3: the file has mode 0600. Without a name it is gone with the process, however that ends; with one it is kept.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import deque

import anyio
import anyio.to_thread
import xxhash

from transfer.model.errors import RESUME, LimitError, UsageError

_PIECE_BYTES = 1 << 20
HEADROOM_BYTES = 64 << 20
"""Room that stays free on the disk."""


class Spool:
    """Bytes between one task that puts and one that takes.

    Args:
        path: a file to be made and kept, with everything in it; "": one without a name, in *spill_dir*.

    Attributes:
        spilled_bytes: how many the window had no room for.
        put_bytes: how many came in all.
    """

    def __init__(self, spill_dir: str = "", window_bytes: int = 16 << 20, path: str = "") -> None:
        self._folder = spill_dir or tempfile.gettempdir()
        self._path = path
        self._window_bytes = window_bytes
        self._window: deque[bytes] = deque()
        self._held_bytes = 0
        self._file = -1
        self._taken = 0
        self._ended = False
        self._changed = anyio.Event()
        self._sum = xxhash.xxh3_128()
        self.spilled_bytes = self.put_bytes = 0

    async def put(self, data: bytes) -> None:
        """Add *data*.

        Raises:
            LimitError: the disk has no room for it.
        """
        at = self.put_bytes
        follows = self._taken + self._held_bytes == at  # what is taken meanwhile changes nothing of that
        fits = follows and self._held_bytes < self._window_bytes
        if self._path or not fits:
            await anyio.to_thread.run_sync(self._spill, data, at)
        self.put_bytes += len(data)
        if fits:
            self._window.append(data)
            self._held_bytes += len(data)
        else:
            self.spilled_bytes += len(data)
        self._wake()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._wake()

    def digest(self) -> str:
        """xxh3-128, in hex digits, of all that came, where it is kept."""
        return self._sum.hexdigest()

    async def take(self, least_bytes: int = 1) -> bytes:
        """What came first and was not taken yet, as soon as it is so much, or the end; b"" after the end."""
        while not self._ended and self.put_bytes - self._taken < least_bytes:
            await self._changed.wait()
        taken: list[bytes] = []
        while self._window and least_bytes > 0:
            taken.append(data := self._window.popleft())
            self._held_bytes -= len(data)
            self._taken += len(data)
            least_bytes -= len(data)
        if not taken and self._taken < self.put_bytes:
            return await self._read_back()
        return b"".join(taken)

    async def _read_back(self) -> bytes:
        size = min(_PIECE_BYTES, self.put_bytes - self._taken)
        data = await anyio.to_thread.run_sync(os.pread, self._file, size, self._taken)
        self._taken += len(data)
        return data

    def _spill(self, data: bytes, at: int) -> None:
        """In a thread: a disk may be slow, and the socket is not to wait for it longer than it must."""
        try:
            if self._file < 0:
                self._file = _named_file(self._path) if self._path else _unnamed_file(self._folder)
            view = memoryview(data)
            while view:
                done = os.pwrite(self._file, view, at)
                view, at = view[done:], at + done
        except OSError as error:
            raise _no_room(self._folder, error) from None
        if self._path:
            self._sum.update(data)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def close(self) -> None:
        """Let go of memory and file."""
        self._window.clear()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def free_bytes(spill_dir: str) -> int:
    """What is free in *spill_dir* (default: the system's folder for such files).

    Raises:
        UsageError: it is not there.
    """
    folder = spill_dir or tempfile.gettempdir()
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise UsageError(
            f"the folder for what memory cannot hold cannot be used: {error.strerror}",
            where=folder,
            hint="--spill-dir DIR names another",
        ) from None


def _named_file(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _unnamed_file(folder: str) -> int:
    number, path = tempfile.mkstemp(prefix="transfer-sync-", dir=folder)  # mode 0600
    os.unlink(path)
    return number


def _no_room(folder: str, error: OSError) -> LimitError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = f"make room there; then {RESUME}"
        return LimitError("there is no room left for the full sync that comes in", where=folder, hint=hint)
    return LimitError(f"the full sync that comes in cannot be kept: {error.strerror}", where=folder)

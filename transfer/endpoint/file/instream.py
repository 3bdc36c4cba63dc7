"""An archive from standard input: kept aside until it is whole, since nothing is written before it was checked.

stdin -> 0600 file in the spill folder -> (looked through and imported as any file) -> removed
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread

from transfer.endpoint.file.age import is_encrypted
from transfer.endpoint.file.newfile import file_failures
from transfer.model.endpoint import AGE_ENDING, ARCHIVE_SCHEME
from transfer.model.errors import CutError, FormatError, UsageError

_READ_BYTES = 1 << 20
_PREFIX = "transfer-in-"


@asynccontextmanager
async def received(spill_dir: str, descriptor: int | None = None) -> AsyncIterator[Path]:
    """All of standard input (or *descriptor*) in a file of its own, for the length of the block.

    Raises:
        LimitError: the disk has no room for it.
        CutError: nothing comes.
        FileMissingError: the folder cannot be written to.
        UsageError: it is a terminal.
    """
    source = sys.stdin.fileno() if descriptor is None else descriptor
    if os.isatty(source):
        raise UsageError("standard input is a terminal", hint="transfer export A - | transfer import - B")
    folder = Path(spill_dir or tempfile.gettempdir())
    with file_failures(folder):
        handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=f".{ARCHIVE_SCHEME}", dir=folder)
    path, lock = Path(name), os.dup(handle)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_left_behind(folder)
        encrypted = await anyio.to_thread.run_sync(_copy, source, handle, path, abandon_on_cancel=True)
        if encrypted:
            os.rename(name, name + AGE_ENDING)
            path = Path(name + AGE_ENDING)
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(lock)


def name_stdin(error: FormatError, hint: str) -> None:
    """Have *error* tell of standard input, and *hint*, not of a file that nobody will find."""
    error.where, error.hint = "standard input", hint


def _remove_left_behind(folder: Path) -> None:
    """What a process that was killed left: nobody holds its lock."""
    for other in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), other.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other.unlink(missing_ok=True)


def _copy(source: int, handle: int, path: Path) -> bool:
    """Whether what came is encrypted."""
    head = b""
    with file_failures(path), os.fdopen(handle, "wb") as file:
        while data := os.read(source, _READ_BYTES):
            head = head or data[:64]
            file.write(data)
    if not head:
        hint = "look at what the command before the pipe says: transfer export A - | transfer import - B"
        raise CutError("nothing came on standard input: an archive has a first frame and an end", where="-", hint=hint)
    return is_encrypted(head)

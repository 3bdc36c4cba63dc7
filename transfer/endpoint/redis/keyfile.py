"""Key names from a file or stdin, one a line, as pages."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio

from transfer.endpoint.redis.scanning import Page
from transfer.model.errors import FileMissingError

_READ_BYTES = 256 << 10


def readable_again(name: str, kept: Path) -> str:
    """A file that can be read more than once: *name* itself; what stdin (`-`) holds goes into the 0600 file *kept*.

    Raises:
        FileMissingError: there is no such file.
    """
    if name != "-":
        if name and not Path(name).is_file():
            raise FileMissingError(f"no such file of key names: {name}", where=name)
        return name and str(Path(name).absolute())
    with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return str(kept)


async def key_pages(name: str, size: int, after: int = 0) -> AsyncIterator[Page]:
    """Yield pages of up to *size* names of the file *name*; lines end with LF, an empty last line names no key.

    The cursor counts names; the first *after* of them are left out.
    """
    names: list[bytes] = []
    rest = b""
    offset = 0
    async with await anyio.open_file(name, "rb") as file:
        while chunk := await file.read(_READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            names += lines
            while len(names) > size:
                offset += size
                if offset > after:
                    yield Page(names[max(0, after - offset + size) : size], b"%d" % offset)
                names = names[size:]
    names += [rest] * bool(rest)
    yield Page(names[max(0, after - offset) :], b"%d" % (offset + len(names)), last=True)

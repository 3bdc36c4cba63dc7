"""Key names from a file or stdin, one a line, as pages."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from transfer.endpoint.redis.scanning import Page
from transfer.model.errors import FileMissingError

_READ_BYTES = 256 << 10


@contextmanager
def readable_twice(name: str, folder: str = "") -> Iterator[str]:
    """A file that can be read more than once: *name* itself; stdin (`-`) is kept in a 0600 file for the block.

    Raises:
        FileMissingError: there is no such file.
    """
    if name != "-":
        if name and not Path(name).is_file():
            raise FileMissingError(f"no such file of key names: {name}", where=name)
        yield name
        return
    with tempfile.NamedTemporaryFile(dir=folder or None, prefix="transfer-names-") as kept:
        shutil.copyfileobj(sys.stdin.buffer, kept)
        kept.flush()
        yield kept.name


async def key_pages(name: str, size: int) -> AsyncIterator[Page]:
    """Yield pages of up to *size* names of the file *name*; lines end with LF, an empty last line names no key."""
    names: list[bytes] = []
    rest = b""
    offset = 0
    async with await anyio.open_file(name, "rb") as file:
        while chunk := await file.read(_READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            names += lines
            while len(names) > size:
                offset += size
                yield Page(names[:size], b"%d" % offset)
                names = names[size:]
    yield Page(names + [rest] * bool(rest), b"0")

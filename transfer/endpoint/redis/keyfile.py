"""Key names from a file or stdin, as pages: one a line, or (any bytes, by database) as `write_names` writes them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from transfer.endpoint.redis.scanning import Page
from transfer.model.errors import FileMissingError

_READ_BYTES = 256 << 10
_BY_DATABASE = b"transfer names by database 1\n"
"""Begins a file of our own; msgpack follows: {database: [name]}."""


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


def write_names(path: str, names: dict[int, list[bytes]]) -> None:
    """Write *names* of each database to the new file *path*, 0600."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(_BY_DATABASE + msgspec.msgpack.encode(names))


async def key_pages(name: str, size: int, db: int = 0) -> AsyncIterator[Page]:
    """Yield pages of up to *size* names of the file *name*; lines end with LF, an empty last line names no key.

    A file of `write_names` names those of *db*.
    """
    if (named := await anyio.to_thread.run_sync(_of_database, name, db)) is not None:
        for start in range(0, len(named), size):
            yield Page(named[start : start + size], b"%d" % start)
        return
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


def _of_database(name: str, db: int) -> list[bytes] | None:
    """The names of *db* in a file of `write_names`; None where it is another file."""
    with open(name, "rb") as file:
        if file.read(len(_BY_DATABASE)) != _BY_DATABASE:
            return None
        return msgspec.msgpack.decode(file.read(), type=dict[int, list[bytes]]).get(db, [])

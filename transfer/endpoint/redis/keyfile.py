"""Key names from a file or stdin, as pages: one a line, or (any bytes, by database) as `write_names` writes them.

user:1                       a name as it is, whatever bytes it has, but LF
transfer:key_b64:YQpi        a name in base64: it has an LF, or would be read as another line of this kind
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from transfer.endpoint.redis.scanning import Page
from transfer.model.errors import FileMissingError

_READ_BYTES = 256 << 10
_BY_DATABASE = b"transfer names by database 1\n"
"""Begins a file of our own; msgpack follows: {database: [name]}."""
_IN_BASE64 = b"transfer:key_b64:"


def line_of(name: bytes) -> bytes:
    """The line, with its LF, that `key_pages` reads as *name*."""
    if b"\n" in name or name.startswith((_IN_BASE64, _BY_DATABASE[:-1])):
        name = _IN_BASE64 + base64.b64encode(name)
    return name + b"\n"


def name_of(line: bytes) -> bytes:
    """The name that *line*, without its LF, stands for."""
    if not line.startswith(_IN_BASE64):
        return line
    try:
        return base64.b64decode(line[len(_IN_BASE64) :], validate=True)
    except binascii.Error:
        return line


def readable_again(name: str, kept: Path) -> str:
    """A file that will hold the same names whenever it is read again: a 0600 copy of *name* (`-`: of stdin) in *kept*.

    Raises:
        FileMissingError: there is no such file.
    """
    if not name or name == str(kept):
        return name
    if name != "-" and not Path(name).is_file():
        raise FileMissingError(f"no such file of key names: {name}", where=name)
    with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        if name == "-":
            shutil.copyfileobj(sys.stdin.buffer, file)
        else:
            with open(name, "rb") as given:
                shutil.copyfileobj(given, file)
    return str(kept)


def write_names(path: str, names: dict[int, list[bytes]]) -> None:
    """Write *names* of each database to the new file *path*, 0600."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(_BY_DATABASE + msgspec.msgpack.encode(names))


async def key_pages(name: str, size: int, db: int = 0, after: int = 0) -> AsyncIterator[Page]:
    """Yield pages of up to *size* names of the file *name*; lines end with LF, an empty last line names no key.

    A file of `write_names` names those of *db*. The cursor counts names; the first *after* of them are left out.
    """
    if (named := await anyio.to_thread.run_sync(_of_database, name, db)) is not None:
        for start in range(after, len(named), size):
            yield Page(named[start : start + size], b"%d" % min(start + size, len(named)))
        yield Page([], b"%d" % len(named), last=True)
        return
    names: list[bytes] = []
    rest = b""
    offset = 0
    async with await anyio.open_file(name, "rb") as file:
        while chunk := await file.read(_READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            names += map(name_of, lines)
            while len(names) > size:
                offset += size
                if offset > after:
                    yield Page(names[max(0, after - offset + size) : size], b"%d" % offset)
                names = names[size:]
    names += [name_of(rest)] * bool(rest)
    yield Page(names[max(0, after - offset) :], b"%d" % (offset + len(names)), last=True)


def _of_database(name: str, db: int) -> list[bytes] | None:
    """The names of *db* in a file of `write_names`; None where it is another file."""
    with open(name, "rb") as file:
        if file.read(len(_BY_DATABASE)) != _BY_DATABASE:
            return None
        return msgspec.msgpack.decode(file.read(), type=dict[int, list[bytes]]).get(db, [])

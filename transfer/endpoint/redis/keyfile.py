"""Key names from a file or stdin, one a line, as pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio

from transfer.endpoint.redis.scanning import Page
from transfer.model.errors import FileMissingError

_READ_BYTES = 256 << 10


def check_key_file(name: str) -> None:
    """Raises FileMissingError unless *name* is `-` or a file that can be read."""
    if name != "-" and not Path(name).is_file():
        raise FileMissingError(f"no such file of key names: {name}", where=name)


async def key_pages(name: str, size: int) -> AsyncIterator[Page]:
    """Yield pages of up to *size* names; a line's end is LF, an empty last line names no key."""
    source = "/dev/stdin" if name == "-" else name
    names: list[bytes] = []
    rest = b""
    offset = 0
    async with await anyio.open_file(source, "rb") as file:
        while chunk := await file.read(_READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            names += lines
            while len(names) > size:
                offset += size
                yield Page(names[:size], b"%d" % offset)
                names = names[size:]
    yield Page(names + [rest] * bool(rest), b"0")

"""A file that grows and is encrypted: parts, each a whole age file, so that each is on the disk by itself.

    bytes -> age -> length (4 bytes, big-endian), age file ...        for who has the recipients' keys alone
    file  -> part by part -> bytes; the last one may be torn

The parts one behind another are what would stand in a plain file. Left out, swapped or doubled ones are noticed by what
reads that: blocks of archives are chained.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from transfer.endpoint.file.age import Identities, Recipients, decrypted, encrypted
from transfer.model.errors import ChecksumError, UsageError

PARTS_ENDING = ".parts"
_LENGTH_BYTES = 4
_MOST_BYTES = 1 << 30
"""Of a part: more than any capture takes."""


def part(data: bytes, recipients: Recipients) -> bytes:
    """*data*, ready to be appended."""
    sealed = encrypted(data, recipients)
    return len(sealed).to_bytes(_LENGTH_BYTES) + sealed


def plain_parts(file: BinaryIO, path: Path, identities: Identities) -> Iterator[bytes]:
    """What is in the parts of *file*, the one at *path*, in order; a torn one at the end is left out.

    Raises:
        UsageError: there are no *identities*.
        WrongKeyError: none of them opens it.
        ChecksumError: it is damaged.
    """
    if not identities:
        text = "this undo archive is encrypted"
        raise UsageError(text, where=str(path), hint="--identity FILE: the key that opens it")
    at = 0
    while len(head := file.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
        if (size := int.from_bytes(head)) > _MOST_BYTES:
            raise ChecksumError("a part of the encrypted file has no such length", where=str(path), offset=at)
        sealed = file.read(size)
        if len(sealed) < size:
            return
        yield decrypted(sealed, identities, path, at)
        at += _LENGTH_BYTES + size

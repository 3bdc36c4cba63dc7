"""Which way through a file its name asks for."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, cast

from transfer.endpoint.archive.walk import ArchiveWalk, Opener
from transfer.endpoint.file.age import AgeReader, Identities, identities_of
from transfer.endpoint.file.block import Walk
from transfer.endpoint.jsonl.walk import JsonlWalk
from transfer.endpoint.rdb.walk import RdbWalk
from transfer.model.endpoint import AGE_ENDING, ARCHIVE_SCHEME, JSONL_SCHEME, NAMES_SCHEME, STDIO
from transfer.model.errors import UsageError
from transfer.wire.url import environment_secret

_SECRET_OF_IDENTITY = "TRANSFER_IDENTITY_PASSPHRASE"  # noqa: S105 - the name of a variable


def walk_of(path: Path, *, identity: str = "", deep: bool = False, salvage: bool = False) -> Walk:
    """The way through the file at *path*, by its ending; nothing is read yet.

    *identity*: the file of the key that opens an encrypted one; *deep*: hold every key against the sums of the file,
    where it has some; *salvage*: pass over what is damaged.

    Raises:
        UsageError: an encrypted file without an identity, or an identity that is none; a list of names.
        FileMissingError, WrongKeyError: the identity cannot be read.
    """
    if str(path) == STDIO:
        raise UsageError("standard input is read by import alone", hint="transfer import - redis://host:6379")
    if path.suffix.lower() == AGE_ENDING:
        return ArchiveWalk(path, _opener(path, identity), deep=deep, salvage=salvage)
    if path.suffix.lower() == f".{NAMES_SCHEME}":
        text = "a list of names holds no values"
        raise UsageError(text, where=str(path), hint=f"transfer copy A B --keys-from {path} copies the keys it names")
    if identity:
        raise UsageError("--identity is for encrypted archives", where=str(path), hint="name.xfer.age")
    if path.suffix.lower() == f".{ARCHIVE_SCHEME}":
        return ArchiveWalk(path, deep=deep, salvage=salvage)
    if path.suffix.lower() == f".{JSONL_SCHEME}":
        return JsonlWalk(path, salvage=salvage)
    return RdbWalk(path, salvage=salvage)


def _opener(path: Path, identity: str) -> Opener:
    if not identity:
        raise UsageError("this archive is encrypted", where=str(path), hint="--identity FILE: the key that opens it")
    keys = keys_of(identity)
    return lambda path: cast(BinaryIO, AgeReader(path, keys))


def keys_of(identity: str) -> Identities:
    """The keys in the file *identity*; none for "". Raises: as `identities_of`."""
    if not identity:
        return ()
    secret = environment_secret(_SECRET_OF_IDENTITY)
    return identities_of(Path(identity), secret.reveal() if secret is not None else "")

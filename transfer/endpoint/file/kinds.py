"""Which way through a file its name asks for."""

from __future__ import annotations

from pathlib import Path

from transfer.endpoint.archive.walk import ArchiveWalk
from transfer.endpoint.file.block import Walk
from transfer.endpoint.rdb.walk import RdbWalk
from transfer.model.endpoint import ARCHIVE_SCHEME


def walk_of(path: Path, *, deep: bool = False, salvage: bool = False) -> Walk:
    """The way through the file at *path*, by its ending; nothing is read yet.

    *deep*: hold every key against the sums of the file, where it has some; *salvage*: pass over what is damaged.
    """
    if path.suffix.lower() == f".{ARCHIVE_SCHEME}":
        return ArchiveWalk(path, deep=deep, salvage=salvage)
    return RdbWalk(path, salvage=salvage)

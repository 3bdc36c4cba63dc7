"""Which way through a file its name asks for."""

from __future__ import annotations

from pathlib import Path

from transfer.endpoint.archive.walk import ArchiveWalk
from transfer.endpoint.file.block import Walk
from transfer.endpoint.rdb.walk import RdbWalk
from transfer.model.endpoint import ARCHIVE_SCHEME


def walk_of(path: Path) -> Walk:
    """The way through the file at *path*, by its ending; nothing is read yet."""
    return ArchiveWalk(path) if path.suffix.lower() == f".{ARCHIVE_SCHEME}" else RdbWalk(path)

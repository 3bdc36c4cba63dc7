"""One key out of an archive, without reading the rest.

    last frame (END) -> INDEX -> the part of the key map that the name's hash falls into -> block, mostly one -> the key

Rule 1: what is read is checked frame by frame; that nothing is missing elsewhere is not looked at.
Rule 2: an archive without a key map is read block by block, from its end.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import msgspec

from transfer.codec.archive.frames import HEADER_BYTES, PREFIX_BYTES, check_prefix, read_frame, read_header
from transfer.codec.archive.items import End, Head, Manifest, Use
from transfer.codec.archive.keymap import Block, Index, KeyMap, mark_of
from transfer.codec.archive.payloads import Item, unseal
from transfer.codec.archive.writer import END_BYTES
from transfer.endpoint.archive.walk import ArchiveWalk
from transfer.model.errors import CutError, FormatError


class FoundKey(msgspec.Struct, frozen=True):
    """One key as it stands in an archive. *blocks_read* is how many it took."""

    db: int
    key: bytes
    version: int
    body: bytes
    deadline_ms: int
    use: Use
    use_value: int
    offset: int
    blocks_read: int


class ArchiveLookup:
    """Opens the archive at *path* from its end.

    Raises:
        CutError: its end is missing.
        FormatError: what was read of it is damaged.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._walk = ArchiveWalk(path)
        self.path = path
        with path.open("rb") as file:
            check_prefix(file.read(PREFIX_BYTES).ljust(PREFIX_BYTES))
            self.size_bytes = file.seek(0, 2)
            end = self._end(file)
            index, manifest = self._item(file, end.index_offset), self._item(file, end.manifest_offset)
            head = self._item(file, PREFIX_BYTES)
        if not isinstance(index, Index) or not isinstance(manifest, Manifest) or not isinstance(head, Head):
            raise FormatError("the end of the archive points to frames of other kinds", where=str(path))
        self.index, self.manifest, self.head = index, manifest, head

    def find(self, db: int, key: bytes) -> FoundKey | None:
        """*key* of database *db*, the last one if there are several; None: it is not there."""
        for read, block in enumerate(self._candidates(mark_of(db, key)), 1):
            found = self._walk.block(block.offset, db)
            if found.db != db or key not in found.keys:
                continue
            row = len(found.keys) - 1 - found.keys[::-1].index(key)
            use = found.uses[row] if found.uses else -1
            held = (found.version, found.bodies[row], found.deadlines[row], found.use, use)
            return FoundKey(db, key, *held, offset=block.offset, blocks_read=read)
        return None

    def _candidates(self, mark: int) -> list[Block]:
        place = self.index.segment_of(mark)
        if place is None:
            return list(self.index.blocks())[::-1]
        with self.path.open("rb") as file:
            segment = self._item(file, place[0])
        if not isinstance(segment, KeyMap):
            raise FormatError("the index points to a frame that is no key map", where=str(self.path))
        return self.index.find(segment, mark)

    def _end(self, file: BinaryIO) -> End:
        try:
            end = self._item(file, max(PREFIX_BYTES, self.size_bytes - END_BYTES))
        except FormatError:
            end = None
        if not isinstance(end, End):
            hint = f"transfer verify {self.path} says what is there"
            raise CutError("the end of the archive is missing or damaged", where=str(self.path), hint=hint)
        return end

    def _item(self, file: BinaryIO, offset: int) -> Item:
        file.seek(offset)
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            raise CutError(f"no frame at offset {offset:,}", where=str(self.path))
        size = read_header(header, 0, offset).stored_bytes
        return unseal(read_frame(header + file.read(size), offset))

"""What a damaged archive lacks: blocks that came, held against the index and the manifest at its end, if those came.

Keys, LargeKey ... LargeEnd -> had        Index -> blocks that did not come, and their keys
                                          Manifest alone -> keys of each database, less those that came
"""

from __future__ import annotations

from collections import Counter

import anyio.lowlevel

from transfer.codec.archive.frames import Frame
from transfer.codec.archive.items import Keys, LargeEnd, LargeKey, Manifest
from transfer.codec.archive.keymap import Index
from transfer.codec.archive.payloads import Item
from transfer.endpoint.file.block import Walk
from transfer.model.errors import FormatError
from transfer.model.report import Missing


async def what_is_missing(walk: Walk) -> Missing | None:
    """What the damaged file of *walk*, which salvages, lacks; None: it has nothing whole, or nothing that may tell."""
    try:
        for _ in walk.blocks():
            await anyio.lowlevel.checkpoint()
    except (FormatError, OSError):
        return None
    return walk.missing


class Had:
    """The blocks of one archive that came, by the number of their first frame."""

    def __init__(self) -> None:
        self._blocks: set[int] = set()
        self._keys: Counter[int] = Counter()
        self._large: tuple[int, int] | None = None
        self._index: Index | None = None

    def note(self, item: Item, frame: Frame) -> None:
        """*item* came, in *frame*."""
        match item:
            case Keys():
                self._add(frame.sequence, item.db, len(item.keys))
            case LargeKey():
                self._large = frame.sequence, item.db
            case LargeEnd() if self._large is not None:
                self._add(*self._large, 1)
                self._large = None
            case Index():
                self._index = item

    def missing(self, manifest: Manifest | None) -> Missing:
        """What did not come, as the index tells, else *manifest*."""
        keys, blocks = self._keys.total(), len(self._blocks)
        if self._index is not None:
            lost = [block for block in self._index.blocks() if block.sequence not in self._blocks]
            dbs = Counter[int]()
            for block in lost:
                dbs[block.db] += block.keys
            return Missing(keys, blocks, len(lost), dict(dbs))
        if manifest is None:
            return Missing(keys, blocks)
        told = {db: sum(types.values()) - self._keys[db] for db, types in manifest.dbs.items()}
        return Missing(keys, blocks, None, {db: count for db, count in told.items() if count > 0})

    def _add(self, number: int, db: int, keys: int) -> None:
        if number not in self._blocks:
            self._blocks.add(number)
            self._keys[db] += keys

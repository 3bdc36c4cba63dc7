"""What a file of keys is read in: blocks, consecutive keys of one logical database, and the ways through it.

    file -> Walk -> Block, Block, ... -> what is neither in the Walk

Rule 1: a block can be read again alone, from its `start` and with its `db`.
Rule 2: a key is found again by its place, a number that ascends along the file; what it means is the walk's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from typing import Protocol

import msgspec

from transfer.codec.archive.items import AsOf
from transfer.codec.rdb.items import Use
from transfer.endpoint.file.checking import empties
from transfer.model.errors import CutError
from transfer.model.report import Missing


class Block(msgspec.Struct):
    """Keys column by column, of a file of RDB *version*. `start` to `end`: where they stand in the file.

    `starts`, if asked for: the place of each key.
    `skipped` is how many empty collections stood among them, which are left out. `uses`: seconds since the last use
    (`use` is idletime) or how often (freq), -1 where unknown; no items where the file tells none.
    """

    start: int
    end: int
    db: int
    version: int
    keys: list[bytes]
    bodies: list[bytes]
    deadlines: list[int]
    starts: list[int]
    skipped: int = 0
    uses: list[int] = msgspec.field(default_factory=list)
    use: Use = ""

    def leave_out_empties(self) -> None:
        """Count out the collections without items."""
        if not (rows := empties(self.bodies)):
            return
        kept = [True] * len(self.keys)
        for row in rows:
            kept[row] = False
        self.skipped = len(rows)
        self.keys, self.bodies = list(compress(self.keys, kept)), list(compress(self.bodies, kept))
        self.deadlines, self.starts = list(compress(self.deadlines, kept)), list(compress(self.starts, kept))
        self.uses = list(compress(self.uses, kept))


def first_of(blocks: Iterator[Block], start: int) -> Block:
    """The first of *blocks*, which begin at *start*. Raises CutError: there is none."""
    for block in blocks:
        return block
    raise CutError(f"there is no key at offset {start:,} any more")


class Walk(Protocol):
    """A way through one file, as often as it is wanted. After the whole of it was walked the attributes hold.

    Attributes:
        family, version: of the header; the version is that of RDB payloads, of a file with several the newest.
        aux, functions: what stands before the keys; code of libraries.
        passed_over: what is neither, in words.
        checksum: right | zero (not computed) | none (the file has none).
        trailing_bytes: what stands after the end.
        damage: what could not be used and was passed over, in words; only where that was asked for.
        missing: how much that was, where the file has something that may tell; None: nothing, or it has not.
        form: the kind of file, in words.
        as_of: of what time its keys are, None if it does not say more than `saved_ms`.
        saved_ms: when it was saved, as it says; 0 if it does not.
        repeats: whether a name may stand in it more than once; the last one counts.
    """

    path: Path
    family: str
    version: int
    aux: dict[bytes, bytes]
    functions: list[bytes]
    passed_over: list[str]
    checksum: str
    trailing_bytes: int
    damage: list[str]

    @property
    def form(self) -> str: ...

    @property
    def missing(self) -> Missing | None: ...

    @property
    def as_of(self) -> AsOf | None: ...

    @property
    def saved_ms(self) -> int: ...

    @property
    def repeats(self) -> bool: ...

    def blocks(self, start: int = 0, db: int = 0, *, starts: bool = False) -> Iterator[Block]:
        """All blocks from place *start* on, where *db* is selected; from 0 with everything checked.

        *starts*: tell the place of each key.

        Raises:
            CutError: the file ends too soon.
            ChecksumError: a checksum does not hold.
            UnknownFormError: something in it is not known.
            FormatError: this is another kind of file.
        """

    def block(self, start: int, db: int) -> Block:
        """The block that begins at *start*."""

    def close(self) -> None:
        """Let go of the file."""

    def near(self, places: list[int], db: int) -> Iterator[Block]:
        """Blocks with the keys at *places*, which ascend; some of their neighbours may come, too."""

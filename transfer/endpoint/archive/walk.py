"""An archive block by block.

    file -> 1 MiB at a time -> ArchiveReader -> Keys, or a large value out of its pieces -> Block
                                             `-> head, facts, manifest in the walk

Rule 1: from its first byte on, chain, index, manifest and SHA-256 are checked; from a block on, each frame by itself.
Rule 2: the place of a key is that of its block: to have one, the block is unpacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from transfer.codec.archive.frames import HEADER_BYTES, VERSION, read_header
from transfer.codec.archive.items import (
    AsOf,
    Facts,
    Head,
    Keys,
    LargeEnd,
    LargeKey,
    Manifest,
    Piece,
    Tombstones,
    Unknown,
)
from transfer.codec.archive.payloads import Item
from transfer.codec.archive.reader import ArchiveReader
from transfer.codec.archive.salvage import Damage, SalvageReader
from transfer.endpoint.archive.missing import Had
from transfer.endpoint.file.block import Block, first_of
from transfer.model.errors import ChecksumError, FormatError
from transfer.model.report import Missing

_READ_BYTES = 1 << 20
_RECENT, _RECENT_BYTES = 6, 16 << 20
"""Blocks that are kept unpacked, and how much they may take in the file: neighbours are asked for next."""
_ELSEWHERE = {b"REDIS": "an RDB file", b"VALKE": "an RDB file", b"age-e": "an encrypted file"}
_ENDINGS = {"an RDB file": ".rdb", "an encrypted file": ".xfer.age"}


Opener = Callable[[Path], BinaryIO]


def plainly(path: Path) -> BinaryIO:
    """An archive that is not encrypted."""
    return path.open("rb")


class ArchiveWalk:
    """As `file.block.Walk`, of an archive.

    Args:
        opened: gives the plain bytes of the file at a path; what it gives can seek.
        deep: sum up every key, and hold the sums against the manifest.
        salvage: go on behind damage.

    Attributes:
        head, manifest: once they were read.
    """

    form = f"archive version {VERSION}"
    checksum = "right"
    trailing_bytes = 0

    def __init__(
        self,
        path: Path,
        opened: Opener = plainly,
        *,
        deep: bool = False,
        salvage: bool = False,
    ) -> None:
        self.path = path
        self._opened, self._deep, self._salvage = opened, deep, salvage
        self._kept: BinaryIO | None = None
        self._recent: dict[int, Block] = {}
        self._had = Had()
        self.damage: list[str] = []
        self.family, self.version = "", 0
        self.aux: dict[bytes, bytes] = {}
        self.functions: list[bytes] = []
        self.passed_over: list[str] = []
        self.head: Head | None = None
        self.manifest: Manifest | None = None

    @property
    def as_of(self) -> AsOf | None:
        """Of what time its keys are, as far as it was read."""
        if self.manifest is not None:
            return self.manifest.as_of
        return self.head.as_of if self.head is not None else None

    @property
    def missing(self) -> Missing | None:
        """What it lacks, as far as its end tells, where some of it was passed over."""
        return self._had.missing(self.manifest) if self.damage and self.head is not None else None

    @property
    def saved_ms(self) -> int:
        return self.head.as_of.from_ms if self.head is not None else 0

    @property
    def repeats(self) -> bool:
        return self.manifest is None or self.manifest.repeated_keys != 0

    def blocks(self, start: int = 0, db: int = 0, *, starts: bool = False) -> Iterator[Block]:
        """As `Walk.blocks`; *db* is in the block itself."""
        with self._opened(self.path) as file:
            if not start:
                self.functions, self.passed_over, self.damage, self._had = [], [], [], Had()
            file.seek(start)
            items = self._salvaged(file, start) if self._salvage else self._read(file, start)
            yield from self._blocks(items, noting=not start)

    def block(self, start: int, db: int) -> Block:
        """The block that begins at *start*."""
        block = self._recent.pop(start, None) or self._block_at(start)
        self._recent[start] = block
        while len(self._recent) > _RECENT or sum(it.end - it.start for it in self._recent.values()) > _RECENT_BYTES:
            if self._recent.pop(next(iter(self._recent))) is block:
                break
        return block

    def _block_at(self, start: int) -> Block:
        if self._kept is None:
            self._kept = self._opened(self.path)  # opening an encrypted file anew means reading it from its start
        self._kept.seek(start)
        return first_of(self._blocks(self._read(self._kept, start), noting=False), start)

    def close(self) -> None:
        """Let go of the file."""
        self._recent.clear()
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def near(self, places: list[int], db: int) -> Iterator[Block]:
        """As `Walk.near`: whole blocks, each once."""
        for start in dict.fromkeys(places):
            yield self.block(start, db)

    def _read(self, file: BinaryIO, start: int) -> Iterator[tuple[Item, int]]:
        """Items, and where the frame of each begins; the first thing that is wrong ends them."""
        reader = ArchiveReader(deep=self._deep and not start)
        if start:
            frame = read_header(file.read(HEADER_BYTES), 0, start)
            reader.going_on(start, frame.sequence)
            file.seek(start)
        while data := file.read(_READ_BYTES):
            try:
                reader.feed(data)
                for item in reader.take():
                    assert reader.last is not None
                    yield item, reader.last.offset
            except FormatError as error:
                raise _plainer(error, data) from None
        reader.finish()

    def _salvaged(self, file: BinaryIO, start: int) -> Iterator[tuple[Item, int]]:
        """All that is whole; what is not is noted, if the file is read from its start."""
        reader = SalvageReader().going_on(start) if start else SalvageReader()
        told: list[str] = [] if start else self.damage
        lost = ""
        while not lost:
            try:
                data = file.read(_READ_BYTES)
            except ChecksumError as error:  # of an encrypted file: nothing behind it can be read
                data, lost = b"", error.message
            reader.feed(data)
            for item in reader.take() if data else reader.finish():
                if isinstance(item, Damage):
                    told.append(_words(item))
                else:
                    assert reader.last is not None
                    if not start:
                        self._had.note(item, reader.last)
                    yield item, reader.last.offset
            if not data:
                break
        if lost:
            told.append(lost)

    def _blocks(self, items: Iterator[tuple[Item, int]], *, noting: bool) -> Iterator[Block]:
        large: _Large | None = None
        for item, begun in items:
            match item:
                case Keys():
                    yield self._block(item)
                case LargeKey():
                    large = _Large(item, begun)
                case Piece() if large is not None:
                    large.parts.append(item.data)
                case LargeEnd() if large is not None:
                    yield self._whole(large, item.offset)
                    large = None
                case _ if noting:
                    self._note(item)

    def _block(self, item: Keys) -> Block:
        frame = item.frame
        self.version = max(self.version, item.version)
        places = [frame.offset] * len(item.keys)
        block = Block(
            frame.offset, frame.end, item.db, item.version, item.keys, item.bodies, item.deadlines, places,
            uses=item.uses, use=item.use,
        )  # fmt: skip
        block.leave_out_empties()
        return block

    def _whole(self, large: _Large, end: int) -> Block:
        key, start = large.key, large.start
        self.version = max(self.version, key.version)
        body, uses = b"".join(large.parts), [key.use_value] if key.use else []
        return Block(
            start, end, key.db, key.version, [key.key], [body], [key.deadline], [start], uses=uses, use=key.use
        )

    def _note(self, item: Item) -> None:
        match item:
            case Head():
                self.head, self.family = item, item.vendor
                name = b"valkey-ver" if item.vendor == "valkey" else b"redis-ver"
                self.aux = {name: item.server_version.encode()}
            case Facts(server=server, functions=functions):
                self.functions += functions
                self.aux |= {name.encode(): value.encode() for name, value in server.items()}
            case Manifest():
                self.manifest = item
            case Tombstones(keys=keys):
                self.passed_over.append(f"{len(keys):,} names that do not exist")
            case Unknown(frame=frame):
                self.passed_over.append(f"a frame of kind {frame.kind}")


class _Large:
    """A value whose pieces are still coming."""

    def __init__(self, key: LargeKey, start: int) -> None:
        self.key, self.start = key, start
        self.parts: list[bytes] = []


def _words(damage: Damage) -> str:
    """For people: which bytes, and how much is missing."""
    missing = "all that came behind" if damage.missing is None else f"{damage.missing:,} frames"
    if damage.missing == 1:
        missing = "1 frame"
    what = f"bytes {damage.start:,} to {damage.end:,}" if damage.end > damage.start else f"at byte {damage.start:,}"
    return f"{what}: {damage.why}; missing: {missing}, from number {damage.first_missing:,} on"


def _plainer(error: FormatError, data: bytes) -> FormatError:
    """*error*, in other words where the file is of another kind that is known."""
    what = _ELSEWHERE.get(data[:5])
    if what is None or error.facts.get("offset") != 0:
        return error
    return FormatError(f"this is {what}, no archive", hint=f"name it {_ENDINGS[what]}", offset=0)

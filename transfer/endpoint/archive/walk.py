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
from transfer.codec.archive.items import Facts, Head, Keys, LargeEnd, LargeKey, Manifest, Piece, Tombstones, Unknown
from transfer.codec.archive.payloads import Item
from transfer.codec.archive.reader import ArchiveReader
from transfer.endpoint.file.block import Block
from transfer.model.errors import FormatError

_READ_BYTES = 1 << 20
_ELSEWHERE = {b"REDIS": "an RDB file", b"VALKE": "an RDB file", b"age-e": "an encrypted file"}
_ENDINGS = {"an RDB file": ".rdb", "an encrypted file": ".xfer.age"}


class ArchiveWalk:
    """As `file.block.Walk`, of an archive.

    Args:
        opened: gives the plain bytes of the file at a path; what it gives can seek.

    Attributes:
        head, manifest: once they were read.
    """

    form = f"archive version {VERSION}"
    checksum = "right"
    trailing_bytes = 0

    def __init__(self, path: Path, opened: Callable[[Path], BinaryIO] = lambda path: path.open("rb")) -> None:
        self.path = path
        self.family, self.version = "", 0
        self.aux: dict[bytes, bytes] = {}
        self.functions: list[bytes] = []
        self.passed_over: list[str] = []
        self.head: Head | None = None
        self.manifest: Manifest | None = None
        self._opened = opened

    @property
    def saved_ms(self) -> int:
        return self.head.as_of.from_ms if self.head is not None else 0

    def blocks(self, start: int = 0, db: int = 0, *, starts: bool = False) -> Iterator[Block]:
        """As `Walk.blocks`; *db* is in the block itself."""
        with self._opened(self.path) as file:
            reader = ArchiveReader()
            if start:
                file.seek(start)
                frame = read_header(file.read(HEADER_BYTES), 0, start)
                reader.going_on(start, frame.sequence)
                file.seek(start)
            else:
                self.functions, self.passed_over, self.manifest = [], [], None
            yield from self._blocks(reader, file, noting=not start)

    def block(self, start: int, db: int) -> Block:
        """The block that begins at *start*."""
        return next(self.blocks(start, db))

    def near(self, places: list[int], db: int) -> Iterator[Block]:
        """As `Walk.near`: whole blocks, each once."""
        for start in dict.fromkeys(places):
            yield self.block(start, db)

    def _blocks(self, reader: ArchiveReader, file: BinaryIO, *, noting: bool) -> Iterator[Block]:
        large: _Large | None = None
        while data := file.read(_READ_BYTES):
            try:
                reader.feed(data)
                for item in reader.take():
                    match item:
                        case Keys():
                            yield self._block(item)
                        case LargeKey():
                            assert reader.last is not None
                            large = _Large(item, reader.last.offset)
                        case Piece():
                            assert large is not None
                            large.parts.append(item.data)
                        case LargeEnd():
                            assert large is not None
                            yield self._whole(large, item.offset)
                        case _ if noting:
                            self._note(item)
            except FormatError as error:
                raise _plainer(error, data) from None
        reader.finish()

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


def _plainer(error: FormatError, data: bytes) -> FormatError:
    """*error*, in other words where the file is of another kind that is known."""
    what = _ELSEWHERE.get(data[:5])
    if what is None or error.facts.get("offset") != 0:
        return error
    return FormatError(f"this is {what}, no archive", hint=f"name it {_ENDINGS[what]}", offset=0)

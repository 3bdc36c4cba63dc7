"""Lines of JSON block by block: values are made bodies of the plainest type that holds them.

    file -> line -> Row -> body -> rows of one database, one kind of version -> Block

Rule 1: the place of a block is the offset of its first line.
Rule 2: there is no checksum and no end mark: a file that was cut between two lines is not told from a whole one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from transfer.codec.archive.items import AsOf
from transfer.codec.jsonl import VERSION, JsonlReader, Row
from transfer.codec.rdb.encode import REDIS_FIELD_TTL, UnencodableError, encode
from transfer.codec.rdb.writer import oldest_version
from transfer.endpoint.file.block import Block, first_of
from transfer.model.errors import CutError, FormatError
from transfer.model.report import Missing

_TYPES = frozenset({0, 1, 2, 4, 5, 21, REDIS_FIELD_TTL})
_REDIS = 12
"""The RDB version by which numbers of types are meant, where bodies are made here."""
_BLOCK_KEYS, _BLOCK_BYTES, _READ_BYTES = 1000, 1 << 20, 1 << 20


class JsonlWalk:
    """As `file.block.Walk`. With *salvage* lines that are no keys are passed over."""

    form = f"lines of JSON, version {VERSION}"
    family, checksum, trailing_bytes = "redis", "none", 0
    repeats = True
    saved_ms = 0
    as_of: AsOf | None = None
    missing: Missing | None = None

    def __init__(self, path: Path, *, salvage: bool = False) -> None:
        self.path, self._salvage = path, salvage
        self.version = 0
        self.aux: dict[bytes, bytes] = {}
        self.functions: list[bytes] = []
        self.passed_over: list[str] = []
        self.damage: list[str] = []

    def blocks(self, start: int = 0, db: int = 0, *, starts: bool = False) -> Iterator[Block]:
        """As `Walk.blocks`; *db* is in every line."""
        told: list[str] = []
        if not start:
            self.damage = told
        reader = JsonlReader(passes_over=(lambda error: told.append(error.message)) if self._salvage else None)
        block: Block | None = None
        for row in self._rows(reader.going_on(start) if start else reader, start, told):
            body, version = _body(row)
            begun = reader.offset
            if block is not None and not _fits(block, row, version, begun):
                yield self._whole(block, begun)
                block = None
            if block is None:
                block = Block(begun, begun, row.db, version, [], [], [], [])
            block.keys.append(row.key)
            block.bodies.append(body)
            block.deadlines.append(row.expire_at_ms)
            block.starts.append(block.start)
        if block is not None:
            yield self._whole(block, reader.offset)

    def block(self, start: int, db: int) -> Block:
        """The block that begins at *start*."""
        return first_of(self.blocks(start, db), start)

    def near(self, places: list[int], db: int) -> Iterator[Block]:
        """As `Walk.near`: whole blocks, each once."""
        for start in dict.fromkeys(places):
            yield self.block(start, db)

    def close(self) -> None:
        """Nothing is kept open."""

    def _whole(self, block: Block, end: int) -> Block:
        block.end = end
        self.version = max(self.version, block.version)
        return block

    def _rows(self, reader: JsonlReader, start: int, told: list[str]) -> Iterator[Row]:
        with self.path.open("rb") as file:
            file.seek(start)
            while data := file.read(_READ_BYTES):
                reader.feed(data)
                yield from reader.take()
        try:
            reader.finish()
        except CutError as error:
            if not self._salvage:
                raise
            told.append(error.message)


def _body(row: Row) -> tuple[bytes, int]:
    """Type byte and value, and the RDB version they are of: 0 for bodies made here."""
    if row.value is None:
        return row.body, row.version
    try:
        body = encode(row.value, _TYPES, _REDIS)
    except UnencodableError as error:
        raise FormatError(f"a {row.type} in db {row.db} cannot be written as a payload: {error}") from None
    return body, oldest_version({body[0]})


def _fits(block: Block, row: Row, version: int, begun: int) -> bool:
    full = len(block.keys) >= _BLOCK_KEYS or begun - block.start >= _BLOCK_BYTES
    return not full and (block.db, block.version) == (row.db, version)

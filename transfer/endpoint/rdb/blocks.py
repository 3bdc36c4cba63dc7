"""An RDB file block by block: consecutive keys of one logical database, with the offsets they stand at.

    file -> 256 KiB at a time -> RdbReader -> Block | AUX, functions, the end in the Walk

Rule 1: a block can be read again alone, from its `start` and with its `db`.
Rule 2: what a block holds is at most what was read at once, or one value that is larger.
Rule 3: a failure names its offset and the last key before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from pathlib import Path

import msgspec

from transfer.codec.rdb.items import Aux, End, Function, Header, Item, Keys, Skipped
from transfer.codec.rdb.reader import RdbReader
from transfer.endpoint.rdb.checking import empties
from transfer.model.errors import FormatError

_READ_BYTES = 256 << 10
_WHOLE_BYTES = 1 << 40
"""No value is given in pieces: whoever takes it needs it whole."""
_SHOWN_BYTES = 64


class Block(msgspec.Struct):
    """Keys column by column, of a file of RDB *version*. `start` to `end`: where they stand in the file.

    `skipped` is how many empty collections stood among them, which are left out.
    """

    start: int
    end: int
    db: int
    version: int
    keys: list[bytes]
    bodies: list[bytes]
    deadlines: list[int]
    skipped: int = 0

    def leave_out_empties(self) -> None:
        """Count out the collections without items."""
        if not (rows := empties(self.bodies)):
            return
        kept = [True] * len(self.keys)
        for row in rows:
            kept[row] = False
        self.skipped = len(rows)
        self.keys, self.bodies = list(compress(self.keys, kept)), list(compress(self.bodies, kept))
        self.deadlines = list(compress(self.deadlines, kept))


class Walk:
    """A way through one file, as often as it is wanted. After the whole of it was walked the attributes hold.

    Attributes:
        family, version: of the header.
        aux, functions: what stands before the keys; code of libraries.
        passed_over: what is neither, in words.
        checksum: right | zero (not computed) | none (versions before 5).
        trailing_bytes: what stands after the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.family, self.version = "", 0
        self.aux: dict[bytes, bytes] = {}
        self.functions: list[bytes] = []
        self.passed_over: list[str] = []
        self.checksum = ""
        self.trailing_bytes = 0

    def blocks(self, start: int = 0, db: int = 0) -> Iterator[Block]:
        """All blocks from offset *start* on, where *db* is selected; from 0 with the checksum looked at.

        Raises:
            CutError: the file ends too soon.
            ChecksumError: its checksum does not hold.
            UnknownFormError: an opcode, a type or a version is not known.
            FormatError: this is no RDB.
        """
        reader = RdbReader(large_bytes=_WHOLE_BYTES, cap_bytes=_WHOLE_BYTES, most_bytes=_READ_BYTES)
        if start:
            reader.going_on(self.version, db, start)
        else:
            self.aux, self.functions, self.passed_over = {}, [], []
        yield from self._blocks(reader, start)

    def block(self, start: int, db: int) -> Block:
        """The block that begins at *start*."""
        return next(self.blocks(start, db))

    def key_offsets(self, block: Block) -> dict[bytes, int]:
        """Where the entry of each key of *block* begins."""
        reader = RdbReader(large_bytes=_WHOLE_BYTES, cap_bytes=_WHOLE_BYTES, most_keys=1)
        reader.going_on(block.version, block.db, block.start)
        found: dict[bytes, int] = {}
        for one in self._blocks(reader, block.start):
            found |= dict.fromkeys(one.keys, one.start)
            if one.end >= block.end:
                break
        return found

    def _blocks(self, reader: RdbReader, start: int) -> Iterator[Block]:
        begun, last = start, b""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                while data := file.read(_READ_BYTES):
                    reader.feed(data)
                    for item in reader.take():
                        if isinstance(item, Keys):
                            block = Block(
                                begun, item.offset, item.db, reader.version, item.keys, item.bodies, item.deadlines
                            )
                            begun, last = item.offset, item.keys[-1]
                            block.leave_out_empties()
                            yield block
                        elif not start:
                            self._note(item)
                    if reader.ended:
                        break
                reader.finish()
                self.trailing_bytes = file.seek(0, 2) - reader.offset
        except FormatError as error:
            raise _after(error, last) from None

    def _note(self, item: Item) -> None:
        match item:
            case Header(family=family, version=version):
                self.family, self.version = family, version
            case Aux(name=name, value=value):
                self.aux[name] = value
            case Function(code=code):
                self.functions.append(code)
            case Skipped(what=what):
                self.passed_over.append(what)
            case End(checksum=checksum):
                self.checksum = checksum


def _after(error: FormatError, key: bytes) -> FormatError:
    """*error* with the last key that was whole before it."""
    if not key:
        return error
    shown = key[:_SHOWN_BYTES].decode("ascii", "backslashreplace")
    return type(error)(f"{error.message}; the last key before it: '{shown}'", **error.facts)  # type: ignore[arg-type]

"""An RDB file block by block.

    file -> 256 KiB at a time -> RdbReader -> Block | AUX, functions, the end in the walk

Rule 1: what a block holds is at most what was read at once, or one value that is larger.
Rule 2: a failure names its offset and the last key before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from transfer.codec.archive.items import AsOf
from transfer.codec.rdb.items import Aux, End, Function, Header, Item, Keys, Skipped
from transfer.codec.rdb.reader import RdbReader
from transfer.endpoint.file.block import Block, first_of
from transfer.model.errors import FormatError
from transfer.model.report import Missing

AS_OF = b"transfer-as-of"
"""AUX beside those of servers, which pass over what they do not know: `instant|interval FROM TO` in Unix ms."""
_AS_OF = re.compile(rb"(instant|interval) ([0-9]{1,15}) ([0-9]{1,15})")
_READ_BYTES = 256 << 10
_WHOLE_BYTES = 1 << 40
"""No value is given in pieces: whoever takes it needs it whole."""
_SHOWN_BYTES = 64
_GAP_BYTES, _ENTRY_BYTES, _RUN_KEYS = 2 << 10, 4 << 10, 1000


class RdbWalk:
    """As `file.block.Walk`, of an RDB file; a place is an offset of the file.

    With *salvage* it ends where damage begins: nothing behind it can be told apart.
    """

    def __init__(self, path: Path, *, salvage: bool = False) -> None:
        self.path, self._salvage = path, salvage
        self.damage: list[str] = []
        self.family, self.version = "", 0
        self.aux: dict[bytes, bytes] = {}
        self.functions: list[bytes] = []
        self.passed_over: list[str] = []
        self.checksum = ""
        self.trailing_bytes = 0

    @property
    def form(self) -> str:
        return f"RDB version {self.version}"

    repeats = True  # servers write none such, and load none; others may
    missing: Missing | None = None

    @property
    def as_of(self) -> AsOf | None:
        """As whoever exported it noted; servers save an instant, and say no more than when."""
        found = _AS_OF.fullmatch(self.aux.get(AS_OF, b""))
        if found is None:
            return None
        return AsOf("instant" if found[1] == b"instant" else "interval", int(found[2]), int(found[3]))

    def close(self) -> None:
        """Nothing is kept open."""

    @property
    def saved_ms(self) -> int:
        said = self.aux.get(b"ctime", b"")
        return int(said) * 1000 if said.isdigit() else 0

    def blocks(self, start: int = 0, db: int = 0, *, starts: bool = False) -> Iterator[Block]:
        """As `Walk.blocks`; from 0 with the checksum looked at."""
        reader = RdbReader(large_bytes=_WHOLE_BYTES, cap_bytes=_WHOLE_BYTES, most_bytes=_READ_BYTES, starts=starts)
        if start:
            reader.going_on(self.version, db, start)
        else:
            self.aux, self.functions, self.passed_over, self.damage = {}, [], [], []
        yield from self._blocks(reader, start)

    def block(self, start: int, db: int) -> Block:
        """The block that begins at *start*."""
        return first_of(self.blocks(start, db), start)

    def near(self, offsets: list[int], db: int) -> Iterator[Block]:
        """Blocks with the keys that begin at *offsets*, which ascend; some of their neighbours may come, too."""
        with self.path.open("rb") as file:
            for run in _runs(offsets):
                yield from self._run(file, run, db)

    def _run(self, file: BinaryIO, run: list[int], db: int) -> Iterator[Block]:
        """From the first key of *run* to its last."""
        most = 1 if len(run) == 1 else _RUN_KEYS
        reader = RdbReader(large_bytes=_WHOLE_BYTES, cap_bytes=_WHOLE_BYTES, most_keys=most, starts=True)
        reader.going_on(self.version, db, run[0])
        file.seek(run[0])
        size = run[-1] - run[0] + _ENTRY_BYTES
        while data := file.read(size):
            reader.feed(data)
            for item in reader.take():
                if isinstance(item, Keys):
                    yield _block(item, item.starts[0], self.version)
                    if item.starts[-1] >= run[-1]:
                        return
            size = max(_READ_BYTES, 2 * size)

    def _blocks(self, reader: RdbReader, start: int) -> Iterator[Block]:
        begun, last = start, b""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                while data := file.read(_READ_BYTES):
                    reader.feed(data)
                    for item in reader.take():
                        if isinstance(item, Keys):
                            block = _block(item, begun, reader.version)
                            begun, last = item.offset, item.keys[-1]
                            yield block
                        elif not start:
                            self._note(item)
                    if reader.ended:
                        break
                reader.finish()
                self.trailing_bytes = file.seek(0, 2) - reader.offset
        except FormatError as error:
            if not self._salvage or not self.version:
                raise _after(error, last) from None
            self.damage = [f"from byte {reader.offset:,} on: {_after(error, last).message}"]
            self.checksum = self.checksum or "none"

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


def _block(item: Keys, start: int, version: int) -> Block:
    block = Block(start, item.offset, item.db, version, item.keys, item.bodies, item.deadlines, item.starts)
    block.uses, block.use = item.uses, item.use
    block.leave_out_empties()
    return block


def _runs(offsets: list[int]) -> Iterator[list[int]]:
    """Cut where it is farther to the next one than passing over what lies between would cost."""
    run: list[int] = []
    for at in offsets:
        if run and at - run[-1] > _GAP_BYTES:
            yield run
            run = []
        run.append(at)
    if run:
        yield run


def _after(error: FormatError, key: bytes) -> FormatError:
    """*error* with the last key that was whole before it."""
    if not key:
        return error
    shown = key[:_SHOWN_BYTES].decode("ascii", "backslashreplace")
    return type(error)(f"{error.message}; the last key before it: '{shown}'", **error.facts)  # type: ignore[arg-type]

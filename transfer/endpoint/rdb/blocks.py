"""An RDB file block by block: consecutive keys of one logical database, with the offsets they stand at.

    file -> 256 KiB at a time -> entries one after the other -> Block | AUX, functions, the end in the Walk

Rule 1: a block can be read again alone, from its `start` and with its `db`.
Rule 2: what a block holds is at most what was read at once, or one value that is larger.
Rule 3: a failure names its offset and the key that stands there.

Source: redis/src/rdb.c `rdbLoadRioWithLoadingCtx`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from typing import BinaryIO

import anycrc
import msgspec

from transfer.codec.rdb.atoms import cut, read_length, read_string
from transfer.codec.rdb.skip import after_value
from transfer.endpoint.rdb.checking import empties
from transfer.model.errors import ChecksumError, CutError, FormatError, UnknownFormError
from transfer.model.record import NO_DEADLINE

_READ_BYTES = 256 << 10
_HEADER_BYTES, _CHECKSUM_BYTES = 9, 8
_FIRST_WITH_CHECKSUM = 5
_NEWEST_REDIS, _FIRST_VALKEY, _NEWEST_VALKEY = 14, 80, 89
_crc64 = anycrc.Model("CRC64-REDIS").calc

_FIRST_OPCODE, _MODULE = 200, 7
_SLOT_INFO, _FUNCTION, _MODULE_AUX, _IDLE, _FREQ, _AUX = 244, 245, 247, 248, 249, 250
_SIZES, _MILLISECONDS, _SECONDS, _SELECT, _END = 251, 252, 253, 254, 255
_OFFSET = re.compile(r"at offset ([0-9]+)")


class Block(msgspec.Struct):
    """Keys column by column. `start` to `end`: where they stand in the file; `offsets`: where each one's type byte is.

    `skipped` is how many empty collections stood among them, which are left out.
    """

    start: int
    end: int
    db: int
    version: int
    keys: list[bytes] = msgspec.field(default_factory=list)
    bodies: list[bytes] = msgspec.field(default_factory=list)
    deadlines: list[int] = msgspec.field(default_factory=list)
    offsets: list[int] = msgspec.field(default_factory=list)
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
        self.deadlines, self.offsets = list(compress(self.deadlines, kept)), list(compress(self.offsets, kept))


class Walk:
    """A way through one file, as often as it is wanted. After the whole of it was walked the attributes hold.

    Attributes:
        magic, version: of the header.
        aux, functions: what stands before the keys; code of libraries.
        modules: how many modules keep data beside the keys.
        checksum: holds | not computed (zero) | none (versions before 5).
        trailing_bytes: what stands after the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.magic, self.version = b"", 0
        self.aux: dict[bytes, bytes] = {}
        self.functions: list[bytes] = []
        self.modules = 0
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
        if not start:
            self.aux, self.functions, self.modules = {}, [], 0
        with self.path.open("rb") as file:
            yield from _Passage(self, file, start, db).blocks()

    def block(self, start: int, db: int) -> Block:
        """The block that begins at *start*."""
        return next(self.blocks(start, db))


class _Passage:
    """One way through the file: `_data` is what was read from offset `_base` on."""

    def __init__(self, walk: Walk, file: BinaryIO, start: int, db: int) -> None:
        self._walk, self._file, self._db = walk, file, db
        self._data, self._base = b"", start
        self._crc, self._whole, self._ended = 0, start == 0, False
        self._key = b""
        file.seek(start)

    def blocks(self) -> Iterator[Block]:
        at, size = 0, _READ_BYTES
        if self._whole:
            self._read(_READ_BYTES)
            at = self._header()
        while True:
            block, at, wants_more = self._entries(at)
            if block.keys:
                block.leave_out_empties()
                yield block
            if self._ended:
                break
            if wants_more:
                size = _READ_BYTES if at else 2 * size
                self._forget(at)
                at = 0
                if not self._read(size):
                    raise self._cut_off()
        if self._whole:
            self._finish(at)

    def _read(self, size: int) -> bool:
        found = self._file.read(size)
        self._data += found
        return bool(found)

    def _forget(self, at: int) -> None:
        if self._whole:
            self._crc = int(_crc64(self._data[:at], self._crc))
        self._base += at
        self._data = self._data[at:]

    def _header(self) -> int:
        found = re.match(rb"(REDIS)([0-9]{4})|(VALKEY)([0-9]{3})", self._data)
        if found is None:
            said = "is empty" if not self._data else f"begins with {self._data[:_HEADER_BYTES]!r}, which is no RDB"
            raise FormatError(f"the file {said}", offset=0)
        walk = self._walk
        walk.magic, walk.version = found[1] or found[3], int(found[2] or found[4])
        newest = _NEWEST_REDIS if walk.magic == b"REDIS" else _NEWEST_VALKEY
        least = 1 if walk.magic == b"REDIS" else _FIRST_VALKEY
        if not least <= walk.version <= newest:
            raise UnknownFormError(f"RDB version {walk.version} ({walk.magic.decode()}) is not known", offset=5)
        return _HEADER_BYTES

    def _entries(self, at: int) -> tuple[Block, int, bool]:
        """What stands from *at* on, of one database and as far as it is there; its end; whether more is needed."""
        data, base, version = self._data, self._base, self._walk.version
        block = Block(base + at, base + at, self._db, version)
        keys, bodies, deadlines, offsets = block.keys, block.bodies, block.deadlines, block.offsets
        entry, size, wants_more = at, len(data), True
        try:
            while entry < size:
                at, deadline = entry, NO_DEADLINE
                self._key = b""
                while (kind := data[at]) >= _FIRST_OPCODE and kind in _BEFORE_KEY:
                    at, deadline = _prefix(kind, data, at + 1, deadline)
                    if at >= size:
                        raise cut(data, at + 1)
                if kind >= _FIRST_OPCODE:
                    if kind == _SELECT and keys:
                        wants_more = False
                        break
                    entry = self._other(kind, data, at + 1)
                    block.start, block.db = base + entry if not keys else block.start, self._db
                    if self._ended:
                        break
                    continue
                first = data[at + 1] if at + 1 < size else 64
                if first < 64:
                    start = at + 2 + first
                    if start > size:
                        raise cut(data, start)
                    key = data[at + 2 : start]
                else:
                    key, start = read_string(data, at + 1)
                self._key = key
                end = after_value(kind, data, start, version)
                keys.append(key)
                bodies.append(data[at : at + 1] + data[start:end])
                deadlines.append(deadline)
                offsets.append(base + at)
                entry = end
        except CutError:
            pass
        except FormatError as error:
            raise self._placed(error, entry) from None
        block.end = base + entry
        return block, entry, wants_more and not self._ended

    def _other(self, kind: int, data: bytes, at: int) -> int:
        """Something beside the keys; the offset after it."""
        walk = self._walk
        if kind == _AUX:
            name, at = read_string(data, at)
            value, at = read_string(data, at)
            if self._whole:
                walk.aux[name] = value
        elif kind == _SELECT:
            self._db, at = read_length(data, at)
        elif kind == _SIZES:
            at = _lengths(data, at, 2)
        elif kind == _SLOT_INFO:
            at = _lengths(data, at, 3)
        elif kind == _FUNCTION:
            code, at = read_string(data, at)
            walk.functions += [code] if self._whole else []
        elif kind == _MODULE_AUX:
            at = after_value(_MODULE, data, at, walk.version)
            walk.modules += self._whole
        elif kind == _END:
            self._ended = True
        else:
            raise UnknownFormError(f"opcode {kind} at offset {at - 1} is not known", offset=at - 1, opcode=kind)
        return at

    def _finish(self, at: int) -> None:
        """The checksum, and what comes after it."""
        walk = self._walk
        self._forget(at)
        if walk.version < _FIRST_WITH_CHECKSUM:
            walk.checksum, after = "none", 0
        else:
            self._read(_CHECKSUM_BYTES)
            if len(self._data) < _CHECKSUM_BYTES:
                raise self._cut_off()
            said, after = int.from_bytes(self._data[:_CHECKSUM_BYTES], "little"), _CHECKSUM_BYTES
            if said not in (0, self._crc):
                raise ChecksumError(
                    f"the checksum at offset {self._base:,} does not hold: it says {said:016x}, the bytes before it "
                    f"come to {self._crc:016x}",
                    offset=self._base,
                )
            walk.checksum = "holds" if said else "not computed"
        walk.trailing_bytes = walk.path.stat().st_size - self._base - after

    def _cut_off(self) -> CutError:
        end = self._base + len(self._data)
        what = f"in the middle of {self._place()}" if self._key else "before its end mark and checksum"
        return CutError(f"the file is cut: it ends at offset {end:,}, {what}", offset=end)

    def _place(self) -> str:
        return f"key '{self._key[:64].decode('ascii', 'backslashreplace')}' of database {self._db}"

    def _placed(self, error: FormatError, entry: int) -> FormatError:
        """*error* with offsets of the file, and the key it is about."""
        base = self._base
        text = _OFFSET.sub(lambda found: f"at offset {base + int(found[1]):,}", error.message)
        where = f"{self._place()}, which begins at offset {base + entry:,}: " if self._key else ""
        facts = {**error.facts, "offset": base + int(str(error.facts.get("offset", entry)))}
        return type(error)(where + text, **facts)  # type: ignore[arg-type]  # facts are numbers


_BEFORE_KEY = frozenset({_MILLISECONDS, _SECONDS, _IDLE, _FREQ})


def _prefix(kind: int, data: bytes, at: int, deadline: int) -> tuple[int, int]:
    """What stands before a key: the offset after it, and the key's deadline."""
    if kind in (_MILLISECONDS, _SECONDS):
        width, unit = (8, 1) if kind == _MILLISECONDS else (4, 1000)
        if at + width > len(data):
            raise cut(data, at + width)
        return at + width, int.from_bytes(data[at : at + width], "little", signed=True) * unit
    return (read_length(data, at)[1] if kind == _IDLE else at + 1), deadline


def _lengths(data: bytes, at: int, count: int) -> int:
    for _ in range(count):
        _, at = read_length(data, at)
    return at

"""RDB files: bytes in, items out (items.py), keys in columns; no I/O.

    feed -> pieces -> one buffer -> _fast: keys as long as they are small and whole     -> Keys
                                 `-> _slow: one of everything else, and what went wrong -> items, errors

Rule 1: any cut of the same bytes gives the same keys in the same order, and the same large ones in pieces.
Rule 2: everything before a damaged or unknown place is delivered first, then the error is raised, now and ever after.
Rule 3: a value is passed over once, whatever it comes in; above `large_bytes` it goes out in pieces.
Rule 4: held are one feed, one value up to `large_bytes`, and one name (or note, or library) up to `cap_bytes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import anycrc

from transfer.codec.rdb import opcodes as op
from transfer.codec.rdb.atoms import cut, read_database, read_length, read_string
from transfer.codec.rdb.forms import LENGTH, MODULE, ONE_STRING, STRING, VALKEY, Form, Group, form_of
from transfer.codec.rdb.items import (
    Aux,
    DbSizes,
    End,
    Function,
    Header,
    Item,
    Keys,
    LargeEnd,
    LargeKey,
    Piece,
    Skipped,
    Use,
)  # fmt: skip
from transfer.codec.rdb.skip import Walk, after_string, after_strings, after_value
from transfer.model.errors import ChecksumError, CutError, FormatError, UnknownFormError

MAGIC_BYTES = 9
LARGE_BYTES = 8 << 20
_crc64 = anycrc.Model("CRC64-REDIS").calc
_KIND = [bytes((kind,)) for kind in range(256)]
_ONLY_STRINGS = frozenset({1, 2, 14})
_QUICKLIST_2 = 18
_ONE_BYTE, _TWO_BYTES = 0x40, 0x80
_MODULE_AUX: Form = (LENGTH, MODULE)
_SLOT_IMPORT: Form = (STRING, Group((LENGTH,), times=2))
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_NO_USE = -1


def module_name(number: int) -> str:
    """The nine letters in a module's number; the ten bits behind them are its encoding version."""
    return "".join(_LETTERS[number >> shift & 63] for shift in range(58, 9, -6))


class RdbReader:
    """Cuts an RDB into items.

    Attributes:
        ended: the end mark was read; what is fed from then on is only counted.
        rest: bytes behind the end that were fed together with it.
        trailing_bytes: how many were fed behind the end.
    """

    def __init__(
        self,
        *,
        large_bytes: int = LARGE_BYTES,
        most_keys: int = 1_000,
        most_bytes: int = 1 << 20,
        cap_bytes: int = 512 << 20,
        starts: bool = False,
    ) -> None:
        self.version = 0
        self._tells_starts, self._last_end = starts, MAGIC_BYTES
        self.ended, self.rest, self.trailing_bytes = False, b"", 0
        self._large, self._most_keys, self._most_bytes, self._cap = large_bytes, most_keys, most_bytes, cap_bytes
        self._fed: list[bytes] = []
        self._waiting, self._need = 0, MAGIC_BYTES
        self._data, self._at, self._base, self._crc, self._summed = b"", 0, 0, 0, 0
        self._db, self._deadline, self._use_value = 0, -1, _NO_USE
        self._use: Use = ""
        self._walk: Walk | None = None
        self._name: bytes | None = None  # of the key in hand; None while something is passed over
        self._parts: list[bytes] = []
        self._walked, self._streaming, self._skipping = 0, False, ""
        self._failure: FormatError | None = None
        self._from_start = True

    def going_on(self, version: int, db: int, offset: int) -> RdbReader:
        """The same reader for bytes from *offset* of a file on, where a key or an opcode begins; it has no checksum.

        *offset* is one that an item told: of Keys, LargeEnd; *db* is the database of that item.
        """
        self.version, self._db, self._base, self._need = version, db, offset, 1
        self._from_start, self._last_end = False, offset
        return self

    @property
    def offset(self) -> int:
        """How far into the file everything was understood."""
        return self._base + self._at

    def feed(self, data: bytes) -> None:
        """Add received bytes; checks nothing."""
        if self.ended:
            self.trailing_bytes += len(data)
        elif data:
            self._fed.append(bytes(data))
            self._waiting += len(data)

    def take(self) -> Iterator[Item]:
        """Yield what is whole.

        Raises:
            UnknownFormError: an opcode, type or version that is not known; nothing after it can be told apart.
            ChecksumError: the checksum at the end is not that of the bytes.
            FormatError: the bytes are no RDB.
        """
        if self._failure is not None:
            raise self._failure
        try:
            yield from self._items()
        except FormatError as error:
            self._failure = self._placed(error)
            raise self._failure from None

    def finish(self) -> None:
        """No more bytes come.

        Raises:
            CutError: the end mark was not among them.
            FormatError: as `take` did.
        """
        if self._failure is not None:
            raise self._failure
        if not self.ended:
            size = self._base + len(self._data) + self._waiting
            raise CutError(f"cut: the RDB ends at offset {size:,}, before its end mark", offset=size)

    def _placed(self, error: FormatError) -> FormatError:
        """The same error, told by its offset in the file."""
        inside = error.facts.get("offset")
        if not isinstance(inside, int):
            return error
        place = inside + self._base
        message = error.message.replace(f"offset {inside}", f"offset {place}")
        return type(error)(message, **(error.facts | {"offset": place}))  # type: ignore[arg-type]

    def _items(self) -> Iterator[Item]:
        if not self._gathered():
            return
        if not self.version:
            yield self._header()
        while not self.ended:
            batch = self._fast() if self._walk is None else None
            if batch is not None:
                yield batch
                continue
            try:
                yield from self._slow()
            except CutError as error:
                self._want(error)
                return

    def _gathered(self) -> bool:
        """Join what was fed to what is left, once as much is there as is needed to go on."""
        left = len(self._data) - self._at
        if self.ended or not self._waiting or left + self._waiting < self._need:
            return False
        self._sum_up()
        self._data = b"".join((self._data[self._at :], *self._fed))
        self._base += self._at
        self._at = self._summed = self._waiting = 0
        self._fed.clear()
        return True

    def _sum_up(self) -> None:
        if self._at > self._summed:
            self._crc = _crc64(memoryview(self._data)[self._summed : self._at], self._crc)
            self._summed = self._at

    def _want(self, error: CutError) -> None:
        needed = error.facts["needed"]
        assert isinstance(needed, int)
        self._need = needed - self._at
        if self._need > self._cap:
            message = f"a name or note of {self._need:,} bytes at offset {self._at} is above {self._cap:,}"
            raise FormatError(message, offset=self._at, size=self._need)

    def _header(self) -> Header:
        magic = self._data[:MAGIC_BYTES]
        family: Literal["redis", "valkey"] = "valkey" if magic.startswith(b"VALKEY") else "redis"
        number = magic[len(family) :]
        if not magic.startswith(family.upper().encode()) or not number.isdigit():
            raise FormatError("no RDB: the bytes at offset 0 are not its magic", offset=0)
        version = int(number)
        oldest, newest = (op.VALKEY_OLDEST, op.VALKEY_NEWEST) if family == "valkey" else (1, op.REDIS_NEWEST)
        if not oldest <= version <= newest:
            message = f"RDB version {version} of {family} (at offset 0) is not known, only {oldest} to {newest}"
            raise UnknownFormError(message, offset=0, version=version)
        self.version, self._at = version, MAGIC_BYTES
        return Header(family, version)

    def _fast(self) -> Keys | None:  # the hot loop: one body, all names local
        """As many keys as can be had without ado; None where something else stands, is cut or is wrong."""
        data, at, version, large = self._data, self._at, self.version, self._large
        deadline, use_value, use = self._deadline, self._use_value, self._use
        size, room, one_string, kinds = len(data), self._most_keys, ONE_STRING, _KIND
        last = self._last_end - self._base  # of the last key: what stands before the next one belongs to that
        stop = min(size, at + self._most_bytes)
        keys: list[bytes] = []
        starts: list[int] | None = [] if self._tells_starts else None
        bodies: list[bytes] = []
        deadlines: list[int] = []
        uses: list[int] = []
        try:
            while at < stop and room:
                kind = data[at]
                if kind < op.FIRST:
                    first = data[at + 1]
                    if first < _ONE_BYTE:
                        start = at + 2 + first
                        key = data[at + 2 : start]
                    else:
                        key, start = read_string(data, at + 1)
                    if kind in one_string:
                        first = data[start]
                        if first < _ONE_BYTE:
                            end = start + 1 + first
                        elif first < _TWO_BYTES:
                            end = start + 2 + ((first & 63) << 8 | data[start + 1])
                        else:
                            end = after_string(data, start)
                    elif kind in _ONLY_STRINGS and data[start] < _ONE_BYTE:
                        end, left = after_strings(data, start + 1, data[start])
                        if left:
                            break
                    elif kind == _QUICKLIST_2 and data[start] == 1 and data[start + 1] < _ONE_BYTE:
                        end = after_string(data, start + 2)
                    else:
                        end = after_value(kind, data, start, version)
                    if end > size or end - start > large:
                        break
                    keys.append(key)
                    bodies.append(kinds[kind] + data[start:end])
                    deadlines.append(deadline)
                    deadline = -1
                    if use:
                        uses.append(use_value)
                        use_value = _NO_USE
                    if starts is not None:
                        starts.append(last)
                    at = last = end
                    room -= 1
                elif kind == op.EXPIRE_MS and at + 9 <= size:
                    deadline = int.from_bytes(data[at + 1 : at + 9], "little", signed=True)
                    at += 9
                elif kind == op.EXPIRE_S and at + 5 <= size:
                    deadline = int.from_bytes(data[at + 1 : at + 5], "little", signed=True) * 1000
                    at += 5
                elif kind in (op.IDLE, op.FREQ):
                    told: Use = "idletime" if kind == op.IDLE else "freq"
                    if use != told and keys:
                        break
                    use_value, at = read_length(data, at + 1) if kind == op.IDLE else (data[at + 1], at + 2)
                    use = told
                elif kind == op.SLOT_INFO:
                    at = read_length(data, read_length(data, read_length(data, at + 1)[1])[1])[1]
                else:
                    break
        except (IndexError, FormatError):
            pass  # cut, or wrong: `_slow` meets the same at the same place
        self._at, self._deadline, self._use_value, self._use = at, deadline, use_value, use
        if not keys:
            return None
        self._last_end = self._base + last
        found = Keys(self._db, keys, bodies, deadlines, uses, use, self._last_end)
        if starts is not None:
            found.starts = [self._base + start for start in starts]
        return found

    def _slow(self) -> Iterator[Item]:
        """One thing that is no small whole key. CutError: more bytes are needed before it can be told."""
        data, at = self._data, self._at
        if self._walk is not None:
            yield from self._go_on(self._walk)
            return
        if at >= len(data):
            raise cut(data, at + 1)
        kind = data[at]
        if kind < op.FIRST:
            form = form_of(kind, self.version, at)
            self._name, self._at = read_string(data, at + 1)
            self._begin(form, _KIND[kind])
        elif kind == op.MODULE_AUX:
            self._skipping = f"data of module {module_name(read_length(data, at + 1)[0])}"
            self._at += 1
            self._begin(_MODULE_AUX)
        elif kind == op.SLOT_IMPORT and self.version >= VALKEY:
            self._skipping = "state of a slot import"
            self._at += 1
            self._begin(_SLOT_IMPORT)
        else:
            yield from self._note(kind, data, at + 1)

    def _begin(self, form: Form, first: bytes = b"") -> None:
        self._walk, self._parts, self._walked, self._streaming = Walk(form), [first], len(first), False
        self._need = 1

    def _go_on(self, walk: Walk) -> Iterator[Item]:
        begun = self._at
        self._at = walk.advance(self._data, begun)
        self._walked += self._at - begun
        if self._name is not None:
            self._parts.append(self._data[begun : self._at])
            if self._walked > self._large + 1:
                yield from self._pieces(self._name)
        if not walk.done:
            raise cut(self._data, max(len(self._data), self._at) + 1)
        self._walk = None
        yield self._walked_item()

    def _pieces(self, key: bytes) -> Iterator[Item]:
        if not self._streaming:
            self._streaming = True
            yield LargeKey(self._db, key, self._parts[0][0], self._deadline, self._use_value, self._use)
        body, self._parts = b"".join(self._parts), []
        for start in range(0, len(body), self._most_bytes):
            yield Piece(body[start : start + self._most_bytes])

    def _walked_item(self) -> Item:
        if self._name is None:
            return Skipped(self._skipping, self.offset - self._walked - 1, self._walked + 1)
        body, uses = b"".join(self._parts), [self._use_value] if self._use else []
        keys, deadlines = [self._name], [self._deadline]
        self._parts, self._name, self._deadline, self._use_value = [], None, -1, _NO_USE
        start, self._last_end = self._last_end, self.offset
        if self._streaming:
            return LargeEnd(self._walked, self.offset)
        starts = [start] if self._tells_starts else []
        return Keys(self._db, keys, [body], deadlines, uses, self._use, self.offset, starts)

    def _note(self, kind: int, data: bytes, at: int) -> Iterator[Item]:
        """Everything that comes whole or not at all."""
        begun = at - 1
        if kind == op.END:
            yield self._end()
            return
        if kind == op.SELECT_DB:
            self._db, self._at = read_database(data, at)
        elif kind == op.RESIZE_DB:
            keys, at = read_length(data, at)
            volatile, self._at = read_length(data, at)
            yield DbSizes(self._db, keys, volatile)
        elif kind == op.AUX:
            name, at = read_string(data, at)
            value, self._at = read_string(data, at)
            yield Aux(name, value)
        elif kind == op.FUNCTION:
            code, self._at = read_string(data, at)
            yield Function(code)
        elif kind == op.FUNCTION_PRE_GA:
            self._at = _after_old_function(data, at)
            yield Skipped("a function of a Redis 7.0 release candidate", self._base + begun, self._at - begun)
        else:
            self._at = _after_prefix(kind, data, at)

    def _end(self) -> End:
        after = self._at + 1
        has_sum = self.version >= op.CHECKSUM_SINCE
        if has_sum and after + 8 > len(self._data):
            raise cut(self._data, after + 8)
        self._at = after
        self._sum_up()
        told = int.from_bytes(self._data[after : after + 8], "little") if has_sum else 0
        self._at = after + 8 if has_sum else after
        self.ended, self.rest = True, self._data[self._at :]
        self.trailing_bytes = len(self.rest)
        offset = self.offset
        self._base, self._data, self._at = offset, b"", 0
        if told and told != self._crc and self._from_start:
            message = f"the checksum at offset {offset - 8} is {told:016x}, that of the bytes {self._crc:016x}"
            raise ChecksumError(message, stands=told, computed=self._crc)
        return End("right" if told else "zero" if has_sum else "none", offset)


def _after_old_function(data: bytes, at: int) -> int:
    """Name, engine, whether there is a description, it, the code."""
    at = read_string(data, read_string(data, at)[1])[1]
    described, at = read_length(data, at)
    return read_string(data, read_string(data, at)[1] if described else at)[1]


def _after_prefix(kind: int, data: bytes, at: int) -> int:
    """What `_fast` reads, but only when it is whole: met here it is cut, or it is nothing that is known."""
    raw = {op.EXPIRE_MS: 8, op.EXPIRE_S: 4, op.FREQ: 1}.get(kind, 0)
    lengths = {op.IDLE: 1, op.SLOT_INFO: 3}.get(kind, 0)
    if not raw and not lengths:
        raise UnknownFormError(f"opcode {kind} at offset {at - 1} is not known", offset=at - 1, opcode=kind)
    for _ in range(lengths):
        _, at = read_length(data, at)
    raise cut(data, max(at + raw, len(data) + 1))

"""RDB files out of bodies: each call gives the next bytes of the file, no I/O.

    header (aux | function)* (select_db resize_db? (key | keys | large_key piece*)*)* end

Rule 1: the version is the caller's choice; `oldest_version` names the least that knows the types at hand.
Rule 2: what a version has no words for is left out where it is a hint (notes, sizes, uses), refused where it is data.
Rule 3: all bytes count for the checksum, in the order they were given out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal

import anycrc

from transfer.codec.rdb import opcodes as op
from transfer.codec.rdb.atoms import put_length, put_string
from transfer.codec.rdb.forms import VALKEY
from transfer.codec.rdb.items import Keys, LargeKey

_crc64 = anycrc.Model("CRC64-REDIS").calc
_NOTES_SINCE, _USES_SINCE, _FUNCTIONS_SINCE = 7, 9, 10
_PLAINEST = 6
"""What Redis 2.6 writes; it and all after it load every version up to their own."""
_SINCE = {5: 8, 7: 8, 14: 7, 15: 9} | dict.fromkeys((16, 17, 18, 19), 10) | {20: 11, 21: 11}
_REDIS_SINCE = _SINCE | dict.fromkeys((22, 23, 24, 25), 12)
_VALKEY_SINCE = _SINCE | {22: VALKEY}
_MOST_FREQ = 255


def oldest_version(kinds: Collection[int], *, valkey: bool = False, functions: bool = False) -> int:
    """The least RDB version whose readers know every type byte of *kinds*; with *valkey*, 22 is Valkey's."""
    since = _VALKEY_SINCE if valkey else _REDIS_SINCE
    return max([_PLAINEST, _FUNCTIONS_SINCE if functions else 0, *(since.get(kind, 0) for kind in kinds)])


class RdbWriter:
    """Makes one RDB of *version*, with Valkey's magic from 80 on."""

    def __init__(self, version: int) -> None:
        self.version = version
        self._crc = 0
        self._type_given = False  # the type byte of the large key in hand, which its first piece repeats

    def header(self) -> bytes:
        return self._out(b"VALKEY%03d" % self.version if self.version >= VALKEY else b"REDIS%04d" % self.version)

    def aux(self, name: bytes, value: bytes) -> bytes:
        """A note for people and servers: `redis-ver`, `ctime` ..."""
        return self._hint(op.AUX, put_string(name) + put_string(value))

    def function(self, code: bytes) -> bytes:
        """One library. Raises ValueError: no reader of this version knows functions."""
        if self.version < _FUNCTIONS_SINCE:
            raise ValueError(f"RDB version {self.version} has no functions")
        return self._out(bytes((op.FUNCTION,)) + put_string(code))

    def select_db(self, db: int) -> bytes:
        """The keys after it are of *db*."""
        return self._out(bytes((op.SELECT_DB,)) + put_length(db))

    def resize_db(self, keys: int, volatile: int) -> bytes:
        """How many keys to make room for, and how many of them have deadlines."""
        return self._hint(op.RESIZE_DB, put_length(keys) + put_length(volatile))

    def key(
        self,
        key: bytes,
        body: bytes,
        deadline: int = -1,
        use_value: int = -1,
        use: Literal["", "idletime", "freq"] = "",
    ) -> bytes:
        """One key. *body* is type byte and value, of a type that this version's readers know."""
        return self._out(b"".join((*self._before(deadline, use_value, use), body[:1], put_string(key), body[1:])))

    def keys(self, batch: Keys) -> bytes:
        """All keys of *batch*, whose database was selected."""
        return self._out(b"".join(self._parts(batch)))

    def _parts(self, batch: Keys) -> Iterator[bytes]:
        uses = batch.uses or [-1] * len(batch.keys)
        for key, body, deadline, use in zip(batch.keys, batch.bodies, batch.deadlines, uses, strict=True):
            if deadline != -1 or use != -1:
                yield from self._before(deadline, use, batch.use)
            yield body[:1]
            yield put_string(key)
            yield body[1:]

    def large_key(self, begun: LargeKey) -> bytes:
        """A key whose body follows by `piece`, as the reader gives it."""
        self._type_given = True
        before = self._before(begun.deadline, begun.use_value, begun.use)
        return self._out(b"".join((*before, bytes((begun.kind,)), put_string(begun.key))))

    def piece(self, data: bytes) -> bytes:
        """The next bytes of a body, the first of which is the type byte."""
        if self._type_given and data:
            self._type_given = False
            data = data[1:]
        return self._out(data)

    def end(self) -> bytes:
        """The end mark, and the checksum from version 5 on."""
        mark = self._out(bytes((op.END,)))
        return mark + self._crc.to_bytes(8, "little") if self.version >= op.CHECKSUM_SINCE else mark

    def _before(self, deadline: int, use_value: int, use: str) -> Iterator[bytes]:
        if deadline != -1:
            yield bytes((op.EXPIRE_MS,)) + deadline.to_bytes(8, "little", signed=True)
        if use_value >= 0 and use and self.version >= _USES_SINCE:
            freq = use == "freq"
            yield bytes((op.FREQ, min(use_value, _MOST_FREQ))) if freq else bytes((op.IDLE,)) + put_length(use_value)

    def _hint(self, opcode: int, data: bytes) -> bytes:
        return self._out(bytes((opcode,)) + data) if self.version >= _NOTES_SINCE else b""

    def _out(self, data: bytes) -> bytes:
        self._crc = int(_crc64(data, self._crc))
        return data

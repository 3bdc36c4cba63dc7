"""What a comparison needs of the two places, of memory, and of whoever knows what changed: promises only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

import msgspec

from transfer.model.endpoint import Population
from transfer.model.value import ReadValue


class Reading(Protocol):
    """Keys as they were in one moment each, in the order they were asked for.

    A payload is None where the key was gone, `refused` or `too_large`.
    """

    payloads: list[bytes | None]
    deadlines: list[int]
    refused: dict[bytes, str]
    too_large: dict[bytes, int]


class LargeValue(Protocol):
    """What a key too large to be read whole holds."""

    @property
    def kind(self) -> str:
        """Its type; `none` where there is no such key."""

    @property
    def digest(self) -> bytes:
        """16 bytes: equal ones prove equality, other ones difference, unless not `in_pieces`."""

    @property
    def in_pieces(self) -> bool: ...

    @property
    def size_bytes(self) -> int:
        """Bytes of a string, items of another type."""

    @property
    def counters(self) -> tuple[object, ...]:
        """What belongs to the value and not every server keeps: None where this one does not."""

    @property
    def problem(self) -> str:
        """Why nothing is known of the value, "" if it is."""

    @property
    def expire_at_ms(self) -> int: ...


class Keyspace(Protocol):
    """One side: all logical databases of a place. Mends broken links by itself."""

    vendor: str

    def pages(self, db: int, match: bytes | None = None, kind: str | None = None) -> AsyncIterator[list[bytes]]:
        """Names in *db*: each that stays is named at least once. *match*, *kind*: a glob, a type to narrow by."""

    async def portions(self, db: int, keys: list[bytes]) -> list[list[bytes]]:
        """*keys* cut, in order, into lists that can be held in memory at once."""

    async def dumps(self, db: int, keys: list[bytes]) -> Reading:
        """DUMP payload and absolute deadline of each of *keys*."""

    async def values(self, db: int, keys: list[bytes]) -> list[ReadValue]:
        """The value of each of *keys*."""

    async def large(self, db: int, key: bytes, *, field_deadlines: bool = True) -> LargeValue:
        """What a key too large to be read whole holds; without *field_deadlines* those of a hash do not count."""

    async def population(self, db: int) -> Population | None:
        """Of *db* now; None where this side does not tell."""

    def now_ms(self) -> int:
        """This side's clock."""

    def moments_ms(self) -> list[int]:
        """This side's clock, and what it would say now, had it not been stepped while this run wrote by it."""

    async def look_at_clock(self) -> None:
        """Make sure that `now_ms` is right: the clock may have been stepped."""


class Records(Protocol):
    """An append-only map from 8-byte hashes to values of one width; bounded in memory; the last value holds."""

    def add(self, hashes: Iterable[bytes], values: Iterable[bytes]) -> None:
        """Append records, quickly: they are sorted when the first question is asked."""

    def add_records(self, records: Iterable[bytes]) -> None:
        """Append records: hash and value joined."""

    def find(self, wanted: bytes) -> bytes | None:
        """The value last added for a hash. Slow."""

    def bucket(self, number: int) -> dict[bytes, bytes]:
        """Hash -> value, for hashes whose first byte is *number*."""

    def hashes(self, number: int) -> set[bytes]:
        """The hashes alone, which is faster."""

    def close(self) -> None:
        """Let go of memory and disk."""


NewRecords = Callable[[int], Records]
"""Makes empty Records with values of so many bytes."""


class Promise(Protocol):
    """What a copy that went before promised about keys, by database and name at the target."""

    def carried(self, left_db: int, keys: list[bytes]) -> list[bytes]:
        """Those of *keys*, source names of *left_db*, whose name at the target another key did not take before."""

    def rejected(self, db: int, name: bytes) -> bool:
        """It could not be copied, and was reported: nothing is promised."""

    def kept(self, db: int, name: bytes) -> bool:
        """The target had another value there before, and keeps it."""

    def wrote(self, db: int, name: bytes) -> bool:
        """It was written (or found there, equal)."""


class Changes(Protocol):
    """Who knows whether a key changed by itself since the comparison, or the copy before it, read it."""

    @property
    def known_by(self) -> str:
        """tracking | hashes | file | files | nothing"""

    async def catch_up(self) -> None:
        """Wait until every write is known that the servers did before this call."""

    def changed(self, key: bytes, db: int, name: bytes, payload: bytes | None, left_ms: int) -> bool:
        """Whether *key* of the source, *name* in *db* of the target, is another than it was.

        *payload* and the deadline *left_ms* are what the source says now; None: it has no such key.
        """


class MarchOptions(msgspec.Struct, frozen=True):
    """How to compare.

    `comparers`: pages compared at once. `pauses_s`: before each round in which differing keys are read
    again. `both_ways` False leaves the keys of the target alone that no key of the source leads to
    (a copy of named keys). `mode` is for the result: full | sample. `digest`: pair | canonical, as in hashes.py.
    `lossy`: the right cannot hold deadlines of fields, and a hash without them is no difference, but counted apart.
    `began_ms`: when the copy that went before began to write, by the right's clock; 0: there was none.
    """

    ttl_tolerance_ms: int = 500
    comparers: int = 3
    pauses_s: tuple[float, ...] = (0.05, 0.15, 0.3)
    both_ways: bool = True
    mode: str = "full"
    digest: str = "pair"
    lossy: bool = False
    began_ms: int = 0

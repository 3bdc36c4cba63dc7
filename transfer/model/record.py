"""What flows: keys with their values, in batches that know where they came from."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

import msgspec
import xxhash

NO_DEADLINE = -1
"""`expire_at_ms` of a key that never expires. A deadline is a positive Unix time in milliseconds."""

_SPREAD, _ALL_BITS = 0x9E3779B97F4A7C15, (1 << 64) - 1


def seed(number: int) -> int:
    """A seed of xxh3 for *number*, spread over all bits; 0 for 0.

    xxh3 only xors a seed into inputs of up to 16 bytes: with seeds 0, 1, 2 ... `k41` with seed 3 is `k42` with 0.
    """
    return number * _SPREAD & _ALL_BITS


def deadline_seed(expire_at_ms: int) -> int:
    """The seed of a value's hash that stands for its deadline, too; 0 for none."""
    return seed(expire_at_ms + 1)


def deadlines_match(left_ms: int, right_ms: int, tolerance_ms: int) -> bool:
    """Whether both have no deadline, or both have one and they are at most *tolerance_ms* apart."""
    if (left_ms == NO_DEADLINE) != (right_ms == NO_DEADLINE):
        return False
    return abs(left_ms - right_ms) <= tolerance_ms


def hashes_of_names(db: int, names: Iterable[bytes]) -> Iterable[bytes]:
    """Under which each of *names* in database *db* is remembered where names are not: xxh3-64, seeded by *db*."""
    return map(xxhash.xxh3_64_digest, names, repeat(seed(db)))


def hash_of_name(db: int, name: bytes) -> bytes:
    """As `hashes_of_names`, of one."""
    return xxhash.xxh3_64_digest(name, seed(db))


class Record(msgspec.Struct, frozen=True, gc=False):
    """One key as it was at one moment.

    `dump` is the payload as DUMP gave it: type byte, value, RDB version (2 bytes), CRC-64 (8 bytes).
    Out of a batch of strings it is the string itself.
    """

    db: int
    key: bytes
    dump: bytes
    expire_at_ms: int


class UsedRecord(Record, frozen=True, gc=False):
    """A key with what its server's memory policy knows of its use: seconds since (`idletime`) or how often (`freq`)."""

    use: int


class Position(msgspec.Struct, frozen=True):
    """Where to go on in one partition after everything before it was acknowledged.

    `partition` names it (`db0`, `db0/3.2`), `cursor` is the source's own token (a SCAN cursor, a line, an offset);
    DONE: there is nothing after it.
    """

    partition: str
    cursor: str


DONE = "done"


class Span(msgspec.Struct):
    """Names that were given together, and the position that holds once each of them has its fate.

    `open_keys` is how many have none yet, -1 while they were not looked at.
    """

    position: Position
    open_keys: int = -1


class Batch(msgspec.Struct):
    """Keys of one logical database in the order they were read, with the span that their names came from.

    Column by column, since an object for every key would cost as much as moving it: `keys`, `dumps`, `sizes` (bytes
    of each dump: looking at every one of them costs, too) and `deadlines` belong together by place. `strings`: the
    dumps are the strings themselves, not DUMP payloads. `uses`: as in UsedRecord, one for each or none at all.
    `size_bytes` is what the batch holds of the memory budget until it is acknowledged.
    An emptied batch still carries its span, which must be acknowledged.
    """

    span: Span
    db: int
    keys: list[bytes]
    dumps: list[bytes]
    sizes: list[int]
    deadlines: list[int]
    size_bytes: int = 0
    strings: bool = False
    uses: list[int] = msgspec.field(default_factory=list)

    def records(self) -> list[Record]:
        """The same, key by key."""
        columns = zip(self.keys, self.dumps, self.deadlines, strict=True)
        if self.uses:
            used = zip(columns, self.uses, strict=True)
            return [UsedRecord(self.db, *column, use) for column, use in used]
        return [Record(self.db, key, dump, deadline) for key, dump, deadline in columns]

"""Digests of a value that comes in pieces, cut anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from struct import pack
from typing import Protocol

import xxhash

from transfer.codec import canonical
from transfer.endpoint.redis.big.ordered import OrderedRows, Row
from transfer.endpoint.redis.big.pieces import UNORDERED, Piece
from transfer.model.record import NO_DEADLINE
from transfer.model.value import Pending, StreamGroup, StreamId

_128 = 1 << 128


class PieceDigest(Protocol):
    """Takes a value: pieces; of a stream the count of entries before them, and after them what else it has."""

    def take(self, piece: Piece) -> None: ...

    def entries(self, count: int) -> None: ...

    def last_id(self, found: StreamId) -> None: ...

    def group(self, group: StreamGroup, pending: int) -> None:
        """Begins the next by name; it has *pending* entries, which follow."""

    def pending(self, page: list[Pending]) -> None: ...

    def group_end(self, group: StreamGroup) -> None: ...

    def sum(self, cardinality: int) -> bytes | None:
        """16 bytes for the *cardinality* items that there are; None if other ones came."""

    def close(self) -> None: ...


Digests = Callable[[str], PieceDigest]
"""One for a value of that type."""


def item_hashes(kind: str, piece: Piece) -> Iterator[int]:
    """A hash of 16 bytes for each item of a set, a sorted set or a hash."""
    items = piece.items
    if kind == "set":
        return map(xxhash.xxh3_128_intdigest, items)
    if kind == "zset":  # -0.0 + 0.0 is 0.0
        pairs = zip(items[1::2], items[::2], strict=True)
        return (xxhash.xxh3_128_intdigest(pack(">d", float(score) + 0.0) + member) for score, member in pairs)
    deadlines: Sequence[int] = piece.deadlines or [NO_DEADLINE] * piece.count
    rows = zip(items[::2], items[1::2], deadlines, strict=True)
    return (xxhash.xxh3_128_intdigest(pack(">qI", at, len(field)) + field + value) for field, value, at in rows)


class PairDigest:
    """For two values that are read in one run: fast, in memory that does not grow.

        string, list, stream: hashed in order -> xxh3-128; set, zset, hash: sum of item hashes mod 2^128

    Attributes:
        total: the sum; items that came twice are in it twice.
    """

    def __init__(self, kind: str) -> None:
        self.total = 0
        self._kind = kind
        self._lengths, self._bytes = xxhash.xxh3_128(kind.encode()), xxhash.xxh3_128()

    def take(self, piece: Piece) -> None:
        if self._kind in UNORDERED:
            self.total += sum(item_hashes(self._kind, piece))
        elif self._kind == "stream":
            for (ms, sequence), fields in piece.items:
                self._lengths.update(pack(f">QQI{len(fields)}I", ms, sequence, len(fields), *map(len, fields)))
            self._bytes.update(b"".join([part for _, fields in piece.items for part in fields]))
        elif self._kind == "list":
            self._parts(piece.items)
        else:
            self._bytes.update(piece.items[0])

    def _parts(self, parts: Sequence[bytes]) -> None:
        self._lengths.update(pack(f">{len(parts)}I", *map(len, parts)))
        self._bytes.update(b"".join(parts))

    def entries(self, count: int) -> None:
        pass

    def last_id(self, found: StreamId) -> None:
        self._parts([b"%d-%d" % found])

    def group(self, group: StreamGroup, pending: int) -> None:
        self._lengths.update(pack(">2q", len(group.consumers), pending))
        self._parts([group.name, b"%d-%d" % group.last_id, *sorted(group.consumers)])

    def pending(self, page: list[Pending]) -> None:
        for it in page:
            self._lengths.update(pack(">QQqQ", *it.id, it.delivered_ms, it.deliveries))
        self._parts([it.consumer for it in page])

    def group_end(self, group: StreamGroup) -> None:
        pass

    def close(self) -> None:
        pass

    def sum(self, cardinality: int) -> bytes:
        whole = self._lengths.digest() + self._bytes.digest() + (self.total % _128).to_bytes(16)
        return xxhash.xxh3_128_digest(whole + cardinality.to_bytes(8))


class CanonicalDigest:
    """The digest of codec/canonical.py, whatever the size: above *most_bytes* items are put in order in *spill_dir*."""

    def __init__(self, kind: str, spill_dir: str = "", most_bytes: int = 16 << 20) -> None:
        self._kind, self._sum = kind, canonical.running(kind)
        self._rows = OrderedRows(spill_dir, most_bytes) if kind in UNORDERED else None

    def take(self, piece: Piece) -> None:
        if self._rows is not None:
            self._rows.add(_rows_of(self._kind, piece))
        elif self._kind == "stream":
            self._feed(canonical.of_entries(piece.items))
        else:
            self._feed(canonical.texts(piece.items) if self._kind == "list" else piece.items)

    def entries(self, count: int) -> None:
        self._sum.update(canonical.of_count(count))

    def last_id(self, found: StreamId) -> None:
        self._sum.update(canonical.of_id(found))

    def group(self, group: StreamGroup, pending: int) -> None:
        self._feed(canonical.group_head(group, pending))

    def pending(self, page: list[Pending]) -> None:
        self._feed(canonical.of_pending(page))

    def group_end(self, group: StreamGroup) -> None:
        self._feed(canonical.group_end(group))

    def sum(self, cardinality: int) -> bytes | None:
        count = cardinality
        if self._rows is not None:
            count = 0
            for first, rest in self._rows.rows():
                self._feed((*canonical.texts((first,)), rest))
                count += 1
        return self._sum.digest() if count == cardinality else None

    def close(self) -> None:
        if self._rows is not None:
            self._rows.close()

    def _feed(self, parts: Iterable[bytes]) -> None:
        self._sum.update(b"".join(parts))


def _rows_of(kind: str, piece: Piece) -> Iterable[Row]:
    """Items by what they are in order of, and what is behind that in their canonical bytes."""
    items = piece.items
    if kind == "set":
        return zip(items, repeat(b""))
    if kind == "zset":
        return zip(items[::2], (canonical.of_score(float(score)) for score in items[1::2]), strict=True)
    deadlines: Sequence[int] = piece.deadlines or [NO_DEADLINE] * piece.count
    rest = (
        b"".join((*canonical.texts((value,)), canonical.of_deadline(at)))
        for value, at in zip(items[1::2], deadlines, strict=True)
    )
    return zip(items[::2], rest, strict=True)

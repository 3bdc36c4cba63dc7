"""A value too large to be taken whole: its digest, made piece by piece, the same wherever the same data lies.

    PieceReader -> string, list, stream: hashed in order      -> xxh3-128
                -> set, zset, hash: sum of item hashes mod 2^128
                -> a type that cannot be had in pieces: the body of its DUMP, which proves equality only

Rule 1: a digest is of one moment: a key that changed while it was read is read again, and in the end said to be
        restless.
Rule 2: an item that SSCAN and its like repeat must not count twice. Where more items came than there are, the value is
        read again in passes, each of which remembers the hashes of its own share of the items.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import pack
from typing import Any

import msgspec
import xxhash

from transfer.codec.dump import FOOTER_BYTES
from transfer.endpoint.redis.big.pieces import READABLE, UNORDERED, Piece, PieceReader, UnreadableError
from transfer.endpoint.redis.big.through import body_hash
from transfer.model.endpoint import Features
from transfer.model.ports import UNTHROTTLED, Throttle
from transfer.model.record import NO_DEADLINE
from transfer.model.value import Pending, StreamGroup, StreamValue
from transfer.wire.link import Link

_TRIES = 3
_HASHES_AT_ONCE = 150_000
"""About 40 MB as integers in a set."""
_128 = 1 << 128


class LargeValue(msgspec.Struct, frozen=True):
    """What a large key holds: its type, a digest of all of it, how many bytes or items, and until when.

    `kind` is `none` where there is no such key. `counters` of a stream, None where the server does not keep them:
    entries added, highest deleted id, entries read by each group. `problem`: why the digest means nothing.
    """

    kind: str
    digest: bytes
    size_bytes: int
    expire_at_ms: int
    counters: tuple[object, ...] = ()
    problem: str = ""
    in_pieces: bool = True

    def same_data(self, other: LargeValue) -> bool:
        """Whether both hold the same, as far as both servers keep it; deadlines are not looked at."""
        if self.problem or other.problem or (self.kind, self.digest) != (other.kind, other.digest):
            return False
        return not self.other_counters(other)

    def other_counters(self, other: LargeValue) -> bool:
        """Whether counters that both servers keep differ."""
        pairs = zip(self.counters, other.counters, strict=False)
        return any(here is not None and there is not None and here != there for here, there in pairs)


async def read_large(
    link: Link, key: bytes, features: Features, *, throttle: Throttle = UNTHROTTLED, piece_bytes: int = 1 << 20
) -> LargeValue:
    """Digest of what is at *key*; an error of the server is the `problem`."""
    found = LargeValue("none", b"", 0, NO_DEADLINE)
    for _ in range(_TRIES):
        reader = PieceReader(link, key, features, throttle=throttle, piece_bytes=piece_bytes)
        try:
            kind = await reader.open()
            if kind not in READABLE:
                await reader.let_go()
                return found if kind == "none" else await _by_dump(link, key, kind, features)
            digest = _Digest(kind)
            async for piece in reader.pieces():
                digest.take(piece)
            counters = await _groups_too(reader, digest) if kind == "stream" else ()
            end = await reader.end()
            if end is None:
                continue
            if kind in UNORDERED and reader.seen != end.cardinality:
                total = await _each_once(link, key, features, kind, end.cardinality, throttle)
                if total is None:
                    continue
                digest.total = total
        except UnreadableError as error:
            await reader.let_go()
            return LargeValue("unknown", b"", 0, NO_DEADLINE, problem=f"the server refused to give it: {error}")
        return LargeValue(kind, digest.sum(end.cardinality), end.cardinality, end.expire_at_ms, counters)
    return msgspec.structs.replace(found, kind="unknown", problem="it changes faster than it can be read")


async def _each_once(
    link: Link, key: bytes, features: Features, kind: str, cardinality: int, throttle: Throttle
) -> int | None:
    """The sum of the hashes of all items, each once; None if the key changed or its items do not add up."""
    passes = max(1, -(-cardinality // _HASHES_AT_ONCE))
    total = distinct = 0
    for number in range(passes):
        reader = PieceReader(link, key, features, throttle=throttle)
        if await reader.open() != kind:
            await reader.let_go()
            return None
        held: set[int] = set()
        async for piece in reader.pieces():
            hashes = item_hashes(kind, piece)
            held.update(hashes if passes == 1 else (found for found in hashes if found % passes == number))
        if await reader.end() is None:
            return None
        total, distinct = total + sum(held), distinct + len(held)
    return total if distinct == cardinality else None


async def _by_dump(link: Link, key: bytes, kind: str, features: Features) -> LargeValue:
    """A module's type, or one that is newer than this program."""
    digest, size, deadline = await body_hash(link, key, features, FOOTER_BYTES)
    return LargeValue(kind, digest, size, deadline, in_pieces=False)


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


class _Digest:
    """Takes pieces, cut anywhere, and comes to the same sum."""

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
            self.parts(piece.items)
        else:
            self._bytes.update(piece.items[0])

    def parts(self, parts: Sequence[bytes]) -> None:
        self._lengths.update(pack(f">{len(parts)}I", *map(len, parts)))
        self._bytes.update(b"".join(parts))

    def numbers(self, *numbers: int) -> None:
        self._lengths.update(pack(f">{len(numbers)}q", *numbers))

    def pending(self, page: list[Pending]) -> None:
        for it in page:
            self._lengths.update(pack(">QQqQ", *it.id, it.delivered_ms, it.deliveries))
        self.parts([it.consumer for it in page])

    def sum(self, cardinality: int) -> bytes:
        whole = self._lengths.digest() + self._bytes.digest() + (self.total % _128).to_bytes(16)
        return xxhash.xxh3_128_digest(whole + cardinality.to_bytes(8))


async def _groups_too(reader: PieceReader, digest: _Digest) -> tuple[object, ...]:
    """Put what a stream has beside its entries into *digest*; returns its counters."""
    facts: StreamValue = await reader.stream()
    groups: list[StreamGroup] = sorted(facts.groups, key=lambda group: group.name)
    digest.parts([b"%d-%d" % facts.last_id])
    for group in groups:
        digest.numbers(len(group.consumers), len(group.pending))
        digest.parts([group.name, b"%d-%d" % group.last_id, *sorted(group.consumers)])
        async for page in reader.pending(group):
            digest.pending(page)
    read: list[Any] = [group.entries_read for group in groups]
    return (facts.entries_added, facts.max_deleted_id, *read)

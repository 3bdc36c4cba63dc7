"""A value too large to be taken whole: its digest, made piece by piece, the same wherever the same data lies.

    PieceReader -> pieces -> a digest, of one kind or another (big/digests.py)
                -> a type that cannot be had in pieces: the body of its DUMP, which proves equality only

Rule 1: a digest is of one moment: a key that changed while it was read is read again, and in the end said to be
        restless.
Rule 2: an item that SSCAN and its like repeat must not count twice. Where more items came than there are, and the
        digest does not notice, the value is read again in passes, each of which remembers the hashes of its own share
        of the items.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import anyio.to_thread
import msgspec

from transfer.codec.dump import FOOTER_BYTES
from transfer.endpoint.redis.big.digests import Digests, PairDigest, PieceDigest, item_hashes
from transfer.endpoint.redis.big.pieces import READABLE, UNORDERED, PieceReader, UnreadableError
from transfer.endpoint.redis.big.through import body_hash
from transfer.model.endpoint import Features
from transfer.model.ports import UNTHROTTLED, Throttle
from transfer.model.record import NO_DEADLINE
from transfer.model.value import StreamGroup, StreamValue
from transfer.wire.link import Link

_TRIES = 3
_HASHES_AT_ONCE = 150_000
"""About 40 MB as integers in a set."""


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
    link: Link,
    key: bytes,
    features: Features,
    *,
    throttle: Throttle = UNTHROTTLED,
    piece_bytes: int = 1 << 20,
    digests: Digests = PairDigest,
) -> LargeValue:
    """Digest, one of *digests*, of what is at *key*; an error of the server is the `problem`.

    Raises:
        LimitError: there is no room for what it takes.
    """
    found = LargeValue("none", b"", 0, NO_DEADLINE)
    for _ in range(_TRIES):
        reader = PieceReader(link, key, features, throttle=throttle, piece_bytes=piece_bytes)
        try:
            kind = await reader.open()
            if kind not in READABLE:
                await reader.let_go()
                return found if kind == "none" else await _by_dump(link, key, kind, features)
            with closing(digests(kind)) as digest:
                counters = await _read_all(reader, digest)
                end = await reader.end()
                if end is None:
                    continue
                if isinstance(digest, PairDigest) and kind in UNORDERED and reader.seen != end.cardinality:
                    total = await _each_once(link, key, features, kind, end.cardinality, throttle)
                    if total is None:
                        continue
                    digest.total = total
                whole = await anyio.to_thread.run_sync(digest.sum, end.cardinality, abandon_on_cancel=True)
                if whole is None:
                    continue
        except UnreadableError as error:
            await reader.let_go()
            return LargeValue("unknown", b"", 0, NO_DEADLINE, problem=f"the server refused to give it: {error}")
        return LargeValue(kind, whole, end.cardinality, end.expire_at_ms, counters)
    return msgspec.structs.replace(found, kind="unknown", problem="it changes faster than it can be read")


async def _read_all(reader: PieceReader, digest: PieceDigest) -> tuple[object, ...]:
    """Have *digest* take all there is of the value; the counters of a stream."""
    if reader.kind == "stream":
        digest.entries(await reader.length())
    async for piece in reader.pieces():
        digest.take(piece)
    return await _groups_too(reader, digest) if reader.kind == "stream" else ()


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


async def _groups_too(reader: PieceReader, digest: PieceDigest) -> tuple[object, ...]:
    """Put what a stream has beside its entries into *digest*; returns its counters."""
    facts: StreamValue = await reader.stream()
    groups: list[StreamGroup] = sorted(facts.groups, key=lambda group: group.name)
    digest.last_id(facts.last_id)
    for group in groups:
        digest.group(group, reader.pending_count(group))
        async for page in reader.pending(group):
            digest.pending(page)
        digest.group_end(group)
    read: list[Any] = [group.entries_read for group in groups]
    return (facts.entries_added, facts.max_deleted_id, *read)

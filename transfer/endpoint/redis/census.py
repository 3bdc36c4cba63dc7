"""What kinds of keys a logical database holds: all of them where few, a sample spread over the keyspace where many.

    start cursors -> SCAN pages -> new names -> TYPE, PTTL, MEMORY USAGE in one request -> Census

Rule 1: none of these commands counts as use of a key, none blocks for longer than a page.
Rule 2: a sample is of whole SCAN pages from start cursors far apart. RANDOMKEY would prefer keys alone in their
        bucket, and the first pages alone would be of one part of the table.
Rule 3: a name that is met twice counts once.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import xxhash

from transfer.codec import resp
from transfer.endpoint.redis.info import granted
from transfer.endpoint.redis.server import Server
from transfer.model.endpoint import Identity
from transfer.wire.link import ErrorReply, Link

ALL_UP_TO_KEYS = 100_000
"""A database of more keys is sampled."""

_STARTS_BITS = 6
_SAMPLE_KEYS = 20_000
_PAGE_KEYS = 1_000
_BIGGEST = 10
_SLOT_BITS = 14

SPANS = (("1m", 60_000), ("1h", 3_600_000), ("1d", 86_400_000), ("7d", 604_800_000), ("30d", 2_592_000_000))
"""Upper bounds of the classes of time to live, in ms; what lives longer is `more`, without end `none`."""


class BigKey(msgspec.Struct, frozen=True, order=True):
    """One of the largest values; bytes as MEMORY USAGE says."""

    size_bytes: int
    db: int
    key: bytes
    kind: str


class Census(msgspec.Struct):
    """Counts of the keys looked at, `seen` in number. `sizes` and `biggest` stay empty without MEMORY USAGE."""

    db: int
    sampled: bool = False
    seen: int = 0
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    sizes: Counter[str] = msgspec.field(default_factory=Counter)
    spans: Counter[str] = msgspec.field(default_factory=Counter)
    biggest: list[BigKey] = msgspec.field(default_factory=list)


async def take_census(server: Server, db: int, keys: int) -> Census:
    """Look at database *db*, which holds about *keys* keys.

    Raises:
        PermissionDeniedError: SCAN or TYPE is forbidden.
        LinkError.
    """
    census = Census(db, sampled=keys > ALL_UP_TO_KEYS)
    met: set[int] = set()
    async with server.link(db=db) as link:
        pages = _sample(link, server.identity) if census.sampled else _everything(link)
        async for names in pages:
            fresh = []
            for name in names:
                mark = xxhash.xxh3_64_intdigest(name)
                if mark not in met:
                    met.add(mark)
                    fresh.append(name)
            if fresh:
                await _count(link, fresh, census, sizes=server.features.memory_usage)
    census.biggest.sort(reverse=True)
    return census


async def _everything(link: Link) -> AsyncIterator[list[bytes]]:
    cursor = b"0"
    while True:
        cursor, names = await _page(link, cursor, _PAGE_KEYS)
        yield names
        if cursor == b"0":
            return


async def _sample(link: Link, identity: Identity) -> AsyncIterator[list[bytes]]:
    """One page from each start cursor."""
    for start in start_cursors(identity):
        _, names = await _page(link, b"%d" % start, _SAMPLE_KEYS >> _STARTS_BITS)
        yield names


def start_cursors(identity: Identity) -> list[int]:
    """Cursors that cut the keyspace in equal parts.

    SCAN walks buckets in bit-reversed order (redis/src/dict.c), so the parts begin at the reversed multiples of
    2^58: all numbers of 6 bits, though not in the order it meets them.
    Cluster nodes since Redis 7.4 and Valkey 8.0 keep a table per slot and the slot in the low bits (kvstore.c).
    """
    parts = range(1 << _STARTS_BITS)
    since = {"redis": (7, 4, 0), "valkey": (8, 0, 0)}.get(identity.vendor)
    if identity.mode == "cluster" and since and identity.version >= since:
        return [part << (_SLOT_BITS - _STARTS_BITS) for part in parts]
    return list(parts)


async def _page(link: Link, cursor: bytes, count: int) -> tuple[bytes, list[bytes]]:
    after, names = granted(await link.command("SCAN", cursor, "COUNT", count), "SCAN", link.where)
    return after, names


async def _count(link: Link, names: list[bytes], census: Census, *, sizes: bool) -> None:
    """Add the keys that are still there; a value whose size may not be asked has none."""
    request = resp.each(b"TYPE", names) + resp.each(b"PTTL", names)
    if sizes:
        request += b"".join([resp.command("MEMORY", "USAGE", name) for name in names])
    total = len(names)
    answers = await link.ask(request, total * (3 if sizes else 2))
    for at, name in enumerate(names):
        kind = granted(answers[at], "TYPE", link.where)
        left_ms = answers[total + at]
        if kind == b"none" or left_ms == -2:
            continue
        text = kind.decode() if isinstance(kind, bytes) else str(kind)
        size = answers[2 * total + at] if sizes else None
        _add(census, name, text, left_ms, size if isinstance(size, int) else 0)


def _add(census: Census, name: bytes, kind: str, left_ms: object, size_bytes: int) -> None:
    census.seen += 1
    census.kinds[kind] += 1
    if not isinstance(left_ms, ErrorReply) and isinstance(left_ms, int):
        census.spans[span_of(left_ms)] += 1
    if size_bytes:
        census.sizes[kind] += size_bytes
        found = BigKey(size_bytes, census.db, name, kind)
        keep = heapq.heappush if len(census.biggest) < _BIGGEST else heapq.heappushpop
        keep(census.biggest, found)


def span_of(left_ms: int) -> str:
    """The class of a PTTL: `none` for -1."""
    if left_ms < 0:
        return "none"
    return next((name for name, limit_ms in SPANS if left_ms < limit_ms), "more")

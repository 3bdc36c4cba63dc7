"""A canonical digest does not depend on how much of a value can be held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.endpoint.test_reading import opened, send
from transfer.codec.canonical import digest
from transfer.codec.rdb.decode import decode_payload
from transfer.endpoint.redis.big.digests import CanonicalDigest
from transfer.endpoint.redis.big.ordered import OrderedRows
from transfer.endpoint.redis.big.pieces import Piece, PieceReader
from transfer.endpoint.redis.large import read_large
from transfer.model.errors import LimitError
from transfer.wire.link import Link

MEMBERS = [b"m%d\x00\xff" % n * (n % 9 + 1) for n in range(3000)]


async def fill(link: Link) -> tuple[bytes, ...]:
    """A key of each type, with all that a digest counts; their names."""
    scores = [word for n, member in enumerate(MEMBERS) for word in (n / 7 - 100, member)]
    await send(link, ("SADD", "set", *MEMBERS), ("ZADD", "zset", *scores, "-0", "zero"), ("RPUSH", "list", *MEMBERS))
    await send(link, ("HSET", "hash", *MEMBERS), ("SET", "string", b"".join(MEMBERS)))
    await send(link, *[("XADD", "stream", f"{n + 1}-{n % 2}", "f", n, "g", b"x" * (n % 70)) for n in range(2500)])
    for group in ("b", "a", "empty"):
        await send(link, ("XGROUP", "CREATE", "stream", group, "0"))
    for consumer, count in (("two", 1200), ("one", 900)):
        await send(link, ("XREADGROUP", "GROUP", "a", consumer, "COUNT", count, "STREAMS", "stream", ">"))
    await send(link, ("XREADGROUP", "GROUP", "b", "one", "COUNT", 3, "STREAMS", "stream", ">"))
    await send(link, ("XDEL", "stream", "2-1", "2500-1"), ("XGROUP", "CREATECONSUMER", "stream", "empty", "idle"))
    return b"set", b"zset", b"list", b"hash", b"string", b"stream"


@pytest.mark.parametrize("version", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"])
async def test_a_value_in_pieces_has_the_digest_of_the_value_that_is_held(version: str, tmp_path: Path) -> None:
    """Every type, pieces small enough to be many, and rows that go to the disk."""
    async with opened(version) as (server, link):
        names = await fill(link)
        if server.features.field_ttl:
            await send(link, ("HPEXPIREAT", "hash", 4_000_000_000_000, "FIELDS", 2, MEMBERS[0], MEMBERS[10]))
        for name in names:
            payload = await link.command("DUMP", name)
            for most_bytes in (1 << 24, 1 << 14):

                def digests(kind: str, most_bytes: int = most_bytes) -> CanonicalDigest:
                    return CanonicalDigest(kind, str(tmp_path), most_bytes)

                found = await read_large(link, name, server.features, piece_bytes=1 << 12, digests=digests)
                assert not found.problem
                assert found.digest == digest(decode_payload(payload)), (name, most_bytes)


async def test_items_that_come_twice_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """SSCAN may name a member again."""
    original = PieceReader.pieces

    async def pieces(self: PieceReader) -> AsyncIterator[Piece]:
        async for piece in original(self):
            for _ in range(2):
                self.seen += piece.count
                yield piece

    async with opened() as (server, link):
        await send(link, ("SADD", "set", *MEMBERS))
        once = await read_large(link, b"set", server.features, digests=CanonicalDigest)
        monkeypatch.setattr(PieceReader, "pieces", pieces)

        assert await read_large(link, b"set", server.features, digests=CanonicalDigest) == once


def test_items_that_are_missing_make_no_digest() -> None:
    """Fewer than the server says there are: it is read again."""
    with closing(CanonicalDigest("set")) as some:
        some.take(Piece([b"a", b"b", b"a"], 3))

        assert some.sum(3) is None


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40)), max_size=80), st.integers(1, 4000))
def test_rows_come_in_order_and_once(rows: list[tuple[bytes, bytes]], most_bytes: int) -> None:
    """Whatever part of them went to the disk."""
    with closing(OrderedRows("", most_bytes)) as ordered:
        for row in rows:
            ordered.add([row])

        assert list(ordered.rows()) == sorted(set(rows))


def test_rows_longer_than_what_is_read_at_once_come_whole() -> None:
    """200 KiB where 64 KiB are read."""
    rows = [(b"%d" % n * 200_000, b"v" * n) for n in range(3)]
    with closing(OrderedRows("", 1)) as ordered:
        ordered.add(rows)
        ordered.add([(b"a", b"b")])

        assert list(ordered.rows()) == [*rows, (b"a", b"b")]


def test_no_room_is_an_error_of_a_limit(tmp_path: Path) -> None:
    """It says where, and how another place is named."""
    with closing(OrderedRows(str(tmp_path / "gone"), 1)) as ordered, pytest.raises(LimitError) as failure:
        ordered.add([(b"a" * 100, b"b")])

    assert str(tmp_path) in str(failure.value.where)
    assert failure.value.hint == "--spill-dir DIR"

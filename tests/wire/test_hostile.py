"""A hostile server: whatever it answers, a link or a run ends with a failure of ours, in time and in bounded memory.

The whole campaign: python -m tests.campaign.hostile --seeds 0:20000
"""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from tests.campaign.hostile import against_run, honest_pair
from tests.servers import ask, running
from tests.wire.hostile import MUTATORS, against_link
from tests.wire.test_link import raw_link, scripted
from transfer.endpoint.redis import probe
from transfer.job.record import peak_rss_bytes
from transfer.model.errors import ForeignProtocolError, OversizedReplyError
from transfer.wire.bounded import limit_is_known
from transfer.wire.link import Link, declared

_LINKS, _RUNS = 300, 12
_MOST_BYTES = 200 << 20


async def test_a_link_survives_malformed_streams() -> None:
    """Each seed one stream: the right number of replies, or a failure of ours and a closed link."""
    assert len(MUTATORS) >= 30
    before = peak_rss_bytes()
    with anyio.fail_after(60):
        for seed in range(_LINKS):
            await against_link(seed)
    assert peak_rss_bytes() - before < _MOST_BYTES


async def test_whole_runs_survive_a_lying_server(tmp_path: Path) -> None:
    """Copy and verify with one side lying: they end, well or with a failure of ours."""
    async with honest_pair() as (source, target):
        for seed in range(_RUNS):
            await against_run(seed, source, target, tmp_path)


@pytest.mark.parametrize(
    "reply",
    [
        b"$536870913000\r\nabc",
        b"*3333333333\r\n",
        b"%4294967295\r\n",
        b"*1\r\n*3333333333\r\n",
        b"+OK\r\n*2\r\n:1\r\n*3333333333\r\n",
        b"*100000000\r\n" * 7,
    ],
)
@pytest.mark.parametrize("cut", [1, 1000])
async def test_a_reply_that_declares_too_much_is_refused_at_its_header(reply: bytes, cut: int) -> None:
    """Before a byte of it comes: the peer says no more, and nobody waits for it."""

    async def boast(client: ByteStream) -> None:
        await client.receive()
        for at in range(0, len(reply), cut):
            await client.send(reply[at : at + cut])
        await anyio.sleep_forever()

    before = peak_rss_bytes()
    async with scripted(boast) as address:
        link = await raw_link(address, timeout=20)
        with anyio.fail_after(10), pytest.raises(OversizedReplyError):
            await link.ask(b"x", 2 if reply.startswith(b"+") else 1)
    assert link.closed
    assert peak_rss_bytes() - before < 32 << 20


@pytest.mark.parametrize("header", [b"*1000000000\r\n", b"%1000000000\r\n", b"~100000000\r\n", b">100000000\r\n"])
@pytest.mark.parametrize("ahead", [b"+OK\r\n" * 9000, b"*3\r\n$9000\r\n" + b"x" * 9000 + b"\r\n"])
@pytest.mark.skipif(not limit_is_known(), reason="this hiredis is not the one whose limit is known")
async def test_a_huge_list_far_behind_the_first_header_costs_neither_time_nor_memory(
    ahead: bytes, header: bytes
) -> None:
    """hiredis would reserve its room, for a push fill it, and take seconds to let it go."""

    async def boast(client: ByteStream) -> None:
        await client.receive()
        await client.send(ahead + header)
        await anyio.sleep_forever()

    before = peak_rss_bytes()
    async with scripted(boast) as address:
        link = await raw_link(address, timeout=20)
        began = time.process_time()
        with anyio.fail_after(10), pytest.raises(OversizedReplyError, match="a list that is too long"):
            await link.ask(b"x", 9001)
        del link
    assert time.process_time() - began < 0.2
    assert peak_rss_bytes() - before < 32 << 20


async def test_as_many_elements_as_may_come_are_taken() -> None:
    """The limit is that of the cap: no honest reply below it has more."""
    reply = b"*1000\r\n" + b":1\r\n" * 1000

    async def answer(client: ByteStream) -> None:
        await client.receive()
        await client.send(b"+OK\r\n" * 3000 + reply)
        await anyio.sleep_forever()

    async with scripted(answer) as address:
        link = await raw_link(address, timeout=20)
        assert (await link.ask(b"x", 3001))[-1] == [1] * 1000
        await link.close()


async def test_many_lists_of_nothing_are_refused() -> None:
    """A list takes twenty times more here than on the wire."""

    async def flood(client: ByteStream) -> None:
        await client.receive()
        await client.send(b"*20000000\r\n")
        while True:
            await client.send(b"*0\r\n" * 100_000)

    async with scripted(flood) as address:
        link = await raw_link(address, timeout=20)
        link.cap_bytes = 8 << 20
        before = peak_rss_bytes()
        with anyio.fail_after(20), pytest.raises(OversizedReplyError):
            await link.ask(b"x", 1)
    assert peak_rss_bytes() - before < 12 * link.cap_bytes


async def test_a_value_that_looks_like_a_header_is_a_value() -> None:
    """Users may keep RESP in their strings."""
    async with running() as server:
        text = b"x\r\n*3333333333\r\n$999999999999\r\n"
        await ask(server, "SET", "k", text)
        link = await server.link()
        for _ in range(3):
            assert await link.command("GET", "k") == text
        assert await link.command("MGET", "k", "k") == [text, text]
        await link.close()


def test_only_headers_declare() -> None:
    """What stands in a bulk string does not."""
    data = b"*2\r\n$7\r\n*9\r\n$9\r\r\n:1\r\n%3\r\n"

    assert list(declared(data)) == [(b"*", 2), (b"$", 7), (b"*", 3)]


@pytest.mark.parametrize("reply", [b":1\r\n", b"*1\r\n:1\r\n", b"$-1\r\n", b"*0\r\n"])
@pytest.mark.parametrize("question", ["identify", "keyspace", "time_ms", "memory", "writes_seen", "is_loading"])
async def test_a_probe_answered_by_another_type_is_told_as_such(question: str, reply: bytes) -> None:
    """No TypeError comes out: E207, and where."""

    async def lie(client: ByteStream) -> None:
        await client.receive()
        await client.send(reply * 4)
        await anyio.sleep_forever()

    async with scripted(lie) as address:
        link = await raw_link(address, timeout=1)
        with pytest.raises(ForeignProtocolError) as failed:
            await _asked(link, question)
        await link.close()
    assert failed.value.where == link.where


async def _asked(link: Link, question: str) -> None:
    from transfer.wire.understood import understood

    with understood(link.where, question):  # as Server.link does
        await getattr(probe, question)(link)

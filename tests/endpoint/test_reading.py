"""Payloads and deadlines of many keys, each pair of one moment, in bounded replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tests.servers import ask, running
from transfer.codec import resp
from transfer.endpoint.redis.reading import UNREAD_BYTES, MomentReader, prepare
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.sizes import Care, PayloadSizes
from transfer.model.errors import OversizedReplyError, PermissionDeniedError
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import Link

FAR_MS = 4_000_000_000_000
OLD_AND_NEW = ["redis-6.2", "redis-7.0", "valkey-9.1"]


@asynccontextmanager
async def opened(version: str = "redis-7.0") -> AsyncIterator[tuple[Server, Link]]:
    async with running(version) as process:
        server = await Server.open(process.address)
        async with server.link() as link:
            yield server, link


async def send(link: Link, *commands: tuple[Any, ...]) -> None:
    answers = await link.ask(b"".join([resp.command(*words) for words in commands]), len(commands))
    assert not [answer for answer in answers if isinstance(answer, Exception)]


@pytest.mark.parametrize("version", OLD_AND_NEW)
async def test_payloads_and_deadlines_come_in_the_order_of_the_keys(version: str) -> None:
    """With PEXPIRETIME or from TIME and PTTL: the deadline is exact to the millisecond."""
    async with opened(version) as (server, link):
        names = [b"k%d" % n for n in range(300)]
        await send(link, *[("SET", name, name) for name in names])
        await send(link, *[("PEXPIREAT", name, FAR_MS + n) for n, name in enumerate(names) if n % 3 == 0])
        await send(link, ("DEL", "k7"), ("DEL", "k9"))

        moment = await MomentReader(link, server.features).read(names)

        assert moment.payloads == [await link.command("DUMP", name) for name in names]
        gone = {7, 9}
        wanted = [FAR_MS + n if n % 3 == 0 else NO_DEADLINE for n in range(300) if n not in gone]
        assert [deadline for n, deadline in enumerate(moment.deadlines) if n not in gone] == wanted
        assert [n for n, payload in enumerate(moment.payloads) if payload is None] == sorted(gone)


@pytest.mark.parametrize("version", OLD_AND_NEW)
async def test_a_key_about_to_die_never_seems_to_live_forever(version: str) -> None:
    """A rest of 0 ms is a deadline, not the lack of one."""
    async with opened(version) as (server, link):
        reader = MomentReader(link, server.features)
        for _ in range(20):
            names = [b"d%d" % n for n in range(64)]
            await send(link, *[("SET", name, "x", "PX", 1 + n // 16) for n, name in enumerate(names)])
            moment = await reader.read(names)
            alive = [ms for payload, ms in zip(moment.payloads, moment.deadlines, strict=True) if payload is not None]
            assert NO_DEADLINE not in alive
            assert all(ms > 0 for ms in alive)


@pytest.mark.parametrize("seed", range(4))
async def test_a_writer_in_between_never_mixes_two_moments(seed: int) -> None:
    """A always has a deadline and B never: a reading that mixes them up would be seen."""
    async with opened() as (server, link), server.link() as other, anyio.create_task_group() as group:
        names = [b"{%d}%d" % (seed, n) for n in range(100)]
        with_deadline = b"".join([resp.command("SET", name, "A", "PX", 3_600_000) for name in names])
        without = b"".join([resp.command("SET", name, "B") for name in names])
        await other.ask(without, 100)

        async def toggle() -> None:
            while True:
                await other.ask(with_deadline, 100)
                await other.ask(without, 100)

        group.start_soon(toggle)
        reader = MomentReader(link, server.features)
        await reader.read(names)
        for _ in range(50):
            moment = await reader.read(names)
            for payload, deadline in zip(moment.payloads, moment.deadlines, strict=True):
                assert payload is not None
                assert (payload[:3] == b"\x00\x01A") is (deadline != NO_DEADLINE)
        group.cancel_scope.cancel()


async def test_large_values_are_asked_for_a_few_at_a_time() -> None:
    """300 values of 1 MiB: what one request asks for stays below the limit, from the first one on."""
    async with opened() as (server, link):
        await send(link, ("CONFIG", "SET", "rdbcompression", "no"))
        names = [b"large:%d" % n for n in range(60)]
        await send(link, *[("SETRANGE", name, 1 << 20, "x") for name in names])
        reader = MomentReader(link, server.features)

        portions = await reader.portions(names)
        moment = await reader.read(names)

        assert max(map(len, portions)) <= UNREAD_BYTES >> 20
        assert [name for portion in portions for name in portion] == names
        assert all(payload is not None and len(payload) > 1 << 20 for payload in moment.payloads)
        assert reader.sizes.care is Care.ESTIMATED


async def test_no_transaction_reads_more_than_a_part_of_a_portion() -> None:
    """64 values of 100 KiB in one EXEC would hold the server for tens of milliseconds; small ones are read by 64."""
    async with opened() as (server, link):
        await send(link, ("CONFIG", "SET", "rdbcompression", "no"))
        large, small = ([b"%b:%d" % (word, n) for n in range(128)] for word in (b"large", b"small"))
        await send(link, *[("SETRANGE", name, 100 << 10, "x") for name in large], *[("SET", n, n) for n in small])
        reader = MomentReader(link, server.features)
        await reader.read(small)

        before = await calls(link, "exec")
        await reader.read(small)
        after_small = await calls(link, "exec")
        for _ in range(2):
            await reader.read(large)

        assert after_small - before == 2
        assert await calls(link, "exec") - after_small > 20


async def calls(link: Link, command: str) -> int:
    """How often *command* was run."""
    text = await link.command("INFO", "commandstats")
    lines = [line for line in text.decode().splitlines() if line.startswith(f"cmdstat_{command}")]
    return int(lines[0].split("calls=")[1].split(",")[0]) if lines else 0


async def test_sizes_are_not_asked_for_while_values_are_small() -> None:
    """After the first page nothing but payloads and deadlines is asked for, until a large value shows up."""
    async with opened() as (server, link):
        names = [b"small:%d" % n for n in range(1000)]
        await send(link, *[("SET", name, "x" * 200) for name in names])
        reader = MomentReader(link, server.features)
        cares = [reader.sizes.care]

        await reader.read(names)
        cares.append(reader.sizes.care)
        before = await calls(link, "memory|usage")
        await reader.read(names)

        assert await calls(link, "memory|usage") == before
        await send(link, ("SETRANGE", "small:5", 1 << 20, "x"), ("CONFIG", "SET", "rdbcompression", "no"))
        await reader.read(names)
        cares.append(reader.sizes.care)
        assert cares == [Care.ESTIMATED, Care.NONE, Care.ESTIMATED]


async def test_a_reply_past_the_cap_is_asked_for_with_more_care_until_the_key_is_named() -> None:
    """A hash whose one large field the estimate misses: the others are read, it is not."""
    async with opened() as (server, link):
        await send(link, ("CONFIG", "SET", "rdbcompression", "no"))
        await send(link, *[("SET", f"k{n}", "x" * 100) for n in range(200) if n != 50])
        await send(link, ("HSET", "k50", *[part for n in range(2000) for part in (f"f{n}", "v")]))
        await send(link, ("HSET", "k50", "large", "x" * (3 << 20)))
        sizes, names = PayloadSizes(), [b"k%d" % n for n in range(200)]
        losses = 0
        while losses < 6:
            async with server.link(cap_bytes=1 << 20) as capped:
                try:
                    moment = await MomentReader(capped, server.features, sizes).read(names)
                    break
                except OversizedReplyError:
                    losses += 1

        assert 0 < losses < 5
        assert list(moment.too_large) == [b"k50"]
        assert [n for n, payload in enumerate(moment.payloads) if payload is None] == [50]


async def test_keys_above_the_limit_are_named_with_their_size_and_not_asked_for() -> None:
    """The link receives nothing of them."""
    async with opened() as (server, link):
        await send(link, ("SETRANGE", "large", 4 << 20, "x"), ("SET", "small", "x"))
        reader = MomentReader(link, server.features, limit_bytes=1 << 20)
        before = link.received_bytes

        moment = await reader.read([b"large", b"small", b"none"])

        assert list(moment.too_large) == [b"large"]
        assert moment.too_large[b"large"] > 4 << 20
        assert [payload is None for payload in moment.payloads] == [True, False, True]
        assert link.received_bytes - before < 1000


async def test_a_key_that_is_forbidden_costs_only_itself() -> None:
    """Redis voids the whole transaction; the others are read again without it."""
    async with running("redis-7.0") as process:
        await ask(process, "ACL", "SETUSER", "part", "on", ">pw", "+@all", "~a*")
        server = await Server.open(process.address)
        async with server.link() as link:
            await send(link, *[("SET", name, "x") for name in ("a1", "b1", "a2")])
            await send(link, ("AUTH", "part", "pw"))
            reader = MomentReader(link, server.features)

            moment = await reader.read([b"a1", b"b1", b"a2"])

            assert [payload is None for payload in moment.payloads] == [False, True, False]
            assert list(moment.refused) == [b"b1"]
            assert "NOPERM" in moment.refused[b"b1"]


async def test_a_user_who_may_not_dump_is_told_so() -> None:
    """Every key refused is not one bad key."""
    async with running("redis-7.0") as process:
        await ask(process, "ACL", "SETUSER", "part", "on", ">pw", "+@all", "-dump", "~*")
        server = await Server.open(process.address)
        async with server.link() as link:
            await send(link, ("SET", "a", "x"), ("SET", "b", "x"), ("AUTH", "part", "pw"))

            with pytest.raises(PermissionDeniedError, match="dump"):
                await MomentReader(link, server.features).read([b"a", b"b"])


async def test_reading_does_not_count_as_use_where_the_server_can_help_it() -> None:
    """OBJECT IDLETIME stays what it was (CLIENT NO-TOUCH, 7.2+)."""
    async with opened("valkey-9.1") as (server, link):
        await send(link, ("SET", "k", "x"))
        async with server.link() as writer:
            dump = await writer.command("DUMP", "k")
            await send(writer, ("RESTORE", "k", 0, dump, "REPLACE", "IDLETIME", 1000))
        await prepare(link, server.features)

        await MomentReader(link, server.features).read([b"k"])

        assert await link.command("OBJECT", "IDLETIME", "k") >= 1000

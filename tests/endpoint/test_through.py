"""One DUMP into one RESTORE, as the bytes come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import xxhash

from tests.faults import Split, proxy
from tests.servers import ask, running
from transfer.endpoint.redis.big.through import Passed, pass_through
from transfer.endpoint.redis.bridge import AS_IS, Bridge, bridge_between
from transfer.endpoint.redis.landing import Landing
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.record import NO_DEADLINE, Record

IN_2099_MS = 4_070_908_800_000


@asynccontextmanager
async def two(version: str = "redis-7.0") -> AsyncIterator[tuple[ThrowawayServer, ThrowawayServer]]:
    async with running(version) as source, running("redis-7.0") as target:
        await ask(source, "CONFIG", "SET", "rdbcompression", "no")
        await ask(source, "SET", "k", "x" * 5000, "PXAT", IN_2099_MS)
        await ask(source, "RPUSH", "lasts", *range(100))
        yield source, target


async def passed(
    source: Server,
    target: Server,
    key: bytes,
    *,
    most_bytes: int = 1 << 30,
    breaks: bool = False,
    bridge: Bridge = AS_IS,
) -> Passed:
    def land(deadline: int) -> Landing:
        return Landing(Record(0, key, b"", deadline), key, deadline)

    async def paced(size_bytes: int) -> None:
        if breaks:
            raise ZeroDivisionError

    async with source.link(0) as here, target.link(0) as there:
        more = {"most_bytes": most_bytes, "land": land, "replace": False, "paced": paced, "bridge": bridge}
        return await pass_through(here, there, key, source.features, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["redis-6.2", "redis-7.0", "valkey-9.1"])
async def test_what_is_noted_is_the_hash_of_the_payload_with_its_deadline(version: str) -> None:
    """As if the payload had been held: what is compared with it later cannot tell the difference."""
    async with two(version) as (source, target):
        left, right = await Server.open(source.address), await Server.open(target.address)
        for key, deadline in ((b"k", IN_2099_MS), (b"lasts", NO_DEADLINE)):
            dump = await ask(source, "DUMP", key)

            done = await passed(left, right, key)

            assert (done.stop, done.size_bytes) == ("", len(dump))
            near = (-1, 0, 1) if version == "redis-6.2" and deadline != NO_DEADLINE else (0,)  # TIME + PTTL there
            assert done.value_hash in [xxhash.xxh3_64_digest(dump, deadline + 1 + off_ms) for off_ms in near]


async def test_single_bytes_arrive_as_well() -> None:
    """However the network cuts the reply."""
    async with two() as (source, target), proxy(source.address) as between:
        between.arm(Split(most=3))

        done = await passed(await Server.open(between.address), await Server.open(target.address), b"k")

        assert done.answer == b"OK"
        assert await ask(target, "GET", "k") == b"x" * 5000
        assert await ask(target, "PEXPIRETIME", "k") == IN_2099_MS


async def test_a_break_in_the_middle_leaves_nothing() -> None:
    """A RESTORE that was sent in part is never executed."""
    async with two() as (source, target):
        with pytest.raises(ZeroDivisionError):
            await passed(await Server.open(source.address), await Server.open(target.address), b"k", breaks=True)

        assert await ask(target, "DBSIZE") == 0


async def test_what_is_too_long_or_gone_is_said_before_anything_is_sent() -> None:
    """The length in the head of the reply decides."""
    async with two() as (source, target):
        left, right = await Server.open(source.address), await Server.open(target.address)

        assert (await passed(left, right, b"k", most_bytes=4000)).stop == "too_long"
        assert (await passed(left, right, b"absent")).stop == "gone"
        assert await ask(target, "DBSIZE") == 0


@pytest.mark.parametrize("key", [b"k", b"lasts"])
async def test_a_payload_is_stamped_for_its_target_as_it_passes(key: bytes) -> None:
    """Of another version by its footer, the same by its body; what is noted is the source's payload."""
    async with running("valkey-9.1") as source, running("redis-8.2") as target:
        await ask(source, "SET", "k", "x" * 5000)
        await ask(source, "ZADD", "lasts", *(word for n in range(600) for word in (n, f"member:{n}")))
        left, right = await Server.open(source.address), await Server.open(target.address)
        bridge = bridge_between(left.identity, left.features, right.identity, right.features, wish="auto")
        dump = await ask(source, "DUMP", key)

        done = await passed(left, right, key, bridge=bridge)

        assert (done.stop, done.answer) == ("", b"OK")
        assert done.value_hash == xxhash.xxh3_64_digest(dump, 0)
        assert (await ask(target, "DUMP", key))[:-10] == dump[:-10]


async def test_a_type_the_target_does_not_load_is_not_begun() -> None:
    """The first byte decides, before anything is sent."""
    async with running("valkey-9.1") as source, running("redis-6.2") as target:
        await ask(source, "RPUSH", "lasts", *range(100))
        left, right = await Server.open(source.address), await Server.open(target.address)
        bridge = bridge_between(left.identity, left.features, right.identity, right.features, wish="auto")

        done = await passed(left, right, b"lasts", bridge=bridge)

        assert done.stop == "other_form"
        assert await ask(target, "EXISTS", "lasts") == 0

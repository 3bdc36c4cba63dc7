"""Which names were written since we listen, and what is admitted when that is not known."""

from __future__ import annotations

import time

import anyio
import pytest

from tests.servers import ask, running
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.tracking import WriteTracker

SINCE_EVER = float("-inf")


@pytest.mark.parametrize("version", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1"])
async def test_written_names_are_known_and_others_are_clean(version: str) -> None:
    """Writes, deletions, expiry and renames, in any database, with any bytes in the name."""
    async with running(version) as process:
        server = await Server.open(process.address)
        await ask(process, "MSET", "old", "1", "gone", "1", "moved", "1", "read", "1")
        async with WriteTracker().running(server) as tracker:
            assert tracker.available
            await ask(process, "SET", b"\x00\r\n", "1", db=3)
            await ask(process, "DEL", "gone")
            await ask(process, "RENAME", "moved", "here")
            await ask(process, "GET", "read")
            await tracker.catch_up()

            assert all(map(tracker.changed_since, (b"\x00\r\n", b"gone", b"moved", b"here")))
            assert not any(map(tracker.changed_since, (b"old", b"read", b"never")))


async def test_a_write_is_known_as_soon_as_caught_up() -> None:
    """Whatever was answered before the call has come in when it returns."""
    async with running() as process:
        server = await Server.open(process.address)
        async with WriteTracker().running(server) as tracker, server.link() as link:
            for number in range(500):
                await link.command("SET", f"k{number}", "x")
                await tracker.catch_up()
                assert tracker.changed_since(b"k%d" % number)


async def test_several_may_catch_up_at_once() -> None:
    """Each waits for its own answer."""
    async with running() as process:
        server = await Server.open(process.address)
        async with WriteTracker().running(server) as tracker:
            with anyio.fail_after(5):
                async with anyio.create_task_group() as group:
                    for _ in range(20):
                        group.start_soon(tracker.catch_up)
            assert tracker.reliable


async def test_a_read_that_was_sent_later_has_seen_the_write() -> None:
    """Only writes that may have come after the read stay."""
    async with running() as process:
        server = await Server.open(process.address)
        async with WriteTracker().running(server) as tracker:
            await ask(process, "MSET", "before", "1", "both", "1")
            await tracker.catch_up()
            read_started = time.monotonic()
            await ask(process, "SET", "both", "2")
            await tracker.catch_up()

            tracker.clean([b"before", b"both", b"other"], read_started)

            assert not tracker.changed_since(b"before")
            assert tracker.changed_since(b"both")
            assert tracker.changed_since(b"both", read_started)
            assert not tracker.changed_since(b"both", time.monotonic())


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
async def test_a_flush_changes_every_name_at_that_time(command: str) -> None:
    """Also those that were never named; what is read later is clean."""
    async with running() as process:
        server = await Server.open(process.address)
        async with WriteTracker().running(server) as tracker:
            await ask(process, "SET", "k", "1")
            await ask(process, command)
            await tracker.catch_up()

            assert tracker.changed_since(b"anything")
            assert not tracker.changed_since(b"anything", time.monotonic())
            assert tracker.reliable


async def test_a_broken_link_is_admitted() -> None:
    """From then on everything may have changed, whatever was known before."""
    async with running() as process:
        server = await Server.open(process.address)
        async with WriteTracker().running(server) as tracker:
            assert not tracker.changed_since(b"k")
            await ask(process, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await tracker.catch_up()

            assert tracker.lost
            assert not tracker.reliable
            assert tracker.changed_since(b"k")


async def test_too_many_names_are_admitted() -> None:
    """Memory is bounded; what cannot be kept is not guessed."""
    async with running() as process:
        server = await Server.open(process.address)
        async with WriteTracker(most_names=1000).running(server) as tracker:
            await ask(process, "DEBUG", "POPULATE", 900)
            await ask(process, "MSET", *[part for n in range(1200) for part in (f"k{n}", "x")])
            await tracker.catch_up()

            assert tracker.overflowed
            assert not tracker.reliable


async def test_a_user_who_may_not_track_leaves_it_unavailable() -> None:
    """No error: somebody else has to know what changed."""
    async with running("redis-7.0") as process:
        await ask(process, "ACL", "SETUSER", "default", "-client|tracking")
        server = await Server.open(process.address)
        async with WriteTracker().running(server) as tracker:
            assert not tracker.available
            assert not tracker.reliable
            await tracker.catch_up()


async def test_what_was_known_stays_known_after_the_block() -> None:
    """The end of a run is not a loss."""
    async with running() as process:
        server = await Server.open(process.address)
        tracker = WriteTracker()
        async with tracker.running(server):
            await ask(process, "SET", "k", "1")

        assert tracker.reliable
        assert tracker.changed_since(b"k", SINCE_EVER)
        assert not tracker.changed_since(b"other")

"""Other connections of ours at a server: who they are, and how those of a dead process are ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.servers import ask, running
from transfer.endpoint.redis.neighbours import (
    MOST_ANNOUNCED,
    Neighbour,
    Standing,
    connection_name,
    end_older,
    foreign_writers,
    neighbour_of,
    neighbours,
    writers_beside,
)
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.wire.dial import Dialer
from transfer.wire.link import Link

OURS, OTHER = "20261122-1931-7f3a", "20261122-1930-00ff"
GONE = connection_name(OURS, "old-host", 77)


@asynccontextmanager
async def named(
    server: ThrowawayServer, name: str, *, count: int = 1, db: int = 0, writes: bool = True
) -> AsyncIterator[list[Link]]:
    """Connections that say that they are another process'."""
    dialer = Dialer(server.address, name=name)
    links = [await dialer.dial(db=db, writes=writes) for _ in range(count)]
    try:
        yield links
    finally:
        for link in links:
            await link.close()


@pytest.mark.parametrize("host", ["web", "web-7", "a-1-2", "ip-10-0-0-8.eu.internal", "böse host\n", "-"])
@pytest.mark.parametrize("writes", [True, False])
def test_a_name_tells_job_host_and_process_whatever_the_host_is_called(host: str, writes: bool) -> None:
    """A host name may hold dashes and digits; what CLIENT SETNAME would refuse is replaced."""
    name = connection_name(OURS, host, 4711)
    line = f"id=12 addr=10.0.0.9:5000 laddr=1:2 fd=8 name={name}-{'w' * writes}15 age=3 idle=0 flags=N db=7 sub=0"

    told = neighbour_of(line)

    assert told is not None
    assert (told.job, told.pid, told.id, told.address, told.db) == (OURS, 4711, 12, "10.0.0.9:5000", 7)
    assert (told.writes, told.age_s) == (writes, 3)
    assert connection_name(told.job, told.host, told.pid) == name


@pytest.mark.parametrize("name", ["", "transfer-bench-1", "transfer-20261122-1931-7f3a", "celery", "transfer-2-a-1-2"])
def test_another_name_is_no_neighbour(name: str) -> None:
    """Whoever is named otherwise is none of ours."""
    assert neighbour_of(f"id=12 addr=10.0.0.9:5000 name={name} age=3 db=7") is None
    assert neighbour_of("nonsense") is None


def test_jobs_in_other_databases_are_not_in_the_way() -> None:
    """One that announces as many databases as can be announced may write into all; so may we."""

    def one(job: str, db: int, writes: bool = True) -> Neighbour:
        return Neighbour(job, "web", 7, db + 1, "", db, writes)

    many = [one(OTHER, db + 100) for db in range(MOST_ANNOUNCED)]

    assert writers_beside([one(OTHER, 3), one(OURS, 0), one(OTHER, 0, writes=False)], OURS, {0}) == []
    assert writers_beside([one(OTHER, 3), one(OTHER, 4)], OURS, {4, 5}) == [one(OTHER, 3)]
    assert writers_beside(many, OURS, {0}) == [many[0]]
    assert writers_beside([one(OTHER, 500)], OURS, set(range(MOST_ANNOUNCED + 1))) == [one(OTHER, 500)]


@pytest.mark.parametrize("version", ["redis-6.2", "redis-7.0", "valkey-9.1"])
async def test_a_writer_is_told_from_one_that_reads(version: str) -> None:
    """With its database, as the server shows them."""
    async with (
        running(version) as server,
        named(server, connection_name(OTHER, "web", 5), db=2),
        named(server, connection_name("20261122-1930-00aa", "web", 6), writes=False),
    ):
        opened = await Server.open(server.address, name=connection_name(OURS, "here", 1))

        seen = await neighbours(opened)
        living, dead, blind = await foreign_writers(opened, OURS, {2}, lambda _: Standing.ELSEWHERE)

    assert sorted((one.job, one.writes, one.db) for one in seen.found if one.job != OURS) == [
        ("20261122-1930-00aa", False, 0),
        (OTHER, True, 2),
    ]
    assert [(one.job, one.host, one.pid) for one in living] == [(OTHER, "web", 5)]
    assert (dead, blind) == ([], "")


async def test_what_an_earlier_process_left_is_ended_and_our_own_is_spared() -> None:
    """Also where the dead process had our host and our process id, as in a container that was started again."""
    mine = connection_name(OURS, "here", 1)
    async with (
        running() as server,
        named(server, GONE, count=3) as old,
        named(server, mine, count=9) as before,
        named(server, connection_name(OTHER, "here", 1)) as others,
    ):
        opened = await Server.open(server.address, name=mine)
        await opened.announce([0, 1])

        ended = await end_older(opened, OURS)

        left = await neighbours(opened)
        assert (ended.gone, ended.left, ended.blind) == (12, (), "")
        assert sorted((one.job, one.db) for one in left.found if one.writes) == [(OTHER, 0), (OURS, 0), (OURS, 1)]
        for link in (*old, *before):
            with pytest.raises(Exception, match="connection"):
                await link.command("PING")
        assert await others[0].command("PING") == b"PONG"
        await opened.withdraw()


async def test_late_bytes_of_an_ended_connection_write_nothing() -> None:
    """Half a command lay in the server's buffer; its other half comes after the end and finds nobody."""
    async with running() as server, named(server, GONE) as (old,):
        await old._stream.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nol")
        opened = await Server.open(server.address, name=connection_name(OURS, "here", 1))

        assert (await end_older(opened, OURS)).gone == 1
        await ask(server, "SET", "k", "new")
        with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
            await old._stream.send(b"d\r\n")
            await old._stream.receive()

        assert await ask(server, "GET", "k") == b"new"


async def test_a_user_who_may_not_look_or_kill_is_told() -> None:
    """Without CLIENT LIST nothing is known, and a sentence says so; without CLIENT KILL they are left, and named."""
    async with running() as server, named(server, GONE, count=2):
        opened = await Server.open(server.address, name=connection_name(OURS, "here", 1))
        await ask(server, "ACL", "SETUSER", "default", "-client|kill")
        kept = await end_older(opened, OURS)
        await ask(server, "ACL", "SETUSER", "default", "-client|list")

        blind = await end_older(opened, OURS)
        _, _, said = await foreign_writers(opened, OURS, {0}, lambda _: Standing.ALIVE)

    assert (kept.gone, [one.pid for one in kept.left]) == (0, [77, 77])
    assert (blind.gone, blind.left) == (0, ())
    assert blind.blind == said
    assert "it could not be looked for other jobs at" in said
    assert "CLIENT LIST" in said

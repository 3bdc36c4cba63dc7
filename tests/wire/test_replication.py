"""A full sync over the wire: what is said, what is taken, and how each end of it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from tests.servers import VERSIONS, ask, running, serving
from transfer.codec.rdb.items import End, Keys
from transfer.codec.rdb.reader import RdbReader
from transfer.model.endpoint import Address
from transfer.model.errors import FullSyncError, GaveUpError, LinkError
from transfer.wire.dial import Dialer
from transfer.wire.replication import NOWHERE, FullSync

GRANTED = b"+FULLRESYNC %b 41\r\n" % (b"a" * 40)
MARK = b"".join(b"%d" % (n % 10) for n in range(40))


@asynccontextmanager
async def _acting(answers: list[list[bytes]]) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """A server that grants everything and answers each PSYNC with the next pieces of *answers*, then closes."""
    heard: list[bytes] = []
    left = iter(answers)

    async def serve(client: SocketStream) -> None:
        async with client:
            async for data in client:
                heard.append(data)
                if b"PSYNC" not in data:
                    await client.send(b"+PONG\r\n" if b"PING" in data else b"+OK\r\n")
                    continue
                for piece in next(left):
                    await client.send(piece)
                    await anyio.sleep(0.002)
                return

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
    async with serving(listener, serve):
        yield Address(port=port), heard


async def _taken(address: Address, timeout: float = 5.0, give_up_s: float = 5.0) -> bytes:
    sync = await FullSync.begin(Dialer(address, timeout=timeout), give_up_s=give_up_s)
    try:
        await sync.framed()
        taken = b""
        while data := await sync.receive():
            taken += data
        assert (sync.replid, sync.offset) == ("a" * 40, 41)
        return taken
    finally:
        await sync.close()


@pytest.mark.parametrize("disk", ["yes", "no"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_gives_its_rdb_in_both_framings(version: str, disk: str) -> None:
    """Whole, checked to its end, and nobody is put online."""
    options = ("--repl-diskless-sync", disk, "--repl-diskless-sync-delay", "0")
    async with running(version, *options) as server:
        await ask(server, "DEBUG", "POPULATE", 5000, "k", 100)
        sync = await FullSync.begin(Dialer(server.address), version="9.0.0" if version == "valkey-9.1" else "")
        assert bool(await sync.framed()) == (disk == "no")
        reader = RdbReader()
        while data := await sync.receive():
            reader.feed(data)
        items = list(reader.take())
        await sync.close()

        assert sum(len(item.keys) for item in items if isinstance(item, Keys)) == 5000
        assert isinstance(items[-1], End)
        assert items[-1].checksum == "right"
        assert sync.rdb_only


@pytest.mark.parametrize("size", [1, 7, 39, 40, 41, 1000])
async def test_the_mark_may_be_cut_anywhere(size: int) -> None:
    """The network splits where it likes; parts of the mark inside the data do not end it."""
    body = b"REDIS" + MARK[:39] + MARK[1:] + b"x" * 100
    sent = b"\n\n" + GRANTED + b"\n$EOF:" + MARK + b"\r\n" + body + MARK

    async with _acting([[sent[at : at + size] for at in range(0, len(sent), size)]]) as (address, _):
        assert await _taken(address) == body


async def test_all_in_one_piece_with_more_behind_it() -> None:
    """What follows the announced bytes, or the mark, is not of the RDB."""
    counted = GRANTED + b"$5\r\nREDIS*1\r\n$4\r\nPING\r\n"
    marked = GRANTED + b"$EOF:" + MARK + b"\r\nREDIS" + MARK + b"*1\r\n"

    async with _acting([[counted], [marked]]) as (address, _):
        assert [await _taken(address), await _taken(address)] == [b"REDIS", b"REDIS"]


@pytest.mark.parametrize("begun", [b"$500\r\nREDIS", b"$EOF:" + MARK + b"\r\nREDIS" + MARK[:39], b"", b"\n\n"])
async def test_an_early_end_is_told(begun: bytes) -> None:
    """A cut stream is never taken for a whole one."""
    async with _acting([[GRANTED + begun]]) as (address, _):
        with pytest.raises(LinkError):
            await _taken(address)


@pytest.mark.parametrize(
    "answer", [b"-NOPERM no\r\n", b"-ERR unknown command 'PSYNC'\r\n", b"+CONTINUE\r\n", GRANTED + b"-ERR BGSAVE\r\n"]
)
async def test_a_refusal_is_told_apart_from_a_loss(answer: bytes) -> None:
    """So the caller can go another way."""
    async with _acting([[answer]]) as (address, _):
        with pytest.raises(FullSyncError):
            await _taken(address)


async def test_not_now_is_asked_again() -> None:
    """A replica without its primary, or a server that loads, answers later; up to the give-up time."""
    later = [b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n"]
    loading = [b"-LOADING Redis is loading the dataset in memory\r\n"]
    async with _acting([later, loading, [GRANTED + b"$5\r\nREDIS"], *([later] * 50)]) as (address, heard):
        assert await _taken(address) == b"REDIS"
        assert sum(b"PSYNC" in data for data in heard) == 3
        with pytest.raises(GaveUpError):
            await _taken(address, give_up_s=0.3)


async def test_nobody_is_told_where_to_find_us() -> None:
    """The name resolves nowhere; the port is bound by us and nobody listens there; no ACK is ever sent."""
    async with _acting([[GRANTED + b"$5\r\nREDIS"]]) as (address, heard):
        sync = await FullSync.begin(Dialer(address), version="9.0.0")
        said = b"".join(heard)
        port = int(said.partition(b"listening-port\r\n")[2].split(b"\r\n")[1])

        with pytest.raises(OSError, match=r".+"):
            await anyio.connect_tcp("127.0.0.1", port)
        with pytest.raises(OSError, match=r".+"):
            await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port, reuse_port=False)
        assert NOWHERE.encode() in said
        assert b"rdb-only" in said
        assert b"9.0.0" in said
        await sync.close()
        assert not any(b"ACK" in data for data in heard)


async def test_a_silent_server_is_not_waited_for() -> None:
    """Every wait has its limit; an empty line is a sign of life."""
    async with _acting([[GRANTED] + [b"\n"] * 200 + [b"$5\r\nREDIS"]]) as (address, _):
        assert await _taken(address, timeout=0.3) == b"REDIS"

    async def silent(client: SocketStream) -> None:
        async with client:
            async for data in client:
                if b"PSYNC" not in data:
                    await client.send(b"+PONG\r\n" if b"PING" in data else b"+OK\r\n")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
    async with serving(listener, silent):
        with pytest.raises(LinkError):
            await _taken(Address(port=port), timeout=0.3)


@asynccontextmanager
async def _not_knowing(word: bytes, server: Address) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """*server* as one that has never heard of *word*; all that it was sent."""
    heard: list[bytes] = []

    async def pass_on(here: SocketStream, there: SocketStream) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for data in here:
                heard.append(data)
                await there.send(data.replace(word, b"x" * len(word)))
        await there.aclose()

    async def serve(client: SocketStream) -> None:
        upstream = await anyio.connect_tcp(server.host, server.port)
        async with client, upstream, anyio.create_task_group() as group:
            group.start_soon(pass_on, client, upstream)
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                async for data in upstream:
                    await client.send(data)
            group.cancel_scope.cancel()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
    async with serving(listener, serve):
        yield Address(port=port), heard


@pytest.mark.parametrize("disk", ["yes", "no"])
async def test_a_server_without_rdb_only_never_hears_of_us_again(disk: str) -> None:
    """As servers before 7.0 are: the RDB is whole, we hang up with its last byte, and no write counts on us."""
    options = ("--repl-diskless-sync", disk, "--repl-diskless-sync-delay", "0")
    async with running("redis-7.0", *options) as server:
        await ask(server, "DEBUG", "POPULATE", 5000, "k", 100)
        async with _not_knowing(b"rdb-only", server.address) as (address, heard):
            sync = await FullSync.begin(Dialer(address))
            await sync.framed()
            reader = RdbReader()
            while data := await sync.receive():
                reader.feed(data)
            link = await server.link()
            await link.command("SET", "later", "v")
            assert await link.command("WAIT", 1, 50) == 0
            await link.close()
            items = list(reader.take())
            await sync.close()

        assert not sync.rdb_only
        assert sum(len(item.keys) for item in items if isinstance(item, Keys)) == 5000
        assert isinstance(items[-1], End)
        assert items[-1].checksum == "right"
        assert not any(b"ACK" in data for data in heard)

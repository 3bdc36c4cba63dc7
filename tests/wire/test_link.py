"""A link gives each command its own reply, or ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute

from tests.faults import Corrupt, Delay, HalfClose, Rate, Reset, Split, Stall, Swallow, Switch, proxy
from tests.servers import ask, running, serving
from transfer.model.endpoint import Address
from transfer.model.errors import (
    ForeignProtocolError,
    LinkError,
    OversizedReplyError,
    TransferError,
    UnreachableError,
)
from transfer.wire.dial import Dialer
from transfer.wire.link import ErrorReply, Link, Reply

REQUEST = (
    b"*3\r\n$3\r\nSET\r\n$3\r\n\r\n\0\r\n$5\r\na\r\nb\xff\r\n"
    b"*2\r\n$3\r\nGET\r\n$3\r\n\r\n\0\r\n"
    b"*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n"
    b"*2\r\n$4\r\nLPOP\r\n$3\r\n\r\n\0\r\n"
    b"*4\r\n$5\r\nRPUSH\r\n$1\r\nl\r\n$1\r\n1\r\n$0\r\n\r\n"
    b"*4\r\n$6\r\nLRANGE\r\n$1\r\nl\r\n$1\r\n0\r\n$2\r\n-1\r\n"
)
REPLIES = 6


@asynccontextmanager
async def scripted(handle: Callable[[ByteStream], Awaitable[None]]) -> AsyncIterator[Address]:
    """A server that does what *handle* does with each connection."""

    async def serve(client: ByteStream) -> None:
        async with client:
            await handle(client)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
    async with serving(listener, serve):
        yield Address(port=port)


async def raw_link(address: Address, timeout: float = 5, cap_bytes: int = 64 << 20) -> Link:
    """A link without the introduction that `Dialer` makes."""
    return Link(await anyio.connect_tcp(address.host, address.port), str(address), timeout, cap_bytes)


def comparable(replies: list[Reply]) -> list[Reply]:
    return [str(reply) if isinstance(reply, ErrorReply) else reply for reply in replies]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 64])
async def test_any_cut_of_the_bytes_gives_the_same_replies(most: int) -> None:
    """The network may split requests and replies anywhere."""
    async with (
        running() as server,
        proxy(server.address, Split(most, "replies"), Split(most, "requests"), seed=most) as cutting,
    ):
        link = await Dialer(cutting.address).dial()
        got = comparable(await link.ask(REQUEST, REPLIES))
        assert got[:3] == [b"OK", b"a\r\nb\xff", None]
        assert got[3].startswith("WRONGTYPE")
        assert got[4:] == [2, [b"1", b""]]
        await link.close()


async def test_a_request_may_come_in_parts() -> None:
    """Pieces of a request need not be joined, nor end where commands do."""
    async with running() as server:
        link = await server.link()
        got = await link.ask_parts([REQUEST[:7], REQUEST[7:50], REQUEST[50:]], REPLIES)
        assert got[0] == b"OK"
        assert link.sent_bytes > len(REQUEST)
        assert link.received_bytes > 0
        await link.close()


@pytest.mark.parametrize("position", range(0, 60, 4))
async def test_a_reset_anywhere_in_a_reply_is_a_link_error(position: int) -> None:
    """Whichever byte is the last, the link says that it broke and closes."""
    async with running() as server, proxy(server.address) as faulty:
        link = await Dialer(faulty.address).dial()
        faulty.arm(Reset(after_bytes=position % 37))
        with pytest.raises(LinkError, match="connection broke"):
            await link.ask(REQUEST, REPLIES)
        await refuses_reuse(link)


async def refuses_reuse(link: Link) -> None:
    assert link.closed
    with pytest.raises(LinkError, match="link is closed"):
        await link.command("PING")
    with pytest.raises(LinkError, match="link is closed"):
        await link.next_push()
    await link.close()


async def test_a_silent_server_is_given_up_in_time() -> None:
    """A connection that stays open and says nothing costs the time limit and no more."""
    async with running() as server, proxy(server.address) as faulty:
        link = await Dialer(faulty.address, timeout=0.2).dial()
        faulty.arm(Stall(after_bytes=3))
        with anyio.fail_after(5), pytest.raises(LinkError, match=r"no answer within 0\.2 s") as caught:
            await link.ask(REQUEST, REPLIES)
        assert caught.value.retryable
        await refuses_reuse(link)


async def test_patience_of_one_request_overrules_the_limit_of_the_link() -> None:
    """A request that is known to take long may be given longer."""
    async with running() as server, proxy(server.address, Delay(300)) as slow:
        link = await Dialer(slow.address, timeout=5).dial()
        with pytest.raises(LinkError, match=r"within 0\.05 s"):
            await link.ask(b"*1\r\n$4\r\nPING\r\n", 1, patience=0.05)
        other = await Dialer(slow.address, timeout=5).dial()
        other.timeout = 0.05
        assert await other.ask(b"*1\r\n$4\r\nPING\r\n", 1, patience=5) == [b"PONG"]
        await other.close()


async def test_a_server_that_reads_nothing_is_given_up_in_time() -> None:
    """Sending waits no longer than receiving does."""

    async def deaf(client: ByteStream) -> None:
        await anyio.sleep_forever()

    async with scripted(deaf) as address:
        link = await raw_link(address, timeout=0.2)
        with anyio.fail_after(5), pytest.raises(LinkError, match="no answer"):
            await link.ask(b"x" * (64 << 20), 1)
        await refuses_reuse(link)


async def test_a_cancelled_request_closes_the_link() -> None:
    """Its reply may still come, and must never be taken for another command's."""
    async with running() as server:
        link = await server.link()
        with anyio.move_on_after(0.05) as scope:
            await link.command("BLPOP", "nothing", 0)
        assert scope.cancelled_caught
        await refuses_reuse(link)


async def test_a_reply_above_the_cap_closes_the_link() -> None:
    """One reply never takes more memory than was allowed, however long it goes on."""
    async with running() as server:
        await ask(server, "SETRANGE", "big", 8 << 20, "x")
        link = await Dialer(server.address).dial(cap_bytes=1 << 20)
        with pytest.raises(OversizedReplyError) as caught:
            await link.command("GET", "big")
        assert caught.value.facts["cap"] == 1 << 20
        assert link.received_bytes < 4 << 20
        await refuses_reuse(link)


async def test_the_cap_is_for_one_reply_not_for_all() -> None:
    """Many replies of a megabyte pass a cap of two."""
    async with running() as server:
        await ask(server, "SETRANGE", "big", (1 << 20) - 1, "x")
        link = await Dialer(server.address).dial(cap_bytes=3 << 20)
        got = await link.ask(b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n" * 20, 20)
        assert [len(reply) for reply in got] == [1 << 20] * 20
        await link.close()


async def test_a_killed_server_is_a_link_error() -> None:
    """The process at the other end may vanish at any time."""
    async with running() as server:
        link = await server.link()
        await server.kill()
        with pytest.raises(LinkError):
            await link.command("PING")
        await refuses_reuse(link)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"*2\r\n+a\r\nb\r\n",
        b"*1\r\n" * 200_000,
        b"$-7\r\n",
        b":12x\r\n",
        b"+PONG\r\n+PONG\r\n",
    ],
)
async def test_what_is_not_an_answer_in_resp_is_foreign(answer: bytes) -> None:
    """HTTP, TLS alerts, broken or endless nesting, one reply too many: named, and the link is closed."""

    async def stranger(client: ByteStream) -> None:
        await client.receive()
        await client.send(answer)
        await anyio.sleep_forever()

    async with scripted(stranger) as address:
        link = await raw_link(address)
        with pytest.raises(ForeignProtocolError) as caught:
            await link.command("PING")
        assert not caught.value.retryable
        await refuses_reuse(link)


@pytest.mark.parametrize("count", [3333333333, 1152921504606846975, 4611686018427387903])
@pytest.mark.parametrize("kind", ["*", "$", "%", "~"])
async def test_a_declared_size_beyond_memory_is_refused(kind: str, count: int) -> None:
    """A hostile server cannot make us die of a number, whether it is refused or waited for in vain."""

    async def hostile(client: ByteStream) -> None:
        await client.receive()
        await client.send(f"{kind}{count}\r\n".encode())
        await anyio.sleep_forever()

    async with scripted(hostile) as address:
        link = await raw_link(address, timeout=0.5)
        with anyio.fail_after(5), pytest.raises(LinkError):
            await link.command("PING")
        await refuses_reuse(link)


async def test_pushes_wait_for_who_asks_for_them() -> None:
    """RESP3 tells of changed keys in between replies; neither is taken for the other."""
    async with running() as server:
        link = await Dialer(server.address).dial(resp3=True)
        assert await link.command("CLIENT", "TRACKING", "ON", "BCAST") == b"OK"
        await ask(server, "SET", "a", 1)
        assert await link.next_push() == [b"invalidate", [b"a"]]
        assert await link.ask(b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n2\r\n" * 3, 3) == [b"OK"] * 3
        assert await link.command("GET", "b") == b"2"
        assert await link.next_push() == [b"invalidate", [b"b"]]
        await link.close()


async def test_waiting_for_a_push_may_be_cancelled() -> None:
    """Nothing was asked for, so nothing is lost: the link goes on."""
    async with running() as server:
        link = await Dialer(server.address).dial(resp3=True)
        with anyio.move_on_after(0.05):
            await link.next_push()
        assert await link.command("PING") == b"PONG"
        await link.close()


async def test_a_push_link_tells_of_its_end() -> None:
    """Who waits for changes learns that none can be heard any more."""
    async with running() as server, proxy(server.address) as faulty:
        link = await Dialer(faulty.address).dial(resp3=True)
        faulty.cut_all()
        with anyio.fail_after(5), pytest.raises(LinkError, match="connection broke"):
            await link.next_push()
        assert link.closed


async def test_a_changed_byte_of_the_framing_is_noticed() -> None:
    """What is no RESP any more is not guessed at."""
    async with running() as server, proxy(server.address, seed=5) as faulty:
        await ask(server, "SET", "k", "v")
        link = await Dialer(faulty.address, timeout=0.5).dial()
        faulty.arm(Corrupt(after_bytes=0))
        with pytest.raises(LinkError):
            await link.command("GET", "k")
        assert faulty.fired
        assert link.closed


async def test_a_swallowed_reply_leaves_the_write_done() -> None:
    """Between send and answer lies the case that must be read back: the server did it, we do not know."""
    async with running() as server, proxy(server.address) as faulty:
        link = await Dialer(faulty.address).dial()
        faulty.arm(Swallow(after_messages=1, count=2))
        with pytest.raises(LinkError):
            await link.ask(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n" * 3, 3)
        assert await ask(server, "GET", "n") == b"3"


async def test_the_proxy_counts_messages_and_strikes_at_the_right_one() -> None:
    """A fault after the n-th reply lets exactly n through, whatever the replies look like."""
    async with running() as server, proxy(server.address) as faulty:
        for count in (1, 2, 3, 6):
            link = await Dialer(faulty.address).dial()
            before = faulty.messages["replies"]
            faulty.arm(Reset(after_messages=count))
            with pytest.raises(LinkError):
                await link.ask(REQUEST * 2, 2 * REPLIES)
            assert faulty.messages["replies"] - before == count
        assert faulty.connections == 4
        await faulty.until(lambda seen: seen.live == 0)


async def test_the_proxy_half_closes_refuses_and_limits() -> None:
    """The rest of the proxy's tricks, as a link sees them."""
    async with running() as server, proxy(server.address) as faulty:
        link = await Dialer(faulty.address).dial()
        faulty.arm(HalfClose(after_bytes=0))
        with pytest.raises(LinkError, match="the server closed it"):
            await link.command("PING")
        faulty.refusing = True
        with pytest.raises(LinkError):
            await Dialer(faulty.address).dial()
        faulty.refusing = False
        faulty.arm(Rate(200_000))
        await ask(server, "SETRANGE", "k", 40_000, "x")
        link = await Dialer(faulty.address).dial()
        start = anyio.current_time()
        assert len(await link.command("GET", "k")) == 40_001
        assert anyio.current_time() - start > 0.15
        await link.close()


async def test_the_proxy_switches_to_another_server() -> None:
    """After a switch old links are broken and new ones reach the other server."""
    async with running() as first, running() as second, proxy(first.address) as faulty:
        link = await Dialer(faulty.address).dial()
        await link.command("SET", "where", "first")
        faulty.arm(Switch(side="requests", after_messages=1, upstream=second.address))
        with pytest.raises(LinkError):
            await link.ask(b"*1\r\n$4\r\nPING\r\n" * 2, 2)
        assert await ask(faulty.address, "GET", "where") is None
        assert await ask(first, "GET", "where") == b"first"


async def test_the_proxy_stands_before_a_socket_too() -> None:
    """Both of its sides may be unix sockets."""
    async with running(unix=True) as server, proxy(server.address, path=f"{server.folder}/proxy.sock") as faulty:
        assert await ask(faulty.address, "PING") == b"PONG"
        faulty.arm(Reset(after_messages=1))
        with pytest.raises((LinkError, UnreachableError)):
            await ask(faulty.address, "PING")


async def test_every_failure_of_a_link_is_one_of_ours() -> None:
    """No exception of anyio or hiredis comes through, wherever the connection is cut."""
    async with running() as server, proxy(server.address, seed=3) as faulty:
        for position in range(25):
            faulty.disarm()
            faulty.arm(Reset(after_bytes=position))
            with pytest.raises(TransferError):
                await (await Dialer(faulty.address).dial()).ask(REQUEST, REPLIES)


async def test_a_peer_that_trickles_is_as_good_as_silent() -> None:
    """A line that never ends, a byte now and then: the link ends after its time limit, not never."""

    async def trickle(client: ByteStream) -> None:
        await client.send(b"+")
        while True:
            await anyio.sleep(0.05)
            await client.send(b"x")

    async with scripted(trickle) as address:
        link = await raw_link(address, timeout=0.5)
        with anyio.fail_after(3), pytest.raises(LinkError, match="no answer within"):
            await link.command("PING")

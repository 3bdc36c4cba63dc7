"""Sockets read and written past the event loop's transport."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from transfer.wire.direct import DirectStream


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[DirectStream, socket.socket]]:
    """A stream over a unix socket, and the other end of it."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        path = Path(folder) / "s"
        listener.bind(str(path))
        listener.listen()
        async with DirectStream(await anyio.connect_unix(path)) as stream:
            peer, _ = listener.accept()
            with peer:
                yield stream, peer


async def test_what_is_sent_arrives_and_what_arrives_is_received() -> None:
    """More than the socket's buffers hold, in both directions."""
    data = bytes(range(256)) * 8192
    async with connected() as (stream, peer), anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, peer.sendall, data)
        received = b""
        while len(received) < len(data):
            received += await stream.receive(1 << 20)
        group.start_soon(stream.send, data)
        echoed = b""
        while len(echoed) < len(data):
            echoed += await anyio.to_thread.run_sync(peer.recv, 1 << 20)

    assert received == data
    assert echoed == data


async def test_a_closed_stream_lets_nobody_wait() -> None:
    """Whoever reads is told, whoever reads later is, too."""
    async with connected() as (stream, _), anyio.create_task_group() as group:
        group.start_soon(_closed_soon, stream)
        for _ in range(2):
            with pytest.raises((anyio.ClosedResourceError, anyio.BrokenResourceError)):
                await stream.receive()


async def _closed_soon(stream: DirectStream) -> None:
    await anyio.wait_all_tasks_blocked()
    await stream.aclose()


async def test_a_peer_that_leaves_ends_the_stream() -> None:
    """At the end of the bytes, not before."""
    async with connected() as (stream, peer):
        peer.sendall(b"last")
        peer.close()

        assert await stream.receive() == b"last"
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_a_wait_that_is_cancelled_as_bytes_arrive_is_nobodys_failure() -> None:
    """The event loop's handler of failures hears nothing."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    async with connected() as (stream, peer):
        for _ in range(20):
            async with anyio.create_task_group() as group:
                group.start_soon(stream.receive)
                await anyio.wait_all_tasks_blocked()
                peer.sendall(b"x")
                asyncio.get_running_loop().call_soon(group.cancel_scope.cancel)
            with anyio.move_on_after(0):
                await stream.receive()

    assert told == []

"""A TCP proxy that holds everything back for a while:  python -m transfer.bench.delay HOST PORT DELAY_MS

    client -> received, stamped -> queue, in order -> sent once its stamp + delay has come -> server; and back likewise

It prints its port and ends when its stdin does.

Rule 1: chunks wait beside each other, not one after the other: a delay costs no bandwidth.
Rule 2: a queue holds QUEUED_CHUNKS; behind a full one the sender is not read from, so that memory is bounded.
Rule 3: an end of one direction is passed on after what was sent before it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from transfer.bench.process import python_environment
from transfer.model.endpoint import Address
from transfer.model.errors import UnreachableError

QUEUED_CHUNKS = 2_048
"""Of at most CHUNK bytes each: 512 MiB, what a link of 10 GB/s holds in 50 ms."""
CHUNK = 256 << 10

_Chunk = tuple[float, bytes]
_Broken = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


@asynccontextmanager
async def delayed(address: Address, round_trip_ms: float) -> AsyncIterator[Address]:
    """*address* as it looks from afar, through a proxy in a process of its own.

    Raises:
        UnreachableError: the proxy did not come up.
    """
    words = [sys.executable, "-m", "transfer.bench.delay", address.host, str(address.port), str(round_trip_ms / 2)]
    proxy = subprocess.Popen(  # noqa: ASYNC220 - returns when exec is done
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=python_environment()
    )
    assert proxy.stdin is not None
    assert proxy.stdout is not None
    try:
        line = await anyio.to_thread.run_sync(proxy.stdout.readline)
        if not line:
            raise UnreachableError("the delaying proxy did not start", where=str(address), hint="run it by hand")
        yield msgspec.structs.replace(address, host="127.0.0.1", port=int(line))
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(_end, proxy, proxy.stdin, proxy.stdout)


def _end(proxy: subprocess.Popen[bytes], *pipes: IO[bytes]) -> None:
    for pipe in pipes:
        pipe.close()
    try:
        proxy.wait(5)
    except subprocess.TimeoutExpired:
        proxy.kill()
        proxy.wait()


async def serve(host: str, port: int, delay_s: float) -> None:
    """Listen on a free port, print it, forward until stdin ends."""

    async def forward(client: SocketStream) -> None:
        async with client:
            with contextlib.suppress(*_Broken):
                async with await anyio.connect_tcp(host, port) as server, anyio.create_task_group() as both:
                    both.start_soon(_pump, client, server, delay_s)
                    both.start_soon(_pump, server, client, delay_s)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    print(listener.listeners[0].extra(SocketAttribute.local_port), flush=True)  # noqa: S610 - not Django's
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, forward)
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        group.cancel_scope.cancel()


async def _pump(source: SocketStream, target: SocketStream, delay_s: float) -> None:
    give, take = anyio.create_memory_object_stream[_Chunk](QUEUED_CHUNKS)
    async with anyio.create_task_group() as group:
        group.start_soon(_receive, source, give, delay_s)
        group.start_soon(_send, take, target)


async def _receive(source: SocketStream, give: MemoryObjectSendStream[_Chunk], delay_s: float) -> None:
    async with give:
        with contextlib.suppress(*_Broken):
            while True:
                data = await source.receive(CHUNK)
                await give.send((anyio.current_time() + delay_s, data))


async def _send(take: MemoryObjectReceiveStream[_Chunk], target: SocketStream) -> None:
    async with take:
        try:
            async for due, data in take:
                await anyio.sleep_until(due)
                await target.send(data)
            await target.send_eof()
        except _Broken:
            await anyio.aclose_forcefully(target)


if __name__ == "__main__":
    anyio.run(serve, sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000)

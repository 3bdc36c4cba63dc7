"""A user of the source, in a process of its own:  python -m transfer.bench.client HOST PORT REQUESTS_PER_S

It sends GET and SET in turn, paced, until its stdin ends, and prints [[second, milliseconds], ...] as JSON.

Rule 1: a request is sent when it is due, whether or not those before it are answered, as by many users that do not
        know of each other: one stall of 100 ms is seen by everybody it holds up, and by nobody after it.
Rule 2: a request counts from when it was sent: waking up late is this process's fault, not the server's.
Rule 3: it writes KEYS keys of its own, over and over, with values of one size.
"""

from __future__ import annotations

import json
import math
import select
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from transfer.bench.process import python_environment
from transfer.codec.resp import command
from transfer.model.endpoint import Address
from transfer.wire.dial import Dialer

KEYS = 100
PER_S = 1_000
_VALUE = b"v" * 100
_ANSWERS = (b"$100\r\n" + _VALUE + b"\r\n", b"+OK\r\n")
"""To a GET, to a SET."""
_CHUNK = 1 << 16
_PATIENCE_S = 120.0

Samples = list[tuple[float, float]]
"""(second of the monotonic clock at which it was sent, milliseconds until it was answered)"""


class Watcher:
    """A client that runs; `samples` is there once its block has ended."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.samples: Samples = []
        self._process = process

    def end(self) -> None:
        out, _ = self._process.communicate(b"")
        self.samples = [(at, ms) for at, ms in json.loads(out or b"[]")]


async def prepare(address: Address) -> None:
    """Write the client's keys, so that their number stays the same."""
    link = await Dialer(address).dial()
    await link.ask(b"".join(command("SET", _name(n), _VALUE) for n in range(KEYS)), KEYS)
    await link.close()


@asynccontextmanager
async def watching(address: Address, per_s: int = PER_S) -> AsyncIterator[Watcher]:
    """A client beside whatever the block does; from the first line on it has connected."""
    words = [sys.executable, "-m", "transfer.bench.client", address.host, str(address.port), str(per_s)]
    process = subprocess.Popen(  # noqa: ASYNC220 - returns when exec is done
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=python_environment()
    )
    watcher = Watcher(process)
    assert process.stdout is not None
    try:
        await anyio.to_thread.run_sync(process.stdout.readline)
        yield watcher
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(watcher.end)


def percentiles(samples: Samples, began: float, ended: float) -> dict[str, float]:
    """p50, p99, p99.9 and the largest of what was sent between two moments, in milliseconds."""
    inside = sorted(ms for at, ms in samples if began <= at <= ended)
    if not inside:
        return {"requests": 0.0}
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    found = {name: _at(inside, share) for name, share in shares.items()}
    return {**found, "max_ms": inside[-1], "requests": float(len(inside))}


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _name(number: int) -> bytes:
    return b"bench:client:%02d" % (number % KEYS)


def _run(host: str, port: int, per_s: int) -> Samples:
    with socket.create_connection((host, port), _PATIENCE_S) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print("connected", flush=True)
        return _converse(link, per_s)


def _converse(link: socket.socket, per_s: int) -> Samples:
    """Requests out when they are due, answers in when they come, until stdin ends."""
    requests = [command("SET", _name(n), _VALUE) if n % 2 else command("GET", _name(n)) for n in range(KEYS)]
    open_: deque[tuple[float, bytes]] = deque()  # when it was sent, what it will be answered
    samples: Samples = []
    began, number, got = time.monotonic(), 0, b""
    while True:
        wait_s = max(0.0, began + number / per_s - time.monotonic())
        ready = select.select([sys.stdin, link], [], [], wait_s)[0]
        if link in ready:
            got = _take(got + _received(link), open_, samples)
        if sys.stdin in ready:
            while open_:
                got = _take(got + _received(link), open_, samples)
            return samples
        now = time.monotonic()
        while began + number / per_s <= now:
            open_.append((time.monotonic(), _ANSWERS[number % 2]))
            link.sendall(requests[number % KEYS])
            number += 1


def _received(link: socket.socket) -> bytes:
    data = link.recv(_CHUNK)
    if not data:
        raise SystemExit("the server closed the connection")
    return data


def _take(got: bytes, open_: deque[tuple[float, bytes]], samples: Samples) -> bytes:
    """Note every whole answer in *got* and return the rest."""
    now, start = time.monotonic(), 0
    while open_ and len(got) - start >= len(open_[0][1]):
        sent, answer = open_.popleft()
        if not got.startswith(answer, start):
            raise SystemExit(f"the server answered {got[start : start + len(answer)]!r}")
        start += len(answer)
        samples.append((sent, (now - sent) * 1000))
    return got[start:]


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))

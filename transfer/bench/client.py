"""A user of the source, in a process of its own:  python -m transfer.bench.client HOST PORT REQUESTS_PER_S

It sends GET and SET in turn, paced, until its stdin ends, and prints [[second, milliseconds], ...] as JSON.

Rule 1: a request that had to wait for a slow one before it counts from when it was due, so that one stall of 100 ms
        is seen by all the users it would have met.
Rule 2: waking up late is this process's fault, not the server's: a request that was not held up by the one before
        counts from when it was sent.
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
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread

from transfer.bench.process import python_environment
from transfer.codec.resp import command
from transfer.model.endpoint import Address
from transfer.wire.dial import Dialer

KEYS = 100
PER_S = 1_000
_VALUE = b"v" * 100
_ANSWERS = {b"+OK\r\n", b"$100\r\n" + _VALUE + b"\r\n"}
_PATIENCE_S = 120.0

Samples = list[tuple[float, float]]
"""(second of the monotonic clock at which it was answered, milliseconds it took)"""


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
    """p50, p99, p99.9 and the largest of what was answered between two moments, in milliseconds."""
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
    requests = [command("SET", _name(n), _VALUE) if n % 2 else command("GET", _name(n)) for n in range(KEYS)]
    samples: Samples = []
    with socket.create_connection((host, port), _PATIENCE_S) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print("connected", flush=True)
        began, last, number = time.monotonic(), 0.0, 0
        while True:
            due = began + number / per_s
            wait_s = max(0.0, due - time.monotonic())
            if select.select([sys.stdin], [], [], wait_s)[0]:
                return samples
            sent = time.monotonic()
            _ask(link, requests[number % KEYS])
            answered = time.monotonic()
            since = due if last > due else sent
            samples.append((answered, (answered - since) * 1000))
            last, number = answered, number + 1


def _ask(link: Any, request: bytes) -> None:
    link.sendall(request)
    got = b""
    while got not in _ANSWERS:
        data = link.recv(4_096)
        if not data or got.startswith(b"-"):
            raise SystemExit(f"the server answered {got!r}")
        got += data


if __name__ == "__main__":
    print(json.dumps(_run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))

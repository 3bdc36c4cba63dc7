"""Data for copies under faults: made quickly, the same from the same seed, and read back quickly by redis-py."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread

from tests import oracle
from transfer.model.endpoint import Address

IN_2099_MS = 4_070_908_800_000
_AT_ONCE = 2000


def fill(address: Address, keys: int, seed: int = 0, db: int = 0, value_bytes: int = 20) -> None:
    """*keys* keys of five types, a third of them with a deadline far away."""
    chance = random.Random(seed)
    with oracle.client(address, db) as server, server.pipeline(transaction=False) as pipe:
        for number in range(keys):
            name, data = b"k%d" % number, chance.randbytes(value_bytes)
            match number % 10:
                case 6:
                    pipe.hset(name, mapping={b"a": data, b"b": b"%d" % number})
                case 7:
                    pipe.rpush(name, data, b"%d" % number)
                case 8:
                    pipe.sadd(name, *(b"%d" % chance.randrange(1 << 40) for _ in range(3)), data)
                case 9:
                    pipe.zadd(name, {data: chance.random(), b"m": number})
                case _:
                    pipe.set(name, data)
            if not number % 3:
                pipe.pexpireat(name, IN_2099_MS + number)
            if not number % _AT_ONCE:
                pipe.execute()
        pipe.execute()


def strings(address: Address, db: int = 0) -> dict[bytes, tuple[bytes | None, int]]:
    """name -> (value, absolute deadline or -1) where every key is a string; two reads, so not of one moment."""
    with oracle.client(address, db) as server:
        names = list(server.scan_iter(count=5000))
        found: dict[bytes, tuple[bytes | None, int]] = {}
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            with server.pipeline(transaction=False) as pipe:
                pipe.mget(some)
                for name in some:
                    pipe.pexpiretime(name)
                values, *deadlines = pipe.execute()
            found |= dict(zip(some, zip(values, deadlines, strict=True), strict=True))
        return found


def size(address: Address, db: int = 0) -> int:
    with oracle.client(address, db) as server:
        return int(server.dbsize())


async def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait until *holds*, which asks another process: nothing here can tell when it does."""
    with anyio.fail_after(within_s):
        while not await anyio.to_thread.run_sync(holds):  # noqa: ASYNC110
            await anyio.sleep(0.005)


async def beside(work: Callable[[], Awaitable[Any]], meanwhile: Callable[[], Awaitable[None]]) -> Any:
    """What *work* comes to, with *meanwhile* going on beside it; failures come out as themselves."""
    done: list[Any] = []
    failed: list[BaseException] = []

    async def run() -> None:
        try:
            done.append(await work())
        except Exception as error:
            failed.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await meanwhile()
    if failed:
        raise failed[0]
    return done[0]


class Stopwatch:
    """Seconds of a `with` block."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._began = time.monotonic()
        return self

    def __exit__(self, *failure: object) -> None:
        self.seconds = time.monotonic() - self._began


def commands(address: Address, name: str) -> int:
    """How often the server has carried out a command since it started."""
    with oracle.client(address) as server:
        return int(server.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0))

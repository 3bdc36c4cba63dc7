"""Peers in Python, each in a process of its own:  echo '{"way": ...}' | python -m transfer.bench.peers.scripts

    loop       redis-py, key by key: TYPE, PTTL, the reading command of the type, its writing command
    pipelines  redis-py on asyncio: SCAN, then 8 workers with DUMP + PTTL and RESTORE in pipelines
    migrate    one connection to the source: SCAN, the names it gave in one MIGRATE ... COPY KEYS

What is asked for comes on stdin (places with passwords do not belong into argv); one line of JSON goes out.
Rule 1: the clock runs from the first command to the last answer; imports and connecting are not counted.
Rule 2: `limit` ends the work after so many keys (0: all of them); `keys` says how many it were.
Rule 3: a name that SCAN gives twice is moved again and counted once, as a script would have to.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import hiredis

from transfer.codec.resp import command
from transfer.model.endpoint import Address
from transfer.wire.dial import Dialer
from transfer.wire.link import Link
from transfer.wire.url import parse_address

WORKERS = 8
_SCAN_COUNT = 1_000
_PIPELINE_KEYS = 500
_MIGRATE_TIMEOUT_MS = 120_000

Answer = dict[str, float]


async def loop(source: Address, target: Address, limit: int) -> Answer:
    """What a script does that never heard of pipelines."""
    import redis

    here: Any = redis.Redis(**_settings(source))
    there: Any = redis.Redis(**_settings(target))
    here.ping(), there.ping()
    began, seen = time.monotonic(), set()
    for name in here.scan_iter(count=_SCAN_COUNT):
        _copy_key(here, there, name)
        seen.add(name)
        if len(seen) == limit:
            break
    return {"began": began, "ended": time.monotonic(), "keys": len(seen)}


def _copy_key(here: Any, there: Any, name: bytes) -> None:
    kind, ttl_ms = here.type(name), here.pttl(name)
    if kind == b"string":
        there.set(name, here.get(name), px=ttl_ms if ttl_ms > 0 else None)
        return
    if kind == b"hash":
        there.hset(name, mapping=here.hgetall(name))
    elif kind == b"list":
        there.rpush(name, *here.lrange(name, 0, -1))
    elif kind == b"set":
        there.sadd(name, *here.smembers(name))
    elif kind == b"zset":
        there.zadd(name, dict(here.zrange(name, 0, -1, withscores=True)))
    if ttl_ms > 0:
        there.pexpire(name, ttl_ms)


async def pipelines(source: Address, target: Address, limit: int) -> Answer:
    """What a careful script does."""
    import redis.asyncio

    here: Any = redis.asyncio.Redis(**_settings(source))
    there: Any = redis.asyncio.Redis(**_settings(target))
    await here.ping(), await there.ping()
    began = time.monotonic()
    give, take = anyio.create_memory_object_stream[list[bytes]](WORKERS)
    seen: set[bytes] = set()
    async with anyio.create_task_group() as group:
        for _ in range(WORKERS):
            group.start_soon(_pipe_batches, here, there, take.clone())
        take.close()
        async with give:
            async for names in _batches(here, limit, seen):
                await give.send(names)
    ended = time.monotonic()
    await here.aclose(), await there.aclose()
    return {"began": began, "ended": ended, "keys": len(seen)}


async def _batches(here: Any, limit: int, seen: set[bytes]) -> AsyncIterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, names = await here.scan(cursor, count=_SCAN_COUNT)
        fresh = list(dict.fromkeys(name for name in names if name not in seen))
        fresh = fresh[: limit - len(seen)] if limit else fresh
        seen.update(fresh)
        for start in range(0, len(fresh), _PIPELINE_KEYS):
            yield fresh[start : start + _PIPELINE_KEYS]
        if not cursor or len(seen) == limit:
            return


async def _pipe_batches(here: Any, there: Any, batches: Any) -> None:
    async with batches:
        async for names in batches:
            reading = here.pipeline(transaction=False)
            for name in names:
                reading.dump(name)
                reading.pttl(name)
            read = await reading.execute()
            writing = there.pipeline(transaction=False)
            for name, dump, ttl_ms in zip(names, read[::2], read[1::2], strict=True):
                writing.restore(name, max(ttl_ms, 0), dump, replace=True)
            await writing.execute()


async def migrate(source: Address, target: Address, limit: int, batch: int = 1_000) -> Answer:
    """Server to server, as one would script it; the time of its SCAN is told apart."""
    link = await Dialer(source).dial()
    began, scan_s, cursor, keys = time.monotonic(), 0.0, b"0", 0
    while True:
        asked = time.monotonic()
        cursor, names = await link.command("SCAN", cursor, "COUNT", batch)
        scan_s += time.monotonic() - asked
        if names:
            keys += len(names) - await _migrate_batch(link, target, names)
        if cursor == b"0" or keys >= limit > 0:
            break
    ended = time.monotonic()
    await link.close()
    return {"began": began, "ended": ended, "keys": 0 if not limit else keys, "scan_s": scan_s}


async def _migrate_batch(link: Link, target: Address, names: list[bytes]) -> int:
    """A name that SCAN gave twice is BUSYKEY the second time; the others of its batch are moved all the same."""
    login: tuple[str, ...] = ()
    if target.password is not None:
        secret = target.password.reveal()
        login = ("AUTH2", target.username, secret) if target.username else ("AUTH", secret)
    words = ("MIGRATE", target.host, target.port, "", target.db or 0, _MIGRATE_TIMEOUT_MS, "COPY")
    request = command(*words, *login, "KEYS", *names)
    (answer,) = await link.ask(request, 1, patience=_MIGRATE_TIMEOUT_MS / 1000)
    if isinstance(answer, hiredis.ReplyError):
        if "BUSYKEY" in str(answer):
            return 1
        raise SystemExit(f"MIGRATE was refused: {answer}")
    return 0


def _settings(address: Address) -> dict[str, Any]:
    login = {"username": address.username or None, "password": address.password and address.password.reveal()}
    if address.path:
        return {**login, "unix_socket_path": address.path, "db": address.db or 0}
    tls = {"ssl": True, "ssl_ca_certs": address.cacert or None} if address.tls else {}
    return {**login, **tls, "host": address.host, "port": address.port, "db": address.db or 0}


_WAYS: dict[str, Callable[..., Awaitable[Answer]]] = {"loop": loop, "pipelines": pipelines, "migrate": migrate}


async def _main() -> None:
    asked = json.loads(sys.stdin.read())
    places = [parse_address(asked.pop(side)) for side in ("source", "target")]
    way = _WAYS[asked.pop("way")]
    answer = await way(*places, **asked)
    print(json.dumps(answer | {"rss_mib": _peak_rss_mib()}))


def _peak_rss_mib() -> float:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 2**10 for line in lines if line.startswith("VmHWM:")), 0.0)


if __name__ == "__main__":
    anyio.run(_main)

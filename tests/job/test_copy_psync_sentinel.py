"""Real Sentinels beside a full sync: they watch the source, and learn nothing they could act upon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.job.copying import copied
from tests.job.filling import fill
from tests.job.watching import Watching
from tests.servers import ask, binary_of, need, running
from transfer.endpoint.redis.throwaway import ThrowawayServer, throwaway
from transfer.model.errors import GuardError

DISKLESS = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
_SLOW_SAVE = ("--rdb-key-save-delay", "100")  # us for each key: Sentinels look at INFO meanwhile
_EVENTS = ("+slave ", "+sdown", "+odown", "+switch-master", "+failover", "+reboot", "+fix-slave-config", "+convert")


async def test_sentinels_do_not_adopt_what_asks_for_a_full_sync(tmp_path: Path) -> None:
    """No replica but the real one, no failover, nothing reconfigured; the copy is whole."""
    async with _watched() as (primary, replica, sentinels), running("redis-7.0") as target:
        fill(primary.address, 30_000)
        adopted = await _replicas(sentinels)
        seen: list[str] = []
        before = {sentinel: len(_log(sentinel)) for sentinel in sentinels}

        async def look() -> None:
            while True:
                listed = (await ask(primary, "INFO", "replication")).decode()
                seen.extend(line for line in listed.splitlines() if "slave1:" in line)
                await anyio.sleep(0.05)

        async with anyio.create_task_group() as group:
            group.start_soon(look)
            report = await copied(primary, target, tmp_path, route="psync")
            group.cancel_scope.cancel()

        assert len(seen) > 20, "the sync was over before anybody could look"
        assert (report.route, report.exit, report.verified) == ("psync", 0, True)
        assert await _replicas(sentinels) == adopted == {replica.address.port}
        for sentinel in sentinels:
            said = _log(sentinel)[before[sentinel] :]
            assert not [line for line in said if any(event in line for event in _EVENTS)]
        roles = [(await ask(server, "ROLE"))[0] for server in (primary, replica, target)]
        assert roles == [b"master", b"slave", b"master"]


async def test_a_watched_source_needs_consent(tmp_path: Path) -> None:
    """The plan says who watches; without consent nothing is written, and auto takes SCAN."""
    async with _watched() as (primary, _, _), running("redis-7.0") as target:
        fill(primary.address, 100)
        watching = Watching(consents=False)

        with pytest.raises(GuardError, match="sentinel: 3 Sentinels watch the source"):
            await copied(primary, target, tmp_path, watching, route="psync", allow=frozenset({"fork"}))

        assert await ask(target, "DBSIZE") == 0
        report = await copied(primary, target, tmp_path, allow=frozenset({"fork"}))
        assert (report.route, report.exit) == ("scan", 0)


@asynccontextmanager
async def _watched() -> AsyncIterator[tuple[ThrowawayServer, ThrowawayServer, list[ThrowawayServer]]]:
    """A primary, a replica and three Sentinels with short timings that know all of each other."""
    need("redis-7.0")
    binary = binary_of("redis-7.0")
    assert binary is not None
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(running("redis-7.0", *DISKLESS, *_SLOW_SAVE))
        replica = await stack.enter_async_context(running("redis-7.0"))
        await ask(replica, "REPLICAOF", primary.address.host, primary.address.port)
        await _until(replica, "INFO", "replication", says="master_link_status:up")
        sentinels = [
            await stack.enter_async_context(throwaway(binary, options=("--sentinel", "--save", ""))) for _ in range(3)
        ]
        for sentinel in sentinels:
            await ask(sentinel, "SENTINEL", "DEBUG", "info-period", 200)
            await ask(sentinel, "SENTINEL", "DEBUG", "publish-period", 200)
            await ask(sentinel, "SENTINEL", "MONITOR", "main", primary.address.host, primary.address.port, 2)
            await ask(sentinel, "SENTINEL", "SET", "main", "down-after-milliseconds", 2000)
        for sentinel in sentinels:
            await _until(sentinel, "INFO", "sentinel", says="status=ok,", and_says="slaves=1,sentinels=3")
        yield primary, replica, sentinels


async def _replicas(sentinels: list[ThrowawayServer]) -> set[int]:
    """Ports of all replicas that any Sentinel knows of."""
    known = [await ask(sentinel, "SENTINEL", "REPLICAS", "main") for sentinel in sentinels]
    return {int(row[row.index(b"port") + 1]) for rows in known for row in rows}


async def _until(server: ThrowawayServer, *words: str, says: str, and_says: str = "") -> None:
    with anyio.fail_after(20):
        while True:
            text = (await ask(server, *words)).decode()
            if says in text and and_says in text:
                return
            await anyio.sleep(0.05)


def _log(server: ThrowawayServer) -> list[str]:
    return server.log_path.read_text(errors="replace").splitlines()

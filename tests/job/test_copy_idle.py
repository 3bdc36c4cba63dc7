"""Idle times and use counts: carried where the target's memory policy goes by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.job.copying import copied
from tests.job.test_copy_strings import calls
from tests.job.watching import Watching
from tests.servers import VERSIONS, ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.errors import IncompatibleError
from transfer.model.report import Report

IDLE_S = 10_000
IN_2099_MS = 4_070_908_800_000


async def _aged(server: ThrowawayServer, *use: str | int, keys: int = 200) -> None:
    """*keys* keys, half of them hashes and a third with a deadline, all restored with *use*."""
    await ask(server, "SET", "text", "some text")
    await ask(server, "HSET", "hash", "a", "1", "b", "2")
    texts, hashes = await ask(server, "DUMP", "text"), await ask(server, "DUMP", "hash")
    for number in range(keys):
        deadline = ("0",) if number % 3 else (str(IN_2099_MS), "ABSTTL")
        dump = hashes if number % 2 else texts
        answer = await ask(server, "RESTORE", f"k{number}", deadline[0], dump, *deadline[1:], *use)
        assert answer == b"OK"
    await ask(server, "DEL", "text", "hash")


async def _uses(server: ThrowawayServer, word: str, keys: int = 200) -> list[int]:
    return [await ask(server, "OBJECT", word, f"k{number}") for number in range(keys)]


async def _copied(source: ThrowawayServer, target: ThrowawayServer, state: Path, **asked: Any) -> Report:
    return await copied(source, target, state, Watching(consents=True), batch=50, **asked)


@pytest.mark.parametrize("version", VERSIONS)
async def test_idle_times_arrive_where_they_decide_what_is_evicted(version: str, tmp_path: Path) -> None:
    """auto: the target evicts by LRU. Read before the payload, since that may count as use; strings too."""
    async with running(version) as source, running(version, "--maxmemory-policy", "allkeys-lru") as target:
        await _aged(source, "IDLETIME", IDLE_S)

        report = await _copied(source, target, tmp_path, verify="none")

        assert report.keys.written == 200
        assert all(IDLE_S <= idle < IDLE_S + 120 for idle in await _uses(target, "IDLETIME"))
        assert await ask(target, "PEXPIRETIME" if version != "redis-6.2" else "EXISTS", "k0") in (IN_2099_MS, 1)


async def test_a_proof_leaves_idle_times_alone_where_reading_does_not_count(tmp_path: Path) -> None:
    """CLIENT NO-TOUCH on both sides (7.2+)."""
    async with running() as source, running("valkey-9.1", "--maxmemory-policy", "volatile-lru") as target:
        await _aged(source, "IDLETIME", IDLE_S)

        report = await _copied(source, target, tmp_path, min_ttl_ms=1)

        assert (report.verified, report.keys.written) == (True, 200)
        assert all(idle >= IDLE_S for idle in await _uses(target, "IDLETIME"))
        assert await calls(source, "mget") == 1  # the question whether it may be used


async def test_use_counts_arrive_between_servers_that_keep_them(tmp_path: Path) -> None:
    """LFU on both sides; a count of 255 loses at most one a minute."""
    policy = ("valkey-9.1", "--maxmemory-policy", "allkeys-lfu")
    async with running(*policy) as source, running(*policy) as target:
        await _aged(source, "FREQ", 255)

        await _copied(source, target, tmp_path)

        assert all(freq >= 250 for freq in await _uses(target, "FREQ"))


@pytest.mark.parametrize(("target_policy", "keep"), [("noeviction", "auto"), ("allkeys-lru", "off")])
async def test_nothing_is_asked_where_nothing_is_kept(target_policy: str, keep: str, tmp_path: Path) -> None:
    """No OBJECT at the source, fresh keys at the target."""
    async with running() as source, running("valkey-9.1", "--maxmemory-policy", target_policy) as target:
        await _aged(source, "IDLETIME", IDLE_S)

        await _copied(source, target, tmp_path, keep_idle=keep)

        assert await calls(source, "object|idletime") == 0
        assert max(await _uses(target, "IDLETIME")) < IDLE_S


async def test_what_cannot_be_carried_is_said_or_refused(tmp_path: Path) -> None:
    """auto says why it is not; on refuses, exit 5."""
    async with running() as source, running("valkey-9.1", "--maxmemory-policy", "allkeys-lfu") as target:
        await _aged(source, "IDLETIME", IDLE_S, keys=3)
        watching = Watching(consents=True)

        await copied(source, target, tmp_path, watching)

        assert watching.plan is not None
        assert any("idle times are not carried: the target goes by use counts" in note for note in watching.plan.notes)
        with pytest.raises(IncompatibleError, match="cannot be carried"):
            await copied(source, target, tmp_path, keep_idle="on")

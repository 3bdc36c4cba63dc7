"""The pace of a copy between real servers: who is spared, what holds it back, and how it is changed meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from tests import oracle
from tests.cli.running import Said, run
from tests.faults import Stall, proxy
from tests.job import copying
from tests.job.filling import beside, fill, size, until
from tests.job.test_copy_strings import calls
from tests.job.watching import Watching
from tests.rdbfiles import saved
from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.job.importing import run_import
from transfer.model.endpoint import Address
from transfer.model.errors import GuardError, IncompatibleError
from transfer.model.plan import CopyRequest
from transfer.model.report import Report
from transfer.pipeline.pace import Pace
from transfer.plan.files import plan_import

_KEYS = 60_000
copied = partial(copying.copied, pace="polite")
_CLIENT = """
import json, random, select, sys, time
import redis
client = redis.Redis.from_url(sys.argv[1])
client.ping()
print("begun", flush=True)
took = []
while not select.select([sys.stdin], [], [], 0)[0]:
    began = time.perf_counter()
    client.get("k%d" % (random.randrange(1000) * 10))
    took.append(time.perf_counter() - began)
    time.sleep(0.0005)
print(json.dumps(sorted(took)))
"""


class _Client:
    """A client of the source in a process of its own; `p99_ms` once it has ended."""

    p99_ms = 0.0


@asynccontextmanager
async def _client_beside(server: ThrowawayServer) -> AsyncIterator[_Client]:
    client = _Client()
    command = [sys.executable, "-c", _CLIENT, server.url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # noqa: ASYNC220 - it only starts here
        assert process.stdout is not None
        assert await anyio.to_thread.run_sync(process.stdout.readline) == "begun\n"
        try:
            yield client
        finally:
            took = json.loads(process.communicate("end\n")[0])
            client.p99_ms = took[int(len(took) * 0.99)] * 1000


def _held_back(report: Report) -> bool:
    return any("others used the source" in note for note in report.notes)


async def test_a_client_beside_it_is_spared_at_polite_pace(tmp_path: Path) -> None:
    """No request asks for more than 128 keys, its worst hundredth waits a few milliseconds, and the report says so."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await anyio.to_thread.run_sync(fill, source.address, _KEYS)
        async with _client_beside(source) as at_polite:
            polite = await copied(source, target, tmp_path)
        small = await calls(source, "scan")
        async with _client_beside(source):
            full = await copied(source, target, tmp_path, pace="max", on_conflict="replace", verify="none")
        large = await calls(source, "scan") - small

    assert (polite.keys.written, polite.verified) == (_KEYS, True)
    assert (_held_back(polite), _held_back(full)) == (True, False)
    assert small > 2 * _KEYS / 256 > _KEYS / 2000 + 10 > large
    assert 0 < at_polite.p99_ms < 50  # idle + 1 ms on an idle machine, which those that run tests are not


@pytest.mark.parametrize("places", [("source", "target"), ("source",)], ids=["two servers", "one"])
async def test_a_client_beside_a_verify_is_spared(places: tuple[str, ...], tmp_path: Path) -> None:
    """As beside a copy: names come a few at a time, unless nobody is to be spared."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        for server in (source, target):
            await anyio.to_thread.run_sync(fill, server.address, _KEYS)
        urls = [{"source": source, "target": target}[place].url for place in places]
        scans = []
        for pace in ("polite", "max"):
            before = await calls(source, "scan")
            async with _client_beside(source):
                said = await run("verify", *urls, "--pace", pace, "--json", state=tmp_path)
            assert (said.exit, said.result["verified"]) == (0, True), said
            scans.append(await calls(source, "scan") - before)

    assert scans[0] > 2 * _KEYS / 256 > _KEYS / 1000 + 10 > scans[1]


async def test_alone_a_polite_copy_is_held_back_by_nobody(tmp_path: Path) -> None:
    """Its own connections are not others, nor is a replica of the source."""
    async with running(*_PRIMARY) as source, running(*_PRIMARY) as target:
        port = source.address.port
        async with running(*_following(port)) as replica:
            await anyio.to_thread.run_sync(fill, source.address, 5_000)
            await until(lambda: size(replica.address) == 5_000)

            report = await copied(source, target, tmp_path)

    assert report.keys.written == 5_000
    assert not _held_back(report)


_PRIMARY = ("valkey-9.1", "--repl-diskless-sync-delay", "0")
"""Arguments of `running` for a server that gives its replicas their data at once."""


def _following(port: int) -> tuple[str, ...]:
    """Arguments of `running` for a replica of the server at *port*."""
    return ("valkey-9.1", "--replicaof", f"127.0.0.1 {port}")


async def test_a_user_who_may_not_look_around_is_polite(tmp_path: Path) -> None:
    """Without CLIENT LIST others are assumed; without PING its refusal is as good."""
    async with running() as source, running() as target:
        await anyio.to_thread.run_sync(fill, source.address, 500)
        await ask(source, "ACL", "SETUSER", "default", "-client|list", "-ping")

        report = await copied(source, target, tmp_path)

    assert report.keys.written == 500
    assert _held_back(report)


@contextlib.contextmanager
def _stopped(server: ThrowawayServer) -> Iterator[None]:
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


async def test_a_replica_of_the_target_that_stands_still_holds_the_copy_back(tmp_path: Path) -> None:
    """Writing waits, which is said once, and goes on when it has caught up."""
    async with running(*_PRIMARY) as source, running(*_PRIMARY) as target:
        await anyio.to_thread.run_sync(lambda: fill(source.address, 20_000, value_bytes=500))
        async with running(*_following(target.address.port)) as replica:
            await until(lambda: _has_replica(target))
            watching = Watching(consents=True)

            async def meanwhile() -> None:
                with _stopped(replica):
                    await until(lambda: bool(watching.warnings))
                    await anyio.sleep(0.5)
                    reached = size(target.address)
                    await anyio.sleep(0.5)
                    assert 0 < size(target.address) == reached < 20_000

            report = await beside(
                lambda: copied(
                    source,
                    target,
                    tmp_path,
                    watching,
                    max_target_lag_bytes=1 << 20,
                    bwlimit_bytes_per_s=4 << 20,
                    batch=100,
                    allow=frozenset({"busy-target"}),
                ),
                meanwhile,
            )

    assert (report.keys.written, report.verified) == (20_000, True)
    assert ["behind, more than --max-target-lag 1.0 MiB" in text for text in watching.warnings] == [True]


def _has_replica(server: ThrowawayServer) -> bool:
    with oracle.client(server.address) as asking:
        return "online" in repr(asking.info("replication").get("slave0"))


async def test_a_replica_of_the_source_is_read_in_its_place(tmp_path: Path) -> None:
    """The plan names it and how far it is behind; its primary is asked for no key."""
    async with (
        running(*_PRIMARY) as source,
        running(*_PRIMARY) as target,
        running(*_following(source.address.port)) as replica,
    ):
        await anyio.to_thread.run_sync(fill, source.address, 2_000)
        await until(lambda: size(replica.address) == 2_000 and _has_replica(source))
        watching = Watching(consents=True)
        before = [await calls(server, "scan") for server in (source, replica)]

        report = await copied(source, target, tmp_path, watching, read_from="replica")

        scans = [await calls(server, "scan") for server in (source, replica)]
    assert (report.keys.written, report.verified) == (2_000, True)
    assert scans[0] == before[0]
    assert scans[1] > before[1]
    assert watching.plan is not None
    assert watching.plan.source.place == str(replica.address)
    assert any(f"read from the replica {replica.address}: " in note for note in watching.plan.notes)


async def test_without_a_replica_there_is_nothing_to_read_from(tmp_path: Path) -> None:
    """Exit 5, and nothing was written."""
    async with running() as source, running() as target:
        with pytest.raises(IncompatibleError, match="no replica online"):
            await copied(source, target, tmp_path, read_from="replica")


async def test_a_replica_that_falls_behind_is_a_hazard_and_then_waited_for(tmp_path: Path) -> None:
    """Its link stalls: refused without --allow replica-lag; with it the copy goes on once the replica has caught up."""
    async with running(*_PRIMARY) as source, running(*_PRIMARY) as target, proxy(source.address) as between:
        await anyio.to_thread.run_sync(fill, source.address, 2_000)
        async with running(*_following(between.address.port)) as replica:
            await until(lambda: size(replica.address) == 2_000 and _has_replica(source))
            between.arm(Stall())
            await until(lambda: _silent_s(source) > 1)
            asked: dict[str, Any] = {"read_from": "replica", "max_replica_lag_ms": 1_000}

            with pytest.raises(GuardError, match="replica-lag"):
                await copied(source, target, tmp_path, Watching(consents=False), **asked)
            held = size(target.address)
            watching = Watching(consents=False)

            async def meanwhile() -> None:
                await until(lambda: bool(watching.warnings))
                between.release()

            report = await beside(
                lambda: copied(
                    source,
                    target,
                    tmp_path,
                    watching,
                    allow=frozenset({"replica-lag", "busy-target"}),
                    rate_keys_per_s=1_000,
                    **asked,
                ),
                meanwhile,
            )

    assert held == 0
    assert (report.keys.written, report.verified) == (2_000, True)
    assert [text for text in watching.warnings if "more than --max-replica-lag 1.0s" in text]


def _silent_s(server: ThrowawayServer) -> int:
    with oracle.client(server.address) as asking:
        return int(dict(asking.info("replication").get("slave0", {})).get("lag", 0))


async def test_the_pace_is_changed_while_it_runs(tmp_path: Path) -> None:
    """From another shell: the run obeys within a moment, and says what its pace is."""
    async with running() as source, running() as target:
        await anyio.to_thread.run_sync(fill, source.address, 5_000)
        watching = Watching(consents=True)
        said: list[Said] = []

        async def jobs(verb: str, *words: str) -> Said:
            return await run("jobs", verb, watching.job, *words, state=tmp_path, TRANSFER_STATE=str(tmp_path))

        async def meanwhile() -> None:
            await until(lambda: size(target.address) > 0)
            said.append(await jobs("pace", "--json"))
            said.append(await jobs("pace", "--bwlimit", "50MiB/s", "--rate", "200/s", "--json"))
            said.append(await jobs("show", "--json"))
            said.append(await jobs("show"))
            said.append(await jobs("pace", "--pace", "max", "--rate", "none"))

        with anyio.fail_after(60):
            report = await beside(
                lambda: copied(source, target, tmp_path, watching, rate_keys_per_s=10, batch=100), meanwhile
            )

    slow, faster, shown, text, lifted = said
    assert [one.exit for one in said] == [0] * 5, said
    assert (slow.result["data"]["pace"]["rate"], slow.result["data"]["pace"]["pace"]) == (10, "polite")
    assert faster.result["data"]["obeyed"] is True
    assert (faster.result["data"]["pace"]["rate"], faster.result["data"]["pace"]["bwlimit"]) == (200, 50 << 20)
    assert shown.result["data"]["pace"]["rate"] == 200
    assert "rate 200 keys/s, bwlimit 50.0 MiB/s" in text.out
    assert lifted.out.strip().endswith("max, bwlimit 50.0 MiB/s")
    assert (report.keys.written, report.verified) == (5_000, True)


@pytest.mark.parametrize(("route", "rate"), [("scan", 1000), ("psync", 1000), ("file", 1000), ("scan", 3)])
async def test_a_rate_is_kept_key_by_key_not_page_by_page(
    route: str, rate: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No batch holds more than a tenth of a second's keys; at the least one."""
    kept, batches = Pace.wait, list[int]()

    async def noted(self: Pace, keys: int, size_bytes: int) -> None:
        batches.append(keys)
        await kept(self, keys, size_bytes)

    monkeypatch.setattr(Pace, "wait", noted)
    keys = rate if rate > 100 else 6
    async with running("redis-7.0", "--repl-diskless-sync-delay", "0") as source, running() as target:
        fill(source.address, keys)
        pace: dict[str, Any] = {"rate_keys_per_s": rate, "pace": "max"}
        if route == "file":
            path = str(await saved(source, tmp_path / "d.rdb"))
            request = CopyRequest(
                source=Address(scheme="rdb", path=path),
                target=target.address,
                state_dir=str(tmp_path),
                rate_keys_per_s=rate,
            )
            report = await run_import(request, Watching(consents=True), plan_import)
        else:
            report = await copied(source, target, tmp_path, route=route, allow=frozenset({"fork"}), **pace)

    assert (report.exit, report.keys.written) == (0, keys)
    assert 0 < max(batches) <= max(1, rate // 10)
    assert sum(batches) == keys


async def test_a_bandwidth_is_kept_by_small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once sizes are known, a batch is a tenth of a second's bytes; they are estimates, so twice as much is fine."""
    kept, batches = Pace.wait, list[int]()

    async def noted(self: Pace, keys: int, size_bytes: int) -> None:
        batches.append(size_bytes)
        await kept(self, keys, size_bytes)

    monkeypatch.setattr(Pace, "wait", noted)
    async with running() as source, running() as target:
        with oracle.client(source.address) as client, client.pipeline(transaction=False) as pipe:
            for number in range(2000):
                pipe.set(f"k{number}", os.urandom(1000))
            pipe.execute()
        report = await copied(source, target, tmp_path, bwlimit_bytes_per_s=1 << 20, batch=500, pace="max")

    assert (report.exit, report.keys.written) == (0, 2000)
    assert max(batches[len(batches) // 2 :]) <= 2 * (1 << 20) // 10

"""A run that is told to stop, or is given little memory: what it says is what is there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from tests import oracle
from tests.cli.running import COMMAND, environment_for
from tests.faults import FaultProxy, Stall, proxy
from tests.job.filling import Stopwatch, commands, fill, size, until
from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer

KEYS = 4000
MIB = 1 << 20


Place = ThrowawayServer | FaultProxy


class Copying:
    """`transfer copy` in a process of its own; `result` is its last line, once it has ended."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process
        self.result: dict[str, Any] = {}

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self, within_s: float = 30) -> int:
        said = b""
        assert self.process.stdout is not None
        with anyio.fail_after(within_s):
            async for data in self.process.stdout:
                said += data
            code = await self.process.wait()
        self.result = json.loads(said.splitlines()[-1])
        assert (self.result["type"], self.result["exit"]) == ("result", code)
        counts = self.result["keys"]
        assert counts.pop("read") == sum(counts.values())
        return code


def _url(place: Place) -> str:
    return place.url if isinstance(place, ThrowawayServer) else f"redis://{place.address.host}:{place.address.port}"


@asynccontextmanager
async def copying(source: Place, target: Place, state: Path, *flags: str) -> AsyncIterator[Copying]:
    async with started("copy", _url(source), _url(target), *flags, state=state) as run:
        yield run


@asynccontextmanager
async def started(*words: str, state: Path) -> AsyncIterator[Copying]:
    command = [*COMMAND, *words, "--json", "--state", str(state)]
    async with await anyio.open_process(
        command, env=environment_for(state), stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    ) as process:
        try:
            yield Copying(process)
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("form", ["auto", "logical"])
async def test_a_signal_drains(number: signal.Signals, code: int, form: str, tmp_path: Path) -> None:
    """What is in flight is finished; the keys counted as written are those that are there, and they are right."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with copying(source, target, tmp_path, "--rate", "2000/s", "--batch", "100", "--format", form) as run:
            await until(lambda: size(target.address) > 300)
            run.tell(number)
            with Stopwatch() as watch:
                assert await run.end() == code

        assert watch.seconds < 2
        assert 300 < size(target.address) < KEYS
        assert run.result["keys"]["written"] == size(target.address)
        assert not run.result["verified"]
        here, there = oracle.contents(source.address), oracle.contents(target.address)
        assert there == {name: here[name] for name in there}


async def test_a_stopped_run_is_gone_on_with(tmp_path: Path) -> None:
    """`transfer resume`: what was acknowledged is not sent again, and the counts are of the whole job."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with copying(source, target, tmp_path, "--rate", "3000/s", "--batch", "100") as run:
            await until(lambda: size(target.address) > 300)
            run.tell(signal.SIGTERM)
            await run.end()
        there = commands(target.address, "restore")

        async with started("resume", run.result["job"], state=tmp_path) as run:
            assert await run.end() == 0

        assert run.result["keys"]["written"] == KEYS
        assert commands(target.address, "restore") - there <= KEYS - there + 100
        oracle.assert_same(source.address, target.address)


async def test_a_time_limit_drains(tmp_path: Path) -> None:
    """--max-duration: exit 8, what was written is said and there."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        flags = ("--rate", "2000/s", "--batch", "100", "--max-duration", "1s")
        async with copying(source, target, tmp_path, *flags) as run:
            assert await run.end() == 8

        assert 0 < run.result["keys"]["written"] == size(target.address) < KEYS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_told_twice_a_run_ends_at_once(number: signal.Signals, tmp_path: Path) -> None:
    """Nothing can be drained into a target that does not answer; the second signal does not wait for it."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with copying(source, target, tmp_path, "--rate", "2000/s", "--batch", "100") as run:
            await until(lambda: size(target.address) > 300)
            os.kill(target.pid, signal.SIGSTOP)
            try:
                await anyio.sleep(0.3)
                run.tell(number)
                await anyio.sleep(0.3)
                assert run.process.returncode is None
                run.tell(number)
                with Stopwatch() as watch:
                    assert await run.end() == 128 + number
            finally:
                os.kill(target.pid, signal.SIGCONT)
        assert watch.seconds < 2


async def test_told_once_a_run_does_not_wait_for_a_dead_target(tmp_path: Path) -> None:
    """A drain that makes no headway is cut: 2 s after the signal the process is gone."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with copying(source, target, tmp_path, "--rate", "2000/s", "--batch", "100") as run:
            await until(lambda: size(target.address) > 300)
            await target.kill()
            await anyio.sleep(0.3)
            run.tell(signal.SIGTERM)
            with Stopwatch() as watch:
                assert await run.end() == 143
        assert watch.seconds < 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_drain_does_not_wait_for_a_stalled_server(
    number: signal.Signals, code: int, side: str, tmp_path: Path
) -> None:
    """The connection stays open and says nothing: what is in flight is cut within 2 s, and no process is left."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        stalled, other = (source, target) if side == "source" else (target, source)
        async with proxy(stalled.address) as between:
            places = (between, other) if side == "source" else (other, between)
            async with copying(*places, tmp_path, "--rate", "2000/s", "--batch", "100") as run:
                await until(lambda: size(target.address) > 300)
                between.arm(Stall())
                await anyio.sleep(0.3)
                children = _children_of(run.process.pid)
                run.tell(number)
                with Stopwatch() as watch:
                    assert await run.end() == code
        assert watch.seconds < 2
        assert not set(children) & set(_children_of(1))
        assert 300 < run.result["keys"]["written"] <= size(target.address) < KEYS


def _children_of(pid: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_bytes().rpartition(b")")[2].split()[1])
    return [child for child, parent in parents.items() if parent == pid]


async def test_a_signal_ends_a_wait_for_room(tmp_path: Path) -> None:
    """A full target is waited for; the wait is no reason to ignore a signal."""
    async with running() as source, running("valkey-9.1", "--maxmemory", "8mb") as target:
        fill(source.address, 200, value_bytes=100_000)
        async with copying(source, target, tmp_path, "--on-full", "wait") as run:
            await until(lambda: size(target.address) > 20)
            await anyio.sleep(1)
            run.tell(signal.SIGINT)
            with Stopwatch() as watch:
                assert await run.end() == 130
        assert watch.seconds < 2
        assert run.result["keys"]["written"] == size(target.address)


@pytest.mark.parametrize(
    ("budget_mib", "flags"), [(64, ()), (256, ()), (64, ("--format", "logical", "--verify", "none"))]
)
async def test_memory_stays_within_what_was_given(budget_mib: int, flags: tuple[str, ...], tmp_path: Path) -> None:
    """300 values of 2 MiB, copied and compared: peak RSS <= --max-memory + 100 MiB."""
    async with running() as source, running() as target:
        await ask(source, "SET", "v0", os.urandom(2 * MIB))
        with oracle.client(source.address) as client, client.pipeline(transaction=False) as pipe:
            for number in range(1, 300):
                pipe.execute_command("COPY", "v0", f"v{number}")
                pipe.setrange(f"v{number}", 0, f"{number:010d}")
            pipe.execute()
        async with copying(source, target, tmp_path, "--max-memory", f"{budget_mib}MiB", *flags) as run:
            assert await run.end(100) == 0

        assert run.result["keys"]["written"] == 300
        assert run.result["verified"] or flags
        assert run.result["peak_rss_bytes"] <= (budget_mib + 100) * MIB

"""Connections that break, stall or lie, servers that cannot go on: a copy finishes by itself, or says why not.

Every test holds its seed; `TRANSFER_FAULT_POINTS` (default 12) says at how many points of a run each side is cut.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
import redis

from tests import oracle
from tests.faults import Delay, FaultProxy, Rate, Reset, Stall, Swallow, proxy
from tests.job.copying import copied
from tests.job.filling import Stopwatch, beside, fill, size, until
from tests.job.watching import Watching
from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.endpoint import Secret
from transfer.model.errors import GaveUpError, RejectLimitError, TargetFullError
from transfer.model.plan import CopyPlan
from transfer.model.report import Report

POINTS = int(os.environ.get("TRANSFER_FAULT_POINTS", "12"))
KEYS = 600


class Arming(Watching):
    """Consents, and does something as soon as the plan is made: the preflight is over then."""

    def __init__(self, faulty: FaultProxy, *faults: object) -> None:
        super().__init__(consents=True)
        self.faulty, self.faults = faulty, faults
        self.before = 0

    def planned(self, plan: CopyPlan) -> None:
        super().planned(plan)
        self.before = self.faulty.messages["replies"]
        self.faulty.arm(*self.faults)  # type: ignore[arg-type]


def assert_whole(report: Report, keys: int = KEYS) -> None:
    """Everything was copied and proved; what was sent twice is counted as repeated."""
    counts = report.keys
    assert (report.exit, report.verified) == (0, True)
    assert counts.read == counts.written + counts.repeated
    assert counts.written <= keys <= counts.read


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_reset_after_any_reply_costs_nothing(side: str, tmp_path: Path) -> None:
    """RST after the k-th reply, k all over the copy and the check: finishes by itself, equal, counts add up."""
    seed = 1
    async with running() as source, running() as target:
        fill(source.address, KEYS, seed)
        faulted = source if side == "source" else target
        async with proxy(faulted.address, seed=seed) as faulty:
            places = (faulty.address, target) if side == "source" else (source, faulty.address)
            plain = Arming(faulty)
            await copied(*places, tmp_path, plain, batch=50)
            replies = faulty.messages["replies"] - plain.before
            points = [1, 2, *sorted(random.Random(seed).sample(range(3, replies), POINTS - 2))]

            for point in points:
                await ask(target, "FLUSHALL")
                faulty.disarm()
                watching = Arming(faulty, Reset(after_messages=point))

                report = await copied(*places, tmp_path, watching, batch=50, give_up_after_ms=10_000)

                assert len(faulty.fired) == points.index(point) + 1, (point, faulty)
                assert_whole(report)
                assert report.restarts == 0
                oracle.assert_same(source.address, target.address)


async def test_many_resets_in_one_run_are_survived(tmp_path: Path) -> None:
    """Both sides cut every few replies: nothing lost, nothing written twice."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with proxy(source.address) as left, proxy(target.address) as right:
            watching = Arming(left, Reset(after_messages=300, times=6))
            right.arm(Reset(after_messages=400, times=4))

            report = await copied(left.address, right.address, tmp_path, watching, batch=50)

        assert len(left.fired) == 6
        assert_whole(report)
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("form", ["auto", "logical"])
@pytest.mark.parametrize("known", [True, False], ids=["an empty target", "a target with keys of its own"])
async def test_a_write_whose_answer_was_lost_is_looked_up(known: bool, form: str, tmp_path: Path) -> None:
    """The batch arrived and the reply did not: its keys are found, counted once, as written, and none is a conflict."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        if not known:
            await ask(target, "SET", "foreign", "f")
        async with proxy(target.address) as faulty:
            # type commands ask 64 questions before they write 64 keys: some strike at an answer to a question
            watching = Arming(faulty, *(Swallow(after_messages=at) for at in (90, 97, 210, 333, 480, 620)))

            report = await copied(source, faulty.address, tmp_path, watching, batch=100, format=form)

        assert len(faulty.fired) == 6
        await ask(target, "DEL", "foreign")
        assert (report.keys.written, report.keys.already) == (KEYS, 0)
        assert_whole(report)
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_connection_gone_silent_is_noticed(side: str, tmp_path: Path) -> None:
    """Half-open: after --timeout a new connection is made; a run with a stall takes little longer than that."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with proxy((source if side == "source" else target).address) as faulty:
            places = (faulty.address, target) if side == "source" else (source, faulty.address)
            with Stopwatch() as plain:
                await copied(*places, tmp_path, batch=50)
            await ask(target, "FLUSHALL")
            watching = Arming(faulty, Stall(after_messages=200))
            with Stopwatch() as stalled:
                report = await copied(*places, tmp_path, watching, batch=50, timeout_ms=500)

        assert len(faulty.fired) == 1
        assert stalled.seconds - plain.seconds < 1.5  # twice the timeout, and half a second for a busy machine
        assert_whole(report)
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_server_that_stays_silent_ends_the_run(side: str, tmp_path: Path) -> None:
    """Nobody answers for --give-up-after: exit 4, what was written is said."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with proxy((source if side == "source" else target).address) as faulty:
            places = (faulty.address, target) if side == "source" else (source, faulty.address)
            watching = Arming(faulty, Stall(after_messages=200, times=1000))

            with Stopwatch() as watch, pytest.raises(GaveUpError) as failed:
                await copied(*places, tmp_path, watching, batch=50, timeout_ms=300, give_up_after_ms=1500)

        assert failed.value.exit_code == 4
        assert watch.seconds < 15
        assert watching.report is not None
        assert size(target.address) >= watching.report.keys.written


async def test_a_slow_target_holds_the_source_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in flight stays within the budget, give or take one portion, and nothing is sent twice."""
    from transfer.pipeline.budget import ByteBudget

    most = [0]
    correct = ByteBudget.correct

    def looked_at(self: ByteBudget, held_bytes: int, actual_bytes: int) -> None:
        correct(self, held_bytes, actual_bytes)
        most[0] = max(most[0], self.held_bytes)

    monkeypatch.setattr(ByteBudget, "correct", looked_at)
    total = 16 << 20
    async with running() as source, running() as target:
        fill(source.address, 1000, value_bytes=20_000)
        async with proxy(target.address) as faulty:
            watching = Arming(faulty, Rate(24 << 20, side="requests"), Delay(2))

            report = await copied(source, faulty.address, tmp_path, watching, max_memory_bytes=total, timeout_ms=2000)

        assert total // 4 < most[0] <= total + (8 << 20)
        assert report.keys.repeated == 0
        assert_whole(report, 1000)


async def test_a_full_target_is_waited_for(tmp_path: Path) -> None:
    """--on-full wait: room made meanwhile is used; the wait is said once."""
    async with running() as source, running("valkey-9.1", "--maxmemory", "8mb") as target:
        fill(source.address, 200, value_bytes=100_000)
        watching = Watching(consents=True)

        async def make_room() -> None:
            await until(lambda: bool(watching.warnings))
            await ask(target, "CONFIG", "SET", "maxmemory", "500mb")

        report = await beside(lambda: copied(source, target, tmp_path, watching, on_full="wait"), make_room)

        assert [text for text in watching.warnings if "OOM" in text] == watching.warnings
        assert len(watching.warnings) == 1
        assert "waiting up to 300 s" in watching.warnings[0]
        assert "maxmemory" in watching.warnings[0].partition("OOM")[2]
        assert_whole(report, 200)
        oracle.assert_same(source.address, target.address)


async def test_what_expired_at_the_target_is_said(tmp_path: Path) -> None:
    """Read from its INFO before and after; no loss, and it explains what is missing."""
    async with running() as source, running() as target:
        fill(source.address, 300)

        async def expire() -> None:
            await until(lambda: size(target.address) > 10)
            for number in range(20):
                await ask(target, "SET", f"short{number}", "x", "PX", 1)

        report = await beside(lambda: copied(source, target, tmp_path, rate_keys_per_s=100, batch=10), expire)

        assert any("keys reached their deadlines at the target" in note for note in report.notes), report.notes


async def test_a_target_that_stays_full_ends_the_run(tmp_path: Path) -> None:
    """--give-up-after without any room: exit 8, and the written keys are those that are there."""
    async with running() as source, running("valkey-9.1", "--maxmemory", "8mb") as target:
        fill(source.address, 200, value_bytes=100_000)
        watching = Watching(consents=True)

        with pytest.raises(TargetFullError) as failed:
            await copied(source, target, tmp_path, watching, on_full="wait", give_up_after_ms=1000)

        assert failed.value.exit_code == 8
        assert watching.report is not None
        assert watching.report.keys.written == size(target.address)


class Narrowing(Watching):
    """Takes the right to most names from the user as soon as the plan is made."""

    def __init__(self, server: ThrowawayServer) -> None:
        super().__init__(consents=True)
        self.server = server

    def planned(self, plan: CopyPlan) -> None:
        super().planned(plan)
        with oracle.client(self.server.address) as client:
            client.execute_command("ACL", "SETUSER", "narrow", "resetkeys", "~k1*")


async def test_a_run_that_ends_at_its_limit_of_rejects_counts_what_it_wrote(tmp_path: Path) -> None:
    """In the middle of a batch: what was written along with the refused keys is said."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        await ask(target, "ACL", "SETUSER", "narrow", "on", ">pw", "~*", "&*", "+@all")
        narrow = msgspec.structs.replace(target.address, username="narrow", password=Secret("pw"))
        watching = Narrowing(target)

        with pytest.raises(RejectLimitError):
            await copied(source, narrow, tmp_path, watching, max_rejects="5")

        assert watching.report is not None
        assert {reject.key[:2] for reject in watching.rejects}.isdisjoint({b"k1"})
        assert 0 < size(target.address) == watching.report.keys.written


async def test_a_huge_foreign_value_is_a_conflict_like_any_other(tmp_path: Path) -> None:
    """It is not taken to be looked at, and it does not end the run."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        await ask(target, "SETRANGE", "k0", 100 << 20, "x")
        await ask(target, "SETRANGE", "k1", 10 << 20, "x")

        report = await copied(source, target, tmp_path, on_conflict="fail", max_memory_bytes=64 << 20)

        assert (report.keys.conflicts, report.keys.written, report.exit) == (2, KEYS - 2, 3)
        assert await ask(target, "STRLEN", "k0") == (100 << 20) + 1


async def _make_busy(server: ThrowawayServer) -> None:
    """A script that runs until it is killed; the server answers BUSY meanwhile."""
    await ask(server, "CONFIG", "SET", "busy-reply-threshold", 10)
    link = await server.link()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(link.command, "EVAL", "while true do end", 0)
            await until(lambda: _says_busy(server))
            await anyio.sleep(0.7)
            assert await ask(server, "SCRIPT", "KILL") == b"OK"
            scope.cancel()
    await link.close()


def _says_busy(server: ThrowawayServer) -> bool:
    with oracle.client(server.address) as client:
        try:
            client.get("k0")
        except redis.ResponseError as error:
            return str(error).startswith("BUSY")
    return False


ALL_TYPES = ("string", "hash", "list", "set", "zset")


@pytest.mark.parametrize(
    ("side", "asked"),
    [
        ("source", {}),
        ("source", {"types": ALL_TYPES}),
        ("source", {"format": "logical"}),
        ("target", {}),
        ("target", {"format": "logical"}),
    ],
    ids=["source", "source by types", "source by values", "target", "target by values"],
)
async def test_a_server_busy_with_a_script_is_waited_for(side: str, asked: dict[str, Any], tmp_path: Path) -> None:
    """BUSY is no answer about a key: nothing is rejected, nothing left out."""
    async with running() as source, running() as target:
        fill(source.address, 3000)

        async def disturb() -> None:
            await until(lambda: size(target.address) > 500)
            await _make_busy(source if side == "source" else target)

        report = await beside(
            lambda: copied(source, target, tmp_path, batch=100, rate_keys_per_s=3000, **asked), disturb
        )

        assert_whole(report, 3000)
        oracle.assert_same(source.address, target.address)


async def test_a_target_that_cannot_save_is_waited_for(tmp_path: Path) -> None:
    """MISCONF goes away by itself when the disk has room again."""
    async with running("redis-7.0", "--stop-writes-on-bgsave-error", "yes") as source, running("redis-7.0") as target:
        fill(source.address, 3000)

        async def disturb() -> None:
            await until(lambda: size(target.address) > 500)
            target.folder.joinpath("dump.rdb").mkdir()  # a save cannot replace a directory
            await ask(target, "CONFIG", "SET", "save", "1 1")
            await until(lambda: _cannot_write(target))
            await ask(target, "CONFIG", "SET", "save", "")

        report = await beside(lambda: copied(source, target, tmp_path, batch=100, rate_keys_per_s=1500), disturb)

        assert_whole(report, 3000)
        oracle.assert_same(source.address, target.address)


def _cannot_write(server: ThrowawayServer) -> bool:
    with oracle.client(server.address) as client:
        return client.info("persistence")["rdb_last_bgsave_status"] == "err"

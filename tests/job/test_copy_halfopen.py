"""Connections that go silent without an end, in every phase of a run: noticed, and never waited for twice as long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests import oracle
from tests.faults import FaultProxy, Stall, proxy
from tests.job.copying import copied
from tests.job.filling import Stopwatch, fill
from tests.job.watching import Watching
from tests.servers import ask, running
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.tracking import WriteTracker
from transfer.job import copy
from transfer.model.errors import LinkError
from transfer.model.plan import CopyPlan

KEYS = 600
TIMEOUT_S = 1.0
LIMITS: dict[str, Any] = {"timeout_ms": 1000, "connect_timeout_ms": 1000, "give_up_after_ms": 5000, "batch": 50}
BUSY_MACHINE_S = 1.5


class Silencing(Watching):
    """Stalls every connection there is, once, in the middle of the copy."""

    def __init__(self, faulty: FaultProxy) -> None:
        super().__init__(consents=True)
        self.faulty = faulty

    def planned(self, plan: CopyPlan) -> None:
        super().planned(plan)
        self.faulty.arm(Stall(after_messages=150))


@pytest.mark.parametrize("phase", ["copy", "verify"])
@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_silent_connection_is_left_for_a_new_one(
    side: str, phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within twice --timeout the run goes on over a new connection, and ends whole."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with proxy((source if side == "source" else target).address) as faulty:
            places = (faulty.address, target) if side == "source" else (source, faulty.address)
            with Stopwatch() as plain:
                await copied(*places, tmp_path, **LIMITS)
            await ask(target, "FLUSHALL")
            watching = Silencing(faulty) if phase == "copy" else Watching(consents=True)
            if phase == "verify":
                prove = copy.prove

                async def silenced(*parts: Any, **more: Any) -> None:
                    faulty.arm(Stall(after_messages=20))
                    await prove(*parts, **more)

                monkeypatch.setattr(copy, "prove", silenced)
            with Stopwatch() as stalled:
                report = await copied(*places, tmp_path, watching, **LIMITS)

        assert len(faulty.fired) == 1
        assert stalled.seconds - plain.seconds < 2 * TIMEOUT_S + BUSY_MACHINE_S
        assert (report.exit, report.verified) == (0, True)
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("message", [1, 3, 12, 30, 45])
@pytest.mark.parametrize("side", ["source", "target"])
async def test_silence_before_the_plan_ends_the_run_at_once(side: str, message: int, tmp_path: Path) -> None:
    """Nothing was promised yet: exit 4 within twice the time limit, wherever in the preflight it strikes."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with proxy((source if side == "source" else target).address) as faulty:
            places = (faulty.address, target) if side == "source" else (source, faulty.address)
            faulty.arm(Stall(after_messages=message))

            with Stopwatch() as watch, pytest.raises(LinkError) as failed:
                await copied(*places, tmp_path, **LIMITS)

        assert failed.value.exit_code == 4
        assert watch.seconds < 2 * TIMEOUT_S + BUSY_MACHINE_S
        assert await ask(target, "DBSIZE") == 0


async def test_a_silent_tracking_connection_is_noticed() -> None:
    """Nobody asks anything over it: signs of life are asked for, and what was not heard is not taken for silence."""
    async with running() as process, proxy(process.address) as faulty:
        server = await Server.open(faulty.address, timeout=0.4)
        tracker = WriteTracker()
        async with tracker.running(server):
            await anyio.sleep(1.0)  # longer than the limit: PONGs keep it
            assert tracker.reliable
            with Stopwatch() as watch, anyio.fail_after(5):
                faulty.arm(Stall())
                while not tracker.lost:  # noqa: ASYNC110 - it sets no event
                    await anyio.sleep(0.01)

        assert watch.seconds < 2 * 0.4 + 0.3
        assert not tracker.reliable

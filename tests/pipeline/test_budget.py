"""The byte budget: nothing is held beyond it, nobody starves."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from transfer.pipeline.budget import ByteBudget


async def _settled() -> None:
    await anyio.wait_all_tasks_blocked()


async def test_a_request_waits_until_it_fits() -> None:
    """What was held is never more than the total."""
    budget = ByteBudget(100)
    await budget.acquire(80)

    async with anyio.create_task_group() as group:
        group.start_soon(budget.acquire, 30)
        await _settled()
        assert budget.held_bytes == 80
        budget.release(80)
        await _settled()

    assert budget.held_bytes == 30


async def test_a_large_request_is_not_overtaken_by_small_ones() -> None:
    """First come, first served: small requests behind a large one wait for it."""
    budget = ByteBudget(100)
    served: list[int] = []

    async def take(size: int) -> None:
        await budget.acquire(size)
        served.append(size)

    await budget.acquire(50)
    async with anyio.create_task_group() as group:
        group.start_soon(take, 100)
        await _settled()
        group.start_soon(take, 1)
        await _settled()
        assert served == []
        budget.release(50)
        await _settled()
        assert served == [100]
        budget.release(100)

    assert served == [100, 1]


async def test_a_cancelled_request_leaves_the_line() -> None:
    """Those behind somebody who gave up are served."""
    budget = ByteBudget(100)
    await budget.acquire(60)

    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.01):
            await budget.acquire(90)
        group.start_soon(budget.acquire, 40)
        await checkpoint()

    assert budget.held_bytes == 100


async def test_an_estimate_is_corrected_without_waiting() -> None:
    """A portion that came out larger than expected is counted as it is."""
    budget = ByteBudget(100)
    await budget.acquire(10)

    budget.correct(10, 130)

    assert budget.held_bytes == 130
    budget.release(130)
    assert budget.held_bytes == 0


async def test_more_than_the_whole_is_refused_at_once() -> None:
    """It could only wait for ever."""
    with pytest.raises(ValueError, match="never fit"):
        await ByteBudget(10).acquire(11)

"""Batches flow from source to sink; failures and stops end the flow in order."""

from collections.abc import Awaitable, Callable, Mapping

import anyio
import pytest

from transfer.model.errors import LinkError, UnsettledError
from transfer.model.record import Batch, Position, Span
from transfer.pipeline.budget import ByteBudget
from transfer.pipeline.flow import Flow
from transfer.pipeline.pace import Pace


class Numbers:
    """A source of *count* empty batches of 10 bytes each."""

    def __init__(self, count: int, budget: ByteBudget) -> None:
        self.count = count
        self.budget = budget
        self.most_held = 0

    async def read(self, emit: Callable[[Batch], Awaitable[None]], after: Mapping[str, str]) -> None:
        for number in range(self.count):
            await self.budget.acquire(10)
            self.most_held = max(self.most_held, self.budget.held_bytes)
            await emit(Batch(Span(Position("all", str(number))), 0, [], [], [], [], 10))


class Collected:
    """A sink that remembers the cursors it was given, and may fail at one of them."""

    def __init__(self, fail_at: str = "") -> None:
        self.seen: list[str] = []
        self.fail_at = fail_at

    async def write(self, batch: Batch) -> None:
        await anyio.lowlevel.checkpoint()
        if batch.span.position.cursor == self.fail_at:
            raise LinkError("broke")
        self.seen.append(batch.span.position.cursor)


async def test_keys_without_a_fate_are_a_failure() -> None:
    """However well everything went: what was read and lost sight of is never passed over in silence."""
    budget = ByteBudget(40)

    with pytest.raises(UnsettledError, match="3 keys that were read") as caught:
        await Flow(Numbers(5, budget), Collected(), budget=budget, pace=Pace(), writers=3, unsettled=lambda: 3).run({})

    assert caught.value.exit_code == 1


async def test_every_batch_arrives_and_every_byte_is_given_back() -> None:
    """Positions are acknowledged once each; the budget bounds what is in flight."""
    budget = ByteBudget(40)
    source, sink = Numbers(50, budget), Collected()
    acknowledged: list[str] = []

    await Flow(
        source,
        sink,
        budget=budget,
        pace=Pace(),
        writers=3,
        acknowledged=lambda batch: acknowledged.append(batch.span.position.cursor),
    ).run({})

    assert sorted(map(str, range(50))) == sorted(sink.seen)
    assert sorted(sink.seen) == sorted(acknowledged)
    assert source.most_held <= 40
    assert budget.held_bytes == 0


async def test_the_failure_itself_is_raised_not_a_group() -> None:
    """A queue that broke because the writer failed is not what the user is told."""
    budget = ByteBudget(40)

    with pytest.raises(LinkError, match="broke"):
        await Flow(Numbers(50, budget), Collected("7"), budget=budget, pace=Pace(), writers=1).run({})


async def test_a_rate_is_kept() -> None:
    """100 keys at 1,000 keys/s take at least a tenth of a second, less the slack."""
    pace = Pace(keys_per_s=1000)
    started = anyio.current_time()

    for _ in range(30):
        await pace.wait(10, 0)

    assert anyio.current_time() - started >= 0.15

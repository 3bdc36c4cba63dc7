"""How a flow ends before its source does: what was begun is finished and counted, the rest was never begun."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
import pytest

from transfer.model.errors import LinkError
from transfer.model.record import Batch, Position, Span
from transfer.pipeline.budget import ByteBudget
from transfer.pipeline.flow import Flow
from transfer.pipeline.pace import Pace


class Endless:
    """A source that ends when it is told to, or fails after its second batch when it is told to."""

    def __init__(self, budget: ByteBudget, stop: anyio.Event, fail: anyio.Event | None = None) -> None:
        self.budget, self.stop, self.fail = budget, stop, fail

    async def read(self, emit: Callable[[Batch], Awaitable[None]], after: Mapping[str, str]) -> None:
        number = 0
        while not self.stop.is_set():
            await self.budget.acquire(1)
            await emit(Batch(Span(Position("all", str(number))), 0, [], [], [], [], 1))
            number += 1
            if number == 2 and self.fail is not None:
                await self.fail.wait()
                raise LinkError("the source broke")


class Slow:
    """A sink whose batch "0" takes until `go`; batch "1" fails if it is told to."""

    def __init__(self, *, fails: bool) -> None:
        self.fails = fails
        self.begun = anyio.Event()
        self.go = anyio.Event()
        self.written: list[str] = []

    async def write(self, batch: Batch) -> None:
        if batch.span.position.cursor == "1" and self.fails:
            await self.begun.wait()
            raise LinkError("broke")
        if batch.span.position.cursor == "0":
            self.begun.set()
            await self.go.wait()
        self.written.append(batch.span.position.cursor)


@pytest.mark.parametrize("who", ["sink", "source"])
async def test_a_failure_lets_the_other_writers_finish_what_they_began(who: str) -> None:
    """What arrived is counted, although the run fails: its sibling is not cut off between request and reply."""
    budget, stop, fail = ByteBudget(100), anyio.Event(), anyio.Event()
    source, sink = Endless(budget, stop, fail), Slow(fails=who == "sink")
    acknowledged: list[str] = []

    async def answer_late() -> None:
        await sink.begun.wait()
        fail.set()
        await anyio.sleep(0.05)
        sink.go.set()

    flow = Flow(
        source,
        sink,
        budget=budget,
        pace=Pace(),
        writers=2,
        acknowledged=lambda batch: acknowledged.append(batch.span.position.cursor),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(answer_late)
        with pytest.raises(LinkError, match="the source broke" if who == "source" else "broke"):
            await flow.run({})

    assert "0" in sink.written
    assert "0" in acknowledged


async def test_a_stop_finishes_what_was_begun_and_drops_what_waits() -> None:
    """After the stop nothing further is written, and all bytes are given back."""
    budget, stop = ByteBudget(100), anyio.Event()
    sink = Slow(fails=False)

    async def tell() -> None:
        await sink.begun.wait()
        await anyio.wait_all_tasks_blocked()
        stop.set()
        sink.go.set()

    async with anyio.create_task_group() as group:
        group.start_soon(tell)
        await Flow(Endless(budget, stop), sink, budget=budget, pace=Pace(), writers=1, stop=stop).run({})

    assert sink.written == ["0"]
    assert budget.held_bytes == 0


async def test_a_stop_ends_the_wait_for_a_turn() -> None:
    """A slow pace does not hold a drain up."""
    stop = anyio.Event()
    pace = Pace(keys_per_s=1, stop=stop)
    await pace.wait(100, 0)
    stop.set()
    with anyio.fail_after(1):
        await pace.wait(100, 0)

"""Progress of a copy, told while it runs."""

from __future__ import annotations

import anyio

from transfer.job.engine import Engine
from transfer.model.plan import CopyPlan
from transfer.model.ports import Observer
from transfer.model.tally import Tally
from transfer.report.meter import Meter

_TICK_S = 0.2


class Ticker:
    """Tells the observer where a copy (or what else *phase* is) stands, a few times a second, for a block's length."""

    def __init__(self, engine: Engine, tally: Tally, plan: CopyPlan, observer: Observer, phase: str) -> None:
        self._phase = phase
        self._engine = engine
        self.tally = tally
        self._plan = plan
        self._observer = observer
        self._group = anyio.create_task_group()

    async def __aenter__(self) -> None:
        await self._group.__aenter__()
        self._group.start_soon(self._tick)

    async def __aexit__(self, *failure: object) -> bool | None:
        self._group.cancel_scope.cancel()
        return await self._group.__aexit__(*failure)  # type: ignore[arg-type]

    async def _tick(self) -> None:
        meter, counts = Meter(self._phase, self._plan.keys), self.tally.counts
        while True:
            await anyio.sleep(_TICK_S)
            meter.keys, meter.rejected = counts.read - counts.repeated, counts.rejected
            meter.bytes = self.tally.bytes_read
            meter.total_keys = max(self._plan.keys, meter.keys)  # others may have written since the plan
            self._observer.progress(meter.snapshot(self._engine.share_done()))

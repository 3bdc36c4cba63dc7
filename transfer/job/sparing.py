"""A server is watched beside the work, so that the work asks no more of it than its other clients hardly feel.

    server -> Beside (PING, who is there, its clock) -> Governor: how much is asked of it at once

Rule 1: what cannot be seen is looked for again, and the work goes on with the pace it had.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.abc
import structlog

from transfer.endpoint.redis.beside import Beside
from transfer.endpoint.redis.server import Server
from transfer.model.errors import GuardError, TransferError
from transfer.model.plan import CopyRequest
from transfer.model.ports import Throttle
from transfer.pipeline.throttle import Governor

_PING_S = 0.025
_LOOK_AROUND_S = 0.5
_IDLE_PINGS, _IDLE_PING_S = 10, 0.005
_ALONE_S = 0.25
_RETRY_S = 1.0
_CLOCK_S = 0.5


class Sparing:
    """Watches *server* for *governor*. *on_clock* is told by how many ms its clock was stepped."""

    def __init__(self, server: Server, governor: Governor, on_clock: Callable[[int], None] = lambda step_ms: None):
        self._server, self._governor, self._on_clock = server, governor, on_clock

    async def watch(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Watch until cancelled; started once the first look was taken."""
        first = True
        while True:
            try:
                beside = await Beside.open(self._server)
                try:
                    if first and self._governor.regulates:
                        self._governor.idle(await _idle_pings(beside))
                        self._governor.company(await beside.others())
                    if first:
                        task_status.started()
                    first = False
                    await self._look(beside)
                finally:
                    await beside.close()
            except GuardError:
                raise
            except TransferError as error:
                structlog.get_logger().debug("the server's latency cannot be watched", error=error.message)
                if first:
                    self._governor.company(True)
                    task_status.started()
                first = False
                await anyio.sleep(_RETRY_S)

    async def _look(self, beside: Beside) -> None:
        looked_at = clock_at = float("-inf")
        while True:
            governor = self._governor
            if anyio.current_time() - clock_at > _CLOCK_S:
                clock_at = anyio.current_time()
                self._on_clock(await beside.step_ms())
            if governor.regulates and anyio.current_time() - looked_at > _LOOK_AROUND_S:
                looked_at = anyio.current_time()
                governor.company(await beside.others())
            if governor.limits:
                governor.observe(await beside.ping_ms())
            await anyio.sleep(_PING_S if governor.limits else _ALONE_S)


@asynccontextmanager
async def spared(server: Server, request: CopyRequest) -> AsyncIterator[Throttle]:
    """Holds back what asks *server*, as the pace of *request* says, for the length of the block."""
    governor = Governor(request.max_source_latency_ms, regulates=request.pace == "polite")
    async with anyio.create_task_group() as group:
        await group.start(Sparing(server, governor).watch)
        try:
            yield governor
        finally:
            group.cancel_scope.cancel()


async def _idle_pings(beside: Beside) -> list[float]:
    """Some PINGs, apart from each other: what others ask for comes in bursts."""
    pings = []
    for _ in range(_IDLE_PINGS):
        pings.append(await beside.ping_ms())
        await anyio.sleep(_IDLE_PING_S)
    return pings

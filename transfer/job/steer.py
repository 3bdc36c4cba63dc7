"""When a run is to stop: signals, --max-duration; and what it says when it did.

    SIGINT / SIGTERM once: drain (finish what is in flight), twice: abort
    --max-duration: drain
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio

from transfer.model.errors import DurationLimitError, InterruptedRunError, TransferError
from transfer.model.units import show_ms


class Steering:
    """The stop of one run. `stop` is set when it is to drain; `reason` says why, as an error."""

    def __init__(self, max_duration_ms: int = 0) -> None:
        self.stop = anyio.Event()
        self.reason: TransferError | None = None
        self._max_duration_ms = max_duration_ms

    def check(self) -> None:
        """Raises the reason, if the run was told to stop."""
        if self.reason is not None:
            raise self.reason

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Steering]:
        """Listen to signals and the clock for the length of the block.

        Raises:
            InterruptedRunError: the second signal came; everything in the block was cancelled.
        """
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen, group.cancel_scope)
            if self._max_duration_ms:
                group.start_soon(self._time_out)
            yield self
            group.cancel_scope.cancel()
        if group.cancel_scope.cancelled_caught:
            self.check()

    async def _listen(self, scope: anyio.CancelScope) -> None:
        with suppress(NotImplementedError, RuntimeError):  # not the main thread: nobody sends us signals
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for number in signals:
                    if self.stop.is_set() and isinstance(self.reason, InterruptedRunError):
                        scope.cancel()
                        return
                    self._interrupt(number)

    def _interrupt(self, number: signal.Signals) -> None:
        self.reason = InterruptedRunError(f"{signal.Signals(number).name}: stopped after what was in flight")
        self.reason.exit_code = 128 + number
        self.stop.set()

    async def _time_out(self) -> None:
        await anyio.sleep(self._max_duration_ms / 1000)
        self.reason = DurationLimitError(f"--max-duration {show_ms(self._max_duration_ms)} has passed")
        self.stop.set()

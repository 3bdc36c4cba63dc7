"""When a run is to stop: signals, --max-duration, orders; and what it says when it did.

SIGINT / SIGTERM once: drain (finish what is in flight), twice: abort
--max-duration, an order from another shell (`jobs pause`, `jobs cancel`): drain

A drain that takes longer than `_DRAIN_S`, since a server does not answer or has no room, ends as an abort: what was in
flight is cut, and in doubt. At --max-duration nobody waits at a terminal, and it may take `_PATIENT_DRAIN_S`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import anyio.to_thread
import structlog

from transfer.model.errors import CancelledRunError, DurationLimitError, InterruptedRunError, TransferError
from transfer.model.units import show_ms

_DRAIN_S = 1.5
"""The run is to have ended 2 s after the signal, its last words included."""
_PATIENT_DRAIN_S = 8.0
"""Below the 10 s after which service managers and container engines kill what they told to end."""
_ORDERS_S = 0.2


class Steering:
    """The stop of one run. `stop` is set when it is to drain; `reason` says why, as an error.

    Args:
        orders: asked in a worker thread every `_ORDERS_S` for "pause", "cancel" or "" (no order).
    """

    def __init__(self, max_duration_ms: int = 0, orders: Callable[[], str] | None = None) -> None:
        self.stop = anyio.Event()
        self.reason: TransferError | None = None
        self._max_duration_ms = max_duration_ms
        self._orders = orders
        self._scope = anyio.CancelScope()
        self._aborts = False

    def abort_on_stop(self) -> None:
        """From now on there is nothing to drain: a stop cancels the block."""
        self._aborts = True
        if self.stop.is_set():
            self._scope.cancel()

    def drain_on_stop(self) -> None:
        """From now on there is something to drain again."""
        self._aborts = False

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
        with _handlers_kept():
            async with self._listening():
                yield self

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen, group.cancel_scope)
            group.start_soon(self._limit_drain, group.cancel_scope)
            if self._max_duration_ms:
                group.start_soon(self._time_out)
            if self._orders is not None:
                group.start_soon(self._obey, self._orders)
            self._scope = group.cancel_scope
            yield
            group.cancel_scope.cancel()
        if group.cancel_scope.cancelled_caught:
            self.check()

    async def _listen(self, scope: anyio.CancelScope) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread can hear of signals
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                if isinstance(self.reason, InterruptedRunError):
                    scope.cancel()
                self._end(_interrupted(number))

    async def _limit_drain(self, scope: anyio.CancelScope) -> None:
        await self.stop.wait()
        await anyio.sleep(_PATIENT_DRAIN_S if isinstance(self.reason, DurationLimitError) else _DRAIN_S)
        scope.cancel()

    async def _time_out(self) -> None:
        await anyio.sleep(self._max_duration_ms / 1000)
        self._end(DurationLimitError(f"--max-duration {show_ms(self._max_duration_ms)} has passed"))

    async def _obey(self, orders: Callable[[], str]) -> None:
        while True:
            try:
                word = await anyio.to_thread.run_sync(orders)
            except TransferError as error:
                structlog.get_logger().debug("the job store cannot be asked for orders", error=error.message)
                word = ""
            if word:
                self._end(_ordered(word))
            await anyio.sleep(_ORDERS_S)

    def _end(self, reason: TransferError) -> None:
        self.reason = self.reason or reason
        self.stop.set()
        if self._aborts:
            self._scope.cancel()


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """An event loop that stops listening to a signal leaves the default action behind, not what was there before."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in kept.items():
                if handler is not None:  # one that is not Python's cannot be put back
                    signal.signal(number, handler)


def _ordered(word: str) -> InterruptedRunError:
    if word == "cancel":
        return CancelledRunError("cancelled by `transfer jobs cancel`: ended after what was in flight")
    return InterruptedRunError("paused by `transfer jobs pause`: stopped after what was in flight")


def _interrupted(number: signal.Signals) -> InterruptedRunError:
    error = InterruptedRunError(f"{signal.Signals(number).name}: stopped after what was in flight")
    error.exit_code = 128 + number
    return error

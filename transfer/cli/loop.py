"""The event loop of a command: a signal is heard at once, whatever the loop waits for, and ends it in good order.

    SIGINT  -> the loop's own handler: what runs is cancelled -> KeyboardInterrupt
    SIGTERM -> the same                                       -> Terminated

Python runs the handler of a signal between two steps of the program. A signal that comes in the moment between the
last step and the wait of the loop would be heard when that wait ends. A loop that listens for any signal has a
descriptor that every signal writes to (signal.set_wakeup_fd), and which ends the wait.

An exception out of a handler comes up wherever the program happens to be, also between the start of a worker thread and
the note that it is to be ended, which then keeps the process for ever. So none is raised while the loop runs.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar, TypeVarTuple

import anyio

from transfer.cli.signals import SIGTERM_EXIT, Terminated

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")
_NOBODYS = signal.SIGURG
"""Its default is to be ignored, and nobody sends it."""


def run(work: Callable[[*_Args], Awaitable[_Result]], *args: *_Args) -> _Result:
    """What *work* returns or raises, run in an event loop of its own."""
    terminated: list[int] = []

    async def listening() -> _Result:
        with anyio.open_signal_receiver(_NOBODYS), _as_interrupt(terminated):
            return await work(*args)

    try:
        return anyio.run(listening)
    except KeyboardInterrupt:
        if terminated:
            raise Terminated(SIGTERM_EXIT) from None
        raise


@contextmanager
def _as_interrupt(terminated: list[int]) -> Iterator[None]:
    """Have SIGTERM end the loop as SIGINT does, noted in *terminated*. Not where SIGINT itself is ignored."""
    interrupt, before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    if not main or not callable(interrupt) or interrupt is signal.default_int_handler or not callable(before):
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        terminated.append(number)
        interrupt(signal.SIGINT, frame)

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

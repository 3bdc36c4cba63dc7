"""The event loop of a command: a signal is heard at once, whatever the loop waits for.

Python runs the handler of a signal between two steps of the program. A signal that comes in the moment between the
last step and the wait of the loop would be heard when that wait ends. A loop that listens for any signal has a
descriptor that every signal writes to (signal.set_wakeup_fd), and which ends the wait.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio

_Result = TypeVar("_Result")
_Args = TypeVarTuple("_Args")
_NOBODYS = signal.SIGURG
"""Its default is to be ignored, and nobody sends it."""


def run(work: Callable[[*_Args], Awaitable[_Result]], *args: *_Args) -> _Result:
    """What *work* returns or raises, run in an event loop of its own."""

    async def listening() -> _Result:
        with anyio.open_signal_receiver(_NOBODYS):
            return await work(*args)

    return anyio.run(listening)

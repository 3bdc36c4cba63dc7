"""SIGTERM as an exception. It stands alone, because --help pays for every import of the way to it."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

SIGTERM_EXIT = 143


class Terminated(SystemExit):
    """SIGTERM: it leaves an event loop as Ctrl-C does."""


def listen_for_sigterm() -> None:
    """From now on SIGTERM raises Terminated, so that what is open is closed and the end is told."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated(SIGTERM_EXIT)

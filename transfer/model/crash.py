"""Named places where a test may end this process as a power cut would: SIGKILL of itself.

    TRANSFER_CRASH_AT=sink.sent:3   the third time this process passes `sink.sent` is its end

Without that variable a place costs one comparison.
"""

from __future__ import annotations

import os
import signal

POINTS: dict[str, str] = {}
"""Every place by name, with what has just happened there; filled by the modules that hold them."""


def point(name: str, happened: str) -> str:
    """Name a place; `crash(name)` stands where it is passed. A name is given once."""
    assert name not in POINTS, name
    POINTS[name] = happened
    return name


def crash(name: str) -> None:
    """End here, if this is where the process is told to end."""
    global _left
    if name == _wanted:
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(text: str) -> None:
    """Read `name:n`, or "" for never. For processes that were forked after this module was loaded."""
    global _wanted, _left
    _wanted, _, count = text.partition(":")
    _left = int(count or 1)


_wanted, _left = "", 1
arm(os.environ.get("TRANSFER_CRASH_AT", ""))

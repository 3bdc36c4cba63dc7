"""Where lines go: a stream that outlives its reader, and its colours.

Rule 1: a reader that goes away (`| head`), or a full disk behind it, ends the output, never the run.
Rule 2: colours only on a terminal; NO_COLOR and FORCE_COLOR have the last word, in this order.
"""

from __future__ import annotations

import contextlib
import os
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "1;31", "green": "1;32", "yellow": "33", "cyan": "36"}


class Out:
    """Lines to *stream*."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.coloured = _coloured(stream)
        self._gone = False

    def say(self, *lines: str) -> None:
        """Write *lines* and flush."""
        if self._gone or not lines:
            return
        try:
            self.stream.write("".join(f"{line}\n" for line in lines))
            self.stream.flush()
        except UnicodeEncodeError:
            encoding = self.stream.encoding or "ascii"
            self.say(*(line.encode(encoding, "backslashreplace").decode(encoding) for line in lines))
        except (OSError, ValueError):  # the reader went away, or the disk it writes to is full
            self._gone = True
            _muted(self.stream)

    def paint(self, text: str, style: str) -> str:
        """*text* in *style*, or as it is where there are no colours."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.coloured and style else text


def _coloured(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM", "") != "dumb"


def _muted(stream: TextIO) -> None:
    """Point the descriptor to nowhere, or the interpreter complains about the same broken pipe at its end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)

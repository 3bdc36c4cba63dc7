"""Progress for a person who waits: a bar on a terminal, else one plain line every few seconds.

    Progress -> Bar (rich, stderr is a terminal) | PlainLines (anything else) | nothing (-q)

Rule 1: everything goes to stderr; stdout is for results.
Rule 2: an update costs nothing until its turn has come, so callers need not count calls.
Rule 3: rich is imported at the first update of a bar, not before: it costs 0.1 s.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TextIO

from transfer.model.report import Progress
from transfer.model.units import show_bytes, show_count

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

PLAIN_EVERY_S = 5.0
_BAR_EVERY_S = 0.1


def progress_line(now: Progress) -> str:
    """`copy 62% | 6.2M/10.0M keys | 4.1 GiB | 310k keys/s 212 MiB/s | eta 0:00:12 | rejected 0`"""
    return f"{now.phase} {share_text(now.share)} | {amounts(now, ' | ')}"


def amounts(now: Progress, gap: str) -> str:
    """Everything of the line but phase and share."""
    total = f"/{show_count(now.total_keys)}" if now.total_keys is not None else ""
    parts = [
        f"{show_count(now.keys)}{total} keys",
        show_bytes(now.bytes),
        f"{show_count(now.keys_per_s)} keys/s {_short_bytes(now.bytes_per_s)}/s",
        f"eta {eta_text(now.eta_s)}",
        f"rejected {now.rejected:,}",
    ]
    return gap.join(parts)


def share_text(share: float | None) -> str:
    """`62%`; 100% is said only when all is done."""
    return "?%" if share is None else f"{int(share * 100)}%"


def eta_text(eta_s: float | None) -> str:
    """`0:00:12`, `26:10:00`; unknown is `-:--:--`."""
    if eta_s is None or eta_s > 999 * 3600:
        return "-:--:--"
    seconds = round(eta_s)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _short_bytes(count: float) -> str:
    number, unit = show_bytes(count).split(" ")
    return f"{float(number):.0f} {unit}" if float(number) >= 100 else f"{number} {unit}"


class ProgressShow(Protocol):
    """Something that shows snapshots until it is stopped."""

    def update(self, now: Progress) -> None:
        """Show *now*, or leave it out if the last one was a moment ago."""

    def stop(self) -> None:
        """Leave the screen as if nothing had been shown. Safe to call twice."""


class NoProgress:
    """For -q."""

    def update(self, now: Progress) -> None:
        pass

    def stop(self) -> None:
        pass


class PlainLines:
    """One line every PLAIN_EVERY_S seconds through *say*; the first one only after that time."""

    def __init__(
        self,
        say: Callable[[Progress], None],
        *,
        every_s: float = PLAIN_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._every_s = every_s
        self._clock = clock
        self._next_s = clock() + every_s

    def update(self, now: Progress) -> None:
        if self._clock() < self._next_s:
            return
        self._next_s = self._clock() + self._every_s
        self._say(now)

    def stop(self) -> None:
        pass


class Bar:
    """A bar on a terminal, one line high, wiped when it stops."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._next_s = 0.0
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def update(self, now: Progress) -> None:
        if self._clock() < self._next_s:
            return
        self._next_s = self._clock() + _BAR_EVERY_S
        bar = self._bar or self._start()
        assert self._task is not None
        bar.update(
            self._task,
            description=now.phase,
            total=1.0 if now.share is not None else None,
            completed=now.share or 0.0,
            share=share_text(now.share),
            amounts=amounts(now, "  "),
        )
        bar.refresh()

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = None

    def _start(self) -> RichProgress:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        self._bar = RichProgress(
            TextColumn("{task.description}", style="bold"),
            BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=8)),
            TextColumn("{task.fields[share]}", style="bold"),
            TextColumn("{task.fields[amounts]}", table_column=Column(no_wrap=True)),
            console=Console(file=self._stream, highlight=False),
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("", total=None, share="", amounts="")
        self._bar.start()
        return self._bar


def progress_on(stream: TextIO, *, quiet: bool) -> ProgressShow:
    """What fits *stream*: a bar on a terminal that can move its cursor, plain lines elsewhere, nothing if *quiet*."""
    if quiet:
        return NoProgress()
    if stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        return Bar(stream)
    return PlainLines(lambda now: print(progress_line(now), file=stream, flush=True))

"""One run from its request to its exit code.

    request -> observer (text | json) -> loop.run(job) -> Report or error -> observer.end -> exit code

The end is told whatever happens: a report, a known failure, Ctrl-C, SIGTERM or a bug.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from typing import Protocol

from transfer.cli import loop
from transfer.cli.exits import failure_of
from transfer.cli.options import Talk
from transfer.cli.render.json import JsonObserver
from transfer.cli.render.text import TextObserver
from transfer.model.errors import TransferError
from transfer.model.plan import CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import Report
from transfer.report.log import configure_log

Run = Callable[[CopyRequest, Observer], Awaitable[Report]]


class Speaker(Observer, Protocol):
    """An observer that also says the last word."""

    request: CopyRequest

    def stop(self) -> None:
        """Leave the screen as it is without progress; `end` does it too."""

    def end(self, report: Report | None, error: TransferError | None) -> int:
        """Print the end and return the exit code."""


def _spare_the_collector() -> None:
    """What start-up made stays; batches hold no cycles, so looking for some every 700 objects finds nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def conduct(run: Run, request: CopyRequest, talk: Talk, *, no_input: bool = False) -> int:
    """Carry out *run* and return its exit code."""
    start_log(talk, hash_keys=request.hash_keys)
    speaker = speaker_for(request, talk, no_input=no_input)
    report: Report | None = None
    error: TransferError | None = None
    _spare_the_collector()
    try:
        report = loop.run(run, request, speaker)
    except BaseException as raised:
        error = failure_of(raised, state=request.state_dir, debug=talk.debug)
    return speaker.end(report, error)


def speaker_for(request: CopyRequest, talk: Talk, *, no_input: bool = False) -> Speaker:
    """Text or JSON lines, as *talk* says."""
    if talk.json:
        return JsonObserver(request, quiet=talk.quiet, no_input=no_input)
    return TextObserver(request, quiet=talk.quiet, no_input=no_input)


def start_log(talk: Talk, *, hash_keys: bool = False) -> None:
    """Logs as the flags ask for them; warnings and errors where they ask for nothing."""
    level = "debug" if talk.debug else "info" if talk.verbose else "error" if talk.quiet else "warning"
    configure_log(level=level, form=talk.log_format, hash_keys=hash_keys)

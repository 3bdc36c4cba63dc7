"""Commands that look and move nothing: what they found, as text or as the data of a result line."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

from transfer.cli import loop
from transfer.cli.conduct import start_log
from transfer.cli.options import Talk
from transfer.cli.render.json import simple_result, warning_line
from transfer.cli.render.out import Out

Outcome = tuple[list[str], dict[str, Any], int]
"""Lines for people, data for programs, exit code."""


def run_and_tell(command: str, talk: Talk, work: Callable[[], Awaitable[Outcome]]) -> int:
    """Run *work*, print what it found, return its exit code."""
    start_log(talk)
    return tell(command, talk, loop.run(work))


def tell(command: str, talk: Talk, outcome: Outcome) -> int:
    """Print *outcome* on stdout and return its exit code."""
    lines, data, code = outcome
    out = Out(sys.stdout)
    if talk.json:
        out.say(*(warning_line(text) for text in data.get("warnings", ())))
        more = {"dbs": data.pop("dbs")} if command == "verify" and "dbs" in data else {}  # as of two places
        out.say(simple_result(command, data, code, **more))
    else:
        out.say(*lines)
    return code

"""The one question a run may ask: whether to go on although something in the plan is dangerous.

Asked on a terminal only; everywhere else, and with --no-input, the answer is no.
"""

from __future__ import annotations

import sys

import anyio

from transfer.cli.render.out import Out
from transfer.model.plan import CopyPlan, CopyRequest, Hazard
from transfer.model.units import some
from transfer.report.names import printable


async def accepted(plan: CopyPlan, hazards: list[Hazard], request: CopyRequest, no_input: bool, err: Out) -> bool:
    """True where there is nothing to ask, or a person typed yes."""
    if not hazards:
        return True
    if no_input or request.dry_run or not _terminal():
        return False
    for hazard in hazards:
        err.say(f"{err.paint(hazard.name, 'yellow')}  {printable(hazard.message)}")
    err.say(*_sides(plan))
    err.stream.write("Go on? Type yes: ")
    err.stream.flush()
    await anyio.wait_readable(sys.stdin)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _sides(plan: CopyPlan) -> list[str]:
    """Host, databases and key counts of both sides."""
    into = ", ".join(f"db{row.target_db} {some(row.target_keys, 'key')}" for row in plan.dbs) or "no keys"
    return [f"  from {plan.source.place}: {some(plan.keys, 'key')}", f"  into {plan.target.place}: {into}"]


def _terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

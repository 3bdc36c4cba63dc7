"""One question from what was asked to a result that can be printed, written, drawn and judged.

    machine (before anything runs) -> question.measure -> medians, ratios -> limits, comparison -> result

`result` is plain data: what `--json` prints and `--out` writes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from transfer.bench.judge import Limit, changes, judge, unlike
from transfer.bench.machine import machine, versions, warnings
from transfer.bench.questions import Answer, Asked, Question

FORMAT = 1
MISSED_EXIT = 6


async def answer(
    question: Question, asked: Asked, limits: list[Limit], earlier: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Ask *question* and return everything there is to say.

    Raises:
        TransferError: what was asked for cannot be done here, or a way of ours failed.
    """
    found = await anyio.to_thread.run_sync(machine)
    busy = warnings(found)
    for line in busy:
        asked.say(f"warning: {line}")
    began = time.time()
    told = await question.measure(asked)
    result = _result(question, asked, told) | {"machine": found, "warnings": busy, "at": round(began)}
    result["limits"] = [msgspec.to_builtins(one) | {"words": one.words} for one in judge(told.ratios, limits)]
    if earlier is not None:
        result["warnings"] += [f"compared with another setting: {line}" for line in unlike(result, earlier)]
        result["changes"] = [msgspec.to_builtins(change) for change in changes(result, earlier)]
    return result


def exit_of(result: dict[str, Any]) -> int:
    """6 if a limit was missed."""
    return 0 if all(limit["kept"] for limit in result["limits"]) else MISSED_EXIT


def _result(question: Question, asked: Asked, told: Answer) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "question": question.name,
        "asks": question.asks,
        "server": told.server,
        "program": str(asked.binary) if asked.binary != Path() else "",
        "versions": versions(),
        "data": told.data,
        "values": "" if asked.given else asked.values,
        "seed": asked.seed,
        "rounds": max((len(rows) for rows in told.taken.rows.values()), default=0),
        "median": told.taken.median,
        "ratios": {name: told.ratios[name] for name in question.ratios if name in told.ratios},
        "scaled": told.taken.scaled,
        "skipped": told.taken.skipped,
        "all": told.taken.rows,
    }

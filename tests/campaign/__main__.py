"""Run rows of the campaign: `python -m tests.campaign CASE... --seeds A:B`.

One JSON line a run on stdout, a summary a case at the end; exit 1 where any run failed.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tests.campaign.bench import Bench
from tests.campaign.cases import Case
from tests.campaign.rows import CASES
from tests.campaign.skips import Skip


def play(bench: Bench, row: Case, seed: int) -> dict[str, Any]:
    """One run: what came of it, and how to do it again."""
    began = time.monotonic()
    told: dict[str, Any] = {"case": row.name, "seed": seed, "ok": True, "commit": commit()}
    try:
        bench.begin_run(row.name, seed)
        row.play(bench)
    except Skip as skip:
        told |= {"ok": None, "skipped": str(skip)}
    except Exception as failure:
        told |= {"ok": False, "failure": f"{type(failure).__name__}: {failure}"[:2000]}
        told["replay"] = f"python -m tests.campaign {row.name} --seeds {seed}:{seed + 1}"
        if not isinstance(failure, AssertionError):
            told["traceback"] = traceback.format_exc()[-1500:]
    return told | {"seconds": round(time.monotonic() - began, 2)} | bench.facts


def bound(runs: int, failures: int) -> float | None:
    """95 % bound of the failure rate after no failure: rule of three."""
    return round(3 / runs, 5) if runs and not failures else None


def summary(name: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    """The last line of a case."""
    ran = [row for row in told if row["ok"] is not None]
    failures = sum(row["ok"] is False for row in ran)
    skipped = sorted({row["skipped"] for row in told if row["ok"] is None})
    seconds = round(sum(row["seconds"] for row in told), 1)
    fired = sum(1 for row in ran if row.get("fired", 1))
    line = {"summary": name, "n": len(ran), "failures": failures, "bound": bound(len(ran), failures)}
    return line | {"struck": fired, "seconds": seconds, "skipped": skipped, "commit": commit()}


@functools.cache
def commit() -> str:
    """What is measured; a star where files differ from it."""
    root = Path(__file__).parents[2]
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=*"], cwd=root, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def main(words: list[str] | None = None) -> int:
    """Run what *words* name."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("case", nargs="*", help=f"of {' '.join(CASES)}, also CASE@A:B; none: all")
    parser.add_argument("--seeds", default="", help="A:B; default 0:GOAL*SCALE of each case")
    parser.add_argument("--scale", type=float, default=0.01, help="share of each case's goal (default 0.01)")
    parser.add_argument("--stop", action="store_true", help="end at the first failure")
    parser.add_argument("--minutes", type=float, default=1e9, help="start no run after this time")
    asked = parser.parse_args(words)
    bench, failed, until = Bench(), False, time.monotonic() + asked.minutes * 60
    try:
        for word in asked.case or CASES:
            name, _, own = word.partition("@")
            row = CASES[name]
            first, last = _seeds(own or asked.seeds, max(1, round(row.goal * asked.scale)))
            told = []
            for seed in range(first, last):
                if time.monotonic() > until:
                    break
                told.append(play(bench, row, seed))
                print(json.dumps(told[-1]), flush=True)
                if told[-1]["ok"] is False and asked.stop:
                    break
            line = summary(row.name, told)
            failed |= bool(line["failures"])
            print(json.dumps(line), flush=True)
    finally:
        bench.end()
    return int(failed)


def _seeds(text: str, count: int) -> tuple[int, int]:
    if not text:
        return 0, count
    first, _, last = text.partition(":")
    return int(first), int(last or int(first) + 1)


if __name__ == "__main__":
    sys.exit(main())

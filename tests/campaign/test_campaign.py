"""A few seeds of every row that is quick; the counts of `docs/reliability.md` come from `make faults`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.__main__ import bound, summary

QUICK = {
    "network": "S14@0 S14@10 N1@0:2 N2@0 N3@0 N6@1",
    "kills": "K1@0:2 K1@7 K1@9 K1sync@2:4 K2@0 K4@1 K5@1 K6@1 T1@0",
    "undone": "U1@0:2 U2@1 A1@2:4 A2@0:2",
    "servers": "S3@1 S15@0 S16@0 S17@3",
    "state": "S1@0 S6@3 S9step@1 S9step@17 S10@1 S12@4 S13@0",
}
"""Rows and seeds, each group one process: a worker forks, which a process of tests with its threads must not."""


def said_by(module: str, *words: str) -> list[dict[str, Any]]:
    """The JSON lines of a process."""
    command = [sys.executable, "-m", module, *words]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=110, check=False)
    assert done.stdout, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("group", QUICK)
def test_seeded_runs_lose_nothing(group: str) -> None:
    """What the rows promise holds, by a checker that is not the engine's."""
    runs = [line for line in said_by("tests.campaign", *QUICK[group].split()) if "seed" in line]

    assert len(runs) >= len(QUICK[group].split())
    assert [run for run in runs if run["ok"] is False] == []
    if all(run["ok"] is None for run in runs):
        pytest.skip(runs[0]["skipped"])


def test_an_engine_broken_on_purpose_is_caught() -> None:
    """The rows can fail. All mutants: `python -m tests.campaign.mutants`."""
    names = ("drop_each_thousandth_key", "write_over_what_is_not_ours", "show_the_password")

    told = said_by("tests.campaign.mutants", *names)

    assert [line["mutant"] for line in told if line["caught"]] == list(names)


def test_a_summary_counts_what_was_run_and_what_struck() -> None:
    """A skip is no run, a fault that did not strike is said."""
    rows = [
        {"ok": True, "seconds": 1.0, "fired": 1},
        {"ok": True, "seconds": 1.0, "fired": 0},
        {"ok": None, "seconds": 0.0, "skipped": "no strace"},
    ]

    told = summary("N1", rows)

    assert (told["n"], told["failures"], told["struck"], told["skipped"]) == (2, 0, 1, ["no strace"])
    assert (told["bound"], bound(10, 1)) == (1.5, None)

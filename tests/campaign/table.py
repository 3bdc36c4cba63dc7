"""The page `docs/reliability.md`, written from what the runs said.

    python -m tests.campaign.table RESULT.jsonl... > docs/reliability.md

Rule 1: only lines of runs count, one a (case, seed): the last one told. Nothing is added up by hand.
Rule 2: a run in which the fault did not strike is counted apart.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.campaign.__main__ import bound
from tests.campaign.rows import CASES

_HEAD = """# Reliability

What was done to a running copy, how often, and what came of it. After every run a checker that shares no code with
the engine (`tests/oracle.py`) compares every key of both servers as typed values; the engine's own verdict is only
compared with that. *Struck*: runs in which the fault came in time to matter. *Bound*: 95 % bound of the failure rate
after no failure in n runs (3/n).

Each run is replayed from its seed: `python -m tests.campaign CASE --seeds N:N+1`. All of it: `make faults SCALE=1`.
"""


def main(paths: list[str]) -> int:
    """Print the page."""
    runs: dict[tuple[str, int], dict[str, Any]] = {}
    mutants: list[dict[str, Any]] = []
    lies: list[dict[str, Any]] = []
    for path in paths:
        for line in filter(lambda line: line.startswith("{"), Path(path).read_text().splitlines()):
            told = json.loads(line)
            if "mutant" in told:
                mutants = [*(other for other in mutants if other["mutant"] != told["mutant"]), told]
            elif "verdicts" in told:
                lies.append(told)
            elif "seed" in told:
                runs[told["case"], told["seed"]] = told
    print(_HEAD)
    _versions(list(runs.values()))
    _rows(runs)
    _points(list(runs.values()))
    _lies(lies)
    _broken(mutants)
    return 0


def _versions(runs: list[dict[str, Any]]) -> None:
    commits = Counter(run.get("commit", "unknown") for run in runs)
    pairs = sorted({run["pair"] for run in runs if "pair" in run})
    told = ", ".join(f"{commit} ({count:,} runs)" for commit, count in commits.most_common())
    print(
        f"Measured on commit {told}; Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}."
    )
    print(f"Pairs of servers: {', '.join(pairs)}.\n")


def _rows(runs: dict[tuple[str, int], dict[str, Any]]) -> None:
    print("| case | what was done | n | struck | failures | bound | s a run |")
    print("|---|---|---|---|---|---|---|")
    missing, skipped = [], []
    for name, row in CASES.items():
        mine = [run for (case, _), run in runs.items() if case == name and run["ok"] is not None]
        skipped += [f"{name}: {run['skipped']}" for (case, _), run in runs.items() if case == name and "skipped" in run]
        if not mine:
            missing.append(name)
            continue
        failures = sum(not run["ok"] for run in mine)
        struck = sum(bool(run.get("fired", 1)) for run in mine)
        limit = bound(struck, failures)
        seconds = sum(run["seconds"] for run in mine) / len(mine)
        said = f"{limit:.2%}" if limit and limit < 1 else "-"
        print(f"| {name} | {row.what} | {len(mine):,} | {struck:,} | {failures} | {said} | {seconds:.1f} |")
    print()
    if missing:
        print(f"Not run: {', '.join(missing)}.\n")
    for reason, count in Counter(skipped).items():
        print(f"Skipped {count} times: {reason}.\n")


def _points(runs: list[dict[str, Any]]) -> None:
    hits = Counter(run["point"].partition(":")[0] for run in runs if run.get("hit") and "point" in run)
    if hits:
        print("## Where it was killed\n\n| point | kills |\n|---|---|")
        for name, count in sorted(hits.items()):
            print(f"| `{name}` | {count} |")
        print()


def _lies(lies: list[dict[str, Any]]) -> None:
    """What `tests.campaign.hostile` told."""
    for told in lies:
        verdicts, links = told["verdicts"], Counter[bool]()
        for verdict, count in verdicts.items():
            links[verdict.startswith("link ")] += count
        failures = sum(count for verdict, count in verdicts.items() if "FAILED" in verdict)
        ends = ", ".join(f"{verdict} {count:,}" for verdict, count in verdicts.items())
        print("## Servers that lie (N7)\n")
        print(f"Malformed RESP, {links[True]:,} times to one connection and in {links[False]:,} whole runs:")
        print(f"{failures} crashes or hangs; the slowest took {told['slowest_s']} s, and resident memory was")
        print(f"{told['peak_rss_mib']} MiB at most. How they ended: {ends}.\n")


def _broken(mutants: list[dict[str, Any]]) -> None:
    if mutants:
        caught = sum(told["caught"] for told in mutants)
        print(f"## The suite itself\n\nThe engine broken on purpose in {len(mutants)} ways: {caught} caught.\n")
        print("| broken | caught by | runs |\n|---|---|---|")
        for told in mutants:
            by = told["by"] if told["caught"] else "nobody"
            print(f"| {told['mutant'].replace('_', ' ')} | {by} | {told['runs']} |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A rows: exports and imports are killed.

    export -> SIGKILL -> no file, or the old one, or a whole new one -> export again -> verify FILE, import: equal
    export, import -> SIGKILL [-> resume -> SIGKILL] -> resume -> equal

Rule: kind of file, route, point and time come from the seed.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.campaign.bench import NEWEST, SECRETS, Bench, need
from tests.campaign.cases import case
from tests.campaign.child import Run
from tests.campaign.kills import NOTHING_LEFT, killed_after, resume
from tests.campaign.places import Server

KEYS = 2000
_OF_EXPORTS = ("file.written", "file.written", "file.written", "file.synced", "file.named", "store.planned", "any time")
_OF_IMPORTS = ("sink.answered", "trail.sent", "trail.flushed", "trail.synced", "store.state", "any time")
_MANY = {"file.written": 4, "sink.answered": 20, "trail.sent": 20, "trail.flushed": 20}
"""How often points are passed, at least by most runs; the others once."""
_LONGEST_S = 0.4
_ENDINGS = ("xfer", "xfer", "rdb", "jsonl")


def _routed(bench: Bench, source: Server) -> tuple[str, ...]:
    if bench.seed % 3:
        return ("--route", "scan", "--pace", "max")
    source.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    return ("--route", "psync", "--allow", "fork")


def _export(bench: Bench, source: Server, path: Path, *more: str, name: str, armed: str = "") -> Run:
    words = ("export", source.url, str(path), *_routed(bench, source), *more)
    if armed == "any time":
        return killed_after(bench, list(words), name, bench.chance.uniform(0.02, _LONGEST_S))
    return bench.run(*words, name=name, armed=armed, environment=SECRETS)


def _armed(bench: Bench, points: tuple[str, ...]) -> str:
    name = points[bench.seed % len(points)]
    return name if name == "any time" else f"{name}:{bench.chance.randint(1, _MANY.get(name, 1))}"


def _imported(bench: Bench, path: Path, target: Server, *more: str, name: str, armed: str = "") -> Run:
    words = ("import", str(path), target.url, "--pace", "max", "--batch", "50", *more)
    if armed == "any time":
        return killed_after(bench, list(words), name, bench.chance.uniform(0.02, _LONGEST_S))
    return bench.run(*words, name=name, armed=armed, environment=SECRETS)


@case("A1", "kill -9 in an export: the old file, or none, or a whole one; then again", 200)
def killed_export(bench: Bench) -> None:
    source, target = bench.pair((NEWEST, NEWEST))
    bench.fill(source, KEYS)
    path = bench.folder / f"all.{_ENDINGS[bench.chance.randrange(len(_ENDINGS))]}"
    old = b"what was there before" if bench.seed % 2 else b""
    if old:
        path.write_bytes(old)
    allowed = ("--allow", "overwrite") if old else ()
    armed = _armed(bench, _OF_EXPORTS)
    killed = _export(bench, source, path, *allowed, name="killed", armed=armed)
    bench.facts |= {"point": armed.partition(":")[0], "hit": bool(killed.signal), "fired": int(bool(killed.signal))}
    found = path.read_bytes() if path.exists() else b""
    if killed.signal and found != old:
        run = bench.run("verify", str(path), name="looked at", environment=SECRETS)
        need(run.exit == 0, "a file that is neither the old one nor whole:", run.told())
    again = _export(bench, source, path, "--allow", "overwrite", name="again")
    need(again.exit == 0, "the export did not work again:", again.told())
    need(sorted(os.listdir(path.parent)) == sorted({path.name, "state", *_runs(bench)}), os.listdir(path.parent))
    run = _imported(bench, path, target, name="import")
    bench.good(run, source, target)


def _runs(bench: Bench) -> set[str]:
    """Folders of the runs so far."""
    return {name for name in os.listdir(bench.folder) if (bench.folder / name / "out").exists()}


@case("A2", "kill -9 in an import, resume (killed again in one of three runs): equal", 200)
def killed_import(bench: Bench) -> None:
    source, target = bench.pair()
    bench.fill(source, KEYS)
    path = bench.folder / f"all.{_ENDINGS[bench.chance.randrange(len(_ENDINGS))]}"
    made = _export(bench, source, path, name="export")
    need(made.exit == 0, "no export:", made.told())
    before, armed = path.read_bytes(), _armed(bench, _OF_IMPORTS)
    run = _imported(bench, path, target, name="killed", armed=armed)
    bench.facts |= {"point": armed.partition(":")[0], "hit": bool(run.signal), "fired": int(bool(run.signal))}
    for number in range(4):
        if run.exit == 0 and not run.signal:
            break
        again = f"trail.flushed:{bench.chance.randint(1, 20)}" if not number and bench.chance.random() < 0.3 else ""
        run = resume(bench, f"resume{number}", armed=again)
        if run.exit == NOTHING_LEFT:
            run = _imported(bench, path, target, name="once more")
    bench.good(run, source, target)
    need(path.read_bytes() == before, "the file was changed")

"""U rows: a job that changes keys of its target is killed, gone on with or not, and undone.

    target holds others' values -> copy with replace, or clear -> SIGKILL [-> resume [-> SIGKILL -> resume]]
                                -> undo [-> SIGKILL -> resume] -> the target is what it was before the job

Rule: which point, which time, and how it goes on come from the seed.
"""

from __future__ import annotations

from tests import oracle
from tests.campaign import data
from tests.campaign.bench import SECRETS, Bench, defaults, need
from tests.campaign.cases import case
from tests.campaign.child import Run
from tests.campaign.kills import NOTHING_LEFT, resume
from tests.campaign.places import Server

KEYS = 2000
POINTS = (
    *("undo.appended", "undo.captured", "undo.changed", "undo.took"),
    *("sink.answered", "trail.sent", "trail.flushed", "trail.synced"),
)
_OWN = 4
"""The first of the points, which clears and undos pass, too."""


def _others(bench: Bench, source: Server, target: Server) -> None:
    """What others have at the target: half as many keys, and other values under names of the source."""
    data.fill(target.client(), bench.seed + 1_000_003, KEYS // 2)
    for number, (db, name) in enumerate(bench.chance.sample(sorted(bench.held(source).keys), 200)):
        target.ask("DEL", name, db=db)
        words = (("SET", name, b"theirs %d" % number), ("RPUSH", name, "a", "b"), ("SADD", name, *range(600)))
        target.ask(*words[number % 3], db=db)
        if number % 5 == 0:
            target.ask("PEXPIREAT", name, data.IN_2099_MS + number, db=db)


def _point(bench: Bench, points: tuple[str, ...]) -> str:
    return f"{bench.chance.choice(points)}:{bench.chance.randrange(1, 14)}"


def _to_its_end(bench: Bench, run: Run, points: tuple[str, ...]) -> Run:
    """Resume until it ends, killed once more in one of three runs."""
    for number in range(4):
        if not run.signal:
            break
        armed = _point(bench, points) if not number and bench.chance.random() < 0.3 else ""
        run = resume(bench, f"resume{number}", armed=armed)
    return run


def _undo(bench: Bench, job: str) -> None:
    armed = _point(bench, POINTS[:_OWN]) if bench.chance.random() < 0.3 else ""
    run = bench.run("undo", job, name="undo", armed=armed, environment=SECRETS)
    bench.facts["undo"] = "killed" if run.signal else "whole"
    run = _to_its_end(bench, run, POINTS[:_OWN])
    if run.exit == NOTHING_LEFT and "no undo archive" in run.err:  # it was killed before it captured anything
        bench.facts["undo"] = "nothing"
        return
    need(run.exit == 0, "the undo did not finish well:", run.told(), run.of("finding")[:2])


def _same(before: oracle.Snapshot, target: Server) -> None:
    change = oracle.compare(before, oracle.snapshot(target.address))
    need(not change, "the target is not what it was before the job:", change.told())


@case("U1", "kill -9 in a copy with --on-conflict replace, resume or not, undo: the target is as before", 200)
def undone(bench: Bench) -> None:
    source, target = bench.pair()
    bench.fill(source, KEYS)
    _others(bench, source, target)
    before, armed = oracle.snapshot(target.address), _point(bench, POINTS)
    words = defaults(("--on-conflict", "replace"))
    run = bench.run("copy", *bench.urls(source, target), *words, name="killed", armed=armed)
    job, goes_on = run.job, bench.chance.random() < 0.7
    bench.facts |= {"point": armed, "hit": bool(run.signal), "goes_on": goes_on, "fired": int(bool(run.signal))}
    if goes_on:
        run = _to_its_end(bench, run, POINTS)
        need(run.exit in (0, NOTHING_LEFT), "the copy did not finish well:", run.told())
        bench.facts["resumed"] = True
    _undo(bench, job)
    _same(before, target)


@case("U2", "kill -9 in a clear, resume, undo: the target is as before", 100)
def cleared(bench: Bench) -> None:
    _, target = bench.pair()
    data.fill(target.client(), bench.seed, KEYS)
    before, armed = oracle.snapshot(target.address), _point(bench, POINTS[:_OWN])
    url = bench.urls(target, target)[1]
    run = bench.run("clear", url, "--allow", "clear", name="killed", armed=armed, environment=SECRETS)
    bench.facts |= {"point": armed, "hit": bool(run.signal), "fired": int(bool(run.signal))}
    job, run = run.job, _to_its_end(bench, run, POINTS[:_OWN])
    need(run.exit == 0, "the clear did not finish well:", run.told())
    need(not oracle.snapshot(target.address).keys, "keys are left")
    _undo(bench, job)
    _same(before, target)

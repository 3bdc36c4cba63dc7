"""S3, S4, S15 to S18: servers that die, come back, change their role, or are others than before."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from tests import oracle
from tests.campaign.bench import NEWEST, SECRETS, Bench, at_keys, need
from tests.campaign.cases import case
from tests.campaign.child import Run, names_of
from tests.campaign.places import Server

KEYS = 2000
PACE = ("--batch", "50", "--rate", "4k/s", "--give-up-after", "20s")
"""So slow that there is a middle to strike at."""
AT_ONCE = ("--repl-diskless-sync-delay", "0")


def anywhere(bench: Bench) -> int:
    """A tenth to two thirds of the keys of database 0."""
    return bench.chance.randrange(KEYS * 8 // 100, KEYS // 2)


def struck(
    bench: Bench, source: Server, target: Server, act: Callable[[], None], *words: str, via: tuple[str, ...] = ()
) -> Run:
    """A copy with *act* in its middle."""
    step = at_keys(target, anywhere(bench), act)
    run = bench.copy(source, target, *PACE, *words, via=via, on_plan=lambda: None, step=step, limit_s=60)
    need(step.done, "the strike came too late:", run.told())  # type: ignore[attr-defined]
    return run


def named(run: Run, side: str) -> None:
    """The replacement was noticed and told."""
    need(run.result.get("restarts", 0) >= 1, "no restart is counted:", run.told())
    notes = run.result["notes"]
    need(any(f"the {side} was replaced by another process" in note for note in notes), "not named:", notes)


def role(bench: Bench, name: str, *options: str) -> Server:
    """An empty primary kept for *name*."""
    server = bench.server(name, NEWEST, *options)
    server.revive()
    return server


@case("S15", "source killed in mid-scan and restarted from its RDB (another hash seed)", 50, slow=True)
def source_restarted(bench: Bench) -> None:
    source, target = role(bench, "saved source"), role(bench, "target")
    bench.fill(source, KEYS)
    source.ask("SAVE")
    kept = source.holds

    def strike() -> None:
        source.restart()
        source.holds = kept

    run = struck(bench, source, target, strike)
    named(run, "source")
    bench.good(run, source, target)


@case(
    "S15empty", "source back in mid-scan without its data: stopped, not resumed; with its data: resumed", 50, slow=True
)
def source_lost_its_data(bench: Bench) -> None:
    source, target = role(bench, "saved source"), role(bench, "target")
    bench.fill(source, KEYS)
    source.ask("SAVE")
    kept, saved, aside = source.holds, source.folder / "dump.rdb", source.folder / "aside.rdb"
    saved.replace(aside)
    run = struck(bench, source, target, source.restart)
    _refused_as_emptied(run)
    there = target.size()
    _refused_as_emptied(bench.run("resume", name="too soon", environment=SECRETS))
    need(target.size() == there > 0, "the target was touched:", there, target.size())
    source.kill()
    aside.replace(saved)
    source.start()
    source.holds = kept
    bench.good(bench.run("resume", name="resumed", environment=SECRETS), source, target)


def _refused_as_emptied(run: Run) -> None:
    error = run.result.get("error") or {}
    need((run.exit, error.get("code")) == (4, "E215"), "an emptied source was not refused:", run.told())
    need("transfer resume" in error["hint"], "no way on is told:", error)


@case("S16", "target killed: no persistence, back empty / older; or appendfsync everysec", 50, slow=True)
def target_restarted(bench: Bench) -> None:
    kind = ("empty", "older", "log")[bench.seed % 3]
    log = ("--appendonly", "yes", "--appendfsync", "everysec") if kind == "log" else ()
    source, target = bench.server("source"), role(bench, f"mortal target {kind}", *log)
    bench.fill(source, KEYS)
    target.forget_saved()
    foreign = bench.plant(target) if kind == "older" and bench.seed % 2 else None
    allowed = ("--allow", "nonempty-target") if foreign else ()
    wanted = anywhere(bench)
    saving = at_keys(target, bench.chance.randrange(20, wanted), lambda: target.ask("SAVE"))
    striking = at_keys(target, wanted, target.restart)

    def step() -> None:
        if kind == "older":
            saving()
        if kind != "older" or saving.done:  # type: ignore[attr-defined]
            striking()

    run = bench.copy(source, target, *PACE, *allowed, on_plan=lambda: None, step=step)
    bench.facts["kind"] = kind
    need(striking.done, "the strike came too late:", run.told())  # type: ignore[attr-defined]
    named(run, "target")
    bench.good(run, source, target, foreign=foreign)


@case("S17", "a reconnect lands on a promoted replica or on an unrelated server, either side", 50, slow=True)
def switched(bench: Bench) -> None:
    side = ("source", "target")[bench.seed % 2]
    source, target = role(bench, "source 17", *AT_ONCE), role(bench, "target 17", *AT_ONCE)
    bench.fill(source, KEYS)
    old = source if side == "source" else target
    if bench.seed // 2 % 2:
        _stranger(bench, side, source, target, role(bench, "stranger"))
        return
    other = role(bench, "other")
    other.follow(old)

    def strike() -> None:
        other.ask("REPLICAOF", "NO", "ONE")
        bench.proxies.switch(side, other.address)

    run = struck(bench, source, target, strike, via=(side,))
    named(run, side)
    need("the same data's history" in " ".join(run.result["notes"]), "its history:", run.result["notes"])
    bench.good(run, source, target if side == "source" else other)


def _stranger(bench: Bench, side: str, source: Server, target: Server, other: Server) -> None:
    for number in range(50):
        other.ask("SET", f"strange{number}", number)
    before = oracle.snapshot(other.address)
    run = struck(bench, source, target, lambda: bench.proxies.switch(side, other.address), via=(side,))
    error = run.result.get("error") or {}
    need((run.exit, error.get("code")) == (4, "E213"), "a stranger was not refused:", run.told())
    after = oracle.compare(before, oracle.snapshot(other.address))
    need(not after, "the stranger was touched:", after.told())
    need(not target.ask("EXISTS", *(f"strange{number}" for number in range(50))), "a stranger's keys were copied")
    bench.converges(source, target)


@case("S18", "the source, a replica, starts a full resync from another primary in mid-scan", 50, slow=True)
def resynced(bench: Bench) -> None:
    first, other = role(bench, "first 18", *AT_ONCE), role(bench, "other 18", *AT_ONCE)
    source, target = role(bench, "replica"), role(bench, "target")
    bench.fill(first, KEYS)
    from tests.campaign import data

    data.fill(other.client(), bench.seed + 1_000_000, KEYS)
    source.ask("CONFIG", "SET", "key-load-delay", bench.chance.choice((0, 0, 200)))
    source.follow(first)
    route = bench.chance.choice(("scan", "psync"))
    follow = partial(source.ask, "REPLICAOF", "127.0.0.1", other.port)
    run = struck(bench, source, target, follow, "--route", route, "--allow", "fork")
    said = any("took over another data set" in note for note in run.result.get("notes", ()))
    if route == "psync" and said:  # what was copied came whole from the data of before
        need(run.exit == 7, "data of before cannot be as that of now:", run.told())
        bench.equal(first, target, tolerance_ms=600)
        return
    need(run.result.get("restarts", 0) >= 1, "not noticed:", run.told())
    source.ask("REPLICAOF", "NO", "ONE")
    conflicts, changed = names_of(run, "error"), names_of(run, "finding")
    need({line["verdict"] for line in run.of("finding")} <= {"CHANGED"}, "a false finding:", run.of("finding")[:2])
    bench.facts["conflicts"] = len(conflicts)  # what was written before, in an order that the target does not keep
    need(run.exit == (3 if conflicts else 7 if changed else 0), "did not finish well:", run.told())
    need(len(conflicts) < KEYS // 50, "so many conflicts with itself:", len(conflicts))
    bench.equal(other, target, but=conflicts | changed, tolerance_ms=600)


@case("S3", "target becomes a replica (READONLY) in mid-run, and a primary again: soon, or after the run gave up", 100)
def read_only(bench: Bench) -> None:
    source, target = bench.server("source"), role(bench, "target 3")
    bench.fill(source, KEYS)
    soon, turned = bench.seed % 2, [0.0]

    def turn() -> None:
        target.ask("REPLICAOF", "127.0.0.1", 1)
        turned[0] = time.monotonic()

    turning = at_keys(target, anywhere(bench), turn)

    def step() -> None:
        turning()
        if soon and turned[0] and time.monotonic() - turned[0] > 0.5:
            target.ask("REPLICAOF", "NO", "ONE")

    words = [*PACE[:-1], "1s" if not soon else "20s"]
    run = bench.copy(source, target, *words, on_plan=lambda: None, step=step)
    target.ask("REPLICAOF", "NO", "ONE")
    need(turned[0], "the strike came too late:", run.told())
    bench.facts["exit"] = run.exit
    need(run.exit in (0, 4), "neither went on nor stopped:", run.told())
    if run.exit:
        need(not run.result["keys"]["rejected"], "READONLY is no refusal of one key:", run.told())
        again = bench.run("resume", name="resumed", environment=SECRETS)
        need(again.exit == 0, "the resume:", again.told())
    bench.equal(source, target)


@case("S4", "primary of the target killed before its replica had the last acknowledged writes; promoted", 50, slow=True)
def failed_over(bench: Bench) -> None:
    source, target = bench.server("source"), role(bench, "target 4", *AT_ONCE)
    replica = role(bench, "replica 4")
    bench.fill(source, KEYS)
    replica.follow(target)
    deaf = [0.0]

    def stop_replica() -> None:
        replica.pause()
        deaf[0] = time.monotonic()

    def promote() -> None:
        target.kill()
        replica.go_on()
        replica.ask("REPLICAOF", "NO", "ONE")
        bench.proxies.switch("target", replica.address)

    wanted = anywhere(bench)
    first, second = at_keys(target, max(10, wanted - 200), stop_replica), at_keys(target, wanted, promote)

    def step() -> None:
        first()
        if first.done and not second.done:  # type: ignore[attr-defined]
            second()
        time.sleep(0.002)

    try:
        run = bench.copy(source, target, *PACE, via=("target",), on_plan=lambda: None, step=step)
    finally:
        replica.go_on()
    need(second.done, "the strike came too late:", run.told())  # type: ignore[attr-defined]
    named(run, "target")
    bench.good(run, source, replica)

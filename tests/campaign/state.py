"""S1, S2, S5 to S7, S9, S10, S12, S13: what the servers hold, allow and think of the time while a copy runs."""

from __future__ import annotations

import time
from typing import Any

from tests import oracle
from tests.campaign import data
from tests.campaign.bench import NEWEST, SECRETS, Bench, at_keys, need
from tests.campaign.cases import case
from tests.campaign.child import Run, names_of
from tests.campaign.places import SETTABLE, Server
from tests.campaign.replaced import role
from tests.canaries import CANARIES

KEYS = 2000
ACL_PASSWORD = CANARIES["acl user password"]


@case("S1", "target out of memory: --on-full stop, or wait and room made meanwhile", 50)
def full(bench: Bench) -> None:
    source, target = bench.server("source"), role(bench, "target 1")
    bench.fill(source, KEYS)
    target.ask("CONFIG", "SET", "maxmemory", 0)
    waits = bench.seed % 2

    def fill_up() -> None:
        room = bench.chance.randrange(100_000, 500_000)
        target.ask("CONFIG", "SET", "maxmemory", int(_info(target, "memory", "used_memory")) + room)

    begun = time.monotonic()

    def step() -> None:
        if waits and time.monotonic() > begun + 1.5:
            target.ask("CONFIG", "SET", "maxmemory", 0)
        time.sleep(0.01)

    run = bench.copy(source, target, "--on-full", "wait" if waits else "stop", on_plan=fill_up, step=step)
    target.ask("CONFIG", "SET", "maxmemory", 0)
    bench.facts["exit"] = run.exit
    if waits or run.exit == 0:
        bench.good(run, source, target)
        return
    need(run.exit == 8, "a full target:", run.told())
    there = len(oracle.snapshot(target.address).keys)
    need(run.result["keys"]["written"] == there, "written is not what is there:", run.result["keys"], there)
    bench.converges(source, target)


def _info(server: Server, section: str, name: str) -> str:
    rows = server.ask("INFO", section).decode().splitlines()
    return next(row.partition(":")[2] for row in rows if row.startswith(f"{name}:"))


@case("S2", "target that evicts: refused by default; set to evict in mid-run, the missing keys are named", 50)
def evicting(bench: Bench) -> None:
    source, target = bench.server("source"), role(bench, "target 2")
    bench.fill(source, KEYS)
    target.ask("CONFIG", "SET", "maxmemory", 0)
    target.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")

    def evict() -> None:
        target.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
        room = int(_info(target, "memory", "used_memory")) + bench.chance.randrange(500_000, 900_000)
        target.ask("CONFIG", "SET", "maxmemory", room)

    if bench.seed % 5 == 0:
        evict()
        run = bench.copy(source, target)
        need(run.exit == 5 and not target.size(), "an evicting target was not refused:", run.told())
        return
    run = bench.copy(source, target, "--give-up-after", "3s", on_plan=evict)
    target.ask("CONFIG", "SET", "maxmemory", 0)
    if run.exit == 8:  # nothing left that it could evict
        bench.facts["exit"] = 8
        target.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        bench.converges(source, target)
        return
    lost = set(oracle.compare(bench.held(source), oracle.snapshot(target.address)).lost)
    bench.facts["lost"] = len(lost)
    told = names_of(run, "finding")
    # the server goes on evicting while the proof runs: what went after its look is nobody's to name
    need(len(lost - told) <= 5, "evicted and not named:", len(lost - told), list(lost - told)[:3])
    need(run.exit == (6 if told else 0), "exit:", run.told())
    if told:
        need(
            any("evicted" in line["message"] for line in run.of("warning")), "the cause is not told", run.of("warning")
        )


@case("S5", "20,000 keys that live 1 to 2,000 ms", 50, slow=True)
def expiring(bench: Bench) -> None:
    left, _ = (bench.chance.choice((NEWEST, "redis-7.0", "redis-6.2")), None)
    source, target = bench.pair((left, NEWEST))
    source.empty()
    client, many = source.client(), 20_000
    for at in range(0, many, 2000):
        client.must([("SET", _name(number), b"v%d" % number) for number in range(at, at + 2000)])
    # the plan takes about 700 ms; what a key has left while it is copied is 1 to 2,000 ms
    began_ms = int(time.time() * 1000) + 700
    deadlines = {_name(n): began_ms + bench.chance.randrange(1, 2000) for n in range(many) if n % 100}
    client.must([("PEXPIREAT", name, time_ms) for name, time_ms in deadlines.items()])
    words = ("--format", "logical") if bench.seed % 3 == 2 else ()
    run = bench.copy(source, target, "--batch", "500", "--rate", "20k/s", *words)
    there = oracle.snapshot(target.address)
    need(run.exit == 0 and not run.of("finding"), "a false finding:", run.told(), run.of("finding")[:3])
    keys = run.result["keys"]
    need(not keys["conflicts"] + keys["rejected"], "conflicts or rejects:", keys)
    bench.facts["arrived"] = keys["written"] - many // 100
    for (_, name), held in there.keys.items():
        wanted = deadlines.get(name, oracle.NO_DEADLINE)
        need(held.value == b"v" + name[1:], "another value:", name)
        near = 250 if left == "redis-6.2" else 5
        need((held.deadline < 0) == (wanted < 0), "without its deadline, or with one:", name, held.deadline, wanted)
        need(abs(held.deadline - wanted) <= near, "another deadline:", name, held.deadline - wanted)
    need(all((0, _name(n)) in there.keys for n in range(0, many, 100)), "a key without a deadline is missing")
    time.sleep(max(0.0, (began_ms + 2010) / 1000 - time.time()))
    alive = oracle.snapshot(target.address).keys
    need(len(alive) == many // 100, "alive after their time:", len(alive) - many // 100)


def _name(number: int) -> bytes:
    return b"e%d" % number


@case("S6", "writers at the source: changing, deleting, renaming, changing the type; FLUSHALL in one of ten", 100)
def writers(bench: Bench) -> None:
    source, target = bench.pair((NEWEST, bench.chance.choice((NEWEST, "redis-7.0"))))
    bench.fill(source, 1500, fresh=True)
    source.client().must([("SET", b"w%d" % number, b"v") for number in range(1000)])
    still = oracle.snapshot(source.address)
    still.keys = {name: held for name, held in still.keys.items() if not name[1].startswith((b"w", b"new"))}
    if bench.seed % 10 == 9:
        _flushed(bench, source, target)
        return
    client = source.client()

    def step() -> None:
        client.pipe([words for _ in range(10) for words in _meddling(bench)])
        time.sleep(0.002)

    words = ("--format", "logical") if bench.seed % 4 == 1 else ()
    run = bench.copy(source, target, "--rate", "4k/s", *words, on_plan=lambda: None, step=step)
    need(run.exit in (0, 7), "writers at the source are no failure:", run.told(), run.of("finding")[:2])
    verdicts = {line["verdict"] for line in run.of("finding")}
    need(verdicts <= {"CHANGED"}, "a false finding:", verdicts, run.of("finding")[:2])
    strange = [name for name in names_of(run, "finding") if not name[1].startswith((b"w", b"new"))]
    need(not strange, "a key that nobody changed is listed:", strange[:3])
    there = oracle.snapshot(target.address)
    there.keys = {name: held for name, held in there.keys.items() if not name[1].startswith((b"w", b"new"))}
    differences = oracle.compare(still, there)
    need(not differences, "keys that lived unchanged:", differences.told())
    bench.facts["changed"] = len(run.of("finding"))


def _flushed(bench: Bench, source: Server, target: Server) -> None:
    step = at_keys(target, bench.chance.randrange(100, 900), source.empty)
    run = bench.copy(source, target, "--rate", "4k/s", on_plan=lambda: None, step=step)
    need(step.done, "the strike came too late:", run.told())  # type: ignore[attr-defined]
    need((run.exit, run.result["verified"]) == (7, False), "FLUSHALL at the source:", run.told())
    need(any("emptied" in line["message"] for line in run.of("warning")), "not said:", run.of("warning"))


def _meddling(bench: Bench) -> list[oracle.Words]:
    chance = bench.chance
    name = b"w%d" % chance.randrange(1000)
    match chance.randrange(8):
        case 0:
            return [("DEL", name)]
        case 1:
            return [("SET", name, chance.randbytes(10))]
        case 2:
            return [("DEL", name), ("RPUSH", name, 1, 2, 3)]
        case 3:
            return [("DEL", name), ("SADD", name, *(chance.randbytes(9) for _ in range(5)))]
        case 4:
            return [("PEXPIRE", name, chance.randrange(3_600_000, 7_200_000))]
        case 5:
            return [("PERSIST", name)]
        case 6:
            return [("RENAME", name, b"w%d" % chance.randrange(1000))]
    return [("SET", b"new%d" % chance.randrange(10_000), b"x")]


@case("S7", "the source's table grows tenfold or shrinks to a tenth under the scan", 100, slow=True)
def rehashed(bench: Bench) -> None:
    source, target = bench.pair((bench.chance.choice((NEWEST, "redis-7.0", "redis-6.2")), NEWEST))
    bench.fill(source, 1500, fresh=True)
    shrinks, others = bench.seed % 2, 15_000
    names = [b"gone:%d" % number for number in range(others)]
    client = source.client()
    if shrinks:
        client.must([("SET", name, b"x") for name in names])
    still = oracle.snapshot(source.address)
    still.keys = {name: held for name, held in still.keys.items() if not name[1].startswith(b"gone:")}
    wanted = bench.chance.randrange(4000, 9000) if shrinks else bench.chance.randrange(200, 900)

    def strike() -> None:
        client.must([("DEL", *names)] if shrinks else [("SET", name, b"x") for name in names])

    step = at_keys(target, wanted, strike)
    rate = "20k/s" if shrinks else "4k/s"
    run = bench.copy(source, target, "--batch", "300", "--rate", rate, on_plan=lambda: None, step=step)
    need(step.done, "the strike came too late:", run.told())  # type: ignore[attr-defined]
    need(run.exit in (0, 7), "exit:", run.told())
    strange = [name for name in names_of(run, "finding") if not name[1].startswith(b"gone:")]
    need(not strange, "a key that nobody changed is listed:", strange[:3])
    need(not run.result["keys"]["conflicts"], "met twice is no conflict:", run.result["keys"])
    there = oracle.snapshot(target.address)
    there.keys = {name: held for name, held in there.keys.items() if not name[1].startswith(b"gone:")}
    differences = oracle.compare(still, there)
    need(not differences, "keys that lived unchanged:", differences.told())


@case("S9", "clock of either side an hour off: refused; allowed: absolute; --ttl rebase: the time that remained", 40)
def skewed(bench: Bench) -> None:
    side, shift = ("source", "target")[bench.seed % 2], ("+1h", "-1h")[bench.seed // 2 % 2]
    kind = ("refused", "absolute", "rebased")[bench.seed // 4 % 3]
    shifted = bench.server(f"{side} {shift}", NEWEST, faketime=shift)  # the one of Debian clashes with libfaketime
    shifted.empty()
    plain = bench.server("plain 9")
    plain.empty()
    source, target = (shifted, plain) if side == "source" else (plain, shifted)
    data.fill(source.client(), bench.seed, 400)
    now_ms = _now_ms(source)
    source.client().must([("SET", f"soon{n}", n, "PXAT", now_ms + 7_200_000 + n) for n in range(100)])
    bench.facts |= {"kind": kind, "shifted": f"{side} {shift}"}
    if kind == "refused":
        run = bench.copy(source, target)
        need(run.exit == 2 and not target.size(), "another clock was not refused:", run.told())
        need("clock-skew" in run.err + run.out, "not named:", run.told())
        return
    words = ("--allow", "clock-skew", *(("--ttl", "rebase") if kind == "rebased" else ()))
    run = bench.copy(source, target, *words)
    here, there = oracle.snapshot(source.address), oracle.snapshot(target.address)
    if kind == "rebased":
        skew_ms = there.until_ms - here.until_ms
        for name, held in here.keys.items():
            if held.deadline >= 0:
                here.keys[name] = held._replace(deadline=held.deadline + skew_ms)
        here.until_ms = there.until_ms
    differences = oracle.compare(here, there, 1000 if kind == "rebased" else 5)
    told = names_of(run, "finding") | names_of(run, "error")
    expired = {name for name in differences.lost if 0 <= here.keys[name].deadline <= there.until_ms + 5}
    differences = differences.without(told | expired)
    need(not differences, "vanished in silence:", differences.told())
    need(run.exit == 0 or told, "exit:", run.told())
    if expired:
        need(
            run.result["keys"]["expired"] >= len(expired), "expired and not counted:", run.result["keys"], len(expired)
        )


_STEPS_MS = {"+1h": 3_600_000, "-1h": -3_600_000, "+10m": 600_000, "-10m": -600_000}
_LIVES_MS = (20_000, 300_000, 1_500_000, 5_400_000, 86_400_000)
"""What keys have left: less than either step, between them, more."""


@case("S9step", "clock of either side set by 10 min or 1 h in mid-run: refused; allowed: absolute; --ttl rebase", 48)
def stepped(bench: Bench) -> None:
    side, shift = ("source", "target")[bench.seed % 2], tuple(_STEPS_MS)[bench.seed // 2 % 4]
    kind = ("refused", "absolute", "rebased")[bench.seed // 8 % 3]
    fickle = bench.server(f"{side} with a clock to set", NEWEST, faketime=SETTABLE)
    fickle.set_clock("+0")
    plain = bench.server(
        "plain 9", bench.chance.choice((NEWEST, "redis-7.0", "redis-6.2") if side == "target" else (NEWEST,))
    )
    source, target = (fickle, plain) if side == "source" else (plain, fickle)
    source.empty()
    target.empty()
    data.fill(source.client(), bench.seed, 800)
    now_ms = _now_ms(source)
    lives = [(b"lives%d" % n, now_ms + _LIVES_MS[n % len(_LIVES_MS)] + n) for n in range(800)]
    source.client().must([("SET", name, name) for name, _ in lives])
    source.client().must([("PEXPIREAT", name, at_ms) for name, at_ms in lives])
    bench.facts |= {"kind": kind, "stepped": f"{side} {shift}", "pair": f"{source.version} to {target.version}"}
    words = {"refused": (), "absolute": ("--allow", "clock-skew"), "rebased": ("--ttl", "rebase")}[kind]
    step = at_keys(target, bench.chance.randrange(100, 900), lambda: fickle.set_clock(shift))
    run = bench.copy(source, target, "--batch", "50", "--rate", "1k/s", *words, on_plan=lambda: None, step=step)
    need(step.done, "the strike came too late:", run.told())  # type: ignore[attr-defined]
    if kind == "refused":
        _refused_in_mid_run(bench, run, source, target, fickle)
        return
    need(any(f"the {side}'s clock was set" in line["message"] for line in run.of("warning")), "not said:", run.told())
    need(not run.of("finding"), "a false finding:", run.of("finding")[:2], run.told())
    told = names_of(run, "error")
    need(run.exit == (3 if told else 0), "exit:", run.told())
    here, there = oracle.snapshot(source.address), oracle.snapshot(target.address)
    if kind == "absolute":
        differences = oracle.compare(here, there).without(told)
        need(not differences, "vanished in silence:", differences.told())
    else:
        skew_ms = _STEPS_MS[shift] * (1 if side == "target" else -1)
        _need_rebased(here, there, told, skew_ms)


def _refused_in_mid_run(bench: Bench, run: Run, source: Server, target: Server, fickle: Server) -> None:
    """It stops and says why; with the clock right again the resume goes on, and names what expired too early."""
    need(run.exit == 2 and "clock-skew" in run.told() + run.err, "a clock set in mid-run was not refused:", run.told())
    need("was set" in run.told(), "the step is not named:", run.told())
    again = bench.run("resume", name="early", environment=SECRETS)
    need(again.exit == 2 and "clock-skew" in again.told(), "resumed with the clock still wrong:", again.told())
    fickle.set_clock("+0")
    again = bench.run("resume", name="resumed", environment=SECRETS)
    told = names_of(again, "finding") | names_of(again, "error")
    bench.facts |= {"exit": again.exit, "told": len(told)}
    need(again.exit in (0, 6, 7) and bool(told) == bool(again.exit), "the resume:", again.told())
    differences = oracle.compare(oracle.snapshot(source.address), oracle.snapshot(target.address)).without(told)
    need(not differences, "vanished in silence:", differences.told())


def _need_rebased(here: oracle.Snapshot, there: oracle.Snapshot, told: set[oracle.Name], skew_ms: int) -> None:
    """Every key has what remained of its time, by the clocks before the step or after it; or that time is over."""
    for name, held in here.keys.items():
        moments = (held.deadline, held.deadline + skew_ms)
        found = there.keys.get(name)
        if name in told:
            continue
        if found is None:
            need(
                held.deadline >= 0 and min(moments) <= there.until_ms + 500, "vanished in silence:", name, held.deadline
            )
            continue
        need((found.kind, found.value) == (held.kind, held.value), "altered:", name)
        need((found.deadline < 0) == (held.deadline < 0), "without its deadline, or with one:", name)
        near = min(abs(found.deadline - at) for at in moments)
        need(held.deadline < 0 or near <= 500, "another deadline:", name, near)
    for name in there.keys.keys() - here.keys.keys():
        least = there.keys[name].deadline - max(0, skew_ms)
        need(0 <= least <= here.until_ms + 500, "invented:", name, there.keys[name].deadline)


def _now_ms(server: Server) -> int:
    seconds, micros = server.ask("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


_RIGHTS = {
    "source": "scan dump pttl pexpiretime type time info select multi exec get lrange zrange smembers hgetall xinfo",
    "target": "restore exists dump pttl pexpiretime type time info select multi exec get scan smembers hgetall config",
}


@case("S10", "a user without one needed command, from the start or taken in mid-run; or without a key pattern", 60)
def denied(bench: Bench) -> None:
    side = ("source", "target")[bench.seed % 2]
    source, target = bench.pair((NEWEST, NEWEST))
    bench.fill(source, 500)
    server = source if side == "source" else target
    words = _RIGHTS[side].split()
    command = words[bench.seed // 2 % len(words)]
    later = bench.seed // 2 >= len(words)
    taken = ("resetkeys", "~k1*") if bench.seed % 7 == 6 else (f"-{command}",)
    bench.facts |= {"taken": f"{side} {' '.join(taken)}", "later": later}
    server.ask("ACL", "SETUSER", "narrow", "reset", "on", f">{ACL_PASSWORD}", "~*", "&*", "+@all")

    def take() -> None:
        server.ask("ACL", "SETUSER", "narrow", *taken)

    if not later:
        take()
    url = server.url_of("narrow", ACL_PASSWORD)
    places = (url, target.url) if side == "source" else (source.url, url)
    run = bench.run("copy", *places, "--batch", "50", on_plan=take if later else None, limit_s=30)
    bench.facts["exit"] = run.exit
    if run.exit == 0:
        bench.equal(source, target)
        return
    told = (run.err + run.out).lower()
    need(run.exit in (3, 4, 6), "exit:", run.told())
    need(later or command in told or taken[0] == "resetkeys", "the missing right is not named:", command, run.told())
    if not later and taken[0] != "resetkeys":
        need(not oracle.snapshot(target.address).keys, "written without the right to:", run.told())
    if later and run.exit in (3, 6):
        lost = set(oracle.compare(bench.held(source), oracle.snapshot(target.address)).lost)
        listed = names_of(run, "finding") | names_of(run, "error")
        need(not lost - listed, "lost and not listed:", len(lost - listed), run.told())
    bench.converges(source, target)


@case("S12", "odd data of every type in up to sixteen databases, all pairs, both forms", 300)
def odd(bench: Bench) -> None:
    versions = ("redis-6.2", "redis-7.0", NEWEST)
    source, target = bench.pair((versions[bench.seed % 3], versions[bench.seed // 3 % 3]))
    source.empty()
    dbs = tuple(bench.chance.sample(range(16), bench.chance.choice((1, 2, 16))))
    data.fill(source.client(), bench.seed + 5_000_000, bench.chance.choice((12, 100, 400)), dbs=dbs)
    form = ("auto", "logical")[bench.chance.randrange(2)]
    bench.facts["form"] = form
    run = bench.copy(source, target, "--format", form)
    bench.good(run, source, target, tolerance_ms=50 if "redis-6.2" in bench.facts["pair"] else 5)


@case("S13", "the target holds some of the keys: fail, skip, replace", 90)
def conflicting(bench: Bench) -> None:
    policy = ("fail", "skip", "replace")[bench.seed % 3]
    source, target = bench.pair()
    bench.fill(source, KEYS)
    held = bench.held(source).keys
    foreign = bench.plant(target)
    taken = bench.chance.sample(sorted(held), 60)
    for number, (db, name) in enumerate(taken):
        if number % 4:
            target.ask("SET", name, b"theirs %d" % number, db=db)
        else:
            target.ask("RPUSH", name, b"theirs", db=db)
    theirs = oracle.snapshot(target.address)
    words = ("--format", "logical") if bench.chance.random() < 0.3 else ()
    run = bench.copy(source, target, "--on-conflict", policy, *words)
    _judge_conflicts(bench, run, policy, (source, target), set(taken), foreign, theirs)


def _judge_conflicts(
    bench: Bench,
    run: Run,
    policy: str,
    places: tuple[Server, Server],
    taken: set[tuple[int, bytes]],
    foreign: oracle.Snapshot,
    theirs: Any,
) -> None:
    source, target = places
    need(run.exit == (3 if policy == "fail" else 0), "exit:", run.told())
    conflicts = 0 if policy == "replace" else len(taken)
    need(run.result["keys"]["conflicts"] == conflicts, "conflicts:", run.result["keys"])
    bench.equal(source, target, foreign=foreign, but=set() if policy == "replace" else taken)
    if policy != "replace":
        there = oracle.snapshot(target.address)
        there.keys = {name: held for name, held in there.keys.items() if name in theirs.keys}
        touched = oracle.compare(theirs, there)
        need(not touched, "theirs were touched:", touched.told())
    if policy == "fail":
        need(names_of(run, "error") == taken, "not each listed:", len(names_of(run, "error")))

"""K rows: the process is killed, interrupted or doubled; `transfer resume` goes on.

    copy -> SIGKILL at a named point, the n-th time -> resume [-> SIGKILL -> resume ...] -> exit 0 -> judge

Rule 1: which point, which time and which data come from the seed; how often a point is passed is learned from one
        run of the same scene without a kill.
Rule 2: a scene is what makes a point be passed at all: conflicts for rejects, a replaced source for a restart ...
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests import oracle
from tests.campaign import data
from tests.campaign.bench import NEWEST, SECRETS, Bench, Broken, at_keys, defaults, need
from tests.campaign.cases import case
from tests.campaign.child import Act, Run, finish
from tests.campaign.places import Server
from tests.campaign.replaced import role
from tests.campaign.skips import Skip
from tests.faults import Stall
from tests.oracle import Name, Snapshot
from transfer.model import crash

KEYS = 2000
MOST_RESUMES = 4
WINDOW_KEYS = 8 * 50 + 10
"""Four writers' batches and those that wait for them, and the trial commands of two preflights."""
NOTHING_LEFT = 2
"""`resume` where no job is left to be resumed."""


@dataclass
class Scene:
    """One kind of run that is to be killed."""

    name: str
    source: Server
    target: Server
    words: tuple[str, ...] = ()
    foreign: Snapshot | None = None
    taken: frozenset[Name] = frozenset()
    restarts: bool = False

    @property
    def exits(self) -> int:
        """How it ends well."""
        return 3 if self.taken else 0


def plain(bench: Bench, *words: str) -> Scene:
    """A copy of every type; in one of three runs the target has keys of its own."""
    source, target = bench.pair()
    bench.fill(source, KEYS)
    foreign = bench.plant(target) if bench.seed % 3 == 0 else None
    allowed = ("--allow", "nonempty-target") if foreign else ()
    return Scene("plain", source, target, (*words, *allowed), foreign)


def conflicting(bench: Bench, *words: str) -> Scene:
    """Thirty keys of the target are another's: they are rejected by name."""
    source, target = bench.pair()
    bench.fill(source, KEYS)
    taken = bench.chance.sample(sorted(bench.held(source).keys), 30)
    for number, (db, name) in enumerate(taken):
        target.ask("SET", name, b"theirs %d" % number, db=db)
    foreign = oracle.snapshot(target.address)
    return Scene("conflicts", source, target, (*words, "--on-conflict", "fail"), foreign, frozenset(taken))


def restarting(bench: Bench, *words: str) -> Scene:
    """The source dies in the middle, and comes back from its save."""
    source, target = role(bench, "saved source"), role(bench, "target")
    bench.fill(source, KEYS)
    source.ask("SAVE")
    return Scene("restart", source, target, (*words, "--rate", "4k/s", "--batch", "50"), restarts=True)


def lasting(bench: Bench, *words: str) -> Scene:
    """Longer than two seconds: what is done every second is done."""
    scene = plain(bench, *words)
    scene.name, scene.words = "lasting", (*scene.words, "--rate", "800/s")
    return scene


def large(bench: Bench, *words: str) -> Scene:
    """A few hundred small keys, and some that are cut through: larger than what is held at once."""
    return _of_size(bench, "large", 3 << 20, *words, "--max-memory", "8MiB")


def in_pieces(bench: Bench, *words: str) -> Scene:
    """Some keys that are copied piece by piece under a temporary name."""
    return _of_size(bench, "in pieces", 2_500_000, *words, "--max-memory", "8MiB", "--big-key", "1MiB")


def refused_in_pieces(bench: Bench, *words: str) -> Scene:
    """As `in_pieces`, and two of the names hold other values at the target."""
    scene = in_pieces(bench, *words, "--on-conflict", "fail")
    taken = frozenset({(0, b"large0:set{x}"), (0, b"large1:zset{x}")})
    for db, name in sorted(taken):
        scene.target.ask("SET", name, b"theirs", db=db)
    scene.name, scene.taken = "refused in pieces", taken
    scene.foreign = oracle.snapshot(scene.target.address)
    return scene


def synced(bench: Bench, *words: str) -> Scene:
    """By one full sync, at a pace that leaves the target behind."""
    scene = plain(bench, *words)
    scene.source.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    paced = ("--route", "psync", "--allow", "fork", "--rate", "3000/s", "--batch", "50")
    scene.name, scene.words = "synced", (*scene.words, *paced)
    return scene


def _of_size(bench: Bench, name: str, size_bytes: int, *words: str) -> Scene:
    source, target = bench.pair((NEWEST, NEWEST))
    wanted = (bench.seed // 10, name)
    if source.holds != wanted:
        source.empty()
        data.fill(source.client(), wanted[0], 200)
        data.fill_large(source.client(), wanted[0], size_bytes)
        source.holds = wanted
        bench.forget_snapshot(source)
    return Scene(name, source, target, words)


SCENES = {
    "store.rejects": conflicting,
    "trail.restarted": restarting,
    "trail.synced": lasting,
    "big.restored": large,
    "big.restored_part": large,
    "big.chunk_written": in_pieces,
    "big.before_rename": in_pieces,
    "big.renamed": in_pieces,
    "big.temporary_removed": refused_in_pieces,
}
ONLY_IN_RESUME = ("store.reopened",)
_LEARNED: dict[tuple[str, str], dict[str, int]] = {}


def go(bench: Bench, scene: Scene, name: str, *, armed: str = "", kill_after_s: float = 0.0, **how: object) -> Run:
    """`copy` in *scene*, killed at *armed* or after a time."""
    step = _restart_step(bench, scene) if scene.restarts else None
    if kill_after_s:
        return killed_after(
            bench, ["copy", *bench.urls(scene.source, scene.target), *defaults(scene.words)], name, kill_after_s
        )
    on_plan: Act | None = (lambda: None) if step is not None else None
    words = ("copy", *bench.urls(scene.source, scene.target), *defaults(scene.words))
    return bench.run(*words, name=name, armed=armed, on_plan=on_plan, step=step, **how)  # type: ignore[arg-type]


def _restart_step(bench: Bench, scene: Scene) -> Act:
    kept = scene.source.holds

    def restart() -> None:
        scene.source.restart()
        scene.source.holds = kept

    return at_keys(scene.target, bench.chance.randrange(200, 900), restart)


def killed_after(bench: Bench, argv: list[str], name: str, after_s: float, **how: object) -> Run:
    begun = bench.begin(*argv, name=name, **how)  # type: ignore[arg-type]

    def step() -> None:
        if time.monotonic() - begun.began > after_s:
            os.kill(begun.pid, signal.SIGKILL)
        time.sleep(0.001)

    run = finish(begun, step=step)
    bench.always(run)
    return run


def resume(bench: Bench, name: str, job: str = "", *, armed: str = "", **how: object) -> Run:
    """`transfer resume [JOB]`; passwords come from the environment, the store holds none."""
    words = ("resume", job) if job else ("resume",)
    return bench.run(*words, name=name, armed=armed, environment=SECRETS, **how)  # type: ignore[arg-type]


def passes(bench: Bench, scene: Scene) -> dict[str, int]:
    """How often each point is passed in such a run; learned once."""
    key = (scene.name, " ".join(scene.words))
    if key not in _LEARNED:
        counts = bench.folder / "points.json"
        state, bench.state = bench.state, bench.folder / "learning"
        run = go(bench, scene, "learning", counts=counts)
        bench.state = state
        need(run.exit == scene.exits, "the run without a kill:", run.told())
        _LEARNED[key] = json.loads(counts.read_text())
        _clear(bench, scene)
    return _LEARNED[key]


def _clear(bench: Bench, scene: Scene) -> None:
    """The target as it was before the run: only what is not ours."""
    keep = set(scene.foreign.keys) if scene.foreign is not None else set()
    for db, name in oracle.snapshot(scene.target.address).keys:
        if (db, name) not in keep:
            scene.target.ask("DEL", name, db=db)


def finished(bench: Bench, scene: Scene, killed: Run) -> Run | None:
    """Resume until it ends well. None where the run had ended before it was killed."""
    run = killed
    for number in range(MOST_RESUMES):
        if run.exit == scene.exits and not run.signal:
            return run
        job = killed.job if bench.seed % 2 else ""
        run = resume(bench, f"resume{number}", job)
        if run.exit == NOTHING_LEFT:
            return None
    raise Broken(f"never finished: {run.told()}")


def settle(bench: Bench, scene: Scene, killed: Run) -> None:
    """Resume, and judge the end."""
    run = finished(bench, scene, killed)
    bench.facts["resumed"] = run is not None and run is not killed
    if run is None:
        run = _without_job(bench, scene, killed)
    if run is not None:
        need(run.exit == scene.exits, "did not finish well:", run.told())
        need(not run.of("finding"), "a false finding:", run.of("finding")[:2])
        counts = run.result["keys"]
        need(counts["conflicts"] == len(scene.taken), "conflicts:", counts)
        foreign = scene.foreign.keys if scene.foreign is not None else {}
        ours = oracle.snapshot(scene.target.address).keys.keys() - foreign.keys() - set(scene.taken)
        need(counts["written"] == len(ours), "not the account:", len(ours), "keys of this job at the target,", counts)
    bench.equal(scene.source, scene.target, foreign=scene.foreign, but=set(scene.taken))


def _without_job(bench: Bench, scene: Scene, killed: Run) -> Run | None:
    """`resume` found nothing: the job was finished, or had not begun and is begun now."""
    differences = oracle.compare(bench.held(scene.source), oracle.snapshot(scene.target.address)).without(
        set(scene.taken)
    )
    if not differences.lost and not differences.altered:
        return None
    begun = len(differences.lost) < len(bench.held(scene.source).keys) - len(scene.taken)
    need(not begun, "a job that had written cannot be resumed:", killed.told())
    return go(bench, scene, "once more")


def kill_once(bench: Bench, *words: str) -> None:
    """One kill, at the point and time that the seed says, then resume."""
    names = [name for name in sorted(crash.POINTS) if not name.startswith(("big.", "undo.", "sync.", "file."))]
    name = names[bench.seed % len(names)]
    if bench.chance.random() < 0.1:
        kill_unanswered(bench, *words)
        return
    scene = SCENES.get(name, plain)(bench, *words)
    if bench.chance.random() < 0.15:
        after_s = bench.chance.uniform(0.05, 1.2)
        bench.facts |= {"point": "any time", "hit": True}
        settle(bench, scene, go(bench, scene, "killed", kill_after_s=after_s))
        return
    if name in ONLY_IN_RESUME:
        go(bench, scene, "killed", armed=f"trail.sent:{bench.chance.randrange(1, 15)}")
        killed = resume(bench, "killed again", armed=f"{name}:1")
        bench.facts |= {"point": name, "hit": bool(killed.signal)}
        settle(bench, scene, killed)
        return
    kill_at(bench, scene, name)


def kill_at(bench: Bench, scene: Scene, name: str) -> None:
    """Killed at *name*, one of the times that it is passed, then resumed."""
    times = passes(bench, scene).get(name, 0)
    if not times:
        bench.facts |= {"point": name, "hit": False, "fired": 0}
        return
    armed = _any_time(bench, scene, name)
    killed = go(bench, scene, "killed", armed=armed)
    bench.facts |= {"point": name, "armed": armed, "hit": bool(killed.signal), "fired": int(bool(killed.signal))}
    settle(bench, scene, killed)


@case("K1", "kill -9 at a named point (all in turn) or at any time, then resume", 1000)
def killed_once(bench: Bench) -> None:
    kill_once(bench)


@case("K1big", "as K1, at the points of large keys: cut through, or piece by piece", 200, slow=True)
def killed_in_large(bench: Bench) -> None:
    names = [name for name in sorted(crash.POINTS) if name.startswith("big.")]
    if not names:
        raise Skip("this engine has no points for large keys")
    name = names[bench.seed % len(names)]
    scene = SCENES[name](bench)
    kill_at(bench, scene, name)


_OF_A_SYNC = ("sync.begun", "sync.whole", "trail.flushed", "trail.sent", "sink.answered", "trail.synced")


@case("K1sync", "as K1, in a copy by full sync; two of three are killed again in the resume", 60, slow=True)
def killed_in_a_full_sync(bench: Bench) -> None:
    scene, name = synced(bench), _OF_A_SYNC[bench.seed % len(_OF_A_SYNC)]
    killed = go(bench, scene, "killed", armed=_any_time(bench, scene, name))
    hit = bool(killed.signal)
    if hit and bench.seed % 3:
        killed = resume(bench, "killed again", armed=f"trail.flushed:{bench.chance.randint(1, 20)}")
    bench.facts |= {"point": name, "hit": hit, "fired": int(hit)}
    settle(bench, scene, killed)
    need(not list(Path(tempfile.gettempdir()).glob(f"transfer-sync-{killed.job}")), "the kept full sync is still there")


def _any_time(bench: Bench, scene: Scene, name: str) -> str:
    return f"{name}:{bench.chance.randint(1, max(1, passes(bench, scene).get(name, 1)))}"


@case("K2", "chains of two to five kills, the later ones during the resume", 200, slow=True)
def killed_again(bench: Bench) -> None:
    scene = plain(bench)
    names = [name for name in sorted(crash.POINTS) if passes(bench, scene).get(name) and name != "store.finished"]
    length = 2 + bench.seed % 4
    run = go(bench, scene, "kill0", armed=_any(bench, scene, names))
    hits = int(bool(run.signal))
    first = run
    for number in range(1, length):
        if not run.signal:
            break
        run = resume(bench, f"kill{number}", armed=_any(bench, scene, [*names, *ONLY_IN_RESUME]))
        hits += bool(run.signal)
    bench.facts |= {"kills": hits, "wanted": length, "fired": int(hits > 1)}
    settle(bench, scene, run if run.signal or run.exit != NOTHING_LEFT else first)


def _any(bench: Bench, scene: Scene, names: list[str]) -> str:
    name = bench.chance.choice(names)
    most = passes(bench, scene).get(name, 1)
    return f"{name}:{bench.chance.randint(1, max(1, most // 5))}"


@case("K3", "kill at 90 %: what is sent again after it, and when the first new key comes", 50, slow=True)
def sent_again(bench: Bench) -> None:
    source, target = bench.pair((NEWEST, NEWEST))
    many = 20_000
    wanted = (bench.seed // 10, many, "K3")
    if source.holds != wanted:
        source.empty()
        source.client().must([("HSET", b"k%d" % number, "f", number) for number in range(many)])
        source.holds = wanted
        bench.forget_snapshot(source)
    begun = bench.begin("copy", source.url, target.url, "--pace", "max", "--batch", "50", "--rate", "20k/s")
    limit = bench.chance.randrange(many * 88 // 100, many * 92 // 100)

    def kill() -> None:
        if target.size() >= limit:
            os.kill(begun.pid, signal.SIGKILL)
        time.sleep(0.002)

    killed = finish(begun, step=kill)
    need(killed.signal, "the kill came too late:", killed.told())
    there, sent = target.size(), _restored(target)
    first_new: list[float] = []
    began = time.monotonic()

    def watch() -> None:
        if not first_new and target.size() > there:
            first_new.append(time.monotonic() - began)
        time.sleep(0.005)

    run = resume(bench, "resumed", step=watch)
    need(run.exit == 0, "did not finish well:", run.told())
    again = _restored(target) - sent - (many - there)
    bench.facts |= {"again": again, "first_new_s": round(first_new[0], 2) if first_new else None}
    need(again <= WINDOW_KEYS, "sent again:", again)
    need(first_new and first_new[0] <= 2.0, "the first new key came late:", first_new)
    bench.equal(source, target)


def _restored(server: Server) -> int:
    """RESTORE commands since the server's statistics began."""
    rows = server.ask("INFO", "commandstats").decode().splitlines()
    calls = [row.partition("calls=")[2].partition(",")[0] for row in rows if row.startswith("cmdstat_restore:")]
    return int(calls[0]) if calls else 0


@case("K4", "SIGINT or SIGTERM at any time: ends within 2 s, 130 / 143, then resume", 300)
def interrupted(bench: Bench) -> None:
    scene = plain(bench)
    number, code = ((signal.SIGINT, 130), (signal.SIGTERM, 143))[bench.seed % 2]
    words = defaults((*scene.words, "--rate", "4k/s"))
    begun = bench.begin("copy", *bench.urls(scene.source, scene.target), *words, stops_at_plan=True)
    sent: list[float] = []
    after_s = bench.chance.uniform(0.0, 0.6)
    planned: list[float] = []

    def step() -> None:
        if not sent and time.monotonic() - planned[0] > after_s:
            sent.append(time.monotonic())
            os.kill(begun.pid, number)
        time.sleep(0.002)

    run = finish(begun, on_plan=lambda: planned.append(time.monotonic()), step=step)
    bench.always(run)
    took = time.monotonic() - sent[0] if sent else 0.0
    bench.facts |= {"exit": run.exit, "took": round(took, 2)}
    if run.exit != 0:
        need(run.exit == code, "exit:", run.told())
        need(took <= 2.3, "ended late:", took)
        need("resume" in run.out + run.err, "the way to go on is not told:", run.told())
    settle(bench, scene, run)


def kill_unanswered(bench: Bench, *words: str) -> None:
    """The target has a request, its answer is withheld, the process is killed: was it done or not?"""
    scene = plain(bench, *words)
    bench.lead(scene.source, scene.target, ("target",))
    urls = bench.urls(scene.source, scene.target, ("target",))
    begun = bench.begin("copy", *urls, *defaults(scene.words), stops_at_plan=True, name="killed")
    stall = Stall(after_messages=bench.chance.randrange(1, 2500))

    def step() -> None:
        if bench.proxies.fired("target"):
            time.sleep(0.02)
            os.kill(begun.pid, signal.SIGKILL)
        time.sleep(0.002)

    killed = finish(begun, on_plan=lambda: bench.proxies.arm("target", stall), step=step)
    bench.always(killed)
    bench.proxies.disarm("target")
    bench.facts |= {"point": "between sending and the answer", "hit": bool(killed.signal)}
    bench.facts["fired"] = int(bool(killed.signal))
    settle(bench, scene, killed)


@case("K5", "kill -9 at a named point while values are written by type commands: nothing is doubled", 300)
def killed_in_logical(bench: Bench) -> None:
    if bench.seed % 2:
        kill_unanswered(bench, "--format", "logical")
    else:
        kill_once(bench, "--format", "logical")


@case(
    "K6",
    "a second engine on the same job or pair: refused, and the first goes on",
    100,
)
def doubled(bench: Bench) -> None:
    scene = plain(bench)
    urls = bench.urls(scene.source, scene.target)
    words = defaults((*scene.words, "--rate", "3k/s"))
    begun = bench.begin("copy", *urls, *words, stops_at_plan=True, name="first")
    others: list[Run] = []

    def second() -> None:
        if others:
            time.sleep(0.005)
            return
        if bench.seed % 2:
            others.append(resume(bench, "second"))
        else:
            others.append(bench.run("copy", *urls, *defaults(scene.words), name="second"))

    run = finish(begun, on_plan=lambda: None, step=second)
    bench.always(run)
    need(others, "the first was done before the second began")
    bench.facts["exit"] = others[0].exit
    need(others[0].exit in (2, 11), "a second engine was let in:", others[0].told())
    need(run.exit == 0, "the first was disturbed:", run.told())
    bench.equal(scene.source, scene.target, foreign=scene.foreign)


@case(
    "N2late", "requests held back on the wire are let go after newer writes: by a killed engine, by a time limit", 100
)
def late_bytes(bench: Bench) -> None:
    source, target = bench.pair((NEWEST, NEWEST))
    bench.fill(source, KEYS)
    # with an undo archive keys are watched, which by itself keeps late bytes from newer values
    more = ("--allow", "no-undo") if bench.seed % 4 < 2 else ()
    scene = Scene("late", source, target, ("--on-conflict", "replace", "--timeout", "1s", *more))
    bench.lead(source, target, ("target",))
    urls, words = bench.urls(source, target, ("target",)), defaults(scene.words)
    stall = Stall(side="requests", after_messages=bench.chance.randrange(1, 1500))
    begun = bench.begin("copy", *urls, *words, stops_at_plan=True, name="held")
    kills = bench.seed % 2

    def step() -> None:
        if kills and bench.proxies.fired("target"):
            time.sleep(0.02)
            os.kill(begun.pid, signal.SIGKILL)
        time.sleep(0.002)

    run = finish(begun, on_plan=lambda: bench.proxies.arm("target", stall), step=step)
    bench.always(run)
    bench.facts |= {"kind": "killed" if kills else "time limit", "fired": bench.proxies.fired("target")}
    bench.proxies.disarm("target")
    settle(bench, scene, run)
    there = oracle.snapshot(target.address)
    for db in {db for db, _ in there.keys}:
        target.client(db).must([("SET", name, b"newer") for at, name in there.keys if at == db])
    newer = oracle.snapshot(target.address)
    bench.proxies.release("target")
    time.sleep(0.1)
    change = oracle.compare(newer, oracle.snapshot(target.address))
    need(not change, "late bytes wrote over newer values:", change.told())

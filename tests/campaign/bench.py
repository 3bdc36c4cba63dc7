"""What a row has at hand: servers that stay, data, proxies, the engine, and the judge.

    row(bench) : pair -> fill -> copy (fault strikes) -> judge: I1-I8

Rule 1: a run draws everything from its seed; data sets repeat for ten seeds, so that filling does not cost a second.
Rule 2: the judge reads both servers by `tests.oracle`; what the engine says of itself is only compared with that.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests import oracle
from tests.campaign import data
from tests.campaign.child import Act, Begun, Run, begin, finish
from tests.campaign.places import PASSWORD, Proxies, Server
from tests.canaries import assert_no_canary
from tests.oracle import Name, Snapshot

NEWEST = "valkey-9.1"
PAIRS = (
    (NEWEST, NEWEST),
    ("redis-7.0", NEWEST),
    (NEWEST, NEWEST),
    ("redis-7.0", "redis-7.0"),
    ("redis-6.2", NEWEST),
    ("redis-8.2", "redis-7.0"),
)
SAME_DATA_SEEDS = 10
SECRETS = {"TRANSFER_SOURCE_PASSWORD": PASSWORD, "TRANSFER_TARGET_PASSWORD": PASSWORD}
"""For `resume`: the store holds no password."""
FOREIGN = b"foreign:"
_ANYIO_RACE = "asyncio.exceptions.InvalidStateError: invalid state"
"""anyio's unix stream, cancelled while its socket becomes ready: the loop prints it, and nothing comes of it."""


class Broken(AssertionError):
    """A promise that did not hold."""


def need(holds: object, text: str, *details: object) -> None:
    """Raise Broken unless *holds*."""
    if not holds:
        raise Broken(" ".join([text, *map(str, details)]))


class Bench:
    """One worker's; `begin_run` starts each run."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="campaign-run-", dir="/tmp"))
        self._servers: dict[tuple[str, ...], Server] = {}
        self._proxies: Proxies | None = None
        self._snapshots: dict[int, Snapshot] = {}
        self.state = self.folder / "state"
        self.mutant: Act | None = None
        self.seed = 0
        self.chance = random.Random(0)
        self.facts: dict[str, Any] = {}
        self.closing = contextlib.ExitStack()

    def begin_run(self, case: str, seed: int) -> None:
        """Everything of the run before is gone but the servers."""
        self.closing.close()
        self.seed, self.chance = seed, random.Random(f"{case}:{seed}")
        self.facts = {}
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.state = self.folder / "state"

    def end(self) -> None:
        self.closing.close()
        for server in self._servers.values():
            server.end()
        if self._proxies is not None:
            self._proxies.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def proxies(self) -> Proxies:
        """Started at the first use, before which no fork is wasted."""
        if self._proxies is None:
            self._proxies = Proxies()
        return self._proxies

    def server(self, role: str, version: str = NEWEST, *options: str, faketime: str = "") -> Server:
        """A server that stays for later runs in the same *role*."""
        name = (role, version, *options, faketime)
        if name not in self._servers:
            self._servers[name] = Server(version, *options, faketime=faketime)
        return self._servers[name]

    def forget(self, server: Server) -> None:
        """End a server that is not as it was."""
        self._servers = {name: other for name, other in self._servers.items() if other is not server}
        server.end()

    def pair(self, versions: tuple[str, str] | None = None) -> tuple[Server, Server]:
        """A source, and an empty target."""
        left, right = versions or PAIRS[self.seed // SAME_DATA_SEEDS % len(PAIRS)]
        source, target = self.server("source", left), self.server("target", right)
        target.empty()
        self.facts["pair"] = f"{left} to {right}"
        return source, target

    def fill(self, source: Server, keys: int = 2000, *, fresh: bool = False) -> None:
        """The seed's data set; *fresh* where the run will change it."""
        wanted = (self.seed // SAME_DATA_SEEDS, keys)
        if source.holds == wanted and not fresh:
            return
        if source.holds is not None and id(source) in self._snapshots:
            change = oracle.compare(self._snapshots[id(source)], oracle.snapshot(source.address))
            need(not change, "the source was changed:", change.told())
        source.empty()
        data.fill(source.client(), wanted[0], keys)
        self.forget_snapshot(source)
        source.holds = None if fresh else wanted

    def forget_snapshot(self, server: Server) -> None:
        """It holds other data now."""
        self._snapshots.pop(id(server), None)

    def held(self, server: Server) -> Snapshot:
        """What a server holds; read once for data that stay."""
        if server.holds is None:
            return oracle.snapshot(server.address)
        if id(server) not in self._snapshots:
            self._snapshots[id(server)] = oracle.snapshot(server.address)
        return self._snapshots[id(server)]

    def plant(self, target: Server, keys: int = 5) -> Snapshot:
        """Foreign keys at the target, which nobody may touch."""
        for number in range(keys):
            target.ask("SET", FOREIGN + b"%d" % number, b"theirs %d" % number, db=number % 2 * 3)
        target.ask("HSET", FOREIGN + b"hash", "f", "theirs")
        target.ask("PEXPIREAT", FOREIGN + b"0", data.IN_2099_MS)
        return oracle.snapshot(target.address)

    def begin(self, *words: str, patch: Act | None = None, name: str = "run", **how: Any) -> Begun:
        """Start `transfer WORDS --state ...`."""
        patches = [act for act in (self.mutant, patch) if act is not None]

        def all_patches() -> None:
            for act in patches:
                act()

        argv = [*words, "--state", str(self.state), "--json"]
        return begin(argv, self.folder / name, patch=all_patches if patches else None, seed=self.seed, **how)

    def run(
        self,
        *words: str,
        on_plan: Act | None = None,
        step: Act | None = None,
        limit_s: float = 60.0,
        **how: Any,
    ) -> Run:
        """`transfer WORDS` to its end; every end is looked at for what holds always (I4, I6, I7)."""
        begun = self.begin(*words, stops_at_plan=on_plan is not None, **how)
        run = finish(begun, on_plan=on_plan, step=step, limit_s=limit_s)
        self.always(run)
        return run

    def always(self, run: Run) -> None:
        """I4, I6, I7."""
        need(not run.late, "did not end in time:", run.told())
        self.no_secret(run)
        if run.signal:
            return
        need(run.exit in (0, 2, 3, 4, 5, 6, 7, 8, 11, 12, 130, 143), "strange exit:", run.told())
        said = run.err
        if _ANYIO_RACE in said:
            self.facts["anyio_race"], said = True, said.replace("Traceback", "", said.count(_ANYIO_RACE))
        need("Traceback" not in said, "a traceback:", run.err[-1500:])
        need(run.result.get("exit") == run.exit, "no result line, or another exit in it:", run.told())
        of_a_file = run.argv[0] == "verify" and len(run.argv) > 2 and "://" not in run.argv[2]
        proved = of_a_file or "none" in run.argv or run.result.get("verified")
        need(run.exit or proved, "exit 0 and not verified:", run.told())
        need(not run.left_open, "left open:", run.left_open)

    def no_secret(self, run: Run) -> None:
        """I7: the planted password is nowhere in what it said or wrote."""
        try:
            assert_no_canary(run.out, run.err, folder=self.state if self.state.exists() else None)
        except AssertionError as leak:
            raise Broken(f"I7 {leak}") from None

    def copy(self, source: Server, target: Server, *words: str, via: Sequence[str] = (), **how: Any) -> Run:
        """`transfer copy`, through the proxies of the sides named in *via*."""
        self.lead(source, target, via)
        return self.run("copy", *self.urls(source, target, via), *defaults(words), **how)

    def lead(self, source: Server, target: Server, via: Sequence[str]) -> None:
        if via:
            self.proxies.reset(source.address, target.address)

    def urls(self, source: Server, target: Server, via: Sequence[str] = ()) -> tuple[str, str]:
        left = self.proxies.url("source") if "source" in via else source.url
        right = self.proxies.url("target") if "target" in via else target.url
        return left, right

    def equal(
        self,
        source: Server,
        target: Server,
        *,
        foreign: Snapshot | None = None,
        but: set[Name] | None = None,
        tolerance_ms: int = 5,
    ) -> None:
        """I1, I2, I3, I5: the target holds what the source holds, and what was there before."""
        there = oracle.snapshot(target.address)
        here = self.held(source)
        if foreign is not None:
            kept = Snapshot({name: held for name, held in there.keys.items() if name in foreign.keys}, there.until_ms)
            touched = oracle.compare(foreign, kept)
            need(not touched, "I5 foreign keys:", touched.told())
        differences = oracle.compare(here, there, tolerance_ms)
        names = (but or set()) | (set(foreign.keys) if foreign is not None else set())
        differences = differences.without(names)
        need(not differences, "I1-I3:", differences.told())

    def good(self, run: Run, source: Server, target: Server, **how: Any) -> None:
        """Exit 0, verified, and equal by the oracle."""
        need(run.exit == 0, "did not finish well:", run.told())
        keys = run.result["keys"]
        need(not keys["conflicts"] + keys["rejected"], "conflicts or rejects:", keys)
        need(not run.of("finding"), "a false finding:", run.of("finding")[:2])
        self.equal(source, target, **how)

    def converges(self, source: Server, target: Server, *words: str, **how: Any) -> None:
        """I8: once more, with nothing in the way."""
        again = self.copy(source, target, "--on-conflict", "replace", "--fresh", *words, name="again")
        if again.exit == 2 and "--fresh" in again.err:
            again = self.copy(source, target, "--on-conflict", "replace", *words, name="again")
        need(again.exit == 0, "I8 the second run:", again.told())
        self.equal(source, target, **how)


def defaults(words: Sequence[str]) -> list[str]:
    """Small batches at full speed, unless *words* say otherwise."""
    found = list(words)
    for name, value in (("--batch", "100"), ("--pace", "max")):
        if name not in words:
            found += [name, value]
    return [word for word in found if word]


def at_keys(target: Server, wanted: int, act: Act) -> Callable[[], None]:
    """A step that does *act* once, as soon as the target holds *wanted* keys."""
    done: list[bool] = []

    def step() -> None:
        if not done and target.size() >= wanted:
            done.append(True)
            act()
        time.sleep(0.002)

    step.done = done  # type: ignore[attr-defined]
    return step


__all__ = ["FOREIGN", "NEWEST", "PASSWORD", "Bench", "Broken", "at_keys", "defaults", "need"]

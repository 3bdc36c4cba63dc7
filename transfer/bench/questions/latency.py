"""`latency`: GET and SET of one client, paced, beside nothing, beside ours and beside the peers.

Only what was sent while the work itself ran is counted: not the start of an interpreter, not preflight.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import anyio.to_thread

from transfer.bench import ours
from transfer.bench.client import percentiles, prepare, watching
from transfer.bench.data import fill
from transfer.bench.peers import run as peers
from transfer.bench.places import Pair, started
from transfer.bench.questions import Answer, Asked, known
from transfer.bench.questions.copy import limit_of
from transfer.bench.rounds import chosen, take_turns
from transfer.bench.ways import Row, Way

IDLE_S = 3.0
_NO_PACE = "this release has no --pace; its one way is told as copy, max"


async def measure(asked: Asked) -> Answer:
    async with started(asked.binary) as pair:
        skipped: dict[str, str] = {}
        if not await anyio.to_thread.run_sync(ours.knows_pace):
            skipped["copy, polite"] = _NO_PACE
        ways = chosen([way for way in _ways(pair, asked) if way.name not in skipped], asked.ways, skipped)
        await fill(pair.source.address, asked.keys, asked.seed, asked.values)
        await prepare(pair.source.address)
        await pair.measure()
        taken = await take_turns(ways, pair, asked.rounds, asked.say)
        taken.skipped = {**({} if asked.ways else skipped), **taken.skipped}
        data = {"keys": pair.keys, "data_mib": round(pair.data_bytes / 2**20, 1)}
        return Answer(taken, _added(taken.median), await pair.source.version(), data)


def _ways(pair: Pair, asked: Asked) -> list[Way]:
    here, there = pair.source.address, pair.target.address

    def beside(work: Callable[[], Awaitable[Row]]) -> Callable[[], Awaitable[Row]]:
        return partial(_beside, pair, work)

    return [
        Way("idle", beside(_idle), arrives=False, ours=True),
        Way("copy, polite", beside(partial(ours.copy, here, there, pace="polite")), ours=True),
        Way("copy, max", beside(partial(ours.copy, here, there, pace="max")), ours=True),
        Way("migrate", beside(partial(peers.script, "migrate", here, there))),
        Way("redis-py pipelines", beside(partial(peers.script, "pipelines", here, there, limit=limit_of(asked.keys)))),
        Way("replicaof disk", beside(partial(peers.replicaof, pair.source, pair.target, "disabled"))),
    ]


async def _idle() -> Row:
    began = time.monotonic()
    await anyio.sleep(IDLE_S)
    ended = time.monotonic()
    return {"began": began, "ended": ended, "wall_s": ended - began, "seconds": ended - began}


async def _beside(pair: Pair, work: Callable[[], Awaitable[Row]]) -> Row:
    async with watching(pair.source.address) as watcher:
        row = await work()
    began = row.get("began", row["ended"] - row["seconds"])
    return row | percentiles(watcher.samples, began, row["ended"])


def _added(median: dict[str, Row]) -> dict[str, float]:
    idle = median.get("idle", {}).get("p99_ms")
    pairs = {
        f"p99 beside {name} - idle, ms": row["p99_ms"] - idle if idle is not None and "p99_ms" in row else None
        for name, row in median.items()
        if name != "idle"
    }
    return known(pairs)

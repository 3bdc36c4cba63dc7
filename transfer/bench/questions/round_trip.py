"""`round_trip`: the same copy with 0, 5 and 50 ms between us and both servers, all through delaying proxies."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from transfer.bench import ours
from transfer.bench.data import fill
from transfer.bench.delay import delayed
from transfer.bench.peers import run as peers
from transfer.bench.places import Pair, started
from transfer.bench.questions import Answer, Asked, known, ratio
from transfer.bench.rounds import chosen, take_turns
from transfer.bench.ways import Way

ROUND_TRIPS_MS = (0, 5, 50)
_PEER_KEYS = 20_000


async def measure(asked: Asked) -> Answer:
    async with AsyncExitStack() as stack:
        pair = await stack.enter_async_context(started(asked.binary))
        ways = chosen(await _ways(pair, stack), asked.ways, {})
        await fill(pair.source.address, asked.keys, asked.seed, asked.values)
        await pair.measure()
        taken = await take_turns(ways, pair, asked.rounds, asked.say)
        median = taken.median
        pairs = {
            "throughput at 5 ms / 0 ms": ratio(median, "copy, 0 ms", "copy, 5 ms"),
            "throughput at 50 ms / 0 ms": ratio(median, "copy, 0 ms", "copy, 50 ms"),
            "copy / redis-py pipelines, both at 50 ms": ratio(median, "copy, 50 ms", "redis-py pipelines, 50 ms"),
        }
        data = {"keys": pair.keys, "data_mib": round(pair.data_bytes / 2**20, 1), "round_trips_ms": ROUND_TRIPS_MS}
        return Answer(taken, known(pairs), await pair.source.version(), data)


async def _ways(pair: Pair, stack: AsyncExitStack) -> list[Way]:
    ways = []
    for ms in ROUND_TRIPS_MS:
        here, there = [
            await stack.enter_async_context(delayed(side.address, ms)) for side in (pair.source, pair.target)
        ]
        script = partial(peers.script, "pipelines", here, there, limit=_PEER_KEYS)
        ways.append(Way(f"copy, {ms} ms", partial(ours.copy, here, there), ours=True))
        ways.append(Way(f"redis-py pipelines, {ms} ms", script))
    return ways

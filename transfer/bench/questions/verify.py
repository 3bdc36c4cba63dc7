"""`verify`: a full two-way verify of two servers that hold the same, beside the copy that made it so."""

from __future__ import annotations

import shutil
from functools import partial

from transfer.bench import ours
from transfer.bench.data import fill
from transfer.bench.peers import run as peers
from transfer.bench.places import Pair, Side, started
from transfer.bench.questions import Answer, Asked, known, ratio
from transfer.bench.questions.copy import NOT_ON_PATH
from transfer.bench.rounds import Taken, chosen, take_turns
from transfer.bench.ways import Way


async def measure(asked: Asked) -> Answer:
    """Given servers are compared as they are; nothing is written there."""
    if asked.given:
        pair = Pair(*(Side(address, ours=False) for address in asked.given))
        await pair.measure()
        return await _answer(await take_turns(_ways(pair, {})[1:2], pair, asked.rounds, asked.say), pair)
    async with started(asked.binary) as pair:
        skipped: dict[str, str] = {}
        ways = _ways(pair, skipped)
        names = asked.ways and ("copy", *asked.ways)  # the others need what it leaves
        ways = chosen(ways, names, skipped)
        await fill(pair.source.address, asked.keys, asked.seed, asked.values)
        await pair.measure()
        taken = await take_turns(ways, pair, asked.rounds, asked.say)
        taken.skipped = skipped | taken.skipped
        return await _answer(taken, pair)


def _ways(pair: Pair, skipped: dict[str, str]) -> list[Way]:
    here, there = pair.source.address, pair.target.address
    ways = [
        Way("copy", partial(ours.copy, here, there), ours=True),
        Way("verify", partial(ours.verify, here, there), ours=True, keeps=True, arrives=False),
    ]
    if tool := shutil.which("redis-full-check"):
        ways.append(Way("redis-full-check", partial(peers.full_check, tool, here, there), keeps=True, arrives=False))
    else:
        skipped["redis-full-check"] = NOT_ON_PATH
    return ways


async def _answer(taken: Taken, pair: Pair) -> Answer:
    pairs = {
        "verify / copy": ratio(taken.median, "verify", "copy"),
        "verify / redis-full-check": ratio(taken.median, "verify", "redis-full-check"),
        "peak RSS of the verify, MiB": taken.median.get("verify", {}).get("rss_mib"),
    }
    data = {"keys": pair.keys, "data_mib": round(pair.data_bytes / 2**20, 1)}
    return Answer(taken, known(pairs), await pair.source.version(), data)

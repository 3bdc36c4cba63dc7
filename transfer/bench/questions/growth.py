"""`growth`: a hundredth, a tenth and all of --keys: time should grow as they do, memory should not."""

from __future__ import annotations

from functools import partial

from transfer.bench import ours
from transfer.bench.data import fill
from transfer.bench.machine import memory_available_bytes
from transfer.bench.places import started
from transfer.bench.questions import Answer, Asked, known, ratio
from transfer.bench.rounds import Taken, take_turns
from transfer.bench.ways import Way
from transfer.model.errors import UsageError
from transfer.model.units import show_bytes

_BYTES_PER_KEY = {"mixed": 500, "small": 250}
"""Of server memory, names and tables included: what the generator's keys were seen to take, rounded up."""


async def measure(asked: Asked) -> Answer:
    if asked.ways:
        raise UsageError("--way: growth has one way, the copy", hint="leave --way out")
    _fits(asked)
    counts = [max(1, asked.keys // part) for part in (100, 10, 1)]
    taken = Taken()
    async with started(asked.binary) as pair:
        for keys in counts:
            await pair.source.empty()
            await pair.target.empty()
            fill_s = await fill(pair.source.address, keys, asked.seed, asked.values)
            asked.say(f"filled with {keys:,} keys in {fill_s:.1f} s")
            await pair.measure()
            way = Way(_name(keys), partial(ours.copy, pair.source.address, pair.target.address), ours=True)
            taken.add(await take_turns([way], pair, asked.rounds, asked.say))
        small, middle, large = map(_name, counts)
        pairs = {
            "10 x keys: seconds": ratio(taken.median, large, middle),
            "10 x keys: peak RSS": ratio(taken.median, large, middle, "rss_mib"),
            "100 x keys: seconds": ratio(taken.median, large, small),
            "100 x keys: peak RSS": ratio(taken.median, large, small, "rss_mib"),
        }
        return Answer(taken, known(pairs), await pair.source.version(), {"keys": counts})


def _name(keys: int) -> str:
    return f"copy, {keys:,} keys"


def _fits(asked: Asked) -> None:
    needed = 2 * asked.keys * _BYTES_PER_KEY.get(asked.values, 200 + int(asked.values) if asked.values.isdigit() else 0)
    there = memory_available_bytes()
    if there is not None and needed > there:
        said = f"{asked.keys:,} keys on two servers take {show_bytes(needed)}, there are {show_bytes(there)}"
        raise UsageError(said, hint="fewer --keys, or --values small")

"""`value_size`: strings of 10 B to 10 MB, as many of each as make the same total (100 bytes times --keys)."""

from __future__ import annotations

from functools import partial

from transfer.bench import ours
from transfer.bench.data import fill
from transfer.bench.peers import run as peers
from transfer.bench.places import started
from transfer.bench.questions import Answer, Asked, known, ratio
from transfer.bench.rounds import Taken, chosen, take_turns
from transfer.bench.ways import Way
from transfer.model.units import show_count

SIZES = {"10 B": 10, "100 B": 100, "1 KB": 10**3, "10 KB": 10**4, "100 KB": 10**5, "1 MB": 10**6, "10 MB": 10**7}
_BYTES_PER_KEY = 100
_MIGRATE_BATCH_BYTES = 16 << 20
"""A thousand values of 1 MB in one MIGRATE would hold both servers for seconds; nobody would script it so."""


async def measure(asked: Asked) -> Answer:
    total_bytes = asked.keys * _BYTES_PER_KEY
    taken, counts = Taken(), {}
    async with started(asked.binary) as pair:
        here, there = pair.source.address, pair.target.address
        for title, size_bytes in SIZES.items():
            await pair.source.empty()
            await pair.target.empty()
            counts[title] = max(1, total_bytes // size_bytes)
            await fill(here, counts[title], asked.seed, str(size_bytes))
            await pair.measure()
            batch = max(1, min(1_000, _MIGRATE_BATCH_BYTES // size_bytes))
            ways = [
                Way(f"copy, {title}", partial(ours.copy, here, there), ours=True),
                Way(f"migrate, {title}", partial(peers.script, "migrate", here, there, batch=batch)),
            ]
            names = tuple(f"{name}, {title}" for name in asked.ways)
            asked.say(f"{show_count(counts[title])} values of {title}")
            taken.add(await take_turns(chosen(ways, names, {}), pair, asked.rounds, asked.say))
        median = taken.median
        pairs = {f"copy / migrate, {title}": ratio(median, f"copy, {title}", f"migrate, {title}") for title in SIZES}
        data = {"keys": counts, "total_mib": round(total_bytes / 2**20, 1)}
        return Answer(taken, known(pairs), await pair.source.version(), data)

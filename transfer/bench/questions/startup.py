"""`startup`: what every call of the command pays before it does anything."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from transfer.bench import ours
from transfer.bench.process import run
from transfer.bench.questions import Answer, Asked, known
from transfer.bench.rounds import Taken, chosen
from transfer.bench.ways import Row, Way
from transfer.model.errors import WayError


async def measure(asked: Asked) -> Answer:
    """No server is needed, so the rounds are run here."""
    ways = [
        Way("python -c pass", partial(_once, [sys.executable, "-c", "pass"])),
        Way("transfer --version", partial(_once, [*ours.COMMAND, "--version"])),
        Way("transfer --help", partial(_once, [*ours.COMMAND, "--help"])),
    ]
    ways = chosen(ways, asked.ways, {})
    for way in ways:
        await way.run()  # compiles what was not compiled yet
    taken = Taken({way.name: [] for way in ways})
    for _ in range(asked.rounds):
        for way in ways:
            taken.rows[way.name].append(await way.run())
    asked.say(f"{asked.rounds} rounds of {len(ways)} commands")
    return Answer(taken, _added(taken.median))


async def _once(words: Sequence[str]) -> Row:
    ran = await run(words)
    if ran.exit:
        raise WayError(f"{' '.join(words[-2:])}: {ran.complaint}")
    return {"seconds": ran.wall_s, "wall_s": ran.wall_s, "engine_cpu_s": ran.cpu_s, "rss_mib": ran.rss_mib}


def _added(median: dict[str, Row]) -> dict[str, float]:
    bare = median.get("python -c pass", {}).get("seconds")
    names = {"help - bare python, s": "transfer --help", "version - bare python, s": "transfer --version"}
    took = {name: median.get(way, {}).get("seconds") for name, way in names.items()}
    return known({name: s - bare if s is not None and bare is not None else None for name, s in took.items()})

"""`export`: everything into a file, beside `redis-cli --rdb`, alone and with zstd after it.

Ours is read back before it gets its name; what is left out is the comparison with the source (`--verify none`), which
no peer does.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

from transfer.bench import ours
from transfer.bench.data import fill
from transfer.bench.peers import run as peers
from transfer.bench.places import Pair, started
from transfer.bench.questions import Answer, Asked, known, ratio
from transfer.bench.questions.copy import NOT_ON_PATH
from transfer.bench.rounds import Taken, chosen, take_turns
from transfer.bench.ways import Way
from transfer.model.errors import UsageError

RDB, PACKED = "redis-cli --rdb", "redis-cli --rdb, then zstd -3"
_KINDS = tuple((ending, route) for ending in ("xfer", "rdb") for route in ("psync", "scan"))


async def measure(asked: Asked) -> Answer:
    if asked.given:
        raise UsageError("this question is asked of throw-away servers only", hint="transfer bench export")
    with tempfile.TemporaryDirectory() as folder:
        async with started(asked.binary) as pair:
            skipped: dict[str, str] = {}
            ways = chosen(_ways(pair, Path(folder), skipped), asked.ways, skipped)
            fill_s = await fill(pair.source.address, asked.keys, asked.seed, asked.values)
            asked.say(f"filled with {asked.keys:,} keys in {fill_s:.1f} s")
            await pair.measure()
            taken = await take_turns(ways, pair, asked.rounds, asked.say)
            taken.skipped = {**({} if asked.ways else skipped), **taken.skipped}
            return await _answer(taken, pair)


def _ways(pair: Pair, folder: Path, skipped: dict[str, str]) -> list[Way]:
    ways = [
        Way(
            f"export .{ending} by {route}",
            partial(ours.export, pair.source, folder / f"out.{ending}", route),
            ours=True,
            arrives=False,
        )
        for ending, route in _KINDS
    ]
    cli, zstd = shutil.which("redis-cli") or "", shutil.which("zstd") or ""
    here = pair.source.address
    peer = (
        (cli, Way(RDB, partial(peers.export_rdb, cli, here), arrives=False)),
        (cli and zstd, Way(PACKED, partial(peers.export_zstd, cli, zstd, here), arrives=False)),
    )
    skipped.update({way.name: NOT_ON_PATH for program, way in peer if not program})
    return ways + [way for program, way in peer if program]


async def _answer(taken: Taken, pair: Pair) -> Answer:
    median = taken.median
    pairs = {
        f"export .{ending} by {route} / {peer}": ratio(median, f"export .{ending} by {route}", peer)
        for ending, route in _KINDS
        for peer in [PACKED if ending == "xfer" else RDB]
    }
    pairs[f"size of .xfer / size of {PACKED}"] = ratio(median, "export .xfer by psync", PACKED, "file_mib")
    rss = [row["rss_mib"] for name, row in median.items() if name.startswith("export")]
    pairs["peak RSS of the exports, MiB"] = max(rss, default=None)
    data = {"keys": pair.keys, "data_mib": round(pair.data_bytes / 2**20, 1)}
    return Answer(taken, known(pairs), await pair.source.version(), data)

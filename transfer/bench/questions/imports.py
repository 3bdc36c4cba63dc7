"""`import`: a file into an empty server, beside a copy of the same keys and the peers; and how fast a file is checked.

The files are made before the clock starts. Seconds of ours are of the whole command, the look through the file in them.
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
from transfer.bench.questions.copy import NOT_ON_PATH, part_of
from transfer.bench.rounds import Taken, chosen, take_turns
from transfer.bench.ways import Row, Way
from transfer.model.errors import UsageError

PIPE = "redis-cli --pipe"
_FILES = ("xfer", "rdb")


async def measure(asked: Asked) -> Answer:
    if asked.given:
        raise UsageError("this question is asked of throw-away servers only", hint="transfer bench import")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with started(asked.binary) as pair:
            skipped: dict[str, str] = {}
            ways = chosen(_ways(pair, asked, folder, skipped), asked.ways, skipped)
            await fill(pair.source.address, asked.keys, asked.seed, asked.values)
            await pair.measure()
            made = {ending: await ours.export(pair.source, folder / f"in.{ending}", "psync") for ending in _FILES}
            asked.say(f"filled with {asked.keys:,} keys, files made")
            if any(way.name == PIPE for way in ways):
                peers.write_commands(folder / "commands", part_of(asked.keys), asked.seed, asked.values)
            taken = await take_turns(ways, pair, asked.rounds, asked.say)
            taken.skipped = {**({} if asked.ways else skipped), **taken.skipped}
            return await _answer(taken, pair, made["rdb"]["file_mib"])


def _ways(pair: Pair, asked: Asked, folder: Path, skipped: dict[str, str]) -> list[Way]:
    here, there = pair.source.address, pair.target.address
    archive = folder / "in.xfer"
    ways = [
        *(Way(f"import .{it}", partial(ours.import_, folder / f"in.{it}", there), ours=True) for it in _FILES),
        Way("copy by psync", partial(ours.copy_psync, pair.source, there), ours=True),
        Way("verify of .xfer", partial(ours.verify_file, archive), ours=True, arrives=False),
        Way("verify --deep of .xfer", partial(ours.verify_file, archive, "--deep"), ours=True, arrives=False),
    ]
    cli, rdb_cli = shutil.which("redis-cli") or "", shutil.which("rdb-cli") or ""
    pipe = partial(peers.import_pipe, cli, there, folder / "commands")
    peer = (
        (cli, Way(PIPE, pipe, part=part_of(asked.keys))),
        (rdb_cli and cli, Way("rdb-cli", partial(peers.rdb_cli, rdb_cli, cli, here, there))),
    )
    skipped.update({way.name: NOT_ON_PATH for program, way in peer if not program})
    return ways + [way for program, way in peer if program]


async def _answer(taken: Taken, pair: Pair, plain_mib: float) -> Answer:
    """*plain_mib*: the size of the same data as an RDB, which is what is in an archive, uncompressed."""
    median = taken.median
    by = partial(ratio, median)
    checked, deep = median.get("verify of .xfer"), median.get("verify --deep of .xfer")
    pairs = {
        "import .xfer / copy by psync": _wall(median, "import .xfer", "copy by psync"),
        "import .rdb / copy by psync": _wall(median, "import .rdb", "copy by psync"),
        "import .rdb / rdb-cli": by("import .rdb", "rdb-cli"),
        "import .xfer / redis-cli --pipe": by("import .xfer", PIPE),
        "verify of .xfer, MB/s": checked and plain_mib * 2**20 / 1e6 / checked["seconds"],
        "verify --deep of .xfer, keys/s": deep and pair.keys / deep["seconds"],
        "peak RSS of the imports, MiB": _most(median, "import"),
        "peak RSS of the verifies, MiB": _most(median, "verify"),
    }
    data = {"keys": pair.keys, "data_mib": round(pair.data_bytes / 2**20, 1)}
    return Answer(taken, known(pairs), await pair.source.version(), data)  # type: ignore[arg-type]  # no row: None


def _wall(median: dict[str, Row], above: str, below: str) -> float | None:
    """Both with their start and their look at what is there."""
    return ratio(median, above, below, "wall_s")


def _most(median: dict[str, Row], beginning: str) -> float | None:
    return max((row["rss_mib"] for name, row in median.items() if name.startswith(beginning)), default=None)

"""`copy`: ours beside every peer that is here.

Peers in Python and `redis-cli --pipe` take a part of the keys where there are many; their seconds are scaled up, since
they are linear in the number of keys. What is not on PATH is named.

Given servers: one way, one round, into an empty target, and nothing is emptied before or after.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from transfer.bench import ours
from transfer.bench.data import fill
from transfer.bench.peers import run as peers
from transfer.bench.places import Pair, Side, started
from transfer.bench.questions import Answer, Asked, known, ratio
from transfer.bench.rounds import Taken, chosen, take_turns
from transfer.bench.ways import Row, Way
from transfer.model.errors import GuardError, UsageError

LOOP_KEYS = 20_000
"""A key by key script moves 3,000 a second: more would tell nothing new."""
_PART_FROM_KEYS = 100_000
_SHAKE_BY_MIGRATE = 16.3 / 13.6
"""RedisShake 4.2, scan, COUNT 1000, beside MIGRATE in batches of 1000: measured in one run on 2 other cores."""

UNTRAILED = "copy, no positions kept"
NOT_ON_PATH = "not on PATH"


async def measure(asked: Asked) -> Answer:
    if asked.given:
        return await _given(asked)
    with tempfile.TemporaryDirectory() as folder:
        async with started(asked.binary) as pair:
            skipped: dict[str, str] = {}
            ways = chosen(_ways(pair, asked, Path(folder), skipped), asked.ways, skipped)
            fill_s = await fill(pair.source.address, asked.keys, asked.seed, asked.values)
            asked.say(f"filled with {asked.keys:,} keys in {fill_s:.1f} s")
            await pair.measure()
            if any(way.name == "redis-cli --pipe (import)" for way in ways):
                file = Path(folder) / "commands"
                peers.write_commands(file, part_of(asked.keys), asked.seed, asked.values)
            taken = await take_turns(ways, pair, asked.rounds, asked.say)
            taken.skipped = {**({} if asked.ways else skipped), **taken.skipped}
            return await answer(taken, pair)


def part_of(keys: int) -> int:
    """How many keys a slow peer takes: a tenth, and at least 100,000."""
    return keys if keys <= _PART_FROM_KEYS else max(_PART_FROM_KEYS, keys // 10)


def limit_of(keys: int) -> int:
    """The same for a script, to which 0 is all."""
    part = part_of(keys)
    return part if part < keys else 0


def _ways(pair: Pair, asked: Asked, folder: Path, skipped: dict[str, str]) -> list[Way]:
    here, there = pair.source.address, pair.target.address
    part = part_of(asked.keys)
    pipelines = partial(peers.script, "pipelines", here, there, limit=limit_of(asked.keys))
    return [
        Way("copy", partial(ours.copy, here, there), ours=True),
        Way("copy + verify", partial(ours.copy, here, there, verify="full"), ours=True),
        Way(UNTRAILED, partial(ours.copy, here, there, command=ours.UNTRAILED), ours=True),
        Way("copy by psync", partial(ours.copy_psync, pair.source, there), ours=True),
        Way("migrate", partial(peers.script, "migrate", here, there)),
        Way("replicaof disk", partial(peers.replicaof, pair.source, pair.target, "disabled")),
        Way("replicaof diskless", partial(peers.replicaof, pair.source, pair.target, "swapdb")),
        Way("redis-py pipelines", pipelines),
        Way("redis-py loop", partial(peers.script, "loop", here, there, limit=LOOP_KEYS)),
        *_programs(pair, part, folder, skipped),
    ]


def _programs(pair: Pair, part: int, folder: Path, skipped: dict[str, str]) -> list[Way]:
    """Ways of programs that may be here; for those that are not, the reason."""
    here, there = pair.source.address, pair.target.address
    found = {name: shutil.which(name) or "" for name in ("redis-cli", "redis-shake", "rdb-cli", "gunyu", "redisGunYu")}
    cli, shake, gunyu = found["redis-cli"], found["redis-shake"], found["gunyu"] or found["redisGunYu"]

    async def follow() -> Row:
        return await peers.gunyu(gunyu, here, pair.target, pair.keys)

    restore: Callable[[], Awaitable[Row]] = partial(peers.rdb_cli, found["rdb-cli"], cli, here, there)
    pipe = partial(peers.import_pipe, cli, there, folder / "commands")
    wanted = (
        (cli, Way("redis-cli --rdb (export)", partial(peers.export_rdb, cli, here), arrives=False)),
        (cli, Way("redis-cli --pipe (import)", pipe, part=part)),
        (shake, Way("redis-shake scan", partial(peers.shake, shake, here, there))),
        (found["rdb-cli"] and cli, Way("rdb-cli", restore)),
        (gunyu, Way("gunyu", follow, more=True)),
    )
    skipped.update({way.name: NOT_ON_PATH for program, way in wanted if not program})
    return [way for program, way in wanted if program]


async def answer(taken: Taken, pair: Pair) -> Answer:
    """Every ratio that can be computed, by name."""
    median = taken.median
    by = partial(ratio, median, "copy")
    shake = by("migrate")
    verified = median.get("copy + verify", {})
    pairs = {
        "copy / migrate": by("migrate"),
        f"copy / {UNTRAILED}": by(UNTRAILED),
        "copy wall / migrate": _apart(median, "copy", "wall_s", "migrate", "seconds"),
        "copy / migrate, names known": _apart(median, "copy", "seconds", "migrate", "names_known_s"),
        "copy / redis-shake scan, by its ratio to migrate elsewhere": shake and shake / _SHAKE_BY_MIGRATE,
        "engine CPU, copy / redis-py pipelines": by("redis-py pipelines", "engine_cpu_s"),
        "peak RSS of the copy, MiB": median.get("copy", {}).get("rss_mib"),
        "peak RSS of copy + verify, MiB": verified.get("rss_mib"),
        "verify / copy": verified["verify_s"] / verified["seconds"] if verified.get("seconds") else None,
    }
    for peer in ("replicaof disk", "replicaof diskless", "copy"):
        pairs[f"copy by psync / {peer}"] = ratio(median, "copy by psync", peer)
    pairs["peak RSS of the copy by psync, MiB"] = median.get("copy by psync", {}).get("rss_mib")
    others = ("replicaof disk", "replicaof diskless", "redis-py pipelines", "redis-py loop", "redis-shake scan")
    pairs |= {f"copy / {name}": by(name) for name in (*others, "rdb-cli", "gunyu")}
    data = {"keys": pair.keys, "data_mib": round(pair.data_bytes / 2**20, 1)}
    return Answer(taken, known(pairs), await pair.source.version(), data)


def _apart(median: dict[str, Row], above: str, over: str, below: str, under: str) -> float | None:
    numerator, denominator = median.get(above, {}).get(over), median.get(below, {}).get(under)
    return numerator / denominator if numerator is not None and denominator else None


async def _given(asked: Asked) -> Answer:
    """On servers of somebody else.

    Raises:
        UsageError: more than one way, a way that cannot be taken here, or nothing to copy.
        GuardError: the target holds keys.
    """
    assert asked.given is not None
    pair = Pair(*(Side(address, ours=False) for address in asked.given))
    await pair.measure()
    names = asked.ways or ("copy + verify",)
    if len(names) > 1:
        raise UsageError("--way: one at a time on given servers", hint="empty the target yourself between two of them")
    if not pair.keys:
        raise UsageError("the source holds no keys", where=str(pair.source.address), hint="transfer demo fill URL")
    if there := await pair.target.keys():
        hint = "a benchmark writes into an empty target and empties none: empty it yourself, or give another"
        raise GuardError(f"the target holds {there:,} keys", where=str(pair.target.address), hint=hint, keys=there)
    ways = chosen(_safe(pair), names, {})
    if ways[0].arrives and await pair.source.ask("DBSIZE") != pair.keys:
        raise UsageError(f"{ways[0].name} moves one logical database, the source has several", hint="--way copy")
    taken = await take_turns(ways, pair, 1, asked.say)
    return await answer(taken, pair)


def _safe(pair: Pair) -> list[Way]:
    """Ways that write what they copy and nothing else; none may fail, being the only one.

    MIGRATE holds the source up: it is taken only where it is named.
    """
    here, there = pair.source.address, pair.target.address
    return [
        Way("copy", partial(ours.copy, here, there), ours=True, arrives=False),
        Way("copy + verify", partial(ours.copy, here, there, verify="full"), ours=True, arrives=False),
        Way("migrate", partial(peers.script, "migrate", here, there), ours=True),
        Way("redis-py pipelines", partial(peers.script, "pipelines", here, there), ours=True),
    ]

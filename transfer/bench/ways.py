"""A way to do the work, and one run of it with what it cost both servers.

empty target -> CPU of both -> way.run() -> CPU of both -> did everything arrive? -> Row (scaled if it took a part)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from transfer.bench.places import Pair
from transfer.model.errors import WayError

Row = dict[str, float]
"""What one way took in one round, by measure (names carry the unit). `keys` is how many it moved."""

MEASURES = (
    ("seconds", "seconds"), ("wall s", "wall_s"), ("keys/s", "keys_per_s"), ("MB/s", "mb_per_s"),
    ("source CPU s", "source_cpu_s"), ("engine CPU s", "engine_cpu_s"), ("target CPU s", "target_cpu_s"),
    ("peak RSS MiB", "rss_mib"),
)  # fmt: skip
"""Title and name of what every way is measured by; a way that has no engine of its own lacks some."""

_SCALED = ("seconds", "wall_s", "source_cpu_s", "engine_cpu_s", "target_cpu_s", "names_known_s", "scan_s")


@dataclass(frozen=True)
class Way:
    """One row of the table.

    Attributes:
        part: how many keys it takes, 0 for all; what it took is scaled up to all of them.
        arrives: whether the target must hold the keys afterwards.
        keeps: whether it needs the target as the way before it left it.
        more: whether other keys may be there too (checkpoints of its own).
    """

    name: str
    run: Callable[[], Awaitable[Row]]
    ours: bool = False
    part: int = 0
    arrives: bool = True
    keeps: bool = False
    more: bool = False


async def once(way: Way, pair: Pair) -> Row:
    """One way in one round.

    Raises:
        WayError: it failed, or did not bring every key across.
    """
    if not way.keeps and pair.target.ours:
        await pair.target.empty()
    before = [await side.cpu_s() for side in (pair.source, pair.target)]
    row = await way.run()
    after = [await side.cpu_s() for side in (pair.source, pair.target)]
    moved = row.get("keys") or way.part or pair.keys
    if way.arrives:
        await _arrived(way, pair, int(moved))
    row |= {"source_cpu_s": after[0] - before[0], "target_cpu_s": after[1] - before[1], "keys": moved}
    return _complete(row, pair)


async def _arrived(way: Way, pair: Pair, expected: int) -> None:
    there = await pair.target.keys()
    if there != expected and not (way.more and there > expected):
        raise WayError(f"{way.name}: {there:,} of {expected:,} keys arrived", arrived=there, expected=expected)


def _complete(row: Row, pair: Pair) -> Row:
    """*row* for all keys of the source, with its rates."""
    factor = pair.keys / row["keys"] if row["keys"] else 1.0
    if factor != 1.0:
        row |= {name: row[name] * factor for name in _SCALED if name in row}
    if row["seconds"] > 0:
        row |= {"keys_per_s": pair.keys / row["seconds"], "mb_per_s": pair.data_bytes / 1e6 / row["seconds"]}
    return row

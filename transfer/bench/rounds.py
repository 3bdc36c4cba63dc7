"""Rounds: every way once, then every way again; what a way took is the median.

A peer that fails is left out from then on, and the reason told. Ours may not fail.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from transfer.bench.places import Pair
from transfer.bench.ways import Row, Way, once
from transfer.model.errors import TransferError, UsageError

Say = Callable[[str], None]


@dataclass
class Taken:
    """Rows by way, one a round; why a way has none; how much of the keys a way took."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    scaled: dict[str, str] = field(default_factory=dict)

    @property
    def median(self) -> dict[str, Row]:
        """Of each measure that a way has, apart from points in time."""
        return {name: _median(rows) for name, rows in self.rows.items() if rows}

    def add(self, other: Taken) -> None:
        """Take in what another run of rounds found."""
        self.rows |= other.rows
        self.skipped |= other.skipped
        self.scaled |= other.scaled


async def take_turns(ways: Sequence[Way], pair: Pair, rounds: int, say: Say) -> Taken:
    """Run all *ways* in turn, *rounds* times.

    Raises:
        WayError: one of ours failed.
    """
    taken = Taken({way.name: [] for way in ways})
    for number in range(1, rounds + 1):
        for way in ways:
            if way.name in taken.skipped:
                continue
            try:
                row = await once(way, pair)
            except TransferError as error:
                if way.ours:
                    raise
                taken.skipped[way.name] = error.message
                say(f"round {number}: {way.name}: left out: {error.message}")
                continue
            taken.rows[way.name].append(row)
            if row["keys"] < pair.keys:
                taken.scaled[way.name] = f"{row['keys']:,.0f} of {pair.keys:,} keys, scaled up"
            say(f"round {number}: {way.name}: {row['seconds']:.2f} s")
    return taken


def chosen(ways: Sequence[Way], names: Sequence[str], skipped: dict[str, str]) -> list[Way]:
    """Those of *ways* that `--way` names, all of them if it names none.

    Raises:
        UsageError: there is no such way.
    """
    known = [way.name for way in ways]
    for name in names:
        if name not in known:
            reason = f": {skipped[name]}" if name in skipped else ""
            raise UsageError(f"--way: {name!r} is none of this question{reason}", hint="ways: " + " | ".join(known))
    return [way for way in ways if not names or way.name in names]


def _median(rows: list[Row]) -> Row:
    names = [name for name in rows[0] if name not in ("began", "ended") and all(name in row for row in rows)]
    return {name: round(statistics.median(row[name] for row in rows), 4) for name in names}

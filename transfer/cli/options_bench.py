"""The flags of `transfer bench`, as in `options.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from transfer.cli.options import PROOF, RUN, WHAT, flag


@Parameter(name="*")
@dataclass(frozen=True)
class BenchData:
    """What a benchmark measures, and how often. Words and numbers left out are the question's own."""

    keys: Annotated[int | None, flag(WHAT, "--keys", "N", "How many keys (copy: 1000000).")] = None
    rounds: Annotated[int | None, flag(WHAT, "--rounds", "N", "How often each way takes its turn (3).")] = None
    seed: Annotated[int, flag(WHAT, "--seed", "N", "The same seed, the same data (1).")] = 1
    values: Annotated[
        str, flag(WHAT, "--values", "mixed|small|N", "Every type; strings of 100 bytes; strings of N bytes.")
    ] = ""
    server: Annotated[
        str, flag(WHAT, "--server", "PROGRAM", "What to start: a path, a name on PATH, or bundled (redis-server).")
    ] = ""
    way: Annotated[tuple[str, ...], flag(WHAT, "--way", "NAME", "Only this row of the table; again for more.")] = ()


@Parameter(name="*")
@dataclass(frozen=True)
class BenchOut:
    """What becomes of a result."""

    out: Annotated[str, flag(RUN, "--out", "FILE.json", "Write the result, every round in it.")] = ""
    plot: Annotated[str, flag(RUN, "--plot", "FILE.svg", "Draw it, .svg or .png (extra `bench`).")] = ""
    compare: Annotated[str, flag(RUN, "--compare", "BASE.json", "Changes since a result that --out wrote.")] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class BenchLimits:
    """What a result must keep."""

    max: Annotated[
        tuple[str, ...], flag(PROOF, "--max", "RATIO=N", "Exit 6 if the ratio is more; again for more.")
    ] = ()
    min: Annotated[
        tuple[str, ...], flag(PROOF, "--min", "RATIO=N", "Exit 6 if the ratio is less; again for more.")
    ] = ()
    limits: Annotated[
        str, flag(PROOF, "--limits", "reach|stretch|FILE", "What this project aims at, or limits of yours (JSON).")
    ] = ""

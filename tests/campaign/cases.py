"""The list of rows, filled by the modules that hold them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.campaign.bench import Bench

Play = Callable[[Bench], None]


@dataclass(frozen=True)
class Case:
    """One row of the table: what is done in it, how often it has to hold."""

    name: str
    what: str
    goal: int
    play: Play
    slow: bool = False


CASES: dict[str, Case] = {}


def case(name: str, what: str, goal: int, *, slow: bool = False) -> Callable[[Play], Play]:
    """Register a row. *slow*: more than about three seconds a run."""

    def register(play: Play) -> Play:
        assert name not in CASES, name
        CASES[name] = Case(name, what, goal, play, slow)
        return play

    return register

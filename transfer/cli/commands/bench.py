"""`transfer bench [QUESTION] [SRC DST]`: the words; what is measured is in `transfer/bench/`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from transfer.bench.judge import Limit, base, limits_of
from transfer.bench.places import program
from transfer.bench.plot import check, draw
from transfer.bench.questions import QUESTIONS, Asked, Question
from transfer.bench.run import answer, exit_of
from transfer.bench.table import lines
from transfer.cli import loop
from transfer.cli.conduct import start_log
from transfer.cli.options import PLACE, Talk
from transfer.cli.options_bench import BenchData, BenchLimits, BenchOut
from transfer.cli.outcome import Outcome, tell
from transfer.cli.render.out import Out
from transfer.cli.request import nearest, place
from transfer.model.endpoint import Address
from transfer.model.errors import FileMissingError, UsageError


def bench(
    question: str = "copy",
    source: Annotated[str | None, PLACE] = None,
    target: Annotated[str | None, PLACE] = None,
    /,
    *,
    data: BenchData = BenchData(),  # noqa: B008 - frozen, as are all below
    kept: BenchOut = BenchOut(),  # noqa: B008
    limits: BenchLimits = BenchLimits(),  # noqa: B008
    talk: Talk = Talk(),  # noqa: B008
) -> int:
    """How fast, at what cost, beside the peers: on throw-away servers in one interleaved run, or on given ones.

    Parameters
    ----------
    question
        copy, verify, round_trip, value_size, growth, tls, latency or startup.
    source
        A server that holds data, instead of throw-away ones.
    target
        An empty one.
    """
    start_log(talk)
    one = _question(question)
    every = [ratio for question in QUESTIONS.values() for ratio in question.ratios]
    bounds = limits_of(limits.max, limits.min, limits.limits, one.ratios, every)
    earlier = base(Path(kept.compare), one.name) if kept.compare else None
    given = _given(one, source, target, data)
    if kept.plot:
        check(Path(kept.plot))
    _writable(kept.out)
    asked = Asked(
        keys=_some("--keys", data.keys, one.keys or 1),
        rounds=_some("--rounds", data.rounds, one.rounds),
        seed=data.seed,
        values=_values(data.values, one),
        binary=Path() if given or one.name == "startup" else program(data.server),
        ways=data.way,
        say=(lambda line: None) if talk.quiet else Out(sys.stderr).say,
        given=given,
    )
    return tell("bench", talk, _measured(one, asked, bounds, earlier, kept))


def _measured(
    one: Question, asked: Asked, bounds: list[Limit], earlier: dict[str, Any] | None, kept: BenchOut
) -> Outcome:
    result = loop.run(answer, one, asked, bounds, earlier)
    if kept.out:
        Path(kept.out).write_text(json.dumps(result, indent=2) + "\n")
    if kept.plot:
        draw(result, Path(kept.plot))
    return lines(result), result, exit_of(result)


def _question(name: str) -> Question:
    found = QUESTIONS.get(name.replace("-", "_"))
    if found is None:
        if "://" in name:
            raise UsageError("the question comes first, then the places", hint="transfer bench copy SRC DST")
        hint = nearest(name, QUESTIONS) or "questions: " + " ".join(QUESTIONS)
        raise UsageError(f"there is no question {name!r}", hint=hint)
    return found


def _given(one: Question, source: str | None, target: str | None, data: BenchData) -> tuple[Address, Address] | None:
    if source is None:
        return None
    if one.name not in ("copy", "verify"):
        raise UsageError(f"{one.name} runs on servers of its own", hint=f"transfer bench {one.name}")
    if target is None:
        raise UsageError("a source needs a target beside it", hint=f"transfer bench {one.name} SRC DST")
    rounds = data.rounds if one.name == "copy" else None
    of_ours = {"--keys": data.keys, "--values": data.values, "--server": data.server, "--rounds": rounds}
    for name in (name for name, value in of_ours.items() if value):
        raise UsageError(f"{name} is for throw-away servers", hint=f"leave {name} out")
    return place(source, "source"), place(target, "target")


def _values(values: str, one: Question) -> str:
    if values and not one.values:
        raise UsageError(f"--values: {one.name} chooses its values itself", hint="leave --values out")
    if values and values not in ("mixed", "small") and not (values.isdigit() and 0 < int(values) <= 1 << 29):
        raise UsageError(f"--values: {values!r} is no kind of values", hint="mixed, small, or a number of bytes")
    return values or one.values


def _some(name: str, value: int | None, default: int) -> int:
    if value is not None and value < 1:
        raise UsageError(f"{name}: {value} is less than 1", hint=f"{name} {default}")
    return value or default


def _writable(out: str) -> None:
    """Said before an hour of measuring, not after it."""
    if out and not Path(out).absolute().parent.is_dir():
        raise FileMissingError("--out: there is no such folder", where=str(Path(out).absolute().parent))

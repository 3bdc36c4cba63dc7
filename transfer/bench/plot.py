"""A result as bars: left what the question is about, right the CPU of source, engine and target, stacked."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from transfer.bench.questions import QUESTIONS
from transfer.model.errors import UsageError

INSTALL = "pip install 'keyspace-transfer[bench]'"
ENDINGS = (".svg", ".png")

_CPU = (("source", "source_cpu_s"), ("engine", "engine_cpu_s"), ("target", "target_cpu_s"))
_COLOURS = ("#4878a8", "#e49444", "#85b6b2", "#d1605e")
_OURS, _THEIRS = "#e49444", "#9aa5b1"
_SKEWED = 20
"""From this ratio of the longest bar to the shortest on, a logarithmic axis."""


def check(path: Path) -> None:
    """Refuse, before anything is measured, what could not be drawn afterwards.

    Raises:
        UsageError: another ending, no such folder, or matplotlib is missing.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(f"--plot: {path} ends in neither .svg nor .png", hint="--plot bench.svg")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--plot: there is no folder {path.absolute().parent}", hint="make it first")
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("--plot needs matplotlib", hint=INSTALL)


def draw(result: dict[str, Any], path: Path) -> None:
    """Write *result* as a picture to *path*."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    median: dict[str, dict[str, float]] = result["median"]
    costs = [one for one in _CPU if any(one[1] in row for row in median.values())]
    figure = Figure(figsize=(12, 1.4 + 0.4 * len(median)), layout="constrained")
    FigureCanvasAgg(figure)
    left, *right = figure.subplots(1, 2 if costs else 1, squeeze=False)[0]
    _bars(left, median, QUESTIONS[result["question"]].bars)
    for axes in right:
        _stack(axes, median, costs)
    machine = result["machine"]
    figure.suptitle(f"{result['asks']}\n{result['server']}, {machine['cpu']}, {machine['cores']} cores", fontsize=10)
    figure.savefig(path)


def _bars(axes: Any, median: dict[str, dict[str, float]], bars: tuple[tuple[str, str], ...]) -> None:
    ways = [way for way, row in median.items() if any(name in row for _, name in bars)]
    height = 0.8 / len(bars)
    for number, (title, name) in enumerate(bars):
        values = [median[way].get(name, 0.0) for way in ways]
        places = [row + number * height for row in range(len(ways))]
        alone = [_OURS if way.startswith(("copy", "verify", "transfer")) else _THEIRS for way in ways]
        colours = alone if len(bars) == 1 else _COLOURS[number % len(_COLOURS)]
        axes.bar_label(axes.barh(places, values, height, label=title, color=colours), fmt="%.3g", fontsize=7, padding=2)
    if _skewed([median[way].get(name, 0.0) for way in ways for _, name in bars]):
        axes.set_xscale("log")
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(ways))], ways, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(", ".join(title for title, _ in bars) if len(bars) == 1 else "milliseconds")
    if len(bars) > 1:
        axes.legend(fontsize=7)


def _stack(axes: Any, median: dict[str, dict[str, float]], costs: list[tuple[str, str]]) -> None:
    ways = list(median)
    start = [0.0] * len(ways)
    for (title, name), colour in zip(costs, _COLOURS, strict=False):
        values = [max(0.0, median[way].get(name, 0.0)) for way in ways]
        axes.barh(range(len(ways)), values, 0.8, left=start, label=title, color=colour)
        start = [before + value for before, value in zip(start, values, strict=True)]
    axes.set_yticks(range(len(ways)), ways, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds")
    axes.legend(fontsize=7)


def _skewed(values: list[float]) -> bool:
    positive = [value for value in values if value > 0]
    return bool(positive) and max(positive) > _SKEWED * min(positive)

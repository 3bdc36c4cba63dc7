"""A result for people: what it was made on, one row a way, ratios by name, limits, changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from transfer.bench.questions import QUESTIONS
from transfer.bench.ways import MEASURES

_WHOLE = {"keys_per_s", "requests"}


def lines(result: dict[str, Any]) -> list[str]:
    """Everything, a line each."""
    parts = [_about(result), _rows(result), _remarks(result), _ratios(result)]
    if "changes" in result:
        parts.append(_changes(result))
    if result["limits"]:
        parts.append([limit["words"] for limit in result["limits"]])
    parts.append([f"warning: {line}" for line in result["warnings"]])
    return [line for part in parts if part for line in (*part, "")][:-1]


def _about(result: dict[str, Any]) -> list[str]:
    machine, versions = result["machine"], result["versions"]
    data = [f"{name.replace('_', ' ')} {_plain(value)}" for name, value in result["data"].items()]
    data += [f"{name} {result[name]}" for name in ("values", "seed") if data and result[name]]
    return [
        result["asks"],
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, load {machine['load']:.2f} before; "
        f"{machine['system']}",
        ", ".join([*filter(None, [result["server"]]), *(f"{name} {number}" for name, number in versions.items())]),
        "; ".join([*data, f"medians of {result['rounds']} interleaved rounds"]),
    ]


def _rows(result: dict[str, Any]) -> list[str]:
    columns = QUESTIONS[result["question"]].columns or MEASURES
    columns = tuple(one for one in columns if any(one[1] in row for row in result["median"].values()))
    rows = [(way, *(_cell(row, name) for _, name in columns)) for way, row in result["median"].items()]
    return aligned(("", *(title for title, _ in columns)), rows)


def _remarks(result: dict[str, Any]) -> list[str]:
    scaled = [f"{way}: {said}" for way, said in result["scaled"].items()]
    return scaled + [f"{way}: left out: {reason}" for way, reason in result["skipped"].items()]


def _ratios(result: dict[str, Any]) -> list[str]:
    return aligned(("ratio", ""), [(name, f"{value:.3f}") for name, value in result["ratios"].items()])


def _changes(result: dict[str, Any]) -> list[str]:
    rows = [
        (one["name"], f"{one['before']:,.3f}", f"{one['now']:,.3f}", _percent(one["percent"]))
        for one in result["changes"]
    ]
    return aligned(("change", "before", "now", ""), rows) if rows else ["nothing in common to compare"]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f} %"


def _cell(row: dict[str, float], name: str) -> str:
    if name not in row:
        return ""
    return f"{row[name]:,.0f}" if name in _WHOLE else f"{row[name]:,.1f}" if row[name] >= 100 else f"{row[name]:.3f}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return f"{value:,}"


def aligned(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns under *head*, the first aligned left, all others right."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(
            text.ljust(width) if column == 0 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]

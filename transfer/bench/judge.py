"""Is it good enough, and is it better than before?

    ratios x limits -> Judged: kept | missed | not measured          -> exit 6 if one was missed
    answer x an earlier answer -> Change: before, now, per cent      -> a table; it judges nothing

Rule 1: a limit given by name on the command line must be met: "not measured" misses it.
Rule 2: a set of limits (reach, stretch, a file) is of many questions: what was not measured here is left out.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from transfer.model.errors import FileMissingError, FormatError, UsageError

_REACH = {
    "copy / migrate": 0.60,
    "copy / copy, no positions kept": 1.05,
    "copy / replicaof disk": 1.4,
    "copy by psync / replicaof disk": 1.05,
    "copy by psync / replicaof diskless": 1.6,
    "peak RSS of the copy by psync, MiB": 120.0,
    "copy / redis-py pipelines": 0.18,
    "copy / redis-shake scan": 0.5,
    "copy / redis-shake scan, by its ratio to migrate elsewhere": 0.5,
    "engine CPU, copy / redis-py pipelines": 0.09,
    "peak RSS of the copy, MiB": 120.0,
    "verify / copy": 1.3,
    "10 x keys: seconds": 10.5,
    "10 x keys: peak RSS": 1.2,
    "throughput at 50 ms / 0 ms": 0.4,
    "TLS / plain": 1.6,
    "p99 beside copy, polite - idle, ms": 2.0,
    "help - bare python, s": 0.25,
    "export .xfer by psync / redis-cli --rdb, then zstd -3": 1.2,
    "export .xfer by scan / redis-cli --rdb, then zstd -3": 2.0,
    "export .rdb by psync / redis-cli --rdb": 1.3,
    "size of .xfer / size of redis-cli --rdb, then zstd -3": 1.03,
    "peak RSS of the exports, MiB": 150.0,
    "import .xfer / copy by psync": 1.0,
    "import .rdb / rdb-cli": 1.5,
    "verify of .xfer, MB/s": 400.0,
    "verify --deep of .xfer, keys/s": 100_000.0,
    "peak RSS of the imports, MiB": 150.0,
    "peak RSS of the verifies, MiB": 150.0,
}
_STRETCH = _REACH | {
    "copy / migrate": 0.50,
    "copy / replicaof disk": 1.15,
    "copy by psync / replicaof disk": 0.80,
    "copy by psync / replicaof diskless": 1.1,
    "peak RSS of the copy by psync, MiB": 60.0,
    "copy / redis-py pipelines": 0.14,
    "copy / redis-shake scan": 0.4,
    "copy / redis-shake scan, by its ratio to migrate elsewhere": 0.4,
    "engine CPU, copy / redis-py pipelines": 0.05,
    "peak RSS of the copy, MiB": 60.0,
    "verify / copy": 0.9,
    "throughput at 50 ms / 0 ms": 0.8,
    "TLS / plain": 1.3,
    "p99 beside copy, polite - idle, ms": 1.0,
    "help - bare python, s": 0.18,
    "export .xfer by psync / redis-cli --rdb, then zstd -3": 0.8,
    "export .xfer by scan / redis-cli --rdb, then zstd -3": 1.5,
    "export .rdb by psync / redis-cli --rdb": 1.0,
    "size of .xfer / size of redis-cli --rdb, then zstd -3": 0.99,
    "peak RSS of the exports, MiB": 80.0,
    "import .xfer / copy by psync": 0.8,
    "import .rdb / rdb-cli": 1.1,
    "verify of .xfer, MB/s": 1000.0,
    "verify --deep of .xfer, keys/s": 300_000.0,
    "peak RSS of the imports, MiB": 80.0,
    "peak RSS of the verifies, MiB": 80.0,
}
SETS = {"reach": _REACH, "stretch": _STRETCH}
"""What this project holds itself to, for 1,000,000 mixed keys on 2 idle cores."""

_AT_LEAST = frozenset(
    {
        "throughput at 5 ms / 0 ms",
        "throughput at 50 ms / 0 ms",
        "verify of .xfer, MB/s",
        "verify --deep of .xfer, keys/s",
    }
)
"""Ratios of which more is better: SETS holds the least for these, the most for all others."""


class Limit(msgspec.Struct, frozen=True):
    """What a ratio may be. `named` says that the command line named it itself."""

    name: str
    value: float
    least: bool = False
    named: bool = False


class Judged(msgspec.Struct, frozen=True):
    """A limit and what was measured."""

    name: str
    limit: float
    least: bool
    measured: float | None
    kept: bool

    @property
    def words(self) -> str:
        sign = ">=" if self.least else "<="
        there = "not measured" if self.measured is None else f"{self.measured:.3g}"
        return f"{'kept' if self.kept else 'MISSED'}  {self.name}: {there}, {sign} {self.limit:g} asked"


class Change(msgspec.Struct, frozen=True):
    """One figure before and now. `percent` is None where there was nothing before."""

    name: str
    before: float
    now: float
    percent: float | None


def limits_of(
    most: Iterable[str], least: Iterable[str], sets: str, known: Iterable[str], every: Iterable[str] = ()
) -> list[Limit]:
    """`--max "copy / migrate=0.6"`, `--min ...`, `--limits reach|stretch|FILE.json` as limits; the named ones win.

    *known* are the ratios of this question, *every* those of all questions.

    Raises:
        UsageError: no number, no ratio of this question, or in a file one of no question.
        FileMissingError, FormatError: the file.
    """
    names = list(known)
    found = {limit.name: limit for limit in (_set(sets, {*every, *names}) if sets else ()) if limit.name in names}
    for flag, words, is_least in (("--max", most, False), ("--min", least, True)):
        for word in words:
            limit = _named(flag, word, is_least, names)
            found[limit.name] = limit
    return list(found.values())


def judge(ratios: dict[str, float], limits: Iterable[Limit]) -> list[Judged]:
    """Every limit that holds here, with what was measured."""
    judged = []
    for limit in limits:
        measured = ratios.get(limit.name)
        if measured is None:
            if limit.named:
                judged.append(Judged(limit.name, limit.value, limit.least, None, False))
            continue
        kept = measured >= limit.value if limit.least else measured <= limit.value
        judged.append(Judged(limit.name, limit.value, limit.least, measured, kept))
    return judged


def _named(flag: str, word: str, least: bool, names: list[str]) -> Limit:
    name, equals, number = word.rpartition("=")
    name = name.strip()
    try:
        value = float(number)
    except ValueError:
        equals = ""
    if not equals:
        raise UsageError(f"{flag}: {word!r} has no limit", hint=f'{flag} "{names[0]}=0.6"')
    if name not in names:
        raise UsageError(f"{flag}: {name!r} is no ratio of this question", hint=_nearest(name, names))
    return Limit(name, value, least, True)


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else "ratios: " + " | ".join(names)


def _set(name: str, every: set[str]) -> list[Limit]:
    if name in SETS:
        return [Limit(ratio, value, ratio in _AT_LEAST) for ratio, value in SETS[name].items()]
    found = read_json(Path(name), "--limits")
    shape = 'limits read {"max": {RATIO: NUMBER}, "min": {...}}'
    if not found.keys() or not found.keys() <= {"max", "min"}:
        raise FormatError(shape, where=name)
    try:
        limits = [
            Limit(ratio, float(value), kind == "min") for kind, asked in found.items() for ratio, value in asked.items()
        ]
    except (AttributeError, TypeError, ValueError):
        raise FormatError(shape, where=name) from None
    for limit in limits:
        if limit.name not in every:
            raise UsageError(f"{name}: {limit.name!r} is no ratio of any question", hint=_nearest(limit.name, [*every]))
    return limits


def changes(now: dict[str, Any], before: dict[str, Any]) -> list[Change]:
    """Ratios and medians that both hold, in the order of now."""
    earlier = _figures(before)
    return [_change(name, earlier[name], value) for name, value in _figures(now).items() if name in earlier]


def unlike(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Why the two cannot simply be compared."""
    said = []
    for name in ("data", "server", "seed", "values"):
        mine, theirs = _without_sizes(now[name]), _without_sizes(before.get(name))
        if mine != theirs:
            said.append(f"{name} differs: {theirs} before, {mine} now")
    machine = before.get("machine", {})
    other = [name for name in ("cpu", "cores") if machine.get(name) != now["machine"][name]]
    said += [f"another machine: {name} was {machine.get(name)}" for name in other]
    return said


def base(path: Path, question: str) -> dict[str, Any]:
    """An earlier answer to the same *question*, as `--out` wrote it.

    Raises:
        UsageError: it answers another question.
        FileMissingError, FormatError: it cannot be read, or is something else.
    """
    found = read_json(path, "--compare")
    if not isinstance(found.get("median"), dict) or not isinstance(found.get("ratios"), dict):
        raise FormatError("this is no result of a benchmark", where=str(path), hint="transfer bench copy --out FILE")
    if found.get("question") != question:
        raise UsageError(f"--compare: {path} answers {found.get('question')!r}, not {question!r}")
    return found


def read_json(path: Path, flag: str) -> dict[str, Any]:
    """The object that *path* holds."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise FileMissingError(f"{flag}: cannot read it: {error.strerror}", where=str(path)) from None
    except ValueError:
        raise FormatError(f"{flag}: this is no JSON", where=str(path), hint="check the path") from None
    if not isinstance(found, dict):
        raise FormatError(f"{flag}: this holds no object", where=str(path), hint="check the path")
    return found


def _figures(found: dict[str, Any]) -> dict[str, float]:
    shown = ("seconds", "source_cpu_s", "engine_cpu_s", "target_cpu_s", "rss_mib", "p50_ms", "p99_ms", "p999_ms")
    rows = found["median"].items()
    medians = {f"{way}: {name}": row[name] for way, row in rows for name in shown if name in row}
    return {**found["ratios"], **medians}


def _change(name: str, before: float, now: float) -> Change:
    return Change(name, before, now, round((now / before - 1) * 100, 1) if before else None)


def _without_sizes(value: object) -> object:
    """What was measured of the data (MiB) differs a little from run to run; what was asked for does not."""
    return {k: v for k, v in value.items() if not k.endswith("_mib")} if isinstance(value, dict) else value

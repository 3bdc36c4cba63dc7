"""What can be asked, with the ratios each answer holds. A question's module is imported when it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from transfer.bench.rounds import Say, Taken
from transfer.model.endpoint import Address


@dataclass(frozen=True)
class Asked:
    """How a question is to be answered. `given` is a source and a target that exist already."""

    keys: int
    rounds: int
    seed: int
    values: str
    binary: Path
    ways: tuple[str, ...]
    say: Say
    given: tuple[Address, Address] | None = None


@dataclass
class Answer:
    """What was found: rows by way, figures by the names of `Question.ratios`, and about what data."""

    taken: Taken
    ratios: dict[str, float]
    server: str = ""
    data: dict[str, Any] = field(default_factory=dict)


Measure = Callable[[Asked], Awaitable[Answer]]


@dataclass(frozen=True)
class Question:
    """One question: its defaults, and every ratio that an answer may hold.

    Attributes:
        values: what the keys hold unless `--values` says otherwise; "" where the question decides.
        columns: (title, measure) shown instead of the usual ones.
        bars: the measures a plot shows.
    """

    name: str
    asks: str
    keys: int
    rounds: int
    ratios: tuple[str, ...]
    values: str = "mixed"
    columns: tuple[tuple[str, str], ...] = ()
    bars: tuple[tuple[str, str], ...] = (("seconds", "seconds"),)

    @property
    def measure(self) -> Measure:
        module = _MODULES.get(self.name, self.name)
        measure: Measure = import_module(f"transfer.bench.questions.{module}").measure
        return measure


_MODULES = {"export": "exports", "import": "imports"}
"""Where a question cannot be the name of a module."""


_PERCENTILES = (("p50 ms", "p50_ms"), ("p99 ms", "p99_ms"), ("p99.9 ms", "p999_ms"), ("max ms", "max_ms"))
_FILE_COLUMNS = (
    ("seconds", "seconds"), ("wall s", "wall_s"), ("keys/s", "keys_per_s"), ("source CPU s", "source_cpu_s"),
    ("engine CPU s", "engine_cpu_s"), ("target CPU s", "target_cpu_s"), ("peak RSS MiB", "rss_mib"),
    ("file MiB", "file_mib"),
)  # fmt: skip

_ALL = (
    Question(
        "copy", "How long does a copy take beside the peers, and what does it cost both servers?", 1_000_000, 3,
        (
            "copy / migrate", "copy wall / migrate", "copy / migrate, names known", "copy / replicaof disk",
            "copy / copy, no positions kept",
            "copy / replicaof diskless", "copy / redis-py pipelines", "copy / redis-py loop",
            "copy / redis-shake scan", "copy / redis-shake scan, by its ratio to migrate elsewhere", "copy / rdb-cli",
            "copy / gunyu", "engine CPU, copy / redis-py pipelines", "peak RSS of the copy, MiB",
            "peak RSS of copy + verify, MiB", "verify / copy", "copy by psync / replicaof disk",
            "copy by psync / replicaof diskless", "copy by psync / copy", "peak RSS of the copy by psync, MiB",
        ),
    ),
    Question(
        "verify", "How long does a full two-way verify take beside the copy?", 1_000_000, 3,
        ("verify / copy", "verify / redis-full-check", "peak RSS of the verify, MiB"),
    ),
    Question(
        "export", "How long does it take to get everything into a file, and how large is that?", 1_000_000, 3,
        (
            "export .xfer by psync / redis-cli --rdb, then zstd -3",
            "export .xfer by scan / redis-cli --rdb, then zstd -3",
            "export .rdb by psync / redis-cli --rdb", "export .rdb by scan / redis-cli --rdb",
            "size of .xfer / size of redis-cli --rdb, then zstd -3", "peak RSS of the exports, MiB",
        ),
        columns=_FILE_COLUMNS,
    ),
    Question(
        "import", "How long does it take to get a file into an empty server, and to check it?", 1_000_000, 3,
        (
            "import .xfer / copy by psync", "import .rdb / copy by psync", "import .rdb / rdb-cli",
            "import .xfer / redis-cli --pipe", "verify of .xfer, MB/s", "verify --deep of .xfer, keys/s",
            "peak RSS of the imports, MiB", "peak RSS of the verifies, MiB",
        ),
        columns=_FILE_COLUMNS,
    ),
    Question(
        "round_trip", "What do 5 and 50 ms between us and both servers cost?", 200_000, 3,
        ("throughput at 5 ms / 0 ms", "throughput at 50 ms / 0 ms", "copy / redis-py pipelines, both at 50 ms"),
    ),
    Question(
        "value_size", "What does the size of values do, at constant total bytes?", 400_000, 3,
        tuple(f"copy / migrate, {size}" for size in ("10 B", "100 B", "1 KB", "10 KB", "100 KB", "1 MB", "10 MB")),
        values="",
    ),
    Question(
        "growth", "Does the cost grow with the number of keys, and nothing else?", 10_000_000, 1,
        ("10 x keys: seconds", "10 x keys: peak RSS", "100 x keys: seconds", "100 x keys: peak RSS"), values="small",
    ),
    Question("tls", "What does TLS on both sides cost?", 1_000_000, 3, ("TLS / plain", "engine CPU, TLS / plain")),
    Question(
        "latency", "What do the source's users feel while a copy runs?", 1_000_000, 3,
        (
            "p99 beside copy, polite - idle, ms", "p99 beside copy, max - idle, ms", "p99 beside migrate - idle, ms",
            "p99 beside redis-py pipelines - idle, ms", "p99 beside replicaof disk - idle, ms",
        ),
        columns=(("seconds", "seconds"), *_PERCENTILES, ("requests", "requests"), ("source CPU s", "source_cpu_s")),
        bars=_PERCENTILES,
    ),
    Question(
        "startup", "How long until `transfer --help` is there, beside a bare Python?", 0, 15,
        ("help - bare python, s", "version - bare python, s"), values="",
        columns=(("seconds", "seconds"), ("CPU s", "engine_cpu_s"), ("peak RSS MiB", "rss_mib")),
    ),
)  # fmt: skip

QUESTIONS = {question.name: question for question in _ALL}


def ratio(median: dict[str, dict[str, float]], above: str, below: str, measure: str = "seconds") -> float | None:
    """One way's measure by another's; None where one of them was not taken."""
    over, under = (median.get(name, {}).get(measure) for name in (above, below))
    return over / under if over is not None and under else None


def known(pairs: dict[str, float | None]) -> dict[str, float]:
    """Those that could be computed, rounded."""
    return {name: round(value, 4) for name, value in pairs.items() if value is not None}

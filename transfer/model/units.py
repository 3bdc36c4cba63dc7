"""Durations, sizes, rates and shares as users write them, and back.

Durations are kept in milliseconds, sizes in bytes, rates in units per second.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from transfer.model.errors import UsageError

_DURATION = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
_SIZE |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_COUNT = {"": 1, "k": 10**3, "m": 10**6}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")


def _scaled(text: str, units: dict[str, int], what: str, example: str) -> int:
    found = _NUMBER.fullmatch(text.strip())
    unit = found.group(2).lower() if found else ""
    if not found or unit not in units:
        raise UsageError(f"{text!r} is not a {what}", hint=f"a {what} reads like {example}")
    return round(float(found.group(1)) * units[unit])


def duration_ms(text: str) -> int:
    """`500ms 30s 5m 2h 30d` -> milliseconds. Raises UsageError."""
    return _scaled(text, _DURATION, "duration", "500ms, 30s, 5m, 2h or 30d")


def size_bytes(text: str) -> int:
    """`64MiB 2GiB 1000` -> bytes. Raises UsageError."""
    return _scaled(text, _SIZE, "size", "64MiB or 2GiB")


def keys_per_s(text: str) -> int:
    """`50k/s` -> keys per second (k = 1000). Raises UsageError."""
    return _scaled(text.removesuffix("/s"), _COUNT, "rate", "50k/s")


def bytes_per_s(text: str) -> int:
    """`100MiB/s` -> bytes per second. Raises UsageError."""
    return _scaled(text.removesuffix("/s"), _SIZE, "rate", "100MiB/s")


def share(text: str) -> float:
    """`1%` -> 0.01. Raises UsageError."""
    try:
        value = float(text.strip().removesuffix("%")) / 100 if text.strip().endswith("%") else -1.0
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise UsageError(f"{text!r} is not a share", hint="a share reads like 1% or 0.5%")
    return value


def show_bytes(count: float) -> str:
    """Bytes for people: `4.1 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def show_count(count: float) -> str:
    """Counts for people: `6.2M`, `310k`, `812`."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= limit:
            scaled = count / (1e3 if unit == "k" else limit)
            return f"{scaled:.1f}{unit}" if scaled < 100 else f"{scaled:.0f}{unit}"
    return f"{count:,.0f}"


def show_ms(ms: float) -> str:
    """Durations for people: `12.3s`, `4m 05s`, `2h 10m`, `3d 4h`."""
    seconds = ms / 1000
    if seconds < 1:
        return f"{ms:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours < 1:
        return f"{minutes}m {int(seconds % 60):02d}s"
    if hours < 48:
        return f"{hours}h {minutes % 60:02d}m"
    return f"{hours // 24}d {hours % 24}h"


def show_moment(ms: int) -> str:
    """`2026-11-22 19:31:04 UTC` of Unix milliseconds; the number itself where no calendar has it."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def some(count: int, noun: str, one: str = "", many: str = "") -> str:
    """`1 key`, `6,200 keys`; with a verb for each: `1 key was`, `2 keys were`."""
    verb = one if count == 1 else many
    return f"{count:,} {noun}{'s' * (count != 1)}" + (f" {verb}" if verb else "")


def ranges(numbers: frozenset[int]) -> str:
    """`6-11, 80`."""
    runs: list[list[int]] = []
    for one in sorted(numbers):
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)

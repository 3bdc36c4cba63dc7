"""What the figures were made on, and whether it was idle.

A run on a busy machine says so: load average, and the CPU that all processes took just before, of which the busiest
is named.
"""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from transfer import __version__

_LOOK_S = 0.5
_BUSY_LOAD_PER_CORE = 0.5
_BUSY_CORES = 0.25
"""CPU seconds a second of all processes together; an idle virtual machine with its agents stays below 0.1."""


def machine() -> dict[str, Any]:
    """Processor, memory, system, and what ran just before; takes half a second."""
    cores, busiest = _taken()
    return {
        "cpu": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "busy_cores": cores,
        "busiest": busiest,
        "system": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Of what takes part, the servers aside."""
    return {
        "transfer": __version__,
        "python": platform.python_version(),
        "hiredis": metadata.version("hiredis"),
        "redis-py": metadata.version("redis"),
    }


def warnings(found: dict[str, Any]) -> list[str]:
    """Why these figures are worth less than they look."""
    said = []
    if found["load"] > _BUSY_LOAD_PER_CORE * found["cores"]:
        said.append(f"the machine is busy: load average {found['load']:.2f} on {found['cores']} cores before the run")
    if found["busy_cores"] > _BUSY_CORES:
        named = f", most of it {found['busiest']}" if found["busiest"] else ""
        said.append(f"the machine is busy: other processes took {found['busy_cores']:.2f} cores just before{named}")
    return said


def memory_available_bytes() -> int | None:
    """What new processes could have, None where the kernel does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _taken() -> tuple[float, str]:
    """(cores in use by others over half a second, name of the busiest process); (0, "") where there is no /proc."""
    before, began = _ticks(), time.monotonic()
    if not before:
        return 0.0, ""
    time.sleep(_LOOK_S)
    after, ended = _ticks(), time.monotonic()
    used = {pid: ticks - before[pid][0] for pid, (ticks, _) in after.items() if pid in before}
    cores = sum(used.values()) / os.sysconf("SC_CLK_TCK") / (ended - began)
    busiest = max(used, key=lambda pid: used[pid], default=0)
    return round(cores, 2), after[busiest][1] if used.get(busiest) else ""


def _ticks() -> dict[int, tuple[int, str]]:
    """Process -> (user and system ticks so far, its name); our own is left out."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = entry.read_text().rpartition(")")
        except OSError:  # it ended meanwhile
            continue
        pid, _, name = head.partition(" (")
        fields = rest.split()
        found[int(pid)] = (int(fields[11]) + int(fields[12]), name)
    found.pop(os.getpid(), None)
    return found

"""Names of jobs: when they began and four random digits, `20261122-1931-7f3a`.

The time is UTC, so that ids sort by time and mean the same on every machine.
"""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path


def new_job_id(now: datetime | None = None) -> str:
    """An id for a job that begins now. It is likely unique; the store makes sure (`JobStore.new_job`)."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%d-%H%M}-{secrets.token_hex(2)}"


def process_mark(pid: int) -> str:
    """Tells a process from a later one of the same number: its start in clock ticks since boot; "" if unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return stat.rpartition(b")")[2].split()[19].decode()  # field 22; the name in field 2 may hold anything


def _is_zombie(pid: int) -> bool:
    """Whether it has ended, and its parent did not ask yet how."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] == b"Z"  # field 3


def is_alive(pid: int, mark: str) -> bool:
    """Whether the process *pid* that had *mark* still runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not _is_zombie(pid) and (not mark or process_mark(pid) in (mark, ""))


def process_age_s(pid: int) -> float | None:
    """Seconds since the process *pid* of this machine began; None if unknown."""
    mark = process_mark(pid)
    try:
        up_s = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return None
    return up_s - int(mark) / os.sysconf("SC_CLK_TCK") if mark else None

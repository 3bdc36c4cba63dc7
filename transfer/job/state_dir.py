"""Whether the state directory lasts: what is on tmpfs, or in the upper layer of a container's image, does not.

PATH -> its mount in /proc/self/mountinfo -> its file system -> a sentence, or ""
"""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_PASSING = {
    "tmpfs": "tmpfs: a restart of this machine",
    "ramfs": "ramfs: a restart of this machine",
    "overlay": "a layer of a container's image: the end of that container",
    "aufs": "a layer of a container's image: the end of that container",
}
_ESCAPED = re.compile(r"\\([0-7]{3})")


def passing(path: Path, mounts: str | None = None) -> str:
    """A warning if what is kept at *path* will not be kept for long; *mounts*: the text of mountinfo.

    Where there is no mountinfo (not Linux), nothing is known and nothing is said.
    """
    if mounts is None:
        try:
            mounts = _MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return ""
    kind = _PASSING.get(_file_system(path.absolute().resolve(), mounts))
    return f"the state directory {path} is on {kind} forgets its jobs; --state DIR names another" if kind else ""


def _file_system(path: Path, mounts: str) -> str:
    """The type of the deepest mount that *path* is under; of several on one place the last one counts."""
    best, found = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), after.split(" ")[0]
    return found

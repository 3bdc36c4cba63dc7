"""The real command in a process of its own, with a state directory that belongs to the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple


class Said(NamedTuple):
    """What a command said, and how it ended."""

    exit: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def result(self) -> dict[str, Any]:
        """The last JSON line."""
        return self.lines[-1]


def transfer(*words: str | bytes, state: Path | None = None, stdin: str = "", **environment: str) -> Said:
    """Run `transfer WORDS` off a terminal. Nothing of the environment's TRANSFER_... and colours reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRANSFER_", "NO_", "FORCE_"))}
    if state is not None:
        kept["XDG_STATE_HOME"] = str(state)
    done = subprocess.run(
        [sys.executable, "-m", "transfer", *words],
        input=stdin.encode(),
        capture_output=True,
        env={**kept, "COLUMNS": "100", **environment},
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

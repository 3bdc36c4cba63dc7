"""Print docs/cli.md from `--help`, so that the page cannot say what the command does not.

python docs/make_cli.py > docs/cli.md
"""

from __future__ import annotations

import os
import subprocess
import sys

PAGES = (
    (),
    ("copy",),
    ("import",),
    ("export",),
    ("verify",),
    ("inspect",),
    ("doctor",),
    ("resume",),
    ("jobs",),
    ("jobs", "list"),
    ("jobs", "show"),
    ("jobs", "pace"),
    ("jobs", "resume"),
    ("jobs", "pause"),
    ("jobs", "cancel"),
    ("jobs", "prune"),
    ("jobs", "clean"),
    ("demo",),
    ("demo", "fill"),
    ("demo", "verify"),
    ("demo", "clear"),
    ("bench",),
    ("explain",),
    ("completion",),
)
_COLUMNS = "100"


def page() -> str:
    """The whole of docs/cli.md."""
    parts = ["# The command line\n\nPrinted from `--help` by `docs/make_cli.py`; a test says when it is stale.\n"]
    parts += [f"## transfer {' '.join(words)}".rstrip() + f"\n\n```text\n{help_of(words)}\n```\n" for words in PAGES]
    return "\n".join(parts)


def help_of(words: tuple[str, ...]) -> str:
    """What `transfer WORDS --help` prints at 100 columns, without colour."""
    environment = os.environ | {"COLUMNS": _COLUMNS, "NO_COLOR": "1", "TERM": "dumb"}
    command = [sys.executable, "-m", "transfer", *words, "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


if __name__ == "__main__":
    print(page(), end="")

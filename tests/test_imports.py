"""House guards: rooms import only to the right, modules stay small, nothing heavy is imported at start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_LONGEST_MODULE = 600
_NOT_AT_START = {"redis", "hiredis", "anyio", "rich.progress", "sqlite3", "ssl", "xxhash", "anycrc"}


def test_rooms_import_only_to_the_right() -> None:
    """The contracts in pyproject.toml hold."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_types_hold() -> None:
    """mypy --strict finds nothing."""
    done = subprocess.run([sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_ruff_is_content() -> None:
    """Lint and format."""
    for arguments in (["check", "."], ["format", "--check", "."]):
        command = [sys.executable, "-m", "ruff", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout


def test_no_module_is_too_long() -> None:
    """600 lines fail the build; 400 are a talk."""
    lengths = {path: len(path.read_text().splitlines()) for path in (ROOT / "transfer").rglob("*.py")}

    assert [str(path) for path, lines in lengths.items() if lines > _LONGEST_MODULE] == []


def test_help_imports_nothing_heavy() -> None:
    """`transfer --help` must feel immediate: no client, no event loop, no database at start."""
    code = "import sys, transfer.cli.app; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert _NOT_AT_START & set(done.stdout.split()) == set()

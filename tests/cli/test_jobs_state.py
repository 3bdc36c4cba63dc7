"""The warning about a state directory that does not last, as the command says it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.cli.running import copy, run
from tests.servers import running
from transfer.job.state_dir import passing

SHM = Path("/dev/shm")  # noqa: S108 - it is what is tested


async def test_a_run_on_tmpfs_says_so_first(tmp_path: Path) -> None:
    """In text before all else; for a program the plan stays the first line, and whole."""
    if not passing(SHM) or not os.access(SHM, os.W_OK):
        pytest.skip("no tmpfs at /dev/shm")
    state = tempfile.mkdtemp(dir=SHM)
    try:
        async with running() as source, running() as target:
            text = await run("copy", source.url, target.url, "--yes", "--state", state, state=tmp_path)
            lines = (await copy(source.url, target.url, "--fresh", "--state", state, state=tmp_path)).lines
    finally:
        shutil.rmtree(state)

    assert text.err.startswith(f"warning: the state directory {state} is on tmpfs: a restart of this machine forgets")
    assert [line["type"] for line in lines][:2] == ["plan", "warning"]
    assert "hazards" in lines[0]
    assert "is on tmpfs" in lines[1]["message"]

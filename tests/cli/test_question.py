"""The one question of a run: asked on a terminal, with the numbers, and only yes is yes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import pytest

from tests.servers import ask, running


def _answer(words: list[str], answer: str, state: Path) -> tuple[int, str]:
    """Run `transfer WORDS` on a terminal of its own and type *answer* when it asks."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "XDG_STATE_HOME": str(state), "TERM": "xterm", "COLUMNS": "100"}
    running_command = subprocess.Popen(
        [sys.executable, "-m", "transfer", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:  # the other end is closed: the command has ended
            break
        if b"Type yes: " in shown and answer:
            os.write(ours, answer.encode() + b"\n")
            answer = ""
    os.close(ours)
    return running_command.wait(timeout=30), shown.decode(errors="replace")


@pytest.mark.parametrize(("answer", "exit_code", "there"), [("yes", 0, 2), ("no", 2, 1), ("yess", 2, 1)])
async def test_a_target_that_is_not_empty_is_asked_about_on_a_terminal(
    answer: str, exit_code: int, there: int, tmp_path: Path
) -> None:
    """Host, database and key count are shown; whatever is not yes writes nothing."""
    async with running() as source, running() as target:
        await ask(source, "SET", "new", "1")
        await ask(target, "SET", "old", "1")
        words = ["copy", source.url, target.url, "--verify", "none"]
        code, shown = await anyio.to_thread.run_sync(_answer, words, answer, tmp_path)
        size = await ask(target, "DBSIZE")

    assert (code, size) == (exit_code, there), shown
    assert re.search(rf"into redis://127.0.0.1:{target.address.port}\S*: db0 1 key\b", shown)


async def test_with_no_input_nothing_is_asked(tmp_path: Path) -> None:
    """On a terminal neither: exit 2, with the flag that would accept it."""
    async with running() as source, running() as target:
        await ask(source, "SET", "new", "1")
        await ask(target, "SET", "old", "1")
        words = ["copy", source.url, target.url, "--no-input"]
        code, shown = await anyio.to_thread.run_sync(_answer, words, "yes", tmp_path)

    assert code == 2
    assert "Type yes" not in shown
    assert "--allow nonempty-target" in shown

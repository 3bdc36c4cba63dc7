"""The real command in a process of its own, with a state directory that belongs to the test."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import anyio.to_thread

from tests.servers import ask
from transfer.endpoint.redis.throwaway import ThrowawayServer


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

    @property
    def hazards(self) -> list[str]:
        """Names of the hazards in the plan, which is the first JSON line."""
        return [hazard["name"] for hazard in self.lines[0]["hazards"]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The JSON lines of one type."""
        return [line for line in self.lines if line["type"] == kind]


COMMAND = (sys.executable, "-m", "transfer")


def environment_for(state: Path | None, **environment: str) -> dict[str, str]:
    """What a command sees of the environment: nothing of our TRANSFER_... and colours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRANSFER_", "NO_", "FORCE_"))}
    if state is not None:
        kept["XDG_STATE_HOME"] = str(state)
    return {**kept, "COLUMNS": "100", **environment}


def transfer(*words: str | bytes, state: Path | None = None, stdin: str = "", **environment: str) -> Said:
    """Run `transfer WORDS` off a terminal."""
    done = subprocess.run(
        [*COMMAND, *words],
        input=stdin.encode(),
        capture_output=True,
        env=environment_for(state, **environment),
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


async def run(*words: str, state: Path, stdin: str = "", **environment: str) -> Said:
    """As `transfer`, beside whatever the test serves meanwhile."""
    return await anyio.to_thread.run_sync(functools.partial(transfer, *words, state=state, stdin=stdin, **environment))


async def copy(source: str, target: str, *words: str, state: Path, **environment: str) -> Said:
    """`transfer copy SOURCE TARGET WORDS --json`."""
    return await run("copy", source, target, *words, "--json", state=state, **environment)


def assert_failed(said: Said, exit_code: int, code: str, *told: str) -> None:
    """A failure as the contract has it: exit code, error form on stderr, and a last JSON line that agrees with both."""
    assert said.exit == exit_code, said
    form = [line for line in said.err.splitlines() if not line.startswith("warning")]
    assert form[0].startswith(f"error[{code}] "), said.err
    assert form[-1].startswith("  hint:  "), said.err
    assert form[-1].endswith(f"; transfer explain {code}"), said.err
    assert "Traceback" not in said.err
    assert all(part in said.err for part in told), (told, said.err)
    assert (said.result["type"], said.result["ok"], said.result["exit"]) == ("result", False, exit_code), said.out
    assert said.result["error"]["code"] == code
    assert said.result["error"]["hint"]
    if said.result["job"] is not None:
        assert said.lines[0]["type"] == "plan"
        assert said.lines[0]["job"] == said.result["job"]
        assert form[-2].startswith("  where: ") or form[-2].startswith("  job: ")
        assert f"job: {said.result['job']}" in form[-2]


async def keys_of(server: ThrowawayServer) -> dict[int, int]:
    """Database -> keys, of the databases that hold any."""
    info = await ask(server, "INFO", "keyspace")
    rows = [row.split(b":keys=") for row in bytes(info).splitlines() if b":keys=" in row]
    return {int(name[2:]): int(rest.split(b",")[0]) for name, rest in rows}

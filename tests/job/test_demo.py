"""The demonstration shows a whole copy, fails where the copy fails, and leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ask, running
from transfer.cli.commands.demo import run_demo, run_demo_clear, run_demo_fill, run_demo_verify
from transfer.model.endpoint import Address
from transfer.model.errors import UnreachableError
from transfer.model.plan import CopyRequest
from transfer.model.report import Report
from transfer.wire.dial import Dialer

KEYS = 1_200


async def _every_key(request: CopyRequest, observer: Any) -> Report:
    """DUMP and RESTORE, one by one: enough of a copy to demonstrate with."""
    for db in (0, 1, 5):
        source, target = await Dialer(request.source).dial(db=db), await Dialer(request.target).dial(db=db)
        for key in await source.command("KEYS", "*"):
            ttl = await source.command("PTTL", key)
            await target.command("RESTORE", key, max(ttl, 0), await source.command("DUMP", key))
        await source.close()
        await target.close()
    return Report(command="copy", job="stand-in", verified=True)


async def test_a_demonstration_fills_copies_and_checks_the_target_against_the_seed() -> None:
    """What arrived is compared with what was declared, beside the proof of the copy itself."""
    said: list[str] = []
    outcome = await run_demo(_every_key, None, said.append, keys=KEYS)  # type: ignore[arg-type]
    assert outcome.exit == 0
    assert outcome.data["filled"]["keys"] == KEYS
    assert sum(family["same"] for family in outcome.data["families"].values()) == KEYS
    assert "both servers have ended" in said[-1]
    assert "all of it arrived" in outcome.lines[-1]


async def test_a_copy_that_loses_a_key_fails_the_demonstration() -> None:
    """Exit 6, although the copy said all was well."""

    async def all_but_one(request: CopyRequest, observer: Any) -> Report:
        report = await _every_key(request, observer)
        await ask(request.target, "DEL", "user:1")
        return report

    outcome = await run_demo(all_but_one, None, lambda _: None, keys=KEYS)  # type: ignore[arg-type]
    assert outcome.exit == 6
    assert "FAILED" in outcome.lines[-1]


async def test_the_record_of_the_run_goes_with_the_servers() -> None:
    """Without a folder of the caller's the store lies in one that is removed."""
    folders: list[Path] = []

    async def note(request: CopyRequest, observer: Any) -> Report:
        folders.append(Path(request.state_dir))
        folders[0].mkdir()
        return Report(command="copy", job="stand-in")

    await run_demo(note, None, lambda _: None, keys=KEYS)  # type: ignore[arg-type]
    assert not folders[0].exists()
    assert not folders[0].parent.exists()


async def test_a_failure_of_the_copy_leaves_no_server_behind() -> None:
    """The error comes through as it is, after both servers ended."""
    seen: list[Address] = []

    async def fail(request: CopyRequest, observer: Any) -> Report:
        seen.extend((request.source, request.target))
        raise UnreachableError("on purpose")

    with pytest.raises(UnreachableError, match="on purpose"):
        await run_demo(fail, None, lambda _: None, keys=KEYS)  # type: ignore[arg-type]
    for address in seen:
        with pytest.raises(UnreachableError):
            await Dialer(address).dial()


_HANGING = """
import anyio, sys
from transfer.cli.commands.demo import run_demo
from transfer.wire.dial import Dialer
async def hang(request, observer):
    links = [await Dialer(side).dial() for side in (request.source, request.target)]
    for link in links:
        info = (await link.command("INFO", "server")).decode()
        print(info.split("process_id:")[1].split()[0], request.state_dir, flush=True)
    await anyio.sleep_forever()
try:
    anyio.run(lambda: run_demo(hang, None, lambda line: None, keys=200))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_leaves_nothing_running() -> None:
    """Interrupted in the middle of the copy: both servers end, their folders go."""
    with subprocess.Popen([sys.executable, "-c", _HANGING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().split() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    for pid, state in lines:
        assert not Path(state).parent.exists()
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["filling the source", "copying, then", "comparing the target"])
def test_a_signal_ends_the_command_at_any_moment(number: signal.Signals, moment: str, tmp_path: Path) -> None:
    """While filling, copying and checking: exit 130 or 143, one clear line, no server and no folder left."""
    places = {"TMPDIR": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "transfer", "demo", "--keys", "60000"]
    with subprocess.Popen(
        command, env=os.environ | places, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        next(line for line in chain([first], process.stdout) if moment in line)
        process.send_signal(number)
        _, complained = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert "Traceback" not in complained
    assert "error[E1300]" in complained
    assert list(tmp_path.glob("transfer-*")) == []
    for port in re.findall(r":(\d+)", first):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0


async def test_fill_verify_and_clear_say_what_they_did() -> None:
    """The three verbs on a given server, with data for programs and lines for people."""
    async with running() as server:
        filled = await run_demo_fill(server.address, keys=KEYS, seed=9)
        assert (filled.exit, filled.data["keys"], filled.data["seed"]) == (0, KEYS, 9)
        verified = await run_demo_verify(server.address)
        assert (verified.exit, verified.data["different"]) == (0, 0)
        assert verified.data["manifest"]["seed"] == 9
        await ask(server, "DEL", "user:3")
        await ask(server, "SET", b"\x00\xff\x00\x00\x00\x00 \r\n{}", "other")
        again = await run_demo_verify(server.address)
        assert again.exit == 6
        assert any("MISSING" in line and "user:3" in line for line in again.lines)
        assert all(line.isprintable() for line in again.lines)
        assert {finding["verdict"] for finding in again.data["findings"]} == {"MISSING", "VALUE"}
        hashed = await run_demo_verify(server.address, hash_keys=True)
        assert not any("user:3" in str(finding) for finding in hashed.data["findings"])
        cleared = await run_demo_clear(server.address)
        assert (cleared.exit, cleared.data) == (0, {"removed": KEYS - 2, "changed": 1, "gone": 1})
        assert "nothing removed" in (await run_demo_clear(server.address)).lines[0]

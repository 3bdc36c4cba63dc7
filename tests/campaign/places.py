"""Servers and fault proxies of one worker, all plain processes: the worker itself stays single-threaded and can fork.

    Server   one server process; killed, stopped, restarted by hand
    Proxies  one forked process with a fault proxy before either side, told what to do through a socket

Rule 1: whatever is started here dies with the worker (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import msgspec

from tests.campaign.skips import Skip
from tests.canaries import CANARIES
from tests.faults import Fault, FaultProxy, Lasting, proxy
from tests.oracle import Client, ReplyError
from tests.servers import binary_of
from transfer.endpoint.redis import throwaway
from transfer.model.endpoint import Address, Secret

PASSWORD = CANARIES["url password"]
READY_WITHIN_S = 10.0
SETTABLE = "settable"
"""A clock that `Server.set_clock` sets while the server runs."""
_NO_DEBUG_SETTING = "redis-6.2"


class Server:
    """A server of this worker. Its password is a planted one."""

    def __init__(self, version: str, *options: str, faketime: str = "") -> None:
        binary = binary_of(version)
        if binary is None:
            raise Skip(f"{version} is not installed")
        self.version = version
        self.folder = Path(tempfile.mkdtemp(prefix="campaign-", dir="/tmp"))
        self.address = Address(path=str(self.folder / "s"), password=Secret(PASSWORD))
        debug = () if version == _NO_DEBUG_SETTING else ("--enable-debug-command", "yes")
        self._command = [str(binary), str(self.folder / "server.conf"), *debug, *options]
        self._environment = {**os.environ, **_faking(faketime, self.folder / "clock")} if faketime else None
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: dict[int, Client] = {}
        self.holds: Any = None
        """What `data.fill` put there; None once somebody else wrote."""
        self._listen_on_tcp()
        self.start()

    def _listen_on_tcp(self) -> None:
        """A port too: replicas connect by it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        throwaway._write_config(self.folder, self.address)
        config = self.folder / "server.conf"
        config.write_text(config.read_text().replace("port 0", f"port {self.port}"))

    @property
    def url(self) -> str:
        """As a command takes it, password included."""
        return f"unix://:{quote(PASSWORD, safe='')}@{quote(self.address.path)}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers and has loaded what it saved."""
        self.drop_clients()
        Path(self.address.path).unlink(missing_ok=True)
        dying = [sys.executable, "-I", "-S", "-c", throwaway._DIE_WITH_PARENT, str(os.getpid())]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*dying, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment,
            )
        limit = time.monotonic() + READY_WITHIN_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{self.version} did not start: {(self.folder / 'server.log').read_text()[-800:]}")
            time.sleep(0.003)

    def answers(self) -> bool:
        """Whether it takes commands now."""
        try:
            with Client(self.address, timeout_s=5) as client:
                return bool(client.ask("PING") == b"PONG")
        except (OSError, ReplyError):
            return False

    def client(self, db: int = 0) -> Client:
        """A connection that is kept."""
        if db not in self._clients:
            self._clients[db] = Client(self.address, db)
        return self._clients[db]

    def ask(self, *words: bytes | str | int, db: int = 0) -> Any:
        return self.client(db).ask(*words)

    def url_of(self, user: str, password: str) -> str:
        """For another user than the default one."""
        return f"unix://{user}:{quote(password, safe='')}@{quote(self.address.path)}"

    def size(self) -> int:
        return int(self.ask("DBSIZE"))

    def empty(self) -> None:
        """FLUSHALL."""
        self.ask("FLUSHALL")
        self.holds = None

    def drop_clients(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.drop_clients()

    def restart(self) -> None:
        """kill -9, then start with the same folder and options."""
        self.kill()
        self.start()

    def forget_saved(self) -> None:
        """A later start finds nothing."""
        (self.folder / "dump.rdb").unlink(missing_ok=True)

    def revive(self) -> None:
        """Alive, nobody's replica, empty."""
        if not self.answers():
            self.restart()
        if b"role:master" not in self.ask("INFO", "replication"):
            self.ask("REPLICAOF", "NO", "ONE")
        self.empty()

    def follow(self, primary: Server) -> None:
        """Become its replica; returns once both hold the same."""
        self.holds = None
        self.ask("REPLICAOF", "127.0.0.1", primary.port)
        limit = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                if b"master_link_status:up" in self.ask("INFO", "replication"):
                    return
            except ReplyError:
                pass  # it loads what it got
            if time.monotonic() > limit:
                raise RuntimeError("the replica does not follow")
            time.sleep(0.005)

    def set_clock(self, shift: str) -> None:
        """Let a settable clock stand *shift* ("-10m") from the real one, at once."""
        fresh = self.folder / "clock.new"
        fresh.write_text(shift)
        fresh.replace(self.folder / "clock")

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """Kill it and remove its folder."""
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _faking(shift: str, file: Path) -> dict[str, str]:
    """Environment for a shifted wall clock; SETTABLE: by what *file* says. Raises Skip without libfaketime."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise Skip("libfaketime is not installed")
    told = {"LD_PRELOAD": str(found[0]), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    if shift != SETTABLE:
        return told | {"FAKETIME": shift}
    file.write_text("+0")
    return told | {"FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"}


class Proxies:
    """Fault proxies before source and target, in a process of their own."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            self._control.close()
            die_with(parent)
            try:
                anyio.run(_serve, theirs)
            finally:
                os._exit(0)
        theirs.close()
        self.addresses: dict[str, Address] = self._say("", "addresses")

    def reset(self, source: Address, target: Address) -> None:
        """Forget every fault and lead to these two."""
        self._say("source", "anew", source)
        self._say("target", "anew", target)

    def arm(self, side: str, *faults: Fault | Lasting) -> None:
        self._say(side, "arm", *faults)

    def disarm(self, side: str) -> None:
        self._say(side, "disarm")

    def cut_all(self, side: str) -> None:
        self._say(side, "cut_all")

    def release(self, side: str) -> None:
        self._say(side, "release")

    def switch(self, side: str, upstream: Address) -> None:
        self._say(side, "switch", upstream)

    def lead(self, side: str, upstream: Address) -> None:
        """New connections reach *upstream*; open ones stay."""
        self._say(side, "lead", upstream)

    def fired(self, side: str) -> int:
        """How many faults struck since `reset`."""
        return int(self._say(side, "fired"))

    def replies(self, side: str) -> int:
        """Replies delivered since `reset`."""
        return int(self._say(side, "replies"))

    def url(self, side: str) -> str:
        address = self.addresses[side]
        return f"redis://:{quote(PASSWORD, safe='')}@{address.host}:{address.port}"

    def _say(self, side: str, what: str, *words: object) -> Any:
        self._control.send(pickle.dumps((side, what, words)))
        answer = pickle.loads(self._control.recv(1 << 20))  # noqa: S301 - from our own process
        if isinstance(answer, Exception):
            raise answer
        return answer

    def end(self) -> None:
        self._control.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


async def _serve(control: socket.socket) -> None:
    nowhere = Address(path="/nonexistent", password=Secret(PASSWORD))
    async with proxy(nowhere) as source, proxy(nowhere) as target:
        both = {"source": source, "target": target}
        control.setblocking(False)
        while True:
            await anyio.wait_readable(control)
            data = control.recv(1 << 20)
            if not data:
                return
            side, what, words = pickle.loads(data)  # noqa: S301 - from our own process
            try:
                answer = {name: it.address for name, it in both.items()} if not side else _do(both[side], what, words)
            except Exception as error:
                answer = error
            control.send(pickle.dumps(answer))


def _do(faulty: FaultProxy, what: str, words: tuple[Any, ...]) -> object:
    match what:
        case "anew":
            faulty.disarm()
            faulty.cut_all()
            faulty.fired.clear()
            faulty.messages.update(requests=0, replies=0)
            faulty.refusing = False
            faulty.upstream = words[0]
        case "lead":
            faulty.upstream = words[0]
        case "fired":
            return len(faulty.fired)
        case "replies":
            return faulty.messages["replies"]
        case _:
            getattr(faulty, what)(*words)
    return None


def die_with(parent: int) -> None:
    """Be killed when *parent* dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


@contextlib.contextmanager
def standing(*servers: Server) -> Iterator[None]:
    """*servers* are ended with the block."""
    try:
        yield
    finally:
        for server in servers:
            server.end()


def on_tcp(server: Server) -> Address:
    """The same server by its port."""
    return msgspec.structs.replace(server.address, path="", host="127.0.0.1", port=server.port)

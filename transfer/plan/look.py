"""One look at a server: everything preflight needs to know of one side, by questions that change nothing."""

from __future__ import annotations

import anyio
import msgspec

from transfer.codec import resp
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.abilities import unlikely_key
from transfer.endpoint.redis.functions import why_no_functions
from transfer.endpoint.redis.info import number, read_info
from transfer.endpoint.redis.probe import Memory
from transfer.endpoint.redis.rights import Role, user_of
from transfer.endpoint.redis.server import Server
from transfer.model.globs import literal_start
from transfer.model.plan import Side
from transfer.model.selection import Selection
from transfer.plan.shard import Shard, shard_of
from transfer.report.names import shown_name
from transfer.wire.link import ErrorReply, Link

_SAMPLE_PAGE = 100
BETWEEN_LOOKS_S = 0.5
"""Two looks at the target this far apart tell whether somebody writes there."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What one side is and holds now.

    Attributes:
        keyspace: database -> (keys, keys with a deadline), where there are any.
        shard: set where the server is a cluster node.
        changes: changes since the last save; it moves when somebody writes.
        blocked: clients that wait in BLPOP, XREAD and the like.
        at_s: when it was looked, by the clock of the event loop.
        libraries: names of function libraries; users: ACL users besides `default`; none where we may not ask.
        no_functions: why it takes no function libraries, "" if it does.
    """

    role: Role
    side: Side
    user: str
    memory: Memory
    keyspace: dict[int, tuple[int, int]]
    shard: Shard | None
    changes: int
    blocked: int
    libraries: list[str]
    no_functions: str
    users: int
    at_s: float

    @property
    def keys(self) -> int:
        return sum(keys for keys, _ in self.keyspace.values())


async def look_at(server: Server, role: Role) -> Look:
    """Ask *server* once.

    Raises:
        PermissionDeniedError: not even INFO is allowed.
        LinkError.
    """
    async with server.link(db=0) as link:
        memory = await probe.memory(link)
        changes, blocked = await _unrest(link)
        libraries, no_functions, users = await _extras(link)
        identity = server.identity
        return Look(
            role=role,
            side=Side(
                place=server.where,
                identity=identity,
                features=server.features,
                databases=await probe.databases(link),
                used_memory_bytes=memory.used_bytes,
                dataset_bytes=memory.dataset_bytes,
                maxmemory_bytes=memory.maxmemory_bytes,
                maxmemory_policy=memory.policy,
                clock_offset_ms=server.clock_offset_ms,
            ),
            user=await user_of(link) or server.address.username or "default",
            memory=memory,
            keyspace=await probe.keyspace(link),
            shard=await shard_of(link) if identity.mode == "cluster" else None,
            changes=changes,
            blocked=blocked,
            libraries=libraries,
            no_functions=no_functions,
            users=users,
            at_s=anyio.current_time(),
        )


async def unrest_later(server: Server, before: Look) -> tuple[int, int]:
    """(changes since the last save, blocked clients), some time after *before*, a look at the same *server*."""
    await anyio.sleep(max(0.0, before.at_s + BETWEEN_LOOKS_S - anyio.current_time()))
    async with server.link(db=0) as link:
        return await _unrest(link)


async def _unrest(link: Link) -> tuple[int, int]:
    info = await read_info(link, "persistence", "clients")
    return number(info, "rdb_changes_since_last_save"), number(info, "blocked_clients")


async def _extras(link: Link) -> tuple[list[str], str, int]:
    request = resp.command("FUNCTION", "LIST") + resp.command("ACL", "USERS")
    libraries, users = await link.ask(request, 2)
    named = [user for user in users if user != b"default"] if isinstance(users, list) else []
    rows = libraries if isinstance(libraries, list) else []
    names = [dict(zip(row[::2], row[1::2], strict=True))[b"library_name"] for row in rows]
    refusal = why_no_functions(str(libraries)) if isinstance(libraries, ErrorReply) else ""
    return [shown_name(name) for name in names], refusal, len(named)


async def sample_key(server: Server, db: int, selection: Selection) -> bytes:
    """A key of database *db* that the copy would take; failing that, a name that would pass, which no key has."""
    async with server.link(db=0) as link:
        request = resp.command("SELECT", db) + resp.command("SCAN", 0, "COUNT", _SAMPLE_PAGE)
        selected, page = await link.ask(request, 2)
        if not isinstance(selected, ErrorReply) and isinstance(page, list):
            for key in page[1]:
                if selection.passes(key):
                    return bytes(key)
    return literal_start(selection.match[0] if selection.match else b"") + unlikely_key()

"""Which databases of two places are compared with each other."""

from __future__ import annotations

import msgspec

from transfer.endpoint.file.file import DataFile
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.rights import OTHER_KEY, Role
from transfer.endpoint.redis.server import Server
from transfer.model.errors import ClusterNodeError, PermissionDeniedError
from transfer.model.plan import CopyRequest
from transfer.plan.databases import map_databases, refuse_missing
from transfer.plan.look import Look, look_at
from transfer.plan.standing import refuse_sentinel

_ANY_DB = 1 << 31
"""A file holds as many databases as it likes."""


async def plan_verify(
    request: CopyRequest, left: Server | DataFile, right: Server | DataFile
) -> tuple[dict[int, int], int]:
    """Database of the left -> database of the right, and how many keys the left holds in them.

    Where no database is named, all that hold keys on either side are compared, each with its own number.

    Raises:
        UsageError, FoldError, DatabasesError: the logical databases do not fit.
        SentinelError, ClusterNodeError: a server of another kind stands behind the URL.
        PermissionDeniedError: a user lacks rights; each is named.
    """
    here, there = await _held(left, "source", request), await _held(right, "target", request)
    filled = set(here.keyspace) | (set() if request.dbs else set(there.keyspace))
    dbs = map_databases(request, filled)
    refuse_missing(dbs, here.databases, there.databases, left.where, right.where)
    await _refuse_missing_rights(*(place for place in (left, right) if isinstance(place, Server)))
    return dbs, sum(here.keyspace.get(db, (0, 0))[0] for db in dbs)


async def plan_survey(request: CopyRequest, server: Server) -> tuple[list[int], int]:
    """The databases to read, and how many keys they hold. Raises as `plan_verify`."""
    held = await _held(server, "source", request)
    dbs = map_databases(request, held.keyspace)
    refuse_missing(dbs, held.databases, _ANY_DB, server.where, server.where)
    await _refuse_missing_rights(server, keys=False)
    return sorted(dbs), sum(held.keyspace.get(db, (0, 0))[0] for db in dbs)


class _Held(msgspec.Struct, frozen=True):
    """What a place holds: database -> keys, keys with a deadline; and how many databases it could have."""

    keyspace: dict[int, tuple[int, int]]
    databases: int


async def _held(place: Server | DataFile, role: Role, request: CopyRequest) -> _Held:
    if isinstance(place, DataFile):
        return _Held(place.counts(), _ANY_DB)
    look = await look_at(place, role)
    _refuse_kind(look, request)
    return _Held(look.keyspace, look.side.databases)


def _refuse_kind(look: Look, request: CopyRequest) -> None:
    refuse_sentinel(look)
    if look.shard is not None and "one-shard" not in request.allow:
        hazard = look.shard.hazard(look.role, look.side.place)
        raise ClusterNodeError(hazard.message, where=look.side.place)


async def _refuse_missing_rights(*servers: Server, keys: bool = True) -> None:
    """*keys*: a user who may not read every key lacks a right, too."""
    for server in servers:
        async with server.link(db=0) as link:
            lacking = await probe.missing_rights(link, server.identity, "source", values=keys, logical=False)
        lacking = [name for name in lacking if keys or not name.endswith(OTHER_KEY)]
        if lacking:
            raise PermissionDeniedError(
                f"the user at {server.where} lacks {', '.join(lacking)}", where=server.where, commands=lacking
            )

"""Which databases of two servers are compared with each other."""

from __future__ import annotations

from transfer.endpoint.redis import probe
from transfer.endpoint.redis.server import Server
from transfer.model.errors import ClusterNodeError, PermissionDeniedError, SentinelError
from transfer.model.plan import CopyRequest
from transfer.plan.databases import map_databases, refuse_missing
from transfer.plan.look import Look, look_at


async def plan_verify(request: CopyRequest, left: Server, right: Server) -> tuple[dict[int, int], int]:
    """Database of the left -> database of the right, and how many keys the left holds in them.

    Where no database is named, all that hold keys on either side are compared, each with its own number.

    Raises:
        UsageError, FoldError, DatabasesError: the logical databases do not fit.
        SentinelError, ClusterNodeError: a server of another kind stands behind the URL.
        PermissionDeniedError: a user lacks rights; each is named.
    """
    here, there = await look_at(left, "source"), await look_at(right, "target")
    for look in (here, there):
        _refuse_kind(look, request)
    filled = set(here.keyspace) | (set() if request.dbs else set(there.keyspace))
    dbs = map_databases(request, filled)
    refuse_missing(dbs, here.side.databases, there.side.databases, here.side.place, there.side.place)
    await _refuse_missing_rights(left, right)
    return dbs, sum(here.keyspace.get(db, (0, 0))[0] for db in dbs)


def _refuse_kind(look: Look, request: CopyRequest) -> None:
    if look.side.identity.mode == "sentinel":
        raise SentinelError("a Sentinel answers: it holds no keys", where=look.side.place)
    if look.shard is not None and "one-shard" not in request.allow:
        hazard = look.shard.hazard(look.role, look.side.place)
        raise ClusterNodeError(hazard.message, where=look.side.place)


async def _refuse_missing_rights(left: Server, right: Server) -> None:
    for server in (left, right):
        async with server.link(db=0) as link:
            lacking = await probe.missing_rights(link, server.identity, "source", values=True, logical=False)
        if lacking:
            raise PermissionDeniedError(
                f"the user at {server.where} lacks {', '.join(lacking)}", where=server.where, commands=lacking
            )

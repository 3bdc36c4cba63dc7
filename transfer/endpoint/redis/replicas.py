"""Replicas of a server, as its INFO replication tells of them.

slave0:ip=10.0.0.9,port=6379,state=online,offset=1234,lag=0 -> Replica
"""

from __future__ import annotations

import re

import msgspec

from transfer.endpoint.redis.info import number, pairs_of, read_info
from transfer.wire.link import Link


class Replica(msgspec.Struct, frozen=True):
    """One replica: where it says it is, how far it is, and how many seconds ago it said so."""

    host: str
    port: int
    online: bool
    behind_bytes: int
    silent_s: int


async def replicas_of(link: Link) -> list[Replica]:
    """Every replica of the server at *link*, in its order."""
    return (await replication(link))[1]


async def replication(link: Link) -> tuple[int, list[Replica]]:
    """The server's own offset, and its replicas."""
    info = await read_info(link, "replication")
    here = number(info, "master_repl_offset")
    rows = [pairs_of(value) for name, value in info.items() if re.fullmatch(r"slave[0-9]+", name)]
    return here, [
        Replica(
            host=row.get("ip", ""),
            port=number(row, "port"),
            online=row.get("state") == "online",
            behind_bytes=max(0, here - number(row, "offset")),
            silent_s=number(row, "lag"),
        )
        for row in rows
    ]


async def lag_bytes(link: Link) -> int:
    """How far the slowest online replica is behind; 0 where there is none."""
    return max((replica.behind_bytes for replica in await replicas_of(link) if replica.online), default=0)

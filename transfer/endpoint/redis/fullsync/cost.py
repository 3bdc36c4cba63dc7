"""What a full sync would mean for a server, and whether it would give one: asked, nothing begun.

    INFO memory, stats, persistence    -> the fork: resident bytes, the host's memory, how long the last one took
    PUBSUB NUMSUB, CLIENT LIST         -> whether Sentinels watch it
    REPLCONF; SUBSCRIBE, then PSYNC    -> whether the user may

Where a RESP2 connection has subscribed, the server refuses every other command: after it looked at the rights, and
before it does anything. So PSYNC can be asked for there without one beginning.
"""

from __future__ import annotations

import os
import re

import msgspec

from transfer.codec import resp
from transfer.endpoint.redis.info import number, read_info
from transfer.endpoint.redis.server import Server
from transfer.model.errors import TransferError
from transfer.wire.link import ErrorReply, Link
from transfer.wire.replication import forbids

_SENTINEL_CHANNEL = "__sentinel__:hello"
_SENTINEL_NAME = re.compile(rb" name=sentinel-[0-9a-f]+-(?:cmd|pubsub) ")
_SYNCING_VENDORS = ("redis", "valkey", "keydb")
_ASKABLE_VENDORS = ("redis", "valkey")
_ROOM = 1.5
"""A fork may come to half of the data once more while others write (copy-on-write)."""


class SyncCost(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes; `fork_us` the last fork. `refusal`: why no sync is given, "" if nothing speaks against it."""

    rss_bytes: int = 0
    host_bytes: int = 0
    used_bytes: int = 0
    fork_us: int = 0
    cow_bytes: int = 0
    sentinels: int = 0
    refusal: str = ""

    @property
    def fits(self) -> bool:
        """Whether the host has memory for a fork; yes where the server does not tell."""
        return not self.host_bytes or _ROOM * self.rss_bytes <= self.host_bytes


async def sync_cost(server: Server) -> SyncCost:
    """Ask *server*; what may not be asked is 0.

    Raises:
        PermissionDeniedError: not even INFO is allowed.
        LinkError.
    """
    if server.identity.vendor not in _SYNCING_VENDORS:
        return SyncCost(refusal=f"{server.identity.name} gives no full sync that is understood here")
    async with server.link(db=0) as link:
        info = await read_info(link, "memory", "stats", "persistence")
        return SyncCost(
            rss_bytes=number(info, "used_memory_rss"),
            host_bytes=number(info, "total_system_memory"),
            used_bytes=number(info, "used_memory"),
            fork_us=number(info, "latest_fork_usec"),
            cow_bytes=number(info, "rdb_last_cow_size"),
            sentinels=await _sentinels(link),
            refusal=await _refusal(server, link),
        )


async def _sentinels(link: Link) -> int:
    """How many watch: each subscribes to one channel of every server it knows."""
    subscribed, clients = await link.ask(
        resp.command("PUBSUB", "NUMSUB", _SENTINEL_CHANNEL) + resp.command("CLIENT", "LIST"), 2
    )
    heard = subscribed[1] if isinstance(subscribed, list) and len(subscribed) == 2 else 0
    named = len(_SENTINEL_NAME.findall(clients)) // 2 if isinstance(clients, bytes) else 0
    return max(heard if isinstance(heard, int) else 0, named)


async def _refusal(server: Server, link: Link) -> str:
    answer = await link.command("REPLCONF", "capa", "eof")
    if isinstance(answer, ErrorReply) and forbids(str(answer)):
        return f"REPLCONF: {answer}"
    if server.identity.vendor not in _ASKABLE_VENDORS:
        return ""
    try:
        async with server.link(db=0) as other:
            subscribed = await other.command("SUBSCRIBE", f"transfer:{os.urandom(8).hex()}")
            if isinstance(subscribed, ErrorReply):
                return ""  # not to be found out so: the sync itself will tell
            answer = await other.command("PSYNC", "?", -1)
    except TransferError:
        return ""
    return f"PSYNC: {answer}" if isinstance(answer, ErrorReply) and forbids(str(answer)) else ""

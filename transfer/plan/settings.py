"""Settings in which two servers differ, and why that matters to a copy."""

from __future__ import annotations

from transfer.codec import resp
from transfer.endpoint.redis.server import Server

WHY = {
    "databases": "databases beyond the smaller number have no place",
    "maxmemory": "the same data may not fit",
    "maxmemory-policy": "decides whether keys are thrown out or writes are refused",
    "proto-max-bulk-len": "the largest value a server takes in one command",
    "appendonly": "whether acknowledged writes outlive a crash",
    "save": "when snapshots are taken",
    "notify-keyspace-events": "applications may wait for these events",
    "lazyfree-lazy-server-del": "whether overwriting a large value blocks",
    "rdb-version-check": "which payloads of other versions are taken",
    "timeout": "idle clients are closed after it",
    "hash-max-listpack-entries": "hashes above it take more memory",
    "hash-max-listpack-value": "hashes above it take more memory",
    "zset-max-listpack-entries": "sorted sets above it take more memory",
    "zset-max-listpack-value": "sorted sets above it take more memory",
    "set-max-intset-entries": "sets above it take more memory",
    "list-max-listpack-size": "how lists are cut in nodes",
    "stream-node-max-entries": "how streams are cut in nodes",
}
_OF_THE_MACHINE = frozenset({"databases", "maxmemory", "appendonly", "save"})
"""Not to be made equal: what fits one machine need not fit the other, or only its start sets it."""


async def settings_of(server: Server) -> dict[str, str]:
    """Those of WHY that the server tells; none where CONFIG is blocked."""
    async with server.link(db=0) as link:
        request = b"".join(resp.command("CONFIG", "GET", name) for name in WHY)
        answers = await link.ask(request, len(WHY))
    pairs = [answer for answer in answers if isinstance(answer, list) and len(answer) == 2]
    return {name.decode(): value.decode("utf-8", "backslashreplace") for name, value in pairs}


def equaliser(name: str, value: str) -> str:
    """The command that would give the target the source's *value*, "" where that would be no good idea."""
    return "" if name in _OF_THE_MACHINE else f"CONFIG SET {name} {value or chr(34) * 2}"


def differing(left: dict[str, str], right: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """(name, left, right, why) of every setting that both tell and that differs."""
    both = [name for name in WHY if name in left and name in right]
    return [(name, left[name], right[name], WHY[name]) for name in both if left[name] != right[name]]

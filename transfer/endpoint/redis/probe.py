"""Who answers, and the numbers a server keeps about itself.

    INFO server, replication, cluster -> Identity       `abilities` -> Features       `rights` -> what the user lacks
    INFO keyspace, memory, stats      -> the state of the data now

Every question is read-only and leaves the link as it was, `missing_rights` apart.
"""

from __future__ import annotations

import re

import msgspec

from transfer.codec import resp
from transfer.endpoint.redis.abilities import probe_features
from transfer.endpoint.redis.info import granted, number, pairs_of, read_info
from transfer.endpoint.redis.rights import missing_for_large, missing_rights
from transfer.model.endpoint import Identity
from transfer.wire.link import ErrorReply, Link

__all__ = [
    "Memory",
    "databases",
    "evicted_and_expired",
    "identify",
    "is_loading",
    "keyspace",
    "memory",
    "missing_for_large",
    "missing_rights",
    "probe_features",
    "time_ms",
    "writes_seen",
]

_PLAIN_DATABASES = 1
_MOST_DATABASES = 1 << 20  # far above any `databases` setting seen; ends the search


class Memory(msgspec.Struct, frozen=True):
    """INFO memory, in bytes. `maxmemory_bytes` 0 is no limit. `dataset_bytes` leaves buffers and overhead out."""

    used_bytes: int
    dataset_bytes: int
    maxmemory_bytes: int
    policy: str

    @property
    def evicts(self) -> bool:
        """Whether keys are thrown out when memory runs short."""
        return self.maxmemory_bytes > 0 and self.policy not in ("noeviction", "")


async def identify(link: Link) -> Identity:
    """Who answers on this link.

    Raises:
        PermissionDeniedError: the user may not run INFO.
    """
    info = await read_info(link, "server", "replication", "cluster", "keydb")
    vendor, version = _vendor(info)
    return Identity(
        vendor=vendor,
        version=version,
        run_id=info.get("run_id", ""),
        mode=_mode(info),
        role=info.get("role", ""),
        replid=info.get("master_replid", ""),
        replid2=info.get("master_replid2", "").replace("0" * 40, ""),
        second_offset=number(info, "second_repl_offset", -1),
        primary_host=info.get("master_host", ""),
        primary_port=number(info, "master_port"),
        link_up=info.get("master_link_status", "up") == "up",
        syncing=info.get("master_sync_in_progress", "0") == "1",
    )


def _vendor(info: dict[str, str]) -> tuple[str, tuple[int, int, int]]:
    """Valkey freezes its `redis_version` at 7.2.4 and says the truth in `valkey_version`; Dragonfly does likewise."""
    for vendor in ("valkey", "dragonfly"):
        if f"{vendor}_version" in info:
            return vendor, _version(info[f"{vendor}_version"])
    keydb = "mvcc_depth" in info or "keydb" in info.get("executable", "")
    return "keydb" if keydb else "redis", _version(info.get("redis_version", ""))


def _version(text: str) -> tuple[int, int, int]:
    found = [int(part) for part in re.findall(r"[0-9]+", text)[:3]]
    major, minor, patch = (*found, 0, 0, 0)[:3]
    return major, minor, patch


def _mode(info: dict[str, str]) -> str:
    if info.get("cluster_enabled") == "1":
        return "cluster"
    return info.get("redis_mode") or info.get("server_mode") or "standalone"


async def is_loading(link: Link) -> bool:
    """Whether the server is still reading its data from disk or from its primary."""
    info = await read_info(link, "persistence")
    return info.get("loading") == "1" or info.get("async_loading") == "1"


async def time_ms(link: Link) -> int:
    """The server's clock."""
    seconds, micros = granted(await link.command("TIME"), "TIME", link.where)
    return int(seconds) * 1000 + int(micros) // 1000


async def keyspace(link: Link) -> dict[int, tuple[int, int]]:
    """Logical database -> (keys, keys with a deadline), for every one that is not empty."""
    return {
        int(name[2:]): (int(row["keys"]), int(row.get("expires", 0)))
        for name, value in (await read_info(link, "keyspace")).items()
        if re.fullmatch(r"db[0-9]+", name) and "keys" in (row := pairs_of(value))
    }


async def databases(link: Link) -> int:
    """How many logical databases there are: what CONFIG says if SELECT confirms it, else what SELECT finds.

    A cluster node has one whatever its setting says. The link is at database 0 afterwards, if it may SELECT.
    """
    stated = await _stated_databases(link)
    try:
        if stated > 1 and await _lacks(link, stated - 1):
            stated = 0
        return stated or await _found_databases(link)
    finally:
        if not link.closed:
            await link.command("SELECT", 0)


async def _stated_databases(link: Link) -> int:
    answer = await link.command("CONFIG", "GET", "databases")
    return int(answer[1]) if isinstance(answer, list) and len(answer) == 2 else 0


async def _lacks(link: Link, db: int) -> bool:
    """Whether the server says that there is no such database; a user without the right learns nothing."""
    answer = await link.command("SELECT", db)
    return isinstance(answer, ErrorReply) and not str(answer).startswith("NOPERM")


async def _found_databases(link: Link) -> int:
    if isinstance(await link.command("SELECT", 0), ErrorReply):
        return _PLAIN_DATABASES
    there, absent = 0, 1
    while absent < _MOST_DATABASES and not await _lacks(link, absent):
        there, absent = absent, absent * 2
    while absent - there > 1:
        middle = (there + absent) // 2
        if await _lacks(link, middle):
            absent = middle
        else:
            there = middle
    return there + 1


async def memory(link: Link) -> Memory:
    """Memory in use, its limit and what happens there."""
    info = await read_info(link, "memory")
    return Memory(
        used_bytes=number(info, "used_memory"),
        dataset_bytes=number(info, "used_memory_dataset"),
        maxmemory_bytes=number(info, "maxmemory"),
        policy=info.get("maxmemory_policy", ""),
    )


async def evicted_and_expired(link: Link) -> tuple[int, int]:
    """Keys evicted and keys expired since the server started (or its statistics were reset)."""
    info = await read_info(link, "stats")
    return number(info, "evicted_keys"), number(info, "expired_keys")


async def writes_seen(link: Link) -> int:
    """Calls of write commands so far, which did not fail; the difference of two looks says how many came between.

    Exact in calls, those inside scripts, transactions and replication included; a save in between does not matter.
    It is an upper bound in changes: a DEL that found nothing counts. Expiry and eviction do not count, and CONFIG
    RESETSTAT starts it anew. Where the user may not run COMMAND, it is the number of changes since the last save.
    """
    info = await read_info(link, "commandstats", "persistence")
    calls = {name[len("cmdstat_") :]: pairs_of(row) for name, row in info.items() if name.startswith("cmdstat_")}
    request = b"".join(resp.command("COMMAND", "INFO", name) for name in calls)
    described = await link.ask(request, len(calls)) if calls else []
    if any(isinstance(answer, ErrorReply) for answer in described):
        return number(info, "rdb_changes_since_last_save")
    rows = [row for row, answer in zip(calls.values(), described, strict=True) if _is_write(answer)]
    return sum(number(row, "calls") - number(row, "failed_calls") for row in rows)


def _is_write(answer: list[list[object] | None]) -> bool:
    """Whether a COMMAND INFO reply carries the flag `write`."""
    entry = answer[0] if answer else None
    flags = entry[2] if entry else []
    return isinstance(flags, list) and any(flag in (b"write", "write") for flag in flags)

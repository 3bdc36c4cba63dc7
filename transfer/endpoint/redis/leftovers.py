"""What a job that ended may have left at a target: keys under its own temporary names.

transfer:tmp:JOB:...   built there before a big key gets its own name; of a live job they are its own
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from transfer.codec import resp
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.info import granted
from transfer.endpoint.redis.server import Server
from transfer.wire.link import Link

_AT_ONCE = 1000
_JOB = re.compile(r"[0-9a-z-]+")
"""Nothing that a glob would understand."""


async def remove_temporaries(server: Server, job: str) -> int:
    """Remove the temporary keys of *job*, an id from the store, from every database; returns how many there were.

    Raises:
        ValueError: *job* is no job id.
        PermissionDeniedError: the user may not SCAN or UNLINK.
        LinkError: the connection broke; what was removed stays removed.
    """
    if not _JOB.fullmatch(job):
        raise ValueError(f"{job!r} is no job id")
    async with server.link(db=0) as link:
        return sum([await _removed(link, db, job) for db in sorted(await probe.keyspace(link))])


async def remove_named(server: Server, names: Mapping[int, list[bytes]]) -> int:
    """Remove the temporary keys *names*, by database; returns how many there were. Raises as `remove_temporaries`."""
    removed = 0
    async with server.link(db=0) as link:
        for db, some in names.items():
            granted(await link.command("SELECT", db), "SELECT", link.where)
            for answer in await link.ask(resp.each(b"UNLINK", some), len(some)):
                removed += granted(answer, "UNLINK", link.where)
    return removed


async def _removed(link: Link, db: int, job: str) -> int:
    granted(await link.command("SELECT", db), "SELECT", link.where)
    removed, cursor = 0, b"0"
    while True:
        scan = ("SCAN", cursor, "MATCH", f"transfer:tmp:{job}:*", "COUNT", _AT_ONCE)
        cursor, names = granted(await link.command(*scan), "SCAN", link.where)
        for answer in await link.ask(resp.each(b"UNLINK", names), len(names)) if names else ():
            removed += granted(answer, "UNLINK", link.where)
        if cursor == b"0":
            return removed

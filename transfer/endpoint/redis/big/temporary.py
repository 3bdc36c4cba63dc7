"""Names under which a big key is built at the target before it gets its own.

    transfer:tmp:JOB:n:{tag}        n counts within the job; the tag has the slot of the final name

Rule 1: a temporary key of a live job is its own; those of a job that ended are leftovers (`remove_temporaries`).
Rule 2: they are never copied, and never count as extra keys.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from itertools import count

from transfer.codec import resp
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.server import Server
from transfer.model.selection import TEMPORARY_PREFIX
from transfer.wire.link import ErrorReply, Link

_SLOTS = 16384
_AT_ONCE = 1000
_JOB = re.compile(r"[A-Za-z0-9_.-]+")


def temporary_name(job: str, number: int, name: bytes) -> bytes:
    """A name of its own for *job*, in the slot of *name*."""
    return b"%b%b:%d:{%b}" % (TEMPORARY_PREFIX, job.encode(), number, _tag(name))


def slot_of(name: bytes) -> int:
    """The cluster slot: CRC-16/XMODEM of what stands between the first braces, if anything does, else of all."""
    return crc_hqx(_braced(name) or name, 0) % _SLOTS


def _braced(name: bytes) -> bytes:
    _, opened, rest = name.partition(b"{")
    inner, closed, _ = rest.partition(b"}")
    return inner if opened and closed else b""


def _tag(name: bytes) -> bytes:
    if inner := _braced(name):
        return inner
    if name and b"}" not in name:
        return name
    slot = slot_of(name)
    return next(tag for tag in (b"%d" % number for number in count()) if crc_hqx(tag, 0) % _SLOTS == slot)


async def remove_temporaries(server: Server, job: str) -> int:
    """Remove the temporary keys of *job* from every database of *server*; returns how many there were.

    Nobody may be writing for the job any more.

    Raises:
        ValueError: *job* is no job id.
        LinkError: the connection broke; what was removed stays removed.
    """
    if not _JOB.fullmatch(job):
        raise ValueError(f"{job!r} is no job id")
    removed = 0
    async with server.link(db=0) as link:
        for db in sorted(await probe.keyspace(link)):
            await link.command("SELECT", db)
            removed += await _remove(link, b"%b%b:*" % (TEMPORARY_PREFIX, job.encode()))
    return removed


async def _remove(link: Link, pattern: bytes) -> int:
    removed, cursor = 0, b"0"
    while True:
        cursor, names = await link.command("SCAN", cursor, "MATCH", pattern, "COUNT", _AT_ONCE)
        if names:
            answers = await link.ask(resp.each(b"UNLINK", names), len(names))
            removed += sum(answer for answer in answers if not isinstance(answer, ErrorReply))
        if cursor == b"0":
            return removed

"""Names under which a big key is built at the target before it gets its own.

    transfer:tmp:JOB:n:{tag}        n counts within the job; the tag has the slot of the final name

Rule 1: a temporary key of a live job is its own; those of a job that ended are leftovers (`leftovers.py`).
Rule 2: they are never copied, and never count as extra keys.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from itertools import count

from transfer.model.selection import TEMPORARY_PREFIX

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

"""DUMP payloads: type byte, value, RDB version (u16 LE), CRC-64/REDIS (u64 LE).

Facts: redis/src/cluster.c `createDumpPayload`, `verifyDumpPayload`; type numbers redis/src/rdb.h and
valkey/src/rdb.h (numbers from 22 on mean different things in the two families).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import anycrc

from transfer.model.errors import FormatError

FOOTER_BYTES = 10
_crc64 = anycrc.Model("CRC64-REDIS").calc

_TYPE_NAMES = {0: "string", 1: "list", 2: "set", 3: "zset", 4: "hash", 5: "zset", 6: "module", 7: "module"}
_TYPE_NAMES |= {9: "hash", 10: "list", 11: "set", 12: "zset", 13: "hash", 14: "list", 15: "stream"}
_TYPE_NAMES |= {16: "hash", 17: "zset", 18: "list", 19: "stream", 20: "set", 21: "stream"}
_FIELD_TTL_TYPES = {"redis": frozenset({22, 23, 24, 25}), "valkey": frozenset({22})}
MODULE_TYPES = frozenset({6, 7})


def version_of(dump: bytes) -> int:
    """RDB version of a payload's footer. Raises FormatError when it is too short to have one."""
    if len(dump) <= FOOTER_BYTES:
        raise FormatError(f"a DUMP payload of {len(dump)} bytes has no value", size=len(dump))
    return int.from_bytes(dump[-10:-8], "little")


def type_name(dump: bytes, vendor: str) -> str:
    """The Redis type a payload holds (`string` ... `stream`, `module`), or `type N` where unknown."""
    number = dump[0]
    if number in _FIELD_TTL_TYPES.get(vendor, frozenset()):
        return "hash"
    return _TYPE_NAMES.get(number, f"type {number}")


def has_field_ttl(dump: bytes, vendor: str) -> bool:
    """Whether the payload is a hash whose fields carry deadlines of their own."""
    return dump[0] in _FIELD_TTL_TYPES.get(vendor, frozenset())


def stamp(body: bytes, version: int) -> bytes:
    """Add the footer to type byte and value."""
    versioned = body + version.to_bytes(2, "little")
    return versioned + int(_crc64(versioned)).to_bytes(8, "little")


def stamped(bodies: Iterable[bytes], version: int) -> list[bytes]:
    """`stamp`, of many of one version."""
    end, crc = version.to_bytes(2, "little"), _crc64
    return [versioned + crc(versioned).to_bytes(8, "little") for versioned in [body + end for body in bodies]]


def is_whole(dump: bytes) -> bool:
    """Whether the CRC of a payload holds."""
    return len(dump) > FOOTER_BYTES and int(_crc64(dump[:-8])).to_bytes(8, "little") == dump[-8:]


@functools.cache
def footer_mask(version: int, other: int) -> int:
    """What the footers of one body under two versions differ by, as the ten bytes read as one big-endian number.

    A CRC that begins with 0 is linear: of bodies that are alike it differs by the CRC of what they differ in. So a
    payload is stamped anew without reading its body, and one that was altered on its way stays one that was altered.
    """
    apart = (version ^ other).to_bytes(2, "little")
    return int.from_bytes(apart + int(_crc64(apart)).to_bytes(8, "little"))


def restamped(dumps: list[bytes], mask: int) -> list[bytes]:
    """*dumps*, whole payloads, with their footers changed by *mask*."""
    number = int.from_bytes
    return [dump[:-10] + (number(dump[-10:]) ^ mask).to_bytes(10) for dump in dumps]

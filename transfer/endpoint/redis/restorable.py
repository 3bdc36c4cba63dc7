"""Which value types a server's RESTORE loads, found by asking it to: nothing is ever created.

    a smallest valid body of each type, a version it takes, a deadline in 1970 -> OK: loaded, found expired, dropped
                                                                             `-> Bad data format: not known

Rule 1: a server that would keep what has expired (`import-mode yes` of Valkey 8.1+) is not asked.
Rule 2: where the answers say nothing about types (full, a replica, another slot), its version says it.
Rule 3: numbers from 22 on belong to one family each; a type is only asked of the family that means it by that number.

Order of checks: redis/src/cluster.c `restoreCommand` (load, then expiry). Layouts: redis/src/rdb.c, valkey/src/rdb.c.
"""

from __future__ import annotations

from transfer.codec import resp
from transfer.codec.dump import stamp
from transfer.model.endpoint import Identity
from transfer.wire.link import ErrorReply, Link, Reply

FIRST_FAMILY_TYPE = 22
"""From this type byte on, numbers mean different things to Redis and to Valkey (`rdb.h` of both)."""

_LONG_AGO_MS = 1
_FAR_MS = 4_102_444_800_000
_F, _V = b"\x01f", b"\x01v"


def _blob(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def _listpack(*words: bytes) -> bytes:
    """A listpack of one-byte texts, and of integers given packed."""
    entries = b"".join(word + bytes([len(word)]) for word in words)
    return _blob((7 + len(entries)).to_bytes(4, "little") + len(words).to_bytes(2, "little") + entries + b"\xff")


_LP_F, _LP_V, _LP_1 = b"\x81f", b"\x81v", b"\x01"
_LP_FAR = b"\xf4" + _FAR_MS.to_bytes(8, "little")
_ZIPLIST_PAIR = _blob(b"\x10\0\0\0\x0d\0\0\0\x02\0" + b"\0\x01f" + b"\x03\xf2" + b"\xff")
_ZIPLIST_ONE = _blob(b"\x0e\0\0\0\x0a\0\0\0\x01\0" + b"\0\x01f" + b"\xff")
_NO_STREAM = b"\0\0\0\0"  # no listpacks, no entries, last id 0-0
_NO_COUNTS = b"\0\0\0\0\0"  # first id, highest deleted id, entries added

_BODIES: dict[int, bytes] = {
    0: _V,
    1: b"\x01" + _V,
    2: b"\x01" + _V,
    3: b"\x01" + _V + b"\x011",
    4: b"\x01" + _F + _V,
    5: b"\x01" + _V + b"\0\0\0\0\0\0\xf0\x3f",
    9: _blob(b"\x01" + _F + b"\x01\0v" + b"\xff"),
    10: _ZIPLIST_ONE,
    11: _blob(b"\x02\0\0\0\x01\0\0\0\x07\0"),
    12: _ZIPLIST_PAIR,
    13: _ZIPLIST_PAIR,
    14: b"\x01" + _ZIPLIST_ONE,
    15: _NO_STREAM + b"\0",
    16: _listpack(_LP_F, _LP_V),
    17: _listpack(_LP_F, _LP_1),
    18: b"\x01\x02" + _listpack(_LP_V),
    19: _NO_STREAM + _NO_COUNTS + b"\0",
    20: _listpack(_LP_V),
    21: _NO_STREAM + _NO_COUNTS + b"\0",
}
_FAMILY_BODIES: dict[str, dict[int, bytes]] = {
    "valkey": {22: b"\x01" + _F + _V + b"\xff" * 8},
    "redis": {
        24: _FAR_MS.to_bytes(8, "little") + b"\x01" + b"\x01" + _F + _V,
        25: _FAR_MS.to_bytes(8, "little") + _listpack(_LP_F, _LP_V, _LP_FAR),
    },
}
_TYPES_BY_VERSION = {
    6: {0, 1, 2, 3, 4, 9, 10, 11, 12, 13},
    7: {14},
    8: {5},
    9: {15},
    10: {16, 17, 18, 19},
    11: {20, 21},
}


async def probe_types(
    link: Link, identity: Identity, key: bytes, dump_version: int, taken: frozenset[int]
) -> frozenset[int]:
    """The types that RESTORE loads in a payload of a version among *taken*; *key* is one that is not there.

    Modules (6, 7) are left out: whether one is loaded only its own payload tells.
    """
    if not taken:
        return frozenset()
    version = stamped_version(dump_version, taken)
    presumed = presumed_types(identity.vendor, dump_version, taken)
    if await _keeps_expired(link, identity):
        return presumed
    bodies = _BODIES | _FAMILY_BODIES.get(identity.vendor, {})
    request = [
        resp.restore(key, stamp(bytes([kind]) + body, version), _LONG_AGO_MS, replace=False)
        for kind, body in bodies.items()
    ]
    answers = await link.ask(b"".join(request), len(request))
    if not all(_tells(answer) for answer in answers):
        return presumed
    return frozenset(kind for kind, answer in zip(bodies, answers, strict=True) if answer == b"OK")


def stamped_version(dump_version: int, taken: frozenset[int]) -> int:
    """The version to stamp payloads with for a server that takes *taken*: its own, else the newest it takes."""
    return dump_version if dump_version in taken else max(taken, default=0)


def presumed_types(vendor: str, dump_version: int, taken: frozenset[int]) -> frozenset[int]:
    """What a server that writes payloads of *dump_version* loads (`rdb.h` of each release)."""
    newest = stamped_version(dump_version, taken)
    kinds = {kind for version, some in _TYPES_BY_VERSION.items() if version <= newest for kind in some}
    if vendor == "valkey":
        return frozenset(kinds | ({22} if newest >= 80 else set()))
    return frozenset(kinds | ({24, 25} if vendor == "redis" and newest >= 12 else set()))


async def _keeps_expired(link: Link, identity: Identity) -> bool:
    if identity.vendor != "valkey" or identity.version < (8, 1, 0):
        return False
    answer = await link.command("CONFIG", "GET", "import-mode")
    return not isinstance(answer, list) or b"yes" in answer


def _tells(answer: Reply) -> bool:
    """Whether it says something about the type: that it was loaded, or could not be."""
    return answer == b"OK" or (
        isinstance(answer, ErrorReply) and str(answer).startswith(("ERR Bad data", "ERR Unsupp"))
    )

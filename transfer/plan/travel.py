"""What a copy from one server to another would do to which keys, told from a sample; and what no copy carries.

    first pages of SCAN in each database -> payloads -> Bridge -> (type, way) -> counts
    ACL USERS, MODULE LIST, FT._LIST, FUNCTION LIST of both -> what only the source has -> how to make it equal

Nothing is written and nothing of it is applied. A sample is of the first pages, so of no particular keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from transfer.codec import resp
from transfer.codec.dump import MODULE_TYPES, has_field_ttl, type_name
from transfer.endpoint.redis.bridge import Bridge, UncrossableError, bridge_between
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.server import Server
from transfer.plan.look import Look
from transfer.report.names import shown_name
from transfer.wire.link import Link, Reply

WAYS = ("as it is", "stamped anew", "encoded anew", "by commands", "refused", "large")
"""`large`: not decided from a sample; it passes through where its type is taken, else goes in pieces."""
_BUILT_IN = {"lua"}
"""Valkey 9.1 lists its script engine as a module."""
_SAMPLE_KEYS = 1_000
_LARGEST_BYTES = 8 << 20
"""By MEMORY USAGE, which guesses from a few items: a smaller limit would call large what is not."""


class Travel(msgspec.Struct):
    """How sampled keys would travel, by (type, way); `causes` of what is refused; `sampled` keys in all."""

    ways: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    causes: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def sampled(self) -> int:
        return self.ways.total()

    def rows(self) -> list[tuple[str, ...]]:
        """One per type: its name, then a count for each of WAYS."""
        kinds = sorted({kind for kind, _ in self.ways})
        return [(kind, *(f"{self.ways[kind, way]:,}" for way in WAYS)) for kind in kinds]


class Left(msgspec.Struct, frozen=True):
    """Something of the source that no copy carries, and the command that would make the target equal."""

    what: str
    command: str


async def travel_of(source: Server, target: Server, dbs: Iterable[int]) -> Travel:
    """What would become of up to `_SAMPLE_KEYS` keys of each of *dbs*."""
    bridge = bridge_between(source.identity, source.features, target.identity, target.features, wish="auto")
    keyspace, found = LiveKeyspace(source, limit_bytes=_LARGEST_BYTES), Travel()
    try:
        for db in dbs:
            for portion in await keyspace.portions(db, await _some_names(keyspace, db)):
                moment = await keyspace.dumps(db, portion)
                found.ways["unknown", "large"] += len(moment.too_large)
                for payload in filter(None, moment.payloads):
                    way, cause = _way(bridge, payload, source, target)
                    found.ways[type_name(payload, source.identity.vendor), way] += 1
                    found.causes[cause] += bool(cause)
    finally:
        await keyspace.close()
    found.ways, found.causes = +found.ways, +found.causes
    return found


async def _some_names(keyspace: LiveKeyspace, db: int) -> list[bytes]:
    names: list[bytes] = []
    async for page in keyspace.pages(db):
        names += page
        if len(names) >= _SAMPLE_KEYS:
            break
    return names[:_SAMPLE_KEYS]


def _way(bridge: Bridge, payload: bytes, source: Server, target: Server) -> tuple[str, str]:
    if bridge.asis:
        return "as it is", ""
    if bridge.keeps(payload[0]) and payload[0] not in MODULE_TYPES:
        return "stamped anew", ""
    try:
        bridge.encoded_anew(payload)
    except UncrossableError as error:
        if payload[0] in MODULE_TYPES:
            return "stamped anew", ""  # whether its module is there is told among what does not travel
        if has_field_ttl(payload, source.identity.vendor) and not target.features.field_ttl:
            return "refused", f"deadlines on fields, which {target.identity.name} has not (--allow lossy)"
        readable = not type_name(payload, source.identity.vendor).startswith("type ")
        return ("by commands", "") if readable else ("refused", str(error))
    return "encoded anew", ""


async def left_behind(source: Server, target: Server, here: Look) -> list[Left]:
    """What no copy carries: ACL users, modules, search indexes; libraries where the target takes none."""
    async with source.link(db=0) as link:
        users, modules, indexes = await _extras(link)
    async with target.link(db=0) as link:
        other_users, other_modules, other_indexes = await _extras(link)
        functions = await link.command("FUNCTION", "STATS")
    found = [
        Left(f"ACL user {user}", f"ACL GETUSER {user} at the source, ACL SETUSER {user} ... at the target")
        for user in sorted(users - other_users)
    ]
    found += [
        Left(f"module {name}", f"MODULE LOAD <path of {name}>") for name in sorted(modules - other_modules - _BUILT_IN)
    ]
    found += [
        Left(f"search index {name}", f"FT.INFO {name} at the source, then FT.CREATE {name} ... at the target")
        for name in sorted(indexes - other_indexes)
    ]
    if isinstance(functions, list):
        return found
    return found + [Left(f"function library {name}", "none: it needs Redis 7.0 or Valkey") for name in here.libraries]


async def _extras(link: Link) -> tuple[set[str], set[str], set[str]]:
    """Names of ACL users, modules, search indexes; none where the server does not say."""
    request = [resp.command("ACL", "USERS"), resp.command("MODULE", "LIST"), resp.command("FT._LIST")]
    users, modules, indexes = await link.ask(b"".join(request), len(request))
    rows = modules if isinstance(modules, list) else []
    named = [row[row.index(b"name") + 1] for row in rows if isinstance(row, list) and b"name" in row]
    return _names(users), _names(named), _names(indexes)


def _names(answer: Reply) -> set[str]:
    return {shown_name(name) for name in answer if isinstance(name, bytes)} if isinstance(answer, list) else set()

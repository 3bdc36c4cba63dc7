"""What a server is like as a place to copy from or to: one Check per question, each with its answer in words.

Look at the server -> identity, memory, persistence, databases, clock, abilities -> Checks
                   -> rights of its user, as a source and as a target            -> Checks
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from transfer.endpoint.redis import probe
from transfer.endpoint.redis.info import number, read_info
from transfer.endpoint.redis.rights import Role
from transfer.endpoint.redis.server import Server
from transfer.model.units import ranges, show_bytes, show_ms
from transfer.plan.look import Look

State = Literal["ok", "warn", "fail"]

_SKEW_MS = 1_000
"""The default of --max-skew."""


class Check(msgspec.Struct, frozen=True):
    """One question and its answer. `fail` means that a copy would be refused."""

    name: str
    state: State
    text: str


async def check_up(server: Server, look: Look, roles: Sequence[Role]) -> list[Check]:
    """Every check of one open server for the *roles* it may have. Nothing is written."""
    checks = [_role(look, roles), _memory(look), await _persistence(server), _databases(look), _clock(look)]
    checks += [_payloads(look), _abilities(look)]
    for role in roles:
        checks += [await _rights(server, look, role, alone=len(roles) == 1), await _large_keys(server, look, role)]
    return checks


def _role(look: Look, roles: Sequence[Role]) -> Check:
    identity = look.side.identity
    if look.shard:
        return Check("kind", "warn", look.shard.hazard("server", look.side.place).message)
    if identity.role != "slave":
        return Check("kind", "ok", "a primary")
    primary = f"{identity.primary_host}:{identity.primary_port}"
    if not identity.link_up or identity.syncing:
        return Check("kind", "fail", f"a replica out of step with its primary {primary}")
    if "source" in roles:
        return Check("kind", "ok" if len(roles) == 1 else "warn", f"a replica of {primary}: a source, never a target")
    return Check("kind", "fail", f"a replica of {primary}: it takes no writes")


def _memory(look: Look) -> Check:
    memory = look.memory
    used = f"{show_bytes(memory.used_bytes)} in use, {show_bytes(memory.dataset_bytes)} of it data"
    if not memory.maxmemory_bytes:
        return Check("memory", "ok", f"{used}, no maxmemory")
    text = f"{used}, maxmemory {show_bytes(memory.maxmemory_bytes)}, policy {memory.policy or 'unknown'}"
    return Check("memory", "warn" if memory.evicts else "ok", text + (": keys may be evicted" if memory.evicts else ""))


async def _persistence(server: Server) -> Check:
    async with server.link(db=0) as link:
        info = await read_info(link, "persistence")
    aof = "on" if info.get("aof_enabled") == "1" else "off"
    changes = number(info, "rdb_changes_since_last_save")
    text = f"AOF {aof}, last save {info.get('rdb_last_bgsave_status', 'unknown')}, {changes:,} changes since"
    broken = "err" in (info.get("rdb_last_bgsave_status"), info.get("aof_last_write_status"))
    return Check("persistence", "warn" if broken else "ok", text)


def _databases(look: Look) -> Check:
    held = ", ".join(f"{db}: {keys:,}" for db, (keys, _) in sorted(look.keyspace.items()))
    return Check("databases", "ok", f"{look.side.databases}; keys: {held or 'none'}")


def _clock(look: Look) -> Check:
    offset_ms = look.side.clock_offset_ms
    text = f"{show_ms(abs(offset_ms))} {'ahead of' if offset_ms > 0 else 'behind'} this machine's"
    return Check("clock", "warn" if abs(offset_ms) > _SKEW_MS else "ok", text)


def _payloads(look: Look) -> Check:
    features = look.side.features
    accepted = f"RESTORE takes {ranges(features.restores)}" if features.restores else "RESTORE is not allowed"
    return Check("payloads", "ok", f"DUMP writes version {features.dump_version or 'unknown'}, {accepted}")


def _abilities(look: Look) -> Check:
    features = look.side.features
    asked = {
        "absolute deadlines (PEXPIRETIME)": features.pexpiretime,
        "reading without touching (CLIENT NO-TOUCH)": features.no_touch,
        "change tracking (CLIENT TRACKING)": features.tracking,
        "field deadlines (HPEXPIRETIME)": features.field_ttl,
        "sizes (MEMORY USAGE)": features.memory_usage,
    }
    has = ", ".join(name for name, there in asked.items() if there) or "none"
    lacks = ", ".join(name for name, there in asked.items() if not there)
    return Check("abilities", "ok", has + (f"; not: {lacks}" if lacks else ""))


async def _large_keys(server: Server, look: Look, role: Role) -> Check:
    """A right that only these need ends no copy."""
    async with server.link(db=0) as link:
        lacking = await probe.missing_for_large(link, server.identity, role)
    name = f"large keys as {role}"
    if not lacking:
        return Check(name, "ok", "may go piece by piece")
    return Check(name, "warn", f"those above --big-key would be rejected: user {look.user} lacks {', '.join(lacking)}")


async def _rights(server: Server, look: Look, role: Role, *, alone: bool) -> Check:
    """*alone*: the server can be nothing else, so that a right it lacks ends the copy."""
    async with server.link(db=0) as link:
        lacking = await probe.missing_rights(link, server.identity, role, values=True, logical=role == "target")
    if not lacking:
        return Check(f"rights as {role}", "ok", f"user {look.user} has all that is needed")
    return Check(f"rights as {role}", "fail" if alone else "warn", f"user {look.user} lacks {', '.join(lacking)}")

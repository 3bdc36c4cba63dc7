"""What a live server can do, found by trying: real commands that create nothing, all in one round trip.

    FUNCTION DUMP              -> the RDB version of its payloads (footer)
    RESTORE of type byte 8     -> the versions it takes: "Bad data format" = the version passed, the type did not
    RESTORE of one of each type, expired long ago -> the types it takes (restorable.py)
    PEXPIRETIME, MEMORY USAGE, HPEXPIRETIME, MGET of a key that is not there; CLIENT NO-TOUCH, TRACKING on and off
    MULTI, MSET, MSETNX, SET ... PXAT, DISCARD -> whether strings may be written; nothing of it runs

Rule 1: a right that is missing, or a command that is unknown, is an ability that is missing; never a failure.
Rule 2: a server that refuses RESTORE for another reason (full, read-only, another slot) is judged by its version.
Rule 3: tracking is tried in RESP2, where no message can come, for a prefix that no key has.
"""

from __future__ import annotations

import os

from transfer.codec import resp
from transfer.codec.dump import FOOTER_BYTES, stamp
from transfer.endpoint.redis.info import pairs_of, read_info
from transfer.endpoint.redis.restorable import presumed_types, probe_types
from transfer.model.endpoint import Features, Identity
from transfer.model.errors import LinkError, SentinelError
from transfer.wire.link import ErrorReply, Link, Reply

PROBED_VERSIONS = (*range(6, 17), 80, 81)
_UNASSIGNED_TYPE = b"\x08"

_DUMP_VERSIONS = {
    "redis": {(3, 2): 7, (4, 0): 8, (5, 0): 9, (6, 0): 9, (6, 2): 9, (7, 0): 10, (7, 2): 11, (7, 4): 12}
    | {(8, 0): 12, (8, 2): 12, (8, 4): 12, (8, 6): 13, (8, 8): 14, (8, 10): 15},
    "valkey": {(7, 2): 11, (8, 0): 11, (8, 1): 11, (9, 0): 80, (9, 1): 80, (9, 2): 81},
    "keydb": {(5, 3): 9, (6, 0): 9, (6, 2): 9, (6, 3): 9},
}
"""RDB version by release (rdb.h of each), for servers that do not say it themselves: FUNCTION is 7.0+."""

_NO_ABILITY = ("NOPERM", "ERR unknown", "ERR Unknown", "ERR wrong number", "ERR syntax", "NOAUTH")


async def probe_features(link: Link, identity: Identity, *, restores: bool = True) -> Features:
    """Find out by asking; the link is in the state it was in afterwards.

    *restores* False leaves out RESTORE, which only a target needs: `restores` is what the version promises then.

    Raises:
        SentinelError: a Sentinel answers, which has none of it.
        LinkError: the server is loading its data.
    """
    if identity.mode == "sentinel":
        raise await _sentinel(link)
    missing = unlikely_key()
    questions = [
        resp.command("FUNCTION", "DUMP"),
        resp.command("PEXPIRETIME", missing),
        resp.command("MEMORY", "USAGE", missing),
        resp.command("HPEXPIRETIME", missing, "FIELDS", 1, "f"),
        resp.command("CLIENT", "NO-TOUCH", "ON"),
        resp.command("CLIENT", "NO-TOUCH", "OFF"),
        resp.command("HELLO", 2),
        resp.command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", missing),
        resp.command("CLIENT", "TRACKING", "OFF"),
        resp.command("MGET", missing),
    ]
    attempts = [
        resp.restore(missing, stamp(_UNASSIGNED_TYPE, version), 0, replace=False)
        for version in (PROBED_VERSIONS if restores else ())
    ]
    answers = await link.ask(b"".join(questions + attempts), len(questions) + len(attempts))
    for answer in answers:
        if isinstance(answer, ErrorReply) and str(answer).startswith("LOADING"):
            raise LinkError("LOADING: the server is loading its data", where=link.where, reply=str(answer))
    functions, pexpiretime, usage, field_ttl, no_touch, _, hello, tracking, _, strings = answers[: len(questions)]
    dump_version = _footer_version(functions) or _known_dump_version(identity)
    tried = answers[len(questions) :]
    taken = _restorable(tried, identity, dump_version) if tried else _presumed(identity, dump_version)
    if tried:
        types = await probe_types(link, identity, missing, dump_version or max(taken, default=0), taken)
    else:
        types = presumed_types(identity.vendor, dump_version, taken)
    return Features(
        dump_version=dump_version or max(taken, default=0),
        restores=taken,
        restore_types=types,
        pexpiretime=_can(pexpiretime),
        no_touch=_can(no_touch),
        tracking=_can(hello) and _can(tracking),
        field_ttl=_can(field_ttl),
        memory_usage=_can(usage),
        gives_strings=_can(strings) and identity.mode != "cluster",
        takes_strings=restores and await _takes_strings(link, identity, missing),
        transaction_keys=1 if identity.mode == "cluster" else 64,
    )


async def _takes_strings(link: Link, identity: Identity, missing: bytes) -> bool:
    """Rights are checked when a command is queued; PXAT is 6.2+ (redis-doc commands/set.md)."""
    if identity.mode == "cluster" or identity.vendor not in ("redis", "valkey") or identity.version < (6, 2, 0):
        return False
    if isinstance(await link.command("MULTI"), ErrorReply):  # asked alone: without it, what follows would run
        return False
    queued = [
        resp.command("MSET", missing, ""),
        resp.command("MSETNX", missing, ""),
        resp.command("SET", missing, "", "NX", "PXAT", 1),
        resp.command("DISCARD"),
    ]
    answers = await link.ask(b"".join(queued), len(queued))
    return all(_can(answer) for answer in answers)


def unlikely_key() -> bytes:
    """A name that no key has: 64 random bits."""
    return b"transfer:probe:" + os.urandom(8).hex().encode()


def _can(answer: Reply) -> bool:
    """Whether a command was understood and allowed; MOVED or a forbidden key is an answer about the key only."""
    if not isinstance(answer, ErrorReply):
        return True
    return about_key(answer) or not str(answer).startswith(_NO_ABILITY)


def about_key(answer: Reply) -> bool:
    """Whether an error says that the key, not the command, is forbidden."""
    text = str(answer)
    return isinstance(answer, ErrorReply) and text.startswith("NOPERM") and "access" in text and "key" in text


def _footer_version(payload: Reply) -> int:
    """RDB version in the footer of a FUNCTION DUMP payload, which may hold nothing else; 0 if it is none."""
    if not isinstance(payload, bytes) or len(payload) < FOOTER_BYTES:
        return 0
    return int.from_bytes(payload[-FOOTER_BYTES : -FOOTER_BYTES + 2], "little")


def _known_dump_version(identity: Identity) -> int:
    return _DUMP_VERSIONS.get(identity.vendor, {}).get(identity.version[:2], 0)


def _restorable(answers: list[Reply], identity: Identity, dump_version: int) -> frozenset[int]:
    texts = [str(answer) for answer in answers]
    accepted = frozenset(v for v, text in zip(PROBED_VERSIONS, texts, strict=True) if "Bad data format" in text)
    judged = accepted or any("payload version" in text for text in texts)
    if judged or not all(_can(answer) for answer in answers):
        return accepted
    return _presumed(identity, dump_version)


def _presumed(identity: Identity, dump_version: int) -> frozenset[int]:
    """What a server of this version takes unless it is set otherwise (`rdbIsVersionAccepted` of Valkey)."""
    newest = min(dump_version, 11) if identity.vendor == "valkey" and dump_version < 80 else dump_version
    foreign = range(12, 80) if identity.vendor == "valkey" else range(0)
    return frozenset(v for v in PROBED_VERSIONS if v <= newest and v not in foreign)


async def _sentinel(link: Link) -> SentinelError:
    """The error that names what the Sentinel watches."""
    info = await read_info(link, "sentinel")
    rows = [pairs_of(value) for name, value in info.items() if name.startswith("master") and "address=" in value]
    watched = [f"{row.get('name', '?')} at {row.get('address', '?')}" for row in rows]
    return SentinelError(
        f"a Sentinel answers here, which holds no keys; it watches {', '.join(watched) or 'nothing'}",
        where=link.where,
        watched=watched,
    )

"""Which commands that are needed the user lacks, asked of the server itself.

    WATCH, MULTI -> every command, with a sample key -> +QUEUED or -NOPERM -> DISCARD

The server checks rights when it queues, so nothing runs, no key is made, and key patterns count. It needs no right
to ACL commands and holds for every version. Where MULTI itself is forbidden, ACL DRYRUN (7.0+) answers instead.

What only keys go by that are copied in pieces is asked apart: without it a copy is possible, and rejects those.
"""

from __future__ import annotations

from typing import Literal

from transfer.codec import resp
from transfer.endpoint.redis.abilities import about_key, unlikely_key
from transfer.endpoint.redis.big.temporary import temporary_name
from transfer.model.endpoint import Identity
from transfer.model.selection import TEMPORARY_PREFIX
from transfer.wire.link import ErrorReply, Link, Reply

Words = tuple[bytes | str | int, ...]
Role = Literal["source", "target"]

OTHER_KEY = " (for this key)"
"""Added to a name when the command is allowed, but not for the sample key."""
TEMPORARY_KEYS = f"keys {TEMPORARY_PREFIX.decode()}*"
"""Stands for every command that is allowed, but not for the names under which large values are built."""
_FIELD_DEADLINES = {"redis": (7, 4), "valkey": (9, 0)}
"""First versions with HPEXPIRETIME."""


async def user_of(link: Link) -> str:
    """The name the server knows us by; "" where it does not tell."""
    answer = await link.command("ACL", "WHOAMI")
    return answer.decode("utf-8", "backslashreplace") if isinstance(answer, bytes) else ""


async def missing_rights(
    link: Link,
    identity: Identity,
    role: Role,
    *,
    values: bool = False,
    logical: bool = False,
    sample_key: bytes = b"",
) -> list[str]:
    """Commands a copy needs of this side and the user lacks, in the order they would be needed, as ACL rules name them.

    Args:
        values: whether values are read by type commands too (a full verify does, and writing logically).
        logical: whether the target is written by type commands.
        sample_key: a key the copy would touch (default: a name that no key has).

    Spends the link: it may be closed afterwards, where DISCARD is forbidden.
    """
    key = sample_key or unlikely_key()
    return await _lacking(link, _wanted(identity, role, key, values=values or logical, logical=logical))


async def missing_for_large(link: Link, identity: Identity, role: Role, *, sample_key: bytes = b"") -> list[str]:
    """As `missing_rights`: what keys above --big-key need beside that, which are read and built in pieces."""
    key = sample_key or unlikely_key()
    fields = identity.version >= _FIELD_DEADLINES.get(identity.vendor, (1 << 30,))
    lacking = await _lacking(link, _piece_readers(key, fields=fields))
    if role == "target" and not link.closed:
        found = await _lacking(link, _piece_writers(temporary_name("none", 0, key), fields=fields))
        lacking += [TEMPORARY_KEYS if name.endswith(OTHER_KEY) else name for name in found]
    return list(dict.fromkeys(lacking))


async def missing_for_undo(link: Link, sample_key: bytes = b"") -> list[str]:
    """As `missing_rights`: what is needed to capture what a target's keys hold, and to put it back."""
    key = sample_key or unlikely_key()
    wanted: list[Words] = [("WATCH", key), ("UNWATCH",), ("DUMP", key), ("PTTL", key)]
    return await _lacking(link, [*wanted, ("RESTORE", key, 0, b""), ("UNLINK", key)])


async def _lacking(link: Link, wanted: list[Words]) -> list[str]:
    watches = [
        words for words in wanted if words[0] == "WATCH"
    ]  # never queued; Valkey says so before it looks at rights
    wanted = [words for words in wanted if words[0] != "WATCH"]
    watched = await link.ask(b"".join(resp.command(*words) for words in watches), len(watches)) if watches else []
    lacking = [name for words, answer in zip(watches, watched, strict=True) for name in _verdict(_name(words), answer)]
    opened = await link.command("MULTI")
    if isinstance(opened, ErrorReply):
        return [*lacking, *(await _dry_run(link, wanted)), *_verdict("MULTI", opened)]
    request = b"".join(resp.command(*words) for words in wanted)
    *answers, closed = await link.ask(request + resp.command("DISCARD"), len(wanted) + 1)
    lacking += [name for words, answer in zip(wanted, answers, strict=True) for name in _verdict(_name(words), answer)]
    if isinstance(closed, ErrorReply):
        await link.close()
        return lacking
    return lacking + _verdict("EXEC", await link.command("EXEC"))


def _wanted(identity: Identity, role: Role, key: bytes, *, values: bool, logical: bool) -> list[Words]:
    """Words of every command, MULTI and EXEC apart, well formed: a wrong count is refused before rights are checked."""
    wanted: list[Words] = [("INFO", "server"), ("TIME",), ("SELECT", 0), ("SCAN", 0)]
    wanted += [(name, key) for name in ("DUMP", "PTTL", "TYPE")]
    if identity.vendor in ("redis", "valkey") and identity.version >= (7, 0, 0):
        wanted.append(("PEXPIRETIME", key))
    if values:
        wanted += _readers(key)
    if role == "target":
        wanted += [("EXISTS", key), ("RESTORE", key, 0, b"")]
        wanted += _writers(key) if logical else []
    return wanted


def _readers(key: bytes) -> list[Words]:
    ranges: list[Words] = [("LRANGE", key, 0, 0), ("ZRANGE", key, 0, 0)]
    return [("GET", key), *ranges, ("SMEMBERS", key), ("HGETALL", key), ("XINFO", "STREAM", key)]


def _writers(key: bytes) -> list[Words]:
    return [
        ("WATCH", key),
        ("SET", key, ""),
        ("RPUSH", key, ""),
        ("SADD", key, ""),
        ("HSET", key, "", ""),
        ("ZADD", key, 0, ""),
        ("XADD", key, "*", "", ""),
        ("XGROUP", "CREATE", key, "", "0"),
        ("XGROUP", "CREATECONSUMER", key, "", ""),
        ("XCLAIM", key, "", "", 0, "0-1"),
        ("XSETID", key, "0-1"),
        ("PEXPIREAT", key, 1),
        ("DEL", key),
        ("UNLINK", key),
    ]


def _piece_readers(key: bytes, *, fields: bool) -> list[Words]:
    """What PieceReader asks, of the source and, for verify, of the target."""
    wanted: list[Words] = [("WATCH", key), ("UNWATCH",)]
    wanted += [(name, key) for name in ("STRLEN", "LLEN", "SCARD", "ZCARD", "HLEN", "XLEN")]
    wanted += [(name, key, 0) for name in ("SSCAN", "ZSCAN", "HSCAN")]
    wanted += [("GETRANGE", key, 0, 0), ("LRANGE", key, 0, 0), ("XRANGE", key, "-", "+"), ("XINFO", "STREAM", key)]
    wanted.append(("XPENDING", key, "", "-", "+", 1))
    return [*wanted, ("HPEXPIRETIME", key, "FIELDS", 1, "")] if fields else wanted


def _piece_writers(name: bytes, *, fields: bool) -> list[Words]:
    """What builds a value under the temporary *name*, and moves it from there."""
    wanted = [words for words in _writers(name) if words[0] not in ("SET", "DEL")]
    wanted += [("SETRANGE", name, 0, ""), ("RENAMENX", name, name), ("RENAME", name, name)]
    return [*wanted, ("HPEXPIREAT", name, 1, "FIELDS", 1, "")] if fields else wanted


def _name(words: Words) -> str:
    """As an ACL rule names it: `DUMP`, `XINFO|STREAM`."""
    return "|".join(map(str, words[:2])) if words[0] in ("XINFO", "XGROUP") else str(words[0])


def _verdict(name: str, answer: Reply) -> list[str]:
    """[] if allowed. Every other error (full, read-only, another slot) comes only after the rights were checked."""
    if not isinstance(answer, ErrorReply):
        return []
    if about_key(answer):
        return [name + OTHER_KEY]
    text = str(answer).removeprefix("EXECABORT Transaction discarded because of: ")
    lacks = text.startswith(("NOPERM", "NOAUTH", "ERR unknown command", "ERR Unknown subcommand"))
    return [name] if lacks else []


async def _dry_run(link: Link, wanted: list[Words]) -> list[str]:
    """The same question through ACL DRYRUN; where that is forbidden as well, nothing more is known."""
    user = await user_of(link)
    request = b"".join(resp.command("ACL", "DRYRUN", user, *words) for words in wanted)
    answers = await link.ask(request, len(wanted)) if user else []
    refused = [(_name(w), a) for w, a in zip(wanted, answers, strict=False) if isinstance(a, bytes) and a != b"OK"]
    return [name + (OTHER_KEY if b"access" in a and b"key" in a else "") for name, a in refused]

"""Which commands that are needed the user lacks, asked of the server itself.

    MULTI -> every command, with a sample key -> +QUEUED or -NOPERM -> DISCARD

The server checks rights when it queues, so nothing runs, no key is made, and key patterns count. It needs no right
to ACL commands and holds for every version. Where MULTI itself is forbidden, ACL DRYRUN (7.0+) answers instead.
"""

from __future__ import annotations

from typing import Literal

from transfer.codec import resp
from transfer.endpoint.redis.abilities import about_key, unlikely_key
from transfer.model.endpoint import Identity
from transfer.wire.link import ErrorReply, Link, Reply

Words = tuple[bytes | str | int, ...]
Role = Literal["source", "target"]

OTHER_KEY = " (for this key)"
"""Added to a name when the command is allowed, but not for the sample key."""


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
    wanted = _wanted(identity, role, sample_key or unlikely_key(), values=values or logical, logical=logical)
    opened = await link.command("MULTI")
    if isinstance(opened, ErrorReply):
        return [*(await _dry_run(link, wanted)), *_verdict("MULTI", opened)]
    request = b"".join(resp.command(*words) for words in wanted)
    *answers, closed = await link.ask(request + resp.command("DISCARD"), len(wanted) + 1)
    lacking = [name for words, answer in zip(wanted, answers, strict=True) for name in _verdict(_name(words), answer)]
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

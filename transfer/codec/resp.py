"""Requests in RESP, built by hand: one bytes object for a whole batch of commands.

    request := "*" words CRLF ("$" length CRLF word CRLF)*

`bytes % tuple` costs a third of a general packer for these fixed shapes (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import hiredis

MULTI = b"*1\r\n$5\r\nMULTI\r\n"
EXEC = b"*1\r\n$4\r\nEXEC\r\n"
TIME = b"*1\r\n$4\r\nTIME\r\n"

Word = bytes | str | int | float


def command(*words: Word) -> bytes:
    """One command of any shape."""
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub names a tuple of one word
    return packed


def each(name: bytes, keys: Iterable[bytes]) -> bytes:
    """`name key` for every key."""
    words = [b"$%d\r\n%b\r\n" % (len(key), key) for key in keys]
    head = b"*2\r\n$%d\r\n%b\r\n" % (len(name), name)
    return head + head.join(words) if words else b""


def transaction(body: bytes) -> bytes:
    """*body* between MULTI and EXEC: the server runs it with nothing of others in between."""
    return MULTI + body + EXEC


def restore(key: bytes, dump: bytes, expire_at_ms: int, *, replace: bool) -> bytes:
    """RESTORE with an absolute deadline (`expire_at_ms` <= 0: none). ABSTTL is Redis 5.0+."""
    if expire_at_ms <= 0:
        shape = _FOREVER_REPLACE if replace else _FOREVER
        return shape % (len(key), key, len(dump), dump)
    at = b"%d" % expire_at_ms
    shape = _DEADLINE_REPLACE if replace else _DEADLINE
    return shape % (len(key), key, len(at), at, len(dump), dump)


_FOREVER = b"*4\r\n$7\r\nRESTORE\r\n$%d\r\n%b\r\n$1\r\n0\r\n$%d\r\n%b\r\n"
_FOREVER_REPLACE = b"*5\r\n$7\r\nRESTORE\r\n$%d\r\n%b\r\n$1\r\n0\r\n$%d\r\n%b\r\n$7\r\nREPLACE\r\n"
_DEADLINE = b"*5\r\n$7\r\nRESTORE\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$6\r\nABSTTL\r\n"
_DEADLINE_REPLACE = b"*6\r\n$7\r\nRESTORE\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$6\r\nABSTTL\r\n$7\r\nREPLACE\r\n"


def restore_parts(key: bytes, dump: bytes, expire_at_ms: int, *, replace: bool) -> tuple[bytes, bytes, bytes]:
    """`restore` in three pieces, the payload itself among them: a large one is not copied."""
    head, tail = restore(key, b"", expire_at_ms, replace=replace).rsplit(b"$0\r\n\r\n", 1)
    return b"%b$%d\r\n" % (head, len(dump)), dump, b"\r\n" + tail


def joined(parts: Iterable[bytes], most_bytes: int) -> list[bytes]:
    """Small *parts* put together, up to *most_bytes*, so that a send is worth it; larger ones stay as they are."""
    out: list[bytes] = []
    small: list[bytes] = []
    size = 0
    for part in parts:
        if size + len(part) > most_bytes:
            out.append(b"".join(small))
            small, size = [], 0
        small.append(part)
        size += len(part)
    return [part for part in (*out, b"".join(small)) if part]


def pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """`[a, b, c, d]` -> `[(a, b), (c, d)]`, as replies list field and value."""
    step = iter(flat)
    return list(zip(step, step, strict=True))

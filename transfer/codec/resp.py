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
_DEADLINE_REPLACE = (
    b"*6\r\n$7\r\nRESTORE\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$6\r\nABSTTL\r\n$7\r\nREPLACE\r\n"
)


def pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """`[a, b, c, d]` -> `[(a, b), (c, d)]`, as replies list field and value."""
    step = iter(flat)
    return list(zip(step, step, strict=True))

"""Requests in RESP, built by hand: one bytes object for a whole batch of commands.

    request := "*" words CRLF ("$" length CRLF word CRLF)*

`bytes % tuple` costs a third of a general packer for these fixed shapes (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

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


def restore_all(keys: list[bytes], dumps: list[bytes], sizes: list[int], *, replace: bool) -> bytes:
    """`restore` of every key, without a deadline: out of ready pieces, twice as fast as formatting each.

    *sizes*: the bytes of each dump.
    """
    if not keys or max(sizes) >= _READY or max(map(len, keys)) >= _READY:
        return b"".join([restore(key, dump, -1, replace=replace) for key, dump in zip(keys, dumps, strict=True)])
    ready, end = (_RESTORE_REPLACE, _REPLACE) if replace else (_RESTORE, b"\r\n")
    heads, lengths = map(ready.__getitem__, map(len, keys)), map(_NO_DEADLINE.__getitem__, sizes)
    return b"".join(chain.from_iterable(zip(heads, keys, lengths, dumps, strict=True)))[len(end) :] + end


def set_all(keys: list[bytes], values: list[bytes], sizes: list[int], *, replace: bool) -> bytes:
    """MSET of all, or MSETNX: all of them or, where one is there already, none. *sizes*: the bytes of each value."""
    head = (b"*%d\r\n$4\r\nMSET" if replace else b"*%d\r\n$6\r\nMSETNX") % (1 + 2 * len(keys))
    word = _WORD.__getitem__ if max(sizes) < _READY and max(map(len, keys)) < _READY else _word
    words = chain.from_iterable(zip(map(word, map(len, keys)), keys, map(word, sizes), values, strict=True))
    return b"".join((head, *words, b"\r\n"))


def _word(size: int) -> bytes:
    return b"\r\n$%d\r\n" % size


_READY = 2048
"""Sizes below this have their pieces ready."""
_WORD = [_word(size) for size in range(_READY)]
_REPLACE = b"\r\n$7\r\nREPLACE\r\n"
_RESTORE = [b"\r\n*4\r\n$7\r\nRESTORE" + word for word in _WORD]
_RESTORE_REPLACE = [_REPLACE + b"*5\r\n$7\r\nRESTORE" + word for word in _WORD]
_NO_DEADLINE = [b"\r\n$1\r\n0" + word for word in _WORD]


def set_parts(key: bytes, value: bytes, expire_at_ms: int, *, replace: bool) -> tuple[bytes, bytes, bytes]:
    """SET, only of a new key unless *replace*, in three pieces like `restore_parts`. PXAT is Redis 6.2+."""
    words, tail = (3, b"\r\n") if replace else (4, b"\r\n$2\r\nNX\r\n")
    if expire_at_ms > 0:
        at = b"%d" % expire_at_ms
        words, tail = words + 2, b"%b$4\r\nPXAT\r\n$%d\r\n%b\r\n" % (tail, len(at), at)
    return b"*%d\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n" % (words, len(key), key, len(value)), value, tail


def restore_parts(key: bytes, dump: bytes, expire_at_ms: int, *, replace: bool) -> tuple[bytes, bytes, bytes]:
    """`restore` in three pieces, the payload itself among them: a large one is not copied."""
    head, tail = restore(key, b"", expire_at_ms, replace=replace).rsplit(b"$0\r\n\r\n", 1)
    return b"%b$%d\r\n" % (head, len(dump)), dump, b"\r\n" + tail


def with_use(parts: tuple[bytes, bytes, bytes], kind: str, use: int) -> tuple[bytes, bytes, bytes]:
    """A RESTORE in three pieces with IDLETIME (seconds) or FREQ (0 to 255) added: two words more, at its end."""
    head, dump, tail = parts
    words, rest = head[1:].split(b"\r\n", 1)
    said = b"%d" % use
    more = b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(kind), kind.encode(), len(said), said)
    return b"*%d\r\n%b" % (int(words) + 2, rest), dump, tail + more


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

"""Globs as SCAN MATCH understands them, on bytes, in bounded time.

    * any run   ? any one   [a-z] [^a-z] one of / none of   \\x the byte x itself

The pattern is cut at its stars; the pieces, each of fixed length, are searched left to right, first fit
first. That decides a glob without backtracking (source of the rules: redis/src/util.c stringmatchlen).
"""

from __future__ import annotations

import re


def literal_start(pattern: bytes) -> bytes:
    """What every name that fits *pattern* begins with, as far as no special character comes."""
    return re.split(rb"[*?\[\\]", pattern, maxsplit=1)[0]


class Glob:
    """A compiled pattern; `matches(key)` looks at the whole key."""

    def __init__(self, pattern: bytes) -> None:
        self.pattern = pattern
        pieces = _pieces(pattern)
        self._exact = re.compile(pieces[0] + rb"\Z", re.DOTALL) if len(pieces) == 1 else None
        self._first = re.compile(pieces[0], re.DOTALL)
        self._middle = [re.compile(piece, re.DOTALL) for piece in pieces[1:-1] if piece]
        self._last = re.compile(pieces[-1] + rb"\Z", re.DOTALL)
        self._last_bytes = _width(pieces[-1])

    def matches(self, key: bytes) -> bool:
        if not key:  # the server looks at no further star there: `**` does not take the empty name
            return self.pattern in (b"", b"*")
        if self._exact is not None:
            return self._exact.match(key) is not None
        found = self._first.match(key)
        if found is None:
            return False
        at = found.end()
        for piece in self._middle:
            found = piece.search(key, at)
            if found is None:
                return False
            at = found.end()
        tail = len(key) - self._last_bytes
        return tail >= at and self._last.match(key, tail) is not None


def _pieces(pattern: bytes) -> list[bytes]:
    """Regular expressions of the parts between stars; each atom matches exactly one byte."""
    pieces: list[list[bytes]] = [[]]
    at = 0
    while at < len(pattern):
        char = pattern[at : at + 1]
        at += 1
        if char == b"*":
            pieces.append([])
        elif char == b"?":
            pieces[-1].append(b"[\\x00-\\xff]")
        elif char == b"[":
            atom, at = _set(pattern, at)
            pieces[-1].append(atom)
        else:
            if char == b"\\" and at < len(pattern):
                char, at = pattern[at : at + 1], at + 1
            pieces[-1].append(b"\\x%02x" % char[0])
    return [b"".join(atoms) for atoms in pieces]


def _set(pattern: bytes, at: int) -> tuple[bytes, int]:
    """The atom of a `[...]` whose body starts at *at*, and the offset after it (unclosed: to the end)."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    wanted: set[int] = set()
    while at < len(pattern) and pattern[at : at + 1] != b"]":
        if pattern[at : at + 1] == b"\\" and at + 1 < len(pattern):
            wanted.add(pattern[at + 1])
            at += 2
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            wanted.update(range(low, high + 1))
            at += 3
        else:
            wanted.add(pattern[at])
            at += 1
    kept = sorted(set(range(256)) - wanted if negated else wanted)
    atom = b"[" + b"".join(b"\\x%02x" % byte for byte in kept) + b"]" if kept else b"(?!)[\\x00]"
    return atom, at + 1


def _width(piece: bytes) -> int:
    """Bytes that a piece of atoms matches."""
    return len(re.sub(rb"\[[^\]]*\]|\\x[0-9a-f]{2}", b".", piece.replace(b"(?!)", b"")))

"""Globs are those of the server: a plain reading of its rules and the server itself agree with ours."""

from __future__ import annotations

import time

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.servers import ask, running
from transfer.model.globs import Glob

_PATTERN = st.lists(
    st.sampled_from([b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"a", b"b", b"c", b"z", b"\x00", b"\xff", b"\n", b":"]),
    max_size=12,
).map(b"".join)
_NAME = st.lists(
    st.sampled_from([b"a", b"b", b"c", b"z", b"]", b"-", b"^", b"\\", b"\xff", b"\x00", b"\n"]), max_size=8
)


def plain_match(pattern: bytes, name: bytes) -> bool:
    """stringmatchlen of redis/src/util.c read aloud: recursive, exponential, easy to check by eye."""
    if not name:  # the server's loop is not entered; SCAN and KEYS take a lone * before they ask
        return pattern in (b"", b"*")
    return _plain_rest(pattern, name)


def _plain_rest(pattern: bytes, name: bytes) -> bool:
    if not name:
        return not pattern.lstrip(b"*")
    if not pattern:
        return False
    head, tail = pattern[:1], pattern[1:]
    if head == b"*":
        return any(_plain_rest(tail, name[at:]) for at in range(len(name) + 1))
    if head == b"[":
        fits, tail = _plain_set(tail, name[0])
        return fits and _plain_rest(tail, name[1:])
    if head == b"\\" and tail:
        head, tail = tail[:1], tail[1:]
        return head == name[:1] and _plain_rest(tail, name[1:])
    return head in (b"?", name[:1]) and _plain_rest(tail, name[1:])


def _plain_set(pattern: bytes, byte: int) -> tuple[bool, bytes]:
    """Whether the set that begins *pattern* takes *byte*, and what follows it."""
    negated = pattern[:1] == b"^"
    pattern = pattern[negated:]
    fits = False
    while pattern:
        if pattern[:1] == b"\\" and len(pattern) >= 2:
            fits |= pattern[1] == byte
            pattern = pattern[2:]
        elif pattern[:1] == b"]":
            return fits != negated, pattern[1:]
        elif len(pattern) >= 3 and pattern[1:2] == b"-":
            low, high = sorted((pattern[0], pattern[2]))
            fits |= low <= byte <= high
            pattern = pattern[3:]
        else:
            fits |= pattern[0] == byte
            pattern = pattern[1:]
    return fits != negated, b""


@settings(max_examples=1_000, deadline=None)
@given(pattern=_PATTERN, name=_NAME.map(b"".join))
@example(b"[a-]", b"b")
@example(b"[a-", b"-")
@example(b"[^", b"x")
@example(b"[", b"[")
@example(b"a\\", b"a\\")
@example(b"**", b"")
@example(b"*a*b*", b"ab")
def test_ours_agrees_with_a_plain_reading_of_the_rules(pattern: bytes, name: bytes) -> None:
    """Whatever the pattern: unclosed sets, ranges upside down, escapes at the end, any byte."""
    assert Glob(pattern).matches(name) == plain_match(pattern, name)


async def test_ours_agrees_with_the_server() -> None:
    """KEYS of a real server returns the very names that ours takes, pattern by pattern."""
    names = [
        b"",
        b"a",
        b"ab",
        b"abc",
        b"a]c",
        b"a-c",
        b"^",
        b"\\",
        b"a\\",
        b"\xff\x00",
        b"user:1",
        b"user:12",
        b"a\nb",
        b"[",
    ]
    patterns = [b"*", b"**", b"", b"a*", b"*c", b"a?c", b"[a-b]*", b"[^a]*", b"a[]-c]c", b"[b-a]?", b"a\\\\", b"\\a"]
    patterns += [
        b"user:?",
        b"user:[0-9]",
        b"*\x00",
        b"\xff*",
        b"[a-]",
        b"[^",
        b"[",
        b"\\",
        b"*[*",
        b"a*b*c",
        b"?" * 3,
        b"a\nb",
    ]

    async with running() as server:
        for name in names:
            await ask(server, "SET", name, "1")
        for pattern in patterns:
            said = await ask(server, "KEYS", pattern)
            assert isinstance(said, list)
            assert sorted(said) == sorted(filter(Glob(pattern).matches, names)), pattern


def test_a_hostile_pattern_takes_no_longer_than_a_kind_one() -> None:
    """Backtracking over ten stars would need years for this name."""
    glob, name = Glob(b"a*" * 20 + b"b"), b"a" * 5_000
    began = time.perf_counter()

    assert not glob.matches(name)
    assert time.perf_counter() - began < 1.0

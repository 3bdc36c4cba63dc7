"""Collections as they are written in full: a count, then every item as a string.

    list, set := count  string*                      sorted set := count  (member  score)*
    hash      := count  (field  value)*              with deadlines: Redis 24, Valkey 22, below

    score of type 3 := size (u8) text | 254: inf | 255: -inf | 253: nan      of type 5 := f64 LE
    24 := earliest (i64 LE ms)  count  (0 or deadline - earliest + 1, as a length  field  value)*
    22 of Valkey := count  (field  value  deadline (i64 LE ms, -1: none))*

Rule 1: each function takes the bytes and where the count is, and gives what it found and where it ended.
Rule 2: a count is believed item by item: memory is taken for what is there.

Source: redis/src/rdb.c and valkey/src/rdb.c `rdbLoadObject`, redis/src/rdb.c `rdbLoadDoubleValue`.
"""

from __future__ import annotations

import struct
from math import isnan

from transfer.codec.rdb.atoms import cut, read_length, read_string
from transfer.model.errors import FormatError

_SHORT, _MIDDLE = 0x40, 0x80
_NAN, _INFINITE = 253, {254: float("inf"), 255: float("-inf")}
_i64 = struct.Struct("<q")
LATEST_MS = (1 << 48) - 1
"""No deadline of a field is later (redis/src/ebuckets.h `EB_EXPIRE_TIME_MAX`)."""
_SCORE_LETTERS = b"0123456789+-.eEinf"
"""What scores are written with; `float` alone would take spaces, underscores and names besides."""

Deadlines = dict[bytes, int]
Pairs = list[tuple[bytes, bytes]]


def strings(data: bytes, at: int, each: int = 1) -> tuple[list[bytes], int]:
    """A count, then *each* times as many strings.

    Raises:
        CutError: they are not all there.
        FormatError: one of them is no string.
    """
    count, at = read_length(data, at)
    items: list[bytes] = []
    add = items.append
    try:
        for _ in range(count * each):
            head = data[at]
            if head < _SHORT:
                start, at = at + 1, at + 1 + head
                add(data[start:at])
            elif head < _MIDDLE:
                start = at + 2
                at = start + ((head & 63) << 8 | data[at + 1])
                add(data[start:at])
            else:
                item, at = read_string(data, at)
                add(item)
    except IndexError:
        raise cut(data, at + 1) from None
    if at > len(data):
        raise cut(data, at)
    return items, at


def binary_scores(data: bytes, at: int) -> tuple[list[bytes], list[float], int]:
    """Members and scores of type 5.

    Raises:
        CutError: they are not all there.
        FormatError: a member is no string, a score no number.
    """
    begun = at
    count, at = read_length(data, at)
    members: list[bytes] = []
    packed: list[bytes] = []
    try:
        for _ in range(count):
            head = data[at]
            if head < _SHORT:
                start, at = at + 1, at + 1 + head
                members.append(data[start:at])
            else:
                member, at = read_string(data, at)
                members.append(member)
            packed.append(data[at : at + 8])
            at += 8
    except IndexError:
        raise cut(data, at + 1) from None
    if at > len(data):
        raise cut(data, at)
    scores = struct.unpack(f"<{count}d", b"".join(packed))
    if any(map(isnan, scores)):
        raise FormatError(f"a score is no number, at offset {begun}", offset=begun)
    return members, list(scores), at


def text_scores(data: bytes, at: int) -> tuple[list[bytes], list[float], int]:
    """Members and scores of type 3.

    Raises:
        CutError: they are not all there.
        FormatError: a member is no string, a score no number.
    """
    count, at = read_length(data, at)
    members: list[bytes] = []
    scores: list[float] = []
    for _ in range(count):
        member, at = read_string(data, at)
        score, at = _text_score(data, at)
        members.append(member)
        scores.append(score)
    return members, scores, at


def _text_score(data: bytes, at: int) -> tuple[float, int]:
    if at >= len(data):
        raise cut(data, at + 1)
    size, start = data[at], at + 1
    if size in _INFINITE:
        return _INFINITE[size], start
    if size == _NAN:
        raise FormatError(f"a score is no number, at offset {at}", offset=at)
    if start + size > len(data):
        raise cut(data, start + size)
    return numbers([data[start : start + size]], at)[0], start + size


def numbers(scores: list[bytes], at: int) -> list[float]:
    """Scores out of their texts; *at*: where they stand.

    Raises:
        FormatError: one of them is no number.
    """
    if not b"".join(scores).translate(None, _SCORE_LETTERS):
        try:
            return list(map(float, scores))
        except ValueError:
            pass
    raise FormatError(f"a score is no number, at offset {at}", offset=at)


def redis_deadlines(data: bytes, at: int) -> tuple[Pairs, Deadlines, int]:
    """Fields, values and deadlines of type 24.

    Raises:
        CutError: they are not all there.
        FormatError: a string or a deadline does not hold.
    """
    earliest_ms, at = moment(data, at)
    count, at = read_length(data, at)
    pairs: Pairs = []
    deadlines: Deadlines = {}
    for _ in range(count):
        start = at
        later, at = read_length(data, at)
        field, at = read_string(data, at)
        value, at = read_string(data, at)
        pairs.append((field, value))
        if later:
            deadlines[field] = deadline_ms(earliest_ms + later - 1, start)
    return pairs, deadlines, at


def valkey_deadlines(data: bytes, at: int) -> tuple[Pairs, Deadlines, int]:
    """Fields, values and deadlines of type 22 as Valkey has it.

    Raises:
        CutError: they are not all there.
        FormatError: a string or a deadline does not hold.
    """
    count, at = read_length(data, at)
    pairs: Pairs = []
    deadlines: Deadlines = {}
    for _ in range(count):
        field, at = read_string(data, at)
        value, at = read_string(data, at)
        start = at
        until_ms, at = moment(data, at)
        pairs.append((field, value))
        if until_ms != -1:
            deadlines[field] = deadline_ms(until_ms, start)
    return pairs, deadlines, at


def deadline_ms(until_ms: int, at: int) -> int:
    """*until_ms*, if a field can have it."""
    if not 0 <= until_ms <= LATEST_MS:
        raise FormatError(f"{until_ms} is no deadline of a field, at offset {at}", offset=at)
    return until_ms


def moment(data: bytes, at: int) -> tuple[int, int]:
    """Milliseconds (i64 LE)."""
    if at + _i64.size > len(data):
        raise cut(data, at + _i64.size)
    return _i64.unpack_from(data, at)[0], at + _i64.size

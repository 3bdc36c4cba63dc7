"""Sample values as commands: to write them, to read them back, and to judge what came back.

    item -> write() -> commands
    item -> read()  -> commands ... replies -> judge() -> Verdict

Rule 1: what takes several commands is one MULTI, so a key is there whole or not at all. The deadline may be a command
        of its own, and is not looked at where the question is whether a key is still ours.
Rule 2: reading never changes a value. PFCOUNT stores its answer inside the HyperLogLog, so writing calls it once and
        reading takes the stored answer out of the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from transfer.codec.resp import command, pairs, transaction
from transfer.endpoint.redis.sample.families import Item
from transfer.endpoint.redis.sample.values import Events, Visitors
from transfer.model.report import Verdict
from transfer.model.value import HashValue, ListValue, SetValue, SortedSetValue, StringValue
from transfer.wire.link import ErrorReply, Reply

_HLL_HEADER_BYTES = 16  # "HYLL", encoding, 3 unused, 8 of cached cardinality whose top bit says stale (hyperloglog.c)
_HLL_ERROR = 0.05  # six times the standard error of 0.81 %
_DEADLINE_TOLERANCE_MS = 2_000
_NO_KEY = -2  # what PTTL says of a key that is not there


class Commands(NamedTuple):
    """RESP of one or more commands, and how many replies they get."""

    data: bytes
    replies: int


def write(item: Item, expire_at_ms: int) -> Commands:
    """The commands that make *item*; *expire_at_ms* 0 is no deadline."""
    value, key = item.value, item.key
    if isinstance(value, StringValue):
        deadline = ("PXAT", expire_at_ms) if expire_at_ms else ()
        return Commands(command(b"SET", key, value.data, *deadline), 1)
    data, replies = _COLLECTIONS[type(value)](key, value)
    if expire_at_ms:
        return Commands(data + command(b"PEXPIREAT", key, expire_at_ms), replies + 1)
    return Commands(data, replies)


def _write_hash(key: bytes, value: HashValue) -> Commands:
    return Commands(command(b"HSET", key, *(word for pair in value.fields.items() for word in pair)), 1)


def _write_list(key: bytes, value: ListValue) -> Commands:
    return Commands(command(b"RPUSH", key, *value.items), 1)


def _write_set(key: bytes, value: SetValue) -> Commands:
    return Commands(command(b"SADD", key, *sorted(value.members)), 1)


def _write_scores(key: bytes, value: SortedSetValue) -> Commands:
    words = (word for member, score in value.scores.items() for word in (score, member))
    return Commands(command(b"ZADD", key, *words), 1)


def _write_events(key: bytes, value: Events) -> Commands:
    parts = [command(b"XADD", key, b"%d-%d" % at, *fields) for at, fields in value.entries]
    for reading in value.readings:
        parts.append(command(b"XGROUP", b"CREATE", key, reading.group, b"0"))
        parts += [
            command(b"XREADGROUP", b"GROUP", reading.group, consumer, b"COUNT", reading.share, b"STREAMS", key, b">")
            for consumer in reading.consumers
        ]
        done = [b"%d-%d" % at for at, _ in value.entries[: reading.acknowledged]]
        if done:
            parts.append(command(b"XACK", key, reading.group, *done))
    return Commands(transaction(b"".join(parts)), len(parts) + 2)


def _write_visitors(key: bytes, value: Visitors) -> Commands:
    add, count = command(b"PFADD", key, *value.elements), command(b"PFCOUNT", key)
    return Commands(transaction(add + count), 4)


_COLLECTIONS: dict[type, Callable[[bytes, Any], Commands]] = {
    HashValue: _write_hash,
    ListValue: _write_list,
    SetValue: _write_set,
    SortedSetValue: _write_scores,
    Events: _write_events,
    Visitors: _write_visitors,
}


def read(item: Item) -> Commands:
    """The commands whose replies `judge` takes: the value first, its deadline last."""
    words, groups = _READS[type(item.value)], b""
    if isinstance(item.value, Events):
        groups = command(b"XINFO", b"GROUPS", item.key)
    data = command(words[0], item.key, *words[1:]) + groups + command(b"PTTL", item.key)
    return Commands(data, 3 if groups else 2)


_READS: dict[type, tuple[bytes, ...]] = {
    StringValue: (b"GET",),
    HashValue: (b"HGETALL",),
    ListValue: (b"LRANGE", b"0", b"-1"),
    SetValue: (b"SMEMBERS",),
    SortedSetValue: (b"ZRANGE", b"0", b"-1", b"WITHSCORES"),
    Events: (b"XRANGE", b"-", b"+"),
    Visitors: (b"GET",),
}


def is_ours(item: Item, replies: Sequence[Reply]) -> bool:
    """Whether the key still holds what was written; deadline and progress of readers may have changed."""
    return judge_value(item, replies) is Verdict.MATCH


def judge_value(item: Item, replies: Sequence[Reply]) -> Verdict:
    """MATCH, MISSING, TYPE or VALUE. An empty collection is no key."""
    reply, value = replies[0], item.value
    if isinstance(reply, ErrorReply):
        return Verdict.TYPE  # `spread.read_all` lets no other error through
    if reply is None or (reply == [] and replies[-1] == _NO_KEY):
        return Verdict.MISSING
    return Verdict.MATCH if _SAME[type(value)](value, reply) else Verdict.VALUE


def judge(item: Item, replies: Sequence[Reply], expire_at_ms: int, now_ms: int) -> tuple[Verdict, str]:
    """The verdict of value, groups and deadline, and a detail; a key past its deadline is MISSING rightly."""
    verdict = judge_value(item, replies)
    if verdict is not Verdict.MATCH:
        return verdict, ""
    if isinstance(item.value, Events) and not _same_groups(item.value, replies[1]):
        return Verdict.VALUE, "consumer groups or pending entries differ"
    ttl_ms = replies[-1]
    if ttl_ms == _NO_KEY:
        return Verdict.MISSING, "it went while we looked"
    if ttl_ms < 0 or not expire_at_ms:
        same = ttl_ms < 0 and not expire_at_ms
        return (Verdict.MATCH, "") if same else (Verdict.TTL, "no deadline" if expire_at_ms else "has a deadline")
    off_ms = now_ms + ttl_ms - expire_at_ms
    return (Verdict.TTL, f"deadline is off by {off_ms} ms") if abs(off_ms) > _DEADLINE_TOLERANCE_MS else (verdict, "")


def _same_events(value: Events, reply: Reply) -> bool:
    return bool(reply == [[b"%d-%d" % at, fields] for at, fields in value.entries])


def _same_groups(value: Events, reply: Reply) -> bool:
    if isinstance(reply, ErrorReply):
        return False
    groups: list[dict[bytes, Any]] = [dict(pairs(flat)) for flat in reply]
    found = {group[b"name"]: group for group in groups}
    if len(found) != len(value.readings):
        return False
    return all(
        reading.group in found
        and found[reading.group][b"consumers"] == len(reading.consumers)
        and found[reading.group][b"pending"]
        == min(reading.share * len(reading.consumers), len(value.entries)) - reading.acknowledged
        for reading in value.readings
    )


def _same_visitors(value: Visitors, reply: Reply) -> bool:
    header = reply[:_HLL_HEADER_BYTES]
    if len(header) < _HLL_HEADER_BYTES or header[:4] != b"HYLL" or header[15] & 0x80:
        return False
    counted = int.from_bytes(header[8:16], "little")
    return abs(counted - len(value.elements)) <= max(2, _HLL_ERROR * len(value.elements))


def _same_scores(value: SortedSetValue, reply: Reply) -> bool:
    return bool({member: float(score) for member, score in pairs(reply)} == value.scores)


_SAME: dict[type, Callable[[Any, Any], bool]] = {
    StringValue: lambda value, reply: reply == value.data,
    HashValue: lambda value, reply: dict(pairs(reply)) == value.fields,
    ListValue: lambda value, reply: reply == value.items,
    SetValue: lambda value, reply: set(reply) == value.members,
    SortedSetValue: _same_scores,
    Events: _same_events,
    Visitors: _same_visitors,
}

"""Writing by type commands: keys appear whole, with their deadline, or not at all.

    items -> groups (<= 64 keys, <= 1 MiB; a bigger key alone)
          -> WATCH, EXISTS, TIME, MULTI          what is there, the target's clock; MULTI is granted before more is sent
          -> [DEL] type commands [PEXPIREAT] ... EXEC
                `-> nil (others touched a key) or refused at the queue: key by key, up to three times

Rule 1: commands that are not idempotent are only ever sent inside a granted MULTI, never again by themselves.
Rule 2: Redis does not roll back: a key of which one command failed inside EXEC is removed at once and reported. With
        `replace` its old value is gone then; a refusal at the queue (OOM, ACL) leaves everything as it was.
Rule 3: nothing is dropped silently: what type commands cannot bring (`unwritable`) is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import msgspec

from transfer.codec.resp import EXEC, MULTI, TIME, command, each, joined
from transfer.endpoint.redis.streams import Command, latest_delivery_ms, pending_count, stream_commands, unclaimable
from transfer.model.record import NO_DEADLINE
from transfer.model.value import HashValue, ListValue, SetValue, SortedSetValue, StreamValue, StringValue, Value
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.replies import of_all_keys
from transfer.wire.understood import understood

WRITTEN = "written"
BUSY = "busy"
SHIFTED = "shifted"
Outcome = str
"""WRITTEN, BUSY (another value is there and stays), SHIFTED (nothing was written: what the caller watches was), or the
text of a refusal."""

_KEYS_AT_ONCE = 64
_BYTES_AT_ONCE = 1 << 20
_ELEMENTS_AT_ONCE = 512
_TRIES_ALONE = 3


class LogicalItem(msgspec.Struct, frozen=True):
    """One key to write. A deadline that has passed makes the key vanish as it is written."""

    key: bytes
    value: Value
    expire_at_ms: int = NO_DEADLINE


def unwritable(value: Value, now_ms: int | None = None, *, field_ttl: bool = False) -> str:
    """Why writing *value* by type commands would drop parts of it, "" if it would not.

    *now_ms* is the target's clock; without it, pending entries of the future are not looked for. *field_ttl*: the
    target knows HPEXPIREAT.
    """
    match value:
        case HashValue(deadlines=deadlines) if deadlines and not field_ttl:
            return f"{len(deadlines)} fields of the hash have deadlines of their own"
        case StreamValue():
            return unclaimable(value, now_ms)
        case ListValue(items=parts) | SetValue(members=parts) | SortedSetValue(scores=parts) | HashValue(fields=parts):
            return "" if parts else "a server keeps no empty value of this type"
    return ""


async def write_values(
    link: Link,
    items: Sequence[LogicalItem],
    *,
    replace: bool,
    stream_counters: bool = True,
    field_ttl: bool = False,
    keys_at_once: int = _KEYS_AT_ONCE,
    watched: bool = False,
) -> list[Outcome]:
    """Write *items*, each with its deadline, and say what became of each, in their order.

    *stream_counters*: the target keeps entries-added, max-deleted-id and entries-read (7.0+).
    *field_ttl*: it knows deadlines of hash fields (HPEXPIREAT).
    *keys_at_once*: so many may share a transaction (one on a cluster node).
    *watched*: the link watches their names, so all go in one transaction, which is tried once.

    Raises:
        LinkError: the connection broke; whether the group in flight arrived is unknown. It may be written again:
            with `replace` off, a key that had arrived is BUSY then.
    """
    outcomes: list[Outcome] = [""] * len(items)
    scripts = (_script(index, item, replace, stream_counters, field_ttl) for index, item in enumerate(items))
    for group in [list(scripts)] if watched else _groups(scripts, keys_at_once):
        with understood(link.where, "a write by type commands"):
            if not watched:
                await _write(link, group, outcomes, replace)
            elif left := await _attempt(link, group, outcomes, replace):
                for script in left:
                    outcomes[script.index] = SHIFTED
    return outcomes


class _Script(msgspec.Struct):
    """What builds one key: `commands` of them, packed in `parts`; so many `claims` (pending entries, field deadlines)
    must be confirmed.
    """

    index: int
    key: bytes
    parts: list[bytes]
    size_bytes: int = 0
    commands: int = 0
    claims: int = 0
    delivered_ms: int = 0
    refusal: str = ""


def _script(index: int, item: LogicalItem, replace: bool, counters: bool, field_ttl: bool) -> _Script:
    script = _Script(index, item.key, [], refusal=unwritable(item.value, field_ttl=field_ttl))
    if script.refusal:
        return script
    if isinstance(item.value, StreamValue):
        script.claims, script.delivered_ms = pending_count(item.value), latest_delivery_ms(item.value)
    elif isinstance(item.value, HashValue):
        script.claims = len(item.value.deadlines)
    for words in _commands(item, replace, counters):
        packed = _pack(words)
        script.parts += packed
        script.size_bytes += sum(map(len, packed))
        script.commands += 1
    return script


def _commands(item: LogicalItem, replace: bool, counters: bool) -> Iterator[Command]:
    if replace:
        yield [b"DEL", item.key]
    yield from _value_commands(item.key, item.value, counters)
    if item.expire_at_ms > 0:
        yield [b"PEXPIREAT", item.key, item.expire_at_ms]


def _value_commands(key: bytes, value: Value, counters: bool) -> Iterator[Command]:
    match value:
        case StringValue():
            yield [b"SET", key, value.data]
        case ListValue():
            yield from _runs([b"RPUSH", key], ((item,) for item in value.items))
        case SetValue():
            yield from _runs([b"SADD", key], ((member,) for member in value.members))
        case SortedSetValue():  # repr() of a float is the shortest text that reads back as the same double
            yield from _runs([b"ZADD", key], ((repr(s).encode(), member) for member, s in value.scores.items()))
        case HashValue():
            yield from _runs([b"HSET", key], value.fields.items())
            yield from _field_deadlines(key, value)
        case StreamValue():
            yield from stream_commands(key, value, counters=counters)


def _field_deadlines(key: bytes, value: HashValue) -> Iterator[Command]:
    """HPEXPIREAT for the fields of each moment; a moment that has passed takes its fields away again."""
    moments = sorted(value.deadlines.items(), key=lambda pair: pair[1])
    for moment, alike in groupby(moments, lambda pair: pair[1]):
        fields = [field for field, _ in alike]
        for start in range(0, len(fields), _ELEMENTS_AT_ONCE):
            some = fields[start : start + _ELEMENTS_AT_ONCE]
            yield [b"HPEXPIREAT", key, moment, b"FIELDS", len(some), *some]


def _runs(head: Command, elements: Iterable[tuple[bytes, ...]]) -> Iterator[Command]:
    """*head* with as many *elements* at a time as one command should carry."""
    words, count, size = list(head), 0, 0
    for element in elements:
        weight = sum(map(len, element))
        if count and (count == _ELEMENTS_AT_ONCE or size + weight > _BYTES_AT_ONCE):
            yield words
            words, count, size = list(head), 0, 0
        words += element
        count, size = count + 1, size + weight
    if count:
        yield words


def _pack(words: Command) -> list[bytes]:
    """One command; a large string is not copied."""
    key, data = words[1], words[-1]
    if words[0] == b"SET" and isinstance(key, bytes) and isinstance(data, bytes) and len(data) > _BYTES_AT_ONCE:
        return [b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n" % (len(key), key, len(data)), data, b"\r\n"]
    return [command(*words)]


def _groups(scripts: Iterable[_Script], most_keys: int) -> Iterator[list[_Script]]:
    """Scripts that may share a transaction; the same key twice does not: its second item must find the first."""
    group: list[_Script] = []
    size, keys = 0, set[bytes]()
    for script in scripts:
        full = len(group) == most_keys or size + script.size_bytes > _BYTES_AT_ONCE or script.key in keys
        if group and full:
            yield group
            group, size, keys = [], 0, set()
        group.append(script)
        keys.add(script.key)
        size += script.size_bytes
    if group:
        yield group


async def _write(link: Link, group: list[_Script], outcomes: list[Outcome], replace: bool) -> None:
    for script in await _attempt(link, group, outcomes, replace):
        for _ in range(_TRIES_ALONE):
            if not await _attempt(link, [script], outcomes, replace):
                break
        else:
            outcomes[script.index] = "others kept writing this key while it was to be written"


async def _attempt(link: Link, group: list[_Script], outcomes: list[Outcome], replace: bool) -> list[_Script]:
    """One transaction for *group*; notes outcomes and returns those to try again, of which nothing was written."""
    for script in group:
        outcomes[script.index] = script.refusal
    going = [script for script in group if not script.refusal]
    if going:
        going = await _open(link, going, outcomes, replace)
    if not going:
        return []
    count = sum(script.commands for script in going)
    answers = await link.ask_parts(
        joined([*(p for script in going for p in script.parts), EXEC], _BYTES_AT_ONCE), count + 1
    )
    done = answers[-1]
    if done is None:
        return going
    if isinstance(done, ErrorReply):
        return _aborted(going, answers, outcomes)
    failed = [s for s, replies in _shares(going, done) if not _settle(s, replies, outcomes)]
    await _remove(link, failed, outcomes)
    return []


async def _open(link: Link, group: list[_Script], outcomes: list[Outcome], replace: bool) -> list[_Script]:
    """Begin a transaction for those of *group* that may be written; it is ended again when there are none."""
    keys = [script.key for script in group]
    looks = b"" if replace else command(b"WATCH", *keys) + each(b"EXISTS", keys)
    count = 0 if replace else 1 + len(keys)
    answers = await link.ask(looks + TIME + MULTI, count + 2)
    refusal = next((str(answer) for answer in answers if isinstance(answer, ErrorReply)), "")
    taken = [bool(answer) for answer in answers[1:count]] if not replace else [False] * len(keys)
    for script, there in zip(group, taken, strict=True):
        outcomes[script.index] = refusal or (BUSY if there else "")
        ahead_ms = 0 if refusal or there else script.delivered_ms - _clock_ms(answers[count])
        if ahead_ms > 0:
            outcomes[script.index] = f"a pending entry was delivered {ahead_ms} ms after the target's clock"
    going = [script for script in group if not outcomes[script.index]]
    if not going:
        await link.command(b"DISCARD")  # also forgets what is watched; an error only says that MULTI was refused
    return going


def _aborted(group: list[_Script], answers: list[Reply], outcomes: list[Outcome]) -> list[_Script]:
    """Nothing was written: whose fault it was, and who may try again alone."""
    _, _, cause = str(answers[-1]).partition("because of: ")
    errors = {
        script.index: next((str(reply) for reply in replies if isinstance(reply, ErrorReply)), "")
        for script, replies in _shares(group, answers[:-1])
    }
    of_all = cause or next((text for text in errors.values() if of_all_keys(text)), "")
    if not of_all and not any(errors.values()):
        of_all = str(answers[-1])
    for script in group:
        outcomes[script.index] = of_all or errors[script.index]
    return [script for script in group if not outcomes[script.index]]


def _settle(script: _Script, replies: list[Reply], outcomes: list[Outcome]) -> bool:
    """Whether every command of a key was carried out; XCLAIM answers with a list of what it claimed."""
    error = next((str(reply) for reply in replies if isinstance(reply, ErrorReply)), "")
    claimed = sum(len(reply) for reply in replies if isinstance(reply, list))
    if not error and claimed != script.claims:
        error = f"only {claimed} of {script.claims} pending entries or field deadlines were taken"
    outcomes[script.index] = error or WRITTEN
    return not error


async def _remove(link: Link, failed: list[_Script], outcomes: list[Outcome]) -> None:
    if not failed:
        return
    answers = await link.ask(each(b"UNLINK", [script.key for script in failed]), len(failed))
    for script, answer in zip(failed, answers, strict=True):
        if isinstance(answer, ErrorReply):
            outcomes[script.index] += f" (and what was written of it could not be removed: {answer})"


def _shares(group: list[_Script], replies: list[Reply]) -> Iterator[tuple[_Script, list[Reply]]]:
    at = 0
    for script in group:
        yield script, replies[at : at + script.commands]
        at += script.commands


def _clock_ms(answer: list[bytes]) -> int:
    return int(answer[0]) * 1000 + int(answer[1]) // 1000

"""Values by type commands: keys in, what each holds and until when, both of one moment.

    keys -> TYPE of each -> MULTI { deadlines, GET | LRANGE | SMEMBERS | ZRANGE | HGETALL | XINFO } EXEC -> ReadValue
                 ^---- another type by then, a hash that may have field deadlines, a clock that ticked ---'

Rule 1: value and deadline of a key come out of the same EXEC, so no writer can be seen half way.
Rule 2: without PEXPIRETIME (before 7.0), PTTLs stand between two TIMEs, all in the MULTI; the sum is exact when both
        show the same millisecond, else the key is read again; the last round is off by what passed between them.
Rule 3: field deadlines can only be asked for by field name, so the names of one EXEC are asked for in the next one,
        which holds the fields again and counts only if no name is new. Encodings that cannot hold field deadlines
        are not asked; OBJECT ENCODING comes with the value.
Rule 4: the caller chooses keys whose values fit: one EXEC is one reply.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from transfer.codec.resp import EXEC, MULTI, TIME, command, each, pairs
from transfer.endpoint.redis.passing import refuse_passing
from transfer.endpoint.redis.streams import parse_stream
from transfer.model.endpoint import Features
from transfer.model.value import HashValue, ListValue, ReadValue, SetValue, SortedSetValue, StringValue, Value
from transfer.wire.link import ErrorReply, Link, Reply

__all__ = ["ReadValue", "read_values"]

_ROUNDS = 4
"""The first read and three more."""
_FIELDS_AT_ONCE = 4096
_GONE = -2
"""What PTTL and PEXPIRETIME say of a key that is not there."""
_MODULE_NAME_CHARS = 9
"""Names of module types have exactly nine characters (redis/src/module.c `moduleTypeEncodeId`)."""

_PLAIN_HASHES = {"redis": frozenset({b"listpack", b"ziplist"}), "valkey": frozenset({b"listpack", b"ziplist"})}
"""Encodings of hashes without field deadlines: those of Redis move to `listpackex`, those of Valkey to `hashtable`."""


async def read_values(
    link: Link,
    keys: Sequence[bytes],
    *,
    features: Features,
    vendor: str,
    field_deadlines: Collection[bytes] | None = None,
    dumps: bool = False,
) -> list[ReadValue]:
    """Read every key of *keys*, in their order.

    *field_deadlines* names the keys whose hashes have field deadlines, if the caller knows (the type
    byte of DUMP tells); None: every hash that could have them is asked. *dumps*: each with its payload.

    Raises:
        LinkError: the connection broke.
        OversizedReplyError: the values of one transaction passed the link's cap.
    """
    reader = _Reader(link, features, vendor, field_deadlines, dumps=dumps)
    unique = list(dict.fromkeys(keys))
    found: dict[bytes, ReadValue] = {}
    step = features.transaction_keys
    for start in range(0, len(unique), step):
        found |= await reader.read(unique[start : start + step])
    return [found[key] for key in keys]


class _Look(msgspec.Struct):
    """One key on its way to being read: `kind` is its type ("" unknown), `fields` those whose deadlines to ask for."""

    key: bytes
    kind: bytes = b""
    fields: list[bytes] = msgspec.field(default_factory=list)
    found: ReadValue | None = None


class _Reader:
    """Reads groups of keys over one link."""

    def __init__(
        self, link: Link, features: Features, vendor: str, field_deadlines: Collection[bytes] | None, *, dumps: bool
    ) -> None:
        self._dumps = dumps
        self._link = link
        self._features = features
        self._plain = _PLAIN_HASHES.get(vendor, frozenset())
        self._known = field_deadlines
        self._encodings = features.field_ttl and field_deadlines is None

    async def read(self, keys: list[bytes]) -> dict[bytes, ReadValue]:
        looks = [_Look(key) for key in keys]
        for rounds_left in reversed(range(_ROUNDS)):
            await self._ask_kinds([look for look in looks if not look.found and not look.kind])
            await self._ask_values([look for look in looks if not look.found], last=not rounds_left)
            if all(look.found for look in looks):
                break
        restless = ReadValue(None, problem="its type or fields changed each time it was read")
        return {look.key: look.found or restless for look in looks}

    async def _ask_kinds(self, looks: list[_Look]) -> None:
        if not looks:
            return
        answers = await self._link.ask(each(b"TYPE", [look.key for look in looks]), len(looks))
        await refuse_passing(self._link, _errors(answers))
        for look, answer in zip(looks, answers, strict=True):
            if isinstance(answer, ErrorReply):
                look.found = _refused(answer)
                continue
            look.kind = answer if isinstance(answer, bytes) else str(answer).encode()
            if look.kind == b"none":
                look.found = ReadValue(None)
            elif look.kind not in _COMMANDS:
                look.found = ReadValue(None, problem=_strange(look.kind))

    async def _ask_values(self, looks: list[_Look], *, last: bool) -> None:
        if not looks:
            return
        asked = [self._commands(look) for look in looks]
        ahead, count = self._deadline_request([look.key for look in looks])
        body = [part for commands in asked for part in commands]
        answers = await self._link.ask_parts([MULTI + ahead + b"".join(body) + EXEC], count + len(body) + 2)
        if not isinstance(answers[-1], list):
            await self._refused_together(looks, answers, last=last)
            return
        answer = answers[-1]
        deadlines = self._deadlines(answer[:count], len(looks), last=last)
        at = count
        for look, deadline, commands in zip(looks, deadlines, asked, strict=True):
            self._settle(look, deadline, answer[at : at + len(commands)])
            at += len(commands)

    async def _refused_together(self, looks: list[_Look], answers: list[Reply], *, last: bool) -> None:
        """One refused command voids the whole EXEC: find out whose it was by reading each key alone."""
        await refuse_passing(self._link, _errors(answers))
        if self._encodings:  # OBJECT is often forbidden; without it every hash is asked for field deadlines
            self._encodings = False
            await self._ask_values(looks, last=last)
        elif len(looks) == 1:
            looks[0].found = _refused(next((a for a in answers if isinstance(a, ErrorReply)), answers[-1]))
        else:
            for look in looks:
                await self._ask_values([look], last=last)

    def _commands(self, look: _Look) -> list[bytes]:
        commands = [command(*_COMMANDS[look.kind](look.key))]
        if look.fields:
            for start in range(0, len(look.fields), _FIELDS_AT_ONCE):
                some = look.fields[start : start + _FIELDS_AT_ONCE]
                commands.append(command(b"HPEXPIRETIME", look.key, b"FIELDS", len(some), *some))
        elif look.kind == b"hash" and self._encodings:
            commands.append(command(b"OBJECT", b"ENCODING", look.key))
        if self._dumps:
            commands.append(command(b"DUMP", look.key))
        return commands

    def _deadline_request(self, keys: list[bytes]) -> tuple[bytes, int]:
        if self._features.pexpiretime:
            return each(b"PEXPIRETIME", keys), len(keys)
        return TIME + each(b"PTTL", keys) + TIME, len(keys) + 2

    def _deadlines(self, answers: list[Reply], keys: int, *, last: bool) -> list[Reply]:
        """Unix ms, -1 (none) or -2 (gone) of each key; None where it must be asked again."""
        if self._features.pexpiretime:
            return answers
        before_ms, *lives_ms, after_ms = (_clock_ms(answers[0]), *answers[1 : keys + 1], _clock_ms(answers[-1]))
        exact = last or before_ms == after_ms
        return [
            life_ms if isinstance(life_ms, ErrorReply) or life_ms < 0 else before_ms + life_ms if exact else None
            for life_ms in lives_ms
        ]

    def _settle(self, look: _Look, deadline: Reply, answers: list[Reply]) -> None:
        """Note what was found, or leave the look open to be asked again."""
        error = next((reply for reply in (*answers, deadline) if isinstance(reply, ErrorReply)), None)
        dump = answers.pop() if self._dumps else b""
        if error is not None and str(error).startswith("WRONGTYPE"):
            look.kind, look.fields = b"", []
        elif deadline == _GONE:
            look.found = ReadValue(None)
        elif error is not None:
            look.found = _refused(error)
        elif look.kind == b"hash":
            self._settle_hash(look, deadline, answers, dump)
        elif deadline is not None:
            look.found = ReadValue(_PARSERS[look.kind](answers[0]), deadline, dump=dump)

    def _settle_hash(self, look: _Look, deadline: Reply, answers: list[Reply], dump: bytes) -> None:
        fields = dict(pairs(answers[0]))
        if not fields:  # every field has passed its deadline, the key goes with them
            look.found = ReadValue(None)
        elif not fields.keys() <= set(look.fields) if look.fields else self._may_expire(look.key, answers[1:]):
            look.fields = list(fields)  # to be asked for in the next EXEC
        elif deadline is not None:
            times = [moment for answer in answers[1:] for moment in answer] if look.fields else []
            found = {field: moment for field, moment in zip(look.fields, times, strict=True) if moment >= 0}
            value = HashValue(fields, {f: m for f, m in found.items() if f in fields})
            look.found = ReadValue(value, deadline, dump=dump)

    def _may_expire(self, key: bytes, encoding: list[Reply]) -> bool:
        if not self._features.field_ttl:
            return False
        if self._known is not None:
            return key in self._known
        return not encoding or encoding[0] not in self._plain


def _errors(answers: list[Reply]) -> list[str]:
    return [str(answer) for answer in answers if isinstance(answer, ErrorReply)]


def _refused(answer: Reply) -> ReadValue:
    return ReadValue(None, problem=f"the server refused to read it: {str(answer)[:200]}")


def _strange(kind: bytes) -> str:
    name = kind.decode("ascii", "backslashreplace")
    return f"module type {name}" if len(kind) == _MODULE_NAME_CHARS else f"unknown type {name}"


def _clock_ms(answer: list[bytes]) -> int:
    return int(answer[0]) * 1000 + int(answer[1]) // 1000


_COMMANDS: dict[bytes, Callable[[bytes], tuple[bytes, ...]]] = {
    b"string": lambda key: (b"GET", key),
    b"list": lambda key: (b"LRANGE", key, b"0", b"-1"),
    b"set": lambda key: (b"SMEMBERS", key),
    b"zset": lambda key: (b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"),
    b"hash": lambda key: (b"HGETALL", key),
    b"stream": lambda key: (b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"),
}

_PARSERS: dict[bytes, Callable[[Any], Value]] = {
    b"string": StringValue,
    b"list": ListValue,
    b"set": lambda answer: SetValue(frozenset(answer)),
    b"zset": lambda answer: SortedSetValue({member: float(score) for member, score in pairs(answer)}),
    b"stream": parse_stream,
}

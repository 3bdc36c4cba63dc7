"""Two values side by side: are they the same data, and if not, where do they differ first?

    (left, right) -> CHECKS[type of both] -> "" | where it differs -> Verdict, detail

Rule 1: data is compared, never text or encoding: order counts in lists and streams only, scores are doubles.
Rule 2: what one side's server does not keep (stream counters before 7.0) is not compared.
Rule 3: a detail holds at most `_SHOWN_BYTES` bytes of either side, escaped; names and values may be private.
Rule 4: values that compare as MATCH have the same digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from struct import pack
from typing import Any, TypeVar

import xxhash

from transfer.model.record import NO_DEADLINE
from transfer.model.report import Verdict
from transfer.model.value import (
    HashValue,
    ListValue,
    Pending,
    SetValue,
    SortedSetValue,
    StreamGroup,
    StreamId,
    StreamValue,
    StringValue,
    Value,
)

_SHOWN_BYTES = 24
_PAGE_BYTES = 1 << 16
_NAMES = {StringValue: "string", ListValue: "list", SetValue: "set", SortedSetValue: "sorted set", HashValue: "hash"}
_NAMES |= {StreamValue: "stream"}
_V = TypeVar("_V")


def compare(left: Value, right: Value) -> tuple[Verdict, str]:
    """TYPE, VALUE or MATCH, and for people where the first difference is ("" for MATCH)."""
    if type(left) is not type(right):
        return Verdict.TYPE, f"{_NAMES[type(left)]} / {_NAMES[type(right)]}"
    if left == right:
        return Verdict.MATCH, ""
    detail = CHECKS[type(left)](left, right)
    return (Verdict.VALUE, detail) if detail else (Verdict.MATCH, "")


def same_but_deadlines(left: Value, right: Value) -> bool:
    """Whether the right is a hash with the fields of the left and none of the deadlines that the left's have."""
    if not isinstance(left, HashValue) or not isinstance(right, HashValue):
        return False
    return left.fields == right.fields and not right.deadlines


def value_digest(value: Value) -> bytes:
    """16 bytes (xxh3-128) over a canonical form: the same for equal values whatever server they come from."""
    tag = list(_NAMES).index(type(value))
    return xxhash.xxh3_128_digest(b"%d" % tag + b"".join(_CANON[type(value)](value)))


def _string(left: StringValue, right: StringValue) -> str:
    a, b = left.data, right.data
    at = _first_difference(a, b)
    return f"{_sizes(len(a), len(b), 'bytes')}, first at byte {at}: {_show(a[at:])} / {_show(b[at:])}"


def _first_difference(a: bytes, b: bytes) -> int:
    """The first index where they differ; whole pages first, since a value may have 512 MiB."""
    page = next((at for at in range(0, len(a), _PAGE_BYTES) if a[at : at + _PAGE_BYTES] != b[at : at + _PAGE_BYTES]), 0)
    rest = zip(a[page : page + _PAGE_BYTES], b[page : page + _PAGE_BYTES], strict=False)
    return next((page + i for i, (x, y) in enumerate(rest) if x != y), min(len(a), len(b)))


def _list(left: ListValue, right: ListValue) -> str:
    a, b = left.items, right.items
    differing = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    at = differing[0] if differing else min(len(a), len(b))
    count = len(differing) + abs(len(a) - len(b))
    sides = " / ".join(_show(items[at]) if at < len(items) else "nothing" for items in (a, b))
    return f"{count} items differ ({_sizes(len(a), len(b), 'items')}), first at index {at}: {sides}"


def _set(left: SetValue, right: SetValue) -> str:
    return _names_apart(left.members, right.members, "members")


def _sorted_set(left: SortedSetValue, right: SortedSetValue) -> str:
    return _map_apart(left.scores, right.scores, "members", repr)


def _hash(left: HashValue, right: HashValue) -> str:
    fields = _map_apart(left.fields, right.fields, "fields", _show)
    return fields or _map_apart(left.deadlines, right.deadlines, "field deadlines", str)


def _stream(left: StreamValue, right: StreamValue) -> str:
    if left.entries != right.entries:
        mine, theirs = ({_id(entry): fields for entry, fields in side.entries} for side in (left, right))
        apart = _map_apart(mine, theirs, "entries", lambda fields: f"{len(fields) // 2} fields")
        return apart or "the same entries in another order"
    if left.last_id != right.last_id:
        return f"last id {_text(left.last_id)} / {_text(right.last_id)}"
    for name, a, b in (
        ("entries added", left.entries_added, right.entries_added),
        ("max deleted id", left.max_deleted_id, right.max_deleted_id),
    ):
        if a is not None and b is not None and a != b:
            return f"{name} {_plain(a)} / {_plain(b)}"
    return _groups(left.groups, right.groups)


def _groups(left: list[StreamGroup], right: list[StreamGroup]) -> str:
    mine, theirs = ({group.name: group for group in side} for side in (left, right))
    if mine.keys() != theirs.keys():
        return _names_apart(mine.keys(), theirs.keys(), "groups")
    differences = (_group(group, theirs[name]) for name, group in sorted(mine.items()))
    return next(filter(None, differences), "")


def _group(a: StreamGroup, b: StreamGroup) -> str:
    where = f"group {_show(a.name)}: "
    if a.last_id != b.last_id:
        return f"{where}last id {_text(a.last_id)} / {_text(b.last_id)}"
    if a.entries_read is not None and b.entries_read is not None and a.entries_read != b.entries_read:
        return f"{where}entries read {a.entries_read} / {b.entries_read}"
    if a.consumers != b.consumers:
        return where + _names_apart(a.consumers, b.consumers, "consumers")
    mine, theirs = ({_id(pending.id): pending for pending in group.pending} for group in (a, b))
    apart = _map_apart(mine, theirs, "pending entries", _delivery)
    return where + apart if apart else ""


def _names_apart(left: Set[bytes], right: Set[bytes], what: str) -> str:
    only_left, only_right = left - right, right - left
    if not only_left and not only_right:
        return ""
    first = min(only_left | only_right)
    side = "left" if first in only_left else "right"
    return f"{what}: {len(only_left)} only left, {len(only_right)} only right, first {_show(first)} ({side})"


def _map_apart(left: Mapping[bytes, _V], right: Mapping[bytes, _V], what: str, show: Callable[[_V], str]) -> str:
    names = [name for name in left.keys() | right.keys() if left.get(name) != right.get(name)]
    if not names:
        return ""
    first = min(names)
    sides = " / ".join(show(side[first]) if first in side else "nothing" for side in (left, right))
    return f"{len(names)} {what} differ ({_sizes(len(left), len(right), what)}), first {_show(first)}: {sides}"


def _sizes(left: int, right: int, what: str) -> str:
    return f"{left:,} {what}" if left == right else f"{left:,} / {right:,} {what}"


def _show(data: bytes) -> str:
    return repr(data[:_SHOWN_BYTES])[1:] + ("..." if len(data) > _SHOWN_BYTES else "")


def _text(entry: StreamId) -> str:
    return f"{entry[0]}-{entry[1]}"


def _id(entry: StreamId) -> bytes:
    return b"%d-%d" % entry


def _plain(value: int | StreamId) -> str:
    return _text(value) if isinstance(value, tuple) else str(value)


def _delivery(pending: Pending) -> str:
    consumer = _show(pending.consumer)
    return f"{consumer} {pending.deliveries} deliveries, the last at {pending.delivered_ms} ms"


CHECKS: dict[type[Value], Callable[[Any, Any], str]] = {
    StringValue: _string,
    ListValue: _list,
    SetValue: _set,
    SortedSetValue: _sorted_set,
    HashValue: _hash,
    StreamValue: _stream,
}
"""By type of value: a function that says where two of them differ, "" if nowhere."""


def _counted(parts: Iterable[bytes]) -> Iterator[bytes]:
    """How many, then each with its length: no two lists of parts give the same bytes."""
    whole = list(parts)
    yield pack(">Q", len(whole))
    for part in whole:
        yield pack(">Q", len(part))
        yield part


def _canon_hash(value: HashValue) -> Iterator[bytes]:
    for field in sorted(value.fields):
        yield from _counted((field, value.fields[field]))
        yield pack(">q", value.deadlines.get(field, NO_DEADLINE))


def _canon_zset(value: SortedSetValue) -> Iterator[bytes]:
    for member in sorted(value.scores):
        yield from _counted((member,))
        yield pack(">d", value.scores[member] + 0.0)  # -0.0 + 0.0 is 0.0


def _canon_stream(value: StreamValue) -> Iterator[bytes]:
    yield pack(">QQQ", *value.last_id, len(value.entries))
    for entry, fields in value.entries:
        yield pack(">QQ", *entry)
        yield from _counted(fields)
    for group in sorted(value.groups, key=lambda each: each.name):
        yield from _counted((group.name,))
        yield pack(">QQ", *group.last_id)
        yield from _counted(sorted(group.consumers))
        yield pack(">Q", len(group.pending))
        for pending in sorted(group.pending, key=lambda each: each.id):
            yield pack(">QQqQ", *pending.id, pending.delivered_ms, pending.deliveries)
            yield from _counted((pending.consumer,))


_CANON: dict[type[Value], Callable[[Any], Iterator[bytes]]] = {
    StringValue: lambda value: iter((value.data,)),
    ListValue: lambda value: _counted(value.items),
    SetValue: lambda value: _counted(sorted(value.members)),
    SortedSetValue: _canon_zset,
    HashValue: _canon_hash,
    StreamValue: _canon_stream,
}
"""By type of value: its canonical form. Counters that servers before 7.0 lack are left out."""

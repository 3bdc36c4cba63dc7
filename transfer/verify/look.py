"""One look at some keys on both sides: which are equal, and how the others differ as of now.

    keys -> payloads and deadlines of both sides at once -> equal bodies, deadlines that fit -> Equal
        `-> sets and hashes in an order of our own -> both decoded -> values by type -> Equal | Sight

Rule 1: equal bodies prove equality; unequal ones prove nothing.
Rule 2: a key that passed its deadline on either side, or that is not selected, is not seen.
Rule 3: what cannot be compared is a difference that says why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import compress
from operator import eq
from typing import TypeVar

import anyio
import msgspec

from transfer.codec.dump import FOOTER_BYTES, type_name
from transfer.codec.rdb.decode import decode_both
from transfer.codec.unordered import same_items
from transfer.model.report import Verdict
from transfer.model.selection import Mapping, Selection
from transfer.model.value import ReadValue, Value
from transfer.verify.checks import compare, same_but_deadlines
from transfer.verify.deadlines import Deadlines
from transfer.verify.hashes import Hashes
from transfer.verify.sides import Keyspace, LargeValue, Reading

_FIRST_FAMILY_TYPE = 22
"""From this type byte on, numbers mean different things to Redis and to Valkey."""
_VALUES_BYTES = 1 << 20
"""Payload bytes of keys whose values are read together: as Python objects they take ten times as much (measured)."""
_T = TypeVar("_T")


class Equal(msgspec.Struct):
    """Keys that are equal on both sides: names at the right, hash of each value, deadline at the left and right."""

    names: list[bytes] = msgspec.field(default_factory=list)
    hashes: list[bytes] = msgspec.field(default_factory=list)
    left_ms: list[int] = msgspec.field(default_factory=list)
    right_ms: list[int] = msgspec.field(default_factory=list)

    def add(self, name: bytes, value_hash: bytes, left_ms: int, right_ms: int) -> None:
        self.names.append(name)
        self.hashes.append(value_hash)
        self.left_ms.append(left_ms)
        self.right_ms.append(right_ms)


class Sight(msgspec.Struct):
    """One key that differs now. `left_hash`, `right_hash` are b"" where that side has no such key."""

    key: bytes
    name: bytes
    verdict: Verdict
    detail: str
    left: bytes | None
    left_ms: int
    right_ms: int
    left_hash: bytes = b""
    right_hash: bytes = b""
    lossy: bool = False
    """But for deadlines of fields, which the right cannot hold, it is equal."""
    large: bool = False
    """It was compared in pieces: `left` is None although the left may have it."""


class Look(msgspec.Struct):
    """What was seen of `count` keys; those that are neither equal nor apart were gone, over or not selected."""

    count: int
    equal: Equal
    apart: list[Sight]


class _Both(msgspec.Struct):
    """One key as read on both sides."""

    key: bytes
    name: bytes
    left: bytes | None
    right: bytes | None
    left_ms: int
    right_ms: int

    def sight(self, verdict: Verdict, detail: str, left_hash: bytes, right_hash: bytes) -> Sight:
        return Sight(
            self.key, self.name, verdict, detail, self.left, self.left_ms, self.right_ms, left_hash, right_hash
        )

    def large_sight(self, verdict: Verdict, detail: str, left_hash: bytes, right_hash: bytes) -> Sight:
        moments = (self.left_ms, self.right_ms)
        return Sight(self.key, self.name, verdict, detail, None, *moments, left_hash, right_hash, large=True)


def _large_difference(ours: LargeValue, theirs: LargeValue) -> tuple[Verdict, str]:
    """How two large values differ; MATCH and "" if they do not."""
    if theirs.kind == "none":
        return Verdict.MISSING, ""
    if problem := ours.problem or theirs.problem:
        return Verdict.VALUE, f"cannot be compared: {problem}"
    if ours.kind != theirs.kind:
        return Verdict.TYPE, f"{ours.kind} / {theirs.kind}"
    if ours.digest != theirs.digest:
        if not ours.in_pieces:
            return Verdict.VALUE, f"cannot be compared: a {ours.kind} too large to be taken, with another payload"
        noun = "bytes" if ours.kind == "string" else "items"
        return Verdict.VALUE, f"{ours.size_bytes:,} / {theirs.size_bytes:,} {noun}, which differ"
    pairs = zip(ours.counters, theirs.counters, strict=False)
    if any(here is not None and there is not None and here != there for here, there in pairs):
        return Verdict.VALUE, "counters of the stream or of its groups differ"
    return Verdict.MATCH, ""


class Looker:
    """Looks at keys of the left and their counterparts at the right."""

    def __init__(
        self,
        left: Keyspace,
        right: Keyspace,
        selection: Selection,
        mapping: Mapping,
        deadlines: Deadlines,
        hashes: Hashes,
        *,
        lossy: bool = False,
    ) -> None:
        self._left, self._right, self._lossy = left, right, lossy
        self._hashes = hashes
        self._selection, self._mapping, self._deadlines = selection, mapping, deadlines
        self._one_family = left.vendor == right.vendor
        self._large_turn = anyio.Lock()
        self._all_pass = not selection.types and not selection.min_ttl_ms

    async def look(self, left_db: int, right_db: int, keys: list[bytes]) -> AsyncIterator[Look]:
        """Look at *keys* of *left_db*, in portions that fit in memory."""
        for portion in await self._left.portions(left_db, keys):
            names = portion if self._mapping.keeps_names else list(map(self._mapping.name, portion))
            start = 0
            for some in await self._right.portions(right_db, names):
                yield await self._look(left_db, right_db, portion[start : start + len(some)], some)
                start += len(some)

    async def _look(self, left_db: int, right_db: int, keys: list[bytes], names: list[bytes]) -> Look:
        left, right = await at_once(lambda: self._left.dumps(left_db, keys), lambda: self._right.dumps(right_db, names))
        mask = self._plainly_equal(left, right)
        equal = self._equal_ones(names, left, right, mask)
        look = Look(len(keys), equal, [])
        if len(equal.names) < len(keys):
            rest = self._not_plain(keys, names, left, right, mask)
            large = [both for both in rest if both.key in left.too_large or both.name in right.too_large]
            for both in large:
                await self._compare_large(left_db, right_db, both, look)
            rest = [both for both in rest if both not in large] if large else rest
            unlike = [both for both in rest if not self._settled(both, left, right, look)]
            for some in _by_size(unlike):
                await self._compare_values(left_db, right_db, some, look)
        return look

    def _plainly_equal(self, left: Reading, right: Reading) -> list[bool]:
        """For each key whether the bodies are equal and the deadlines fit, beyond doubt."""
        ours, theirs = left.payloads, right.payloads
        plain = self._all_pass and self._one_family
        mask = list(map(eq, ours, theirs))
        if plain and all(ours) and self._deadlines.kept and left.deadlines == right.deadlines:
            return mask if all(mask) or not _footers_differ(ours, theirs) else list(map(_same_body, ours, theirs))
        fit = self._deadlines.fit
        return [
            a is not None
            and b is not None
            and a[:-FOOTER_BYTES] == b[:-FOOTER_BYTES]
            and (self._one_family or a[0] < _FIRST_FAMILY_TYPE)
            and fit(left_ms, right_ms)
            and self._selected(a, left_ms)
            for a, b, left_ms, right_ms in zip(ours, theirs, left.deadlines, right.deadlines, strict=True)
        ]

    def _selected(self, payload: bytes, left_ms: int) -> bool:
        if self._all_pass:
            return True
        types = self._selection.types
        return not types or type_name(payload, self._left.vendor) in types

    def _not_plain(
        self, keys: list[bytes], names: list[bytes], left: Reading, right: Reading, mask: list[bool]
    ) -> list[_Both]:
        columns = zip(keys, names, left.payloads, right.payloads, left.deadlines, right.deadlines, strict=True)
        return [_Both(*row) for row in compress(columns, [not plain for plain in mask])]

    def _settled(self, both: _Both, left: Reading, right: Reading, look: Look) -> bool:
        """Whether *both* needs no reading of values; if so it is now part of *look*, or left out."""
        problem = left.refused.get(both.key) or right.refused.get(both.name)
        if problem:
            look.apart.append(
                both.sight(
                    Verdict.VALUE, f"cannot be compared: the server refused to give it: {problem}", b"left", b"right"
                )
            )
            return True
        if both.left is None or both.right is None:
            self._one_sided(both, look)
            return True
        if self._left_out(both.left, both.left_ms):
            return True
        return self._same_items(both, look)

    def _one_sided(self, both: _Both, look: Look) -> None:
        if both.left is not None:
            lives = self._selection.lives_long_enough(both.left_ms, self._left.now_ms())
            excused = self._deadlines.excuses_absence(both.left_ms)
            if lives and not excused and not self._left_out(both.left, both.left_ms):
                look.apart.append(both.sight(Verdict.MISSING, "", self._hashes.of_payload(both.left), b""))
        elif both.right is not None and not self._deadlines.over_at_right(both.right_ms):
            types = self._selection.types
            if not types or type_name(both.right, self._right.vendor) in types:
                look.apart.append(both.sight(Verdict.EXTRA, "", b"", self._hashes.of_payload(both.right)))

    def _left_out(self, left: bytes, left_ms: int) -> bool:
        return not self._selected(left, left_ms)

    def _same_items(self, both: _Both, look: Look) -> bool:
        """Whether the bodies are the same data: equal, the same items in another order, or in another encoding."""
        assert both.left is not None
        assert both.right is not None
        ours, theirs = both.left[:-FOOTER_BYTES], both.right[:-FOOTER_BYTES]
        foreign = not self._one_family and max(ours[0], theirs[0]) >= _FIRST_FAMILY_TYPE
        if ours == theirs and not foreign:
            found = self._hashes.of_payload(both.left)
        elif not foreign and (items := same_items(ours, theirs)) is not None:
            found = self._hashes.of_items(both.left, items)
        elif (value := _held_by_both(both.left, both.right)) is not None:
            found = self._hashes.of_value(value)
        else:
            return False
        self._equal_values(both, found, found, look)
        return True

    def _equal_values(self, both: _Both, left_hash: bytes, right_hash: bytes, look: Look) -> None:
        if self._deadlines.fit(both.left_ms, both.right_ms):
            look.equal.add(both.name, left_hash, both.left_ms, both.right_ms)
        elif not self._deadlines.over(both.left_ms):
            detail = self._deadlines.show(both.left_ms, both.right_ms)
            sight = both.sight(Verdict.TTL, detail, left_hash, right_hash)
            sight.large = both.left is None
            look.apart.append(sight)

    async def _compare_large(self, left_db: int, right_db: int, both: _Both, look: Look) -> None:
        """Compare values that one side cannot take whole by digests of their pieces."""
        ours, theirs = await at_once(
            lambda: self._left.large(left_db, both.key), lambda: self._right.large(right_db, both.name)
        )
        kinds = {ours.kind, theirs.kind} - {"none"}
        if not kinds or (self._selection.types and ours.kind not in self._selection.types):
            return
        both.left_ms, both.right_ms = ours.expire_at_ms, theirs.expire_at_ms
        if ours.kind == "none":
            if not self._deadlines.over_at_right(both.right_ms):
                look.apart.append(both.large_sight(Verdict.EXTRA, "", b"", theirs.digest))
            return
        if not self._selection.lives_long_enough(both.left_ms, self._left.now_ms()):
            return
        verdict, detail = _large_difference(ours, theirs)
        if verdict is Verdict.MATCH:
            self._equal_values(both, ours.digest, theirs.digest, look)
        elif not self._excused(verdict, both.left_ms):
            right_hash = b"" if verdict is Verdict.MISSING else theirs.digest or b"unread"
            sight = both.large_sight(verdict, detail, ours.digest or b"unread", right_hash)
            sight.lossy = verdict is Verdict.VALUE and await self._large_but_deadlines(left_db, both, theirs)
            look.apart.append(sight)

    def _excused(self, verdict: Verdict, left_ms: int) -> bool:
        """Whether what was found at the right is what a key that expires may come to."""
        if verdict is Verdict.MISSING:
            return self._deadlines.excuses_absence(left_ms)
        return self._deadlines.over(left_ms)

    async def _large_but_deadlines(self, left_db: int, both: _Both, theirs: LargeValue) -> bool:
        """Whether a large hash is equal but for what the right cannot hold."""
        if not self._lossy or theirs.kind != "hash" or not self._deadlines.fit(both.left_ms, both.right_ms):
            return False
        ours = await self._left.large(left_db, both.key, field_deadlines=False)
        return not ours.problem and ours.digest == theirs.digest

    async def _compare_values(self, left_db: int, right_db: int, some: list[_Both], look: Look) -> None:
        """Compare *some* by value; a value that is large by itself waits until no other such is held."""
        if max(map(_payload_bytes, some)) <= _VALUES_BYTES:
            await self._compare_held(left_db, right_db, some, look)
            return
        async with self._large_turn:
            await self._compare_held(left_db, right_db, some, look)

    async def _compare_held(self, left_db: int, right_db: int, some: list[_Both], look: Look) -> None:
        left, right = await at_once(
            lambda: self._left.values(left_db, [both.key for both in some]),
            lambda: self._right.values(right_db, [both.name for both in some]),
        )
        for both, ours, theirs in zip(some, left, right, strict=True):
            if ours.too_large or theirs.too_large:  # its payload was small
                await self._compare_large(left_db, right_db, both, look)
            else:
                self._weigh(both, ours, theirs, look)

    def _weigh(self, both: _Both, ours: ReadValue, theirs: ReadValue, look: Look) -> None:
        if ours.value is None or theirs.value is None:
            problem = ours.problem or theirs.problem
            detail = f"cannot be compared: {problem}" if problem else "gone while it was compared"
            look.apart.append(both.sight(Verdict.VALUE, detail, *self._hashes_of(both)))
            return
        verdict, detail = compare(ours.value, theirs.value)
        left_hash, right_hash = self._hashes.of_value(ours.value), self._hashes.of_value(theirs.value)
        if verdict is Verdict.MATCH or left_hash == right_hash:
            self._equal_values(both, left_hash, left_hash, look)
        elif not self._deadlines.over(both.left_ms):
            sight = both.sight(verdict, detail, left_hash, right_hash)
            fit = self._lossy and self._deadlines.fit(both.left_ms, both.right_ms)
            sight.lossy = fit and same_but_deadlines(ours.value, theirs.value)
            look.apart.append(sight)

    def _hashes_of(self, both: _Both) -> tuple[bytes, bytes]:
        """Of both payloads, b"" where there is none."""
        of_payload = self._hashes.of_payload
        return of_payload(both.left) if both.left else b"", of_payload(both.right) if both.right else b""

    def _equal_ones(self, names: list[bytes], left: Reading, right: Reading, mask: list[bool]) -> Equal:
        return Equal(
            list(compress(names, mask)),
            [self._hashes.of_payload(payload) for payload in compress(left.payloads, mask) if payload is not None],
            list(compress(left.deadlines, mask)),
            list(compress(right.deadlines, mask)),
        )


async def at_once(first: Callable[[], Awaitable[_T]], second: Callable[[], Awaitable[_T]]) -> tuple[_T, _T]:
    """The results of two questions that are asked at the same time."""
    found: list[_T] = []

    async def ask_second() -> None:
        found.append(await second())

    async with anyio.create_task_group() as group:
        group.start_soon(ask_second)
        mine = await first()
    return mine, found[0]


def _held_by_both(ours: bytes, theirs: bytes) -> Value | None:
    """The value that both payloads hold; None if they are not known to hold the same."""
    values = decode_both(ours, theirs)
    return values[0] if values is not None and compare(*values)[0] is Verdict.MATCH else None


def _footers_differ(ours: list[bytes | None], theirs: list[bytes | None]) -> bool:
    """Whether the servers write different RDB versions; one payload of each tells for all."""
    first, other = next(filter(None, ours), None), next(filter(None, theirs), None)
    return first is not None and other is not None and first[-10:-8] != other[-10:-8]


def _same_body(ours: bytes | None, theirs: bytes | None) -> bool:
    return ours is not None and theirs is not None and ours[:-FOOTER_BYTES] == theirs[:-FOOTER_BYTES]


def _payload_bytes(both: _Both) -> int:
    return max(len(both.left or b""), len(both.right or b""))


def _by_size(unlike: list[_Both]) -> list[list[_Both]]:
    """Keys whose values are read together, by the size of their payloads."""
    lists: list[list[_Both]] = []
    held = _VALUES_BYTES
    for both in unlike:
        size = _payload_bytes(both)
        if held + size > _VALUES_BYTES or not lists:
            lists.append([])
            held = 0
        lists[-1].append(both)
        held += size
    return lists

"""Keys written by type commands arrive whole, with their deadline, or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.endpoint.corpus import IN_2099_MS, features_of, fill, vendor_of
from tests.endpoint.meddling import Halting, Meddler, Write, linked
from tests.servers import VERSIONS, running
from transfer.codec.resp import EXEC, command
from transfer.endpoint.redis.logical import BUSY, WRITTEN, LogicalItem, Outcome, unwritable, write_values
from transfer.endpoint.redis.values import ReadValue, read_values
from transfer.model.report import Verdict
from transfer.model.value import (
    HashValue,
    ListValue,
    Pending,
    SetValue,
    SortedSetValue,
    StreamGroup,
    StreamValue,
    StringValue,
    Value,
)
from transfer.verify.checks import compare, value_digest
from transfer.wire.link import Link

_OLD, _NEW = "redis-6.2", "valkey-9.1"
_replace: Callable[..., Any] = msgspec.structs.replace

_STREAM = StreamValue(
    entries=[((1, 1), [b"f", b"v"]), ((2, 1), [b"f", b"w"])],
    last_id=(2, 1),
    entries_added=2,
    max_deleted_id=(0, 0),
    groups=[StreamGroup(name=b"g", last_id=(2, 1), entries_read=2, consumers=frozenset({b"c"}), pending=[])],
)
_BROKEN = _replace(_STREAM, last_id=(1, 0), groups=[])
"""XADD goes well, XSETID below the top entry is refused inside EXEC."""


async def _read(link: Link, version: str, *keys: bytes) -> list[ReadValue]:
    return await read_values(link, keys, features=features_of(version), vendor=vendor_of(version))


async def _write(link: Link, *items: LogicalItem, version: str = _NEW, replace: bool = False) -> list[Outcome]:
    return await write_values(link, items, replace=replace, stream_counters=version != _OLD)


def _pending(*ids: int, delivered_ms: int = 1_600_000_000_000, consumer: bytes = b"c") -> StreamValue:
    pending = [Pending(id=(i, 1), consumer=consumer, delivered_ms=delivered_ms, deliveries=3) for i in ids]
    return _replace(_STREAM, groups=[_replace(_STREAM.groups[0], pending=pending)])  # type: ignore[no-any-return]


@pytest.mark.parametrize("source_version", VERSIONS)
async def test_every_value_reads_the_same_after_being_written_to_any_version(source_version: str) -> None:
    """Type by type, in both conflict modes, deadlines to the millisecond."""
    async with running(source_version) as source, linked(source) as link:
        keys = await fill(link)
        left = await _read(link, source_version, *keys)
    items = [LogicalItem(k, r.value, r.expire_at_ms) for k, r in zip(keys, left, strict=True) if r.value is not None]
    assert len(items) == len(keys)
    for target_version in VERSIONS:
        async with running(target_version) as target, linked(target) as link:
            for replace in (False, True):
                assert await _write(link, *items, version=target_version, replace=replace) == [WRITTEN] * len(items)
                right = await _read(link, target_version, *keys)
                _same(keys, left, right, f"{source_version} -> {target_version}")
            assert await link.command("DBSIZE") == len(keys)


def _same(keys: list[bytes], left: list[ReadValue], right: list[ReadValue], where: str) -> None:
    for key, a, b in zip(keys, left, right, strict=True):
        assert a.value is not None
        assert b.value is not None, (where, key[:40])
        assert compare(a.value, b.value) == (Verdict.MATCH, ""), (where, key[:40])
        assert value_digest(a.value) == value_digest(b.value)
        assert a.expire_at_ms == b.expire_at_ms, (where, key[:40])
        if _OLD not in where:
            assert _counters(a.value) == _counters(b.value), (where, key[:40])


def _counters(value: Value) -> object:
    if not isinstance(value, StreamValue):
        return None
    groups = {group.name: group.entries_read for group in value.groups}
    return value.entries_added, value.max_deleted_id, groups


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_key_that_is_there_stays_untouched(version: str) -> None:
    """Whatever its type and ours; keys beside it are written, in the same group."""
    values: list[Value] = [
        StringValue(b"new"),
        ListValue([b"new"]),
        SetValue(frozenset([b"new"])),
        SortedSetValue({b"new": 1.0}),
        HashValue({b"new": b"1"}),
        _STREAM,
    ]
    async with running(version) as server, linked(server) as link:
        for i in range(len(values)):
            await link.command("RPUSH", f"there{i}", "theirs")
            await link.command("PEXPIREAT", f"there{i}", IN_2099_MS)
        items = [LogicalItem(b"%b%d" % (name, i), v) for i, v in enumerate(values) for name in (b"there", b"absent")]
        outcomes = await _write(link, *items, version=version)
        there = await _read(link, version, *(b"there%d" % i for i in range(len(values))))
        absent = await _read(link, version, *(b"absent%d" % i for i in range(len(values))))
        assert await _write(link, *items, version=version) == [BUSY] * len(items)
        again = await _read(link, version, *(b"absent%d" % i for i in range(len(values))))

    assert outcomes == [BUSY, WRITTEN] * len(values)
    assert there == [ReadValue(ListValue([b"theirs"]), IN_2099_MS)] * len(values)
    assert [compare(a.value, b)[0] for a, b in zip(absent, values, strict=True) if a.value] == [Verdict.MATCH] * 6
    assert again == absent


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_key_that_is_replaced_keeps_nothing_of_what_was_there(version: str) -> None:
    """Neither items nor the deadline."""
    async with running(version) as server, linked(server) as link:
        await link.command("RPUSH", "k", "old", "older")
        await link.command("PEXPIREAT", "k", IN_2099_MS)
        outcomes = await _write(link, LogicalItem(b"k", ListValue([b"new"])), version=version, replace=True)

        assert outcomes == [WRITTEN]
        assert await _read(link, version, b"k") == [ReadValue(ListValue([b"new"]))]


async def test_the_same_key_twice_is_written_once() -> None:
    """The second finds the first; with replace the last one stays."""
    items = [LogicalItem(b"k", ListValue([b"first"])), LogicalItem(b"k", ListValue([b"second"]))]
    async with running() as server, linked(server) as link:
        assert await _write(link, *items) == [WRITTEN, BUSY]
        assert await link.command("LRANGE", "k", 0, -1) == [b"first"]
        assert await _write(link, *items, replace=True) == [WRITTEN, WRITTEN]
        assert await link.command("LRANGE", "k", 0, -1) == [b"second"]


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_key_made_by_others_meanwhile_is_theirs(version: str) -> None:
    """Between our look and our EXEC: nothing of ours is mixed in, the rest of the group is written."""

    def push(request: bytes) -> list[Write]:
        return [("RPUSH", "k1", "theirs")] if b"EXEC" in request and b"k1" in request else []

    async with running(version) as server, linked(server) as link, linked(server) as other:
        items = [LogicalItem(b"k%d" % i, ListValue([b"ours"]), IN_2099_MS) for i in range(3)]
        outcomes = await _write(Meddler(link, other, push), *items, version=version)
        found = await _read(link, version, b"k0", b"k1", b"k2")

    ours = ReadValue(ListValue([b"ours"]), IN_2099_MS)
    assert outcomes == [WRITTEN, BUSY, WRITTEN]
    assert found == [ours, ReadValue(ListValue([b"theirs"])), ours]


async def test_a_key_that_others_keep_touching_is_refused_in_the_end() -> None:
    """Four tries, then a reason; nothing of it is left and the link can go on."""

    def flicker(request: bytes) -> list[Write]:
        return [("SET", "k", "theirs"), ("DEL", "k")] if b"EXEC" in request else []

    async with running() as server, linked(server) as link, linked(server) as other:
        meddler = Meddler(link, other, flicker)
        [outcome] = await _write(meddler, LogicalItem(b"k", ListValue([b"ours"])))

        assert "others kept writing" in outcome
        assert sum(b"EXEC" in request for request in meddler.requests) == 4
        assert await link.command("EXISTS", "k") == 0
        assert await _write(link, LogicalItem(b"k", ListValue([b"ours"]))) == [WRITTEN]


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_partly_written_key_is_removed_again(version: str, replace: bool) -> None:
    """Redis does not roll back a command that failed inside EXEC; the keys beside it stay."""
    items = [
        LogicalItem(b"before", StringValue(b"v")),
        LogicalItem(b"broken", _BROKEN, IN_2099_MS),
        LogicalItem(b"after", ListValue([b"v"])),
    ]
    async with running(version) as server, linked(server) as link:
        outcomes = await _write(link, *items, version=version, replace=replace)
        keys = await link.command("KEYS", "*")

    assert [outcomes[0], outcomes[2]] == [WRITTEN, WRITTEN]
    assert outcomes[1].startswith("ERR The ID specified in XSETID is smaller")
    assert sorted(keys) == [b"after", b"before"]


async def test_a_key_that_cannot_be_removed_again_is_said_to_be_there() -> None:
    """A half-written key must not be taken for a refusal without traces."""
    async with running() as server, linked(server) as link:
        await link.command("ACL", "SETUSER", "default", "-unlink")
        [outcome] = await _write(link, LogicalItem(b"k", _BROKEN))

    assert "XSETID" in outcome
    assert "could not be removed: NOPERM" in outcome


async def test_counters_an_old_server_does_not_know_are_refused_at_the_queue() -> None:
    """Redis 6.2 with the wrong flag: the key is named, the others are written alone."""
    items = [LogicalItem(b"s", _replace(_STREAM, entries_added=9)), LogicalItem(b"k", StringValue(b"v"))]
    async with running(_OLD) as server, linked(server) as link:
        outcomes = await write_values(link, items, replace=False, stream_counters=True)

        assert "wrong number of arguments" in outcomes[0]
        assert outcomes[1] == WRITTEN
        assert await link.command("KEYS", "*") == [b"k"]


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_full_server_is_told_apart_and_changes_nothing(version: str, replace: bool) -> None:
    """The text starts with OOM for every key of the group, old values stay, and it works again with room."""
    async with running(version) as server, linked(server) as link:
        await link.command("SET", "filling", b"x" * (4 << 20))
        await link.command("SET", "k0" if replace else "else", "theirs")
        await link.command("CONFIG", "SET", "maxmemory", 1 << 20)
        items = [LogicalItem(b"k%d" % i, ListValue([b"ours"] * 9)) for i in range(3)]
        outcomes = await _write(link, *items, version=version, replace=replace)
        held = await link.command("DBSIZE")
        await link.command("CONFIG", "SET", "maxmemory", 0)
        again = await _write(link, *items, version=version, replace=replace)

    assert [outcome[:4] for outcome in outcomes] == ["OOM "] * 3
    assert held == 2
    assert again == [WRITTEN] * 3


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("mark", [EXEC, command("RPUSH", "k2", "ours")])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_that_fills_up_in_between_is_full_for_the_whole_group(
    version: str, mark: bytes, replace: bool
) -> None:
    """While commands are queued, or when they are to be carried out: nothing is written, nothing is tried again."""
    async with running(version) as server, linked(server) as link, linked(server) as other:
        await link.command("SET", "k1" if replace else "else", "theirs")
        halting = Halting(link, mark, other, "CONFIG", "SET", "maxmemory", 1)
        items = [LogicalItem(b"k%d" % i, ListValue([b"ours"])) for i in range(4)]
        outcomes = await _write(halting, *items, version=version, replace=replace)

        assert [outcome[:4] for outcome in outcomes] == ["OOM "] * 4
        assert halting.transactions == 1
        assert await link.command("DBSIZE") == 1


async def test_a_command_that_is_not_allowed_hides_no_other_key() -> None:
    """EXECABORT voids the group: the innocent are written alone, the refused are named and leave nothing."""
    items = [
        LogicalItem(b"s", StringValue(b"v")),
        LogicalItem(b"z", SortedSetValue({b"m": 1.0})),
        LogicalItem(b"l", ListValue([b"v"])),
    ]
    async with running() as server, linked(server) as link:
        await link.command("ACL", "SETUSER", "default", "-zadd")
        outcomes = await _write(link, *items)

        assert [outcomes[0], outcomes[2]] == [WRITTEN, WRITTEN]
        assert outcomes[1].startswith("NOPERM")
        assert sorted(await link.command("KEYS", "*")) == [b"l", b"s"]


@pytest.mark.parametrize("forbidden", ["multi", "watch", "exists", "time"])
async def test_nothing_is_written_outside_of_a_transaction(forbidden: str) -> None:
    """If MULTI, or what must come before it, is refused, no command that is not idempotent is sent."""
    async with running() as server, linked(server) as link, linked(server) as other:
        await link.command("ACL", "SETUSER", "default", f"-{forbidden}")
        [outcome] = await _write(link, LogicalItem(b"k", ListValue([b"v"])))

        assert outcome.startswith("NOPERM")
        assert await other.command("DBSIZE") == 0
        await link.command("ACL", "SETUSER", "default", "+@all")
        assert await _write(link, LogicalItem(b"k", ListValue([b"v"]))) == [WRITTEN]


async def test_small_keys_share_transactions_and_a_big_one_goes_alone() -> None:
    """At most 64 keys and about 1 MiB; a big value comes in several commands of one MULTI."""
    small = [LogicalItem(b"k%d" % i, StringValue(b"v")) for i in range(130)]
    big = LogicalItem(b"big", ListValue([b"x" * 4096] * 2000))
    async with running() as server, linked(server) as link, linked(server) as other:
        meddler = Meddler(link, other, lambda request: [])
        outcomes = await _write(meddler, *small[:70], big, *small[70:])
        length = await link.command("LLEN", "big")

    sent = [request for request in meddler.requests if b"EXEC\r\n" in request]
    assert outcomes == [WRITTEN] * 131
    assert length == 2000
    assert [request.count(b"$3\r\nSET\r\n") for request in sent] == [64, 6, 0, 60]
    assert sent[2].count(b"RPUSH") == 8


@pytest.mark.parametrize("replace", [False, True])
async def test_a_large_string_is_sent_whole(replace: bool) -> None:
    """In one SET, beside others that are small."""
    data = bytes(range(256)) * 20_000
    items = [LogicalItem(b"a", StringValue(b"v")), LogicalItem(b"big", StringValue(data), IN_2099_MS)]
    async with running() as server, linked(server) as link:
        assert await _write(link, *items, replace=replace) == [WRITTEN, WRITTEN]
        assert await _read(link, _NEW, b"big") == [ReadValue(StringValue(data), IN_2099_MS)]


async def test_a_deadline_that_has_passed_leaves_no_key() -> None:
    """It never becomes a key that lives for ever."""
    async with running() as server, linked(server) as link:
        await _write(link, LogicalItem(b"k", StringValue(b"v"), 1))

        assert await link.command("EXISTS", "k") == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (HashValue({b"f": b"v"}, {b"f": IN_2099_MS}), "1 fields of the hash have deadlines"),
        (_pending(1, 7), "1 pending entries belong to deleted ids"),
        (_pending(1, consumer=b""), "belong to no consumer"),
        (ListValue([]), "no empty value"),
        (HashValue({}), "no empty value"),
    ],
)
async def test_what_would_lose_parts_is_refused(value: Value, reason: str) -> None:
    """By name, before anything is sent, and the old value stays."""
    async with running() as server, linked(server) as link:
        await link.command("SET", "k", "theirs")
        [outcome] = await _write(link, LogicalItem(b"k", value), replace=True)

        assert reason in unwritable(value)
        assert outcome == unwritable(value)
        assert await link.command("GET", "k") == b"theirs"


@pytest.mark.parametrize(
    "value", [StringValue(b""), ListValue([b""]), HashValue({b"f": b"v"}), _STREAM, _pending(1, 2)]
)
def test_what_loses_nothing_is_not_refused(value: Value) -> None:
    """An empty string is a value; so is a stream with pending entries that are there."""
    assert unwritable(value) == ""


@pytest.mark.parametrize("replace", [False, True])
async def test_a_delivery_in_the_future_of_the_target_is_refused(replace: bool) -> None:
    """XCLAIM would turn it into now; the target's clock is what counts."""
    value = _pending(1, delivered_ms=int(time.time() * 1000) + 60_000)
    async with running() as server, linked(server) as link:
        items = [LogicalItem(b"s", value), LogicalItem(b"k", StringValue(b"v"))]
        outcomes = await _write(link, *items, replace=replace)

        assert "after the target's clock" in outcomes[0]
        assert outcomes[1] == WRITTEN
        assert await link.command("EXISTS", "s") == 0

    assert unwritable(value) == ""
    assert "after the target's clock" in unwritable(value, now_ms=int(time.time() * 1000))


async def test_no_items_are_written_without_asking() -> None:
    """An empty batch is no request."""
    async with running() as server, linked(server) as link:
        sent = link.sent_bytes

        assert await _write(link) == []
        assert link.sent_bytes == sent

"""Values read by type commands are what was written, and belong to the same moment as their deadlines."""

from __future__ import annotations

import time

import anyio
import pytest

from tests.endpoint.corpus import COMMANDS, IN_2099_MS, features_of, fill, vendor_of
from tests.endpoint.meddling import Meddler, Write, linked
from tests.servers import VERSIONS, running
from transfer.codec.resp import command
from transfer.endpoint.redis.values import ReadValue, read_values
from transfer.model.record import NO_DEADLINE
from transfer.model.value import (
    HashValue,
    ListValue,
    Pending,
    SetValue,
    SortedSetValue,
    StreamValue,
    StringValue,
    Value,
)
from transfer.wire.link import ErrorReply, Link

FIELD_TTL = ("redis-8.2", "valkey-9.1")


async def _read(link: Link, version: str, *keys: bytes) -> list[ReadValue]:
    return await read_values(link, keys, features=features_of(version), vendor=vendor_of(version))


def _words(start: tuple[str, str]) -> list[bytes]:
    """The arguments of the corpus command that begins so, as the server stores them."""
    words = next(words for words in COMMANDS if words[:2] == start)
    return [word if isinstance(word, bytes) else str(word).encode() for word in words[2:]]


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_type_is_read_as_it_was_written(version: str) -> None:
    """Strings, lists, sets, sorted sets, hashes and streams of every encoding."""
    async with running(version) as server, linked(server) as link:
        keys = await fill(link)
        found = dict(zip(keys, await _read(link, version, *keys), strict=True))
        bitmap = await link.command("GETRANGE", "bitmap", 0, -1)

    def value(name: bytes) -> Value | None:
        return found[name].value

    assert not [key for key, read in found.items() if read.problem or read.value is None]
    assert value(b"string:large") == StringValue(bytes(range(256)) * 8192)
    assert value(b"string:empty") == StringValue(b"")
    assert value(b"") == StringValue(b"the key without a name")
    assert value(b"n" * 65_536) == StringValue(b"long name")
    assert value(b"bitmap") == StringValue(bitmap)
    assert value(b"list:large") == ListValue(_words(("RPUSH", "list:large")))
    assert value(b"set:ints") == SetValue(frozenset(b"%d" % i for i in range(-200, 200)))
    assert value(b"set:large") == SetValue(frozenset(_words(("SADD", "set:large"))))
    assert value(b"hash:small") == HashValue({b"f": b"v", b"": b"", b"\x00": b"\xff\r\n", b"n": b"42"})
    large = value(b"zset:large")
    assert isinstance(large, SortedSetValue)
    assert large.scores == {b"member %d" % i: i / 7 for i in range(2000)}


@pytest.mark.parametrize("version", VERSIONS)
async def test_scores_are_doubles_whatever_text_a_server_gives(version: str) -> None:
    """7.0 says 0.10000000000000001 where 7.2 says 0.1."""
    async with running(version) as server, linked(server) as link:
        await fill(link)
        [read] = await _read(link, version, b"zset:scores")

    assert isinstance(read.value, SortedSetValue)
    inf = float("inf")
    extremes = {b"a": inf, b"b": -inf, b"d": 1e300, b"g": 5e-324, b"h": 1.7976931348623157e308}
    assert read.value.scores == {**extremes, b"c": 0.1, b"e": 0.0, b"f": 0.0, b"i": 0.1 + 0.2}


@pytest.mark.parametrize("version", VERSIONS)
async def test_streams_come_with_groups_consumers_and_pending_entries(version: str) -> None:
    """Counters are None where the server keeps none."""
    async with running(version) as server, linked(server) as link:
        await fill(link)
        groups, deleted, empty = (
            read.value for read in await _read(link, version, b"stream:groups", b"stream:deleted", b"stream:empty")
        )

    assert isinstance(groups, StreamValue)
    assert isinstance(deleted, StreamValue)
    assert isinstance(empty, StreamValue)
    assert groups.entries == [((i, 0), [b"f", b"%d" % i]) for i in range(1, 1301)]
    by_name = {group.name: group for group in groups.groups}
    assert by_name.keys() == {b"all", b"\r\n\xff", b"untouched"}
    every = by_name[b"all"]
    assert every.last_id == (1205, 0)
    assert every.consumers == {b"one", b"\x00two", b"idle", b"late"}
    pending = {each.id: each for each in every.pending}
    assert len(pending) == 1202
    assert pending[7, 0] == Pending(id=(7, 0), consumer=b"late", delivered_ms=1_600_000_000_000, deliveries=12)
    assert (deleted.last_id, len(deleted.entries)) == ((39, 1), 36)
    assert (empty.last_id, empty.entries) == ((7, 7), [])
    keeps_counters = version != "redis-6.2"
    assert (deleted.entries_added, deleted.max_deleted_id) == ((39, (39, 1)) if keeps_counters else (None, None))
    assert every.entries_read == (1205 if keeps_counters else None)


@pytest.mark.parametrize("version", VERSIONS)
async def test_deadlines_are_absolute_and_exact(version: str) -> None:
    """To the millisecond, also where the server only tells how long a key has to live."""
    async with running(version) as server, linked(server) as link:
        await fill(link)
        names = (b"string:number", b"list:small", b"set:ints", b"zset:scores", b"hash:large", b"stream:groups", b"")
        found = await _read(link, version, *names)

    assert [read.expire_at_ms - IN_2099_MS for read in found[:-1]] == [0, 1, 2, 3, 4, 0]
    assert found[-1].expire_at_ms == NO_DEADLINE


async def test_a_clock_that_ticked_between_is_asked_again() -> None:
    """Without PEXPIRETIME a sum over two milliseconds would be off by one."""
    async with running("redis-6.2") as server, linked(server) as link:
        for i in range(300):
            await link.command("SET", b"k%d" % i, "v")
            await link.command("PEXPIREAT", b"k%d" % i, IN_2099_MS + i)
        for _ in range(20):
            found = await _read(link, "redis-6.2", *(b"k%d" % i for i in range(300)))
            assert [read.expire_at_ms - IN_2099_MS for read in found] == list(range(300))


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_key_that_is_gone_has_no_value_and_no_problem(version: str) -> None:
    """Gone before TYPE, or between TYPE and reading: of any type."""
    async with running(version) as server, linked(server) as link:
        keys = await fill(link)

        def delete(request: bytes) -> list[Write]:
            return [("FLUSHALL",)] if b"MULTI" in request else []

        found = await _read(Meddler(link, link, delete), version, b"never there", *keys)

    assert found == [ReadValue(None)] * (len(keys) + 1)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_key_of_another_type_by_now_is_read_again(version: str) -> None:
    """TYPE said string; when the value is read it is a hash, then a stream, and the others are not disturbed."""
    changes: list[list[Write]] = [
        [("DEL", "k"), ("XADD", "k", "1-1", "f", "v")],
        [("DEL", "k"), ("HSET", "k", "f", "v"), ("PEXPIREAT", "k", IN_2099_MS)],
    ]

    def change(request: bytes) -> list[Write]:
        return changes.pop() if b"MULTI" in request and changes else []

    async with running(version) as server, linked(server) as link:
        await link.command("SET", "k", "v")
        await link.command("SET", "other", "w")
        changed, other = await _read(Meddler(link, link, change), version, b"k", b"other")

    assert isinstance(changed.value, StreamValue)
    assert changed.value.entries == [((1, 1), [b"f", b"v"])]
    assert changed.expire_at_ms == NO_DEADLINE
    assert other == ReadValue(StringValue(b"w"))


async def test_a_key_that_never_rests_is_named_as_a_problem() -> None:
    """It is tried four times, not for ever."""

    def toggle(request: bytes) -> list[Write]:
        if b"MULTI" not in request:
            return [("DEL", "k"), ("SET", "k", "v")]
        return [("DEL", "k"), ("RPUSH", "k", "v")]

    async with running() as server, linked(server) as link:
        meddler = Meddler(link, link, toggle)
        [read] = await _read(meddler, "valkey-9.1", b"k")

    assert read.value is None
    assert "changed each time" in read.problem
    assert len(meddler.requests) == 8


@pytest.mark.parametrize("version", VERSIONS)
async def test_value_and_deadline_are_of_one_moment(version: str) -> None:
    """While a writer toggles `SET k A PX` and `SET k B`, A always has a deadline and B never."""
    keys = [b"k%d" % i for i in range(50)]
    seen: set[tuple[Value | None, bool]] = set()
    async with running(version) as server, linked(server) as link, linked(server) as writer:
        done = anyio.Event()

        async def toggle() -> None:
            with_deadline = [command("SET", key, "A", "PX", 3_600_000) for key in keys]
            without = [command("SET", key, "B") for key in keys]
            while not done.is_set():
                await writer.ask_parts([b"".join(with_deadline)], len(keys))
                await writer.ask_parts([b"".join(without)], len(keys))

        async with anyio.create_task_group() as group:
            group.start_soon(toggle)
            until = time.monotonic() + 20
            while len(seen) < 2 and time.monotonic() < until:
                for _ in range(30):
                    for read in await _read(link, version, *keys):
                        seen.add((read.value, read.expire_at_ms > 0))
                seen.discard((None, False))
            done.set()

    assert seen == {(StringValue(b"A"), True), (StringValue(b"B"), False)}


async def test_the_same_key_twice_is_read_once() -> None:
    """And answered twice, in the order asked."""
    async with running() as server, linked(server) as link:
        await link.command("SET", "a", "1")
        found = await _read(link, "valkey-9.1", b"a", b"none", b"a")

    assert [read.value for read in found] == [StringValue(b"1"), None, StringValue(b"1")]


@pytest.mark.parametrize("version", FIELD_TTL)
async def test_deadlines_of_fields_are_read_with_the_hash(version: str) -> None:
    """Small and large hashes, few fields with deadlines and many, and hashes that have none."""
    fields = [b"f%d" % i for i in range(5000)]
    async with running(version) as server, linked(server) as link:
        for name, count in ((b"small", 3), (b"large", 5000), (b"none", 600)):
            await link.command("HSET", name, *(word for field in fields[:count] for word in (field, b"v")))
        await link.command("HPEXPIREAT", "small", IN_2099_MS, "FIELDS", 1, "f1")
        await link.command("HPEXPIREAT", "large", IN_2099_MS, "FIELDS", 4500, *fields[:4500])
        await link.command("PEXPIREAT", "small", IN_2099_MS + 5)
        small, large, none = await _read(link, version, b"small", b"large", b"none")

    assert small == ReadValue(HashValue(dict.fromkeys(fields[:3], b"v"), {b"f1": IN_2099_MS}), IN_2099_MS + 5)
    assert large.value == HashValue(dict.fromkeys(fields, b"v"), dict.fromkeys(fields[:4500], IN_2099_MS))
    assert none.value == HashValue(dict.fromkeys(fields[:600], b"v"))


@pytest.mark.parametrize("version", FIELD_TTL)
async def test_fields_that_appear_between_are_asked_for_too(version: str) -> None:
    """Fields and their deadlines are of one moment: the last one."""
    async with running(version) as server, linked(server) as link:
        await link.command("HSET", "h", "a", "1", "b", "2")
        await link.command("HPEXPIREAT", "h", IN_2099_MS, "FIELDS", 1, "a")
        writes: list[list[Write]] = [
            [("HSET", "h", "c", "3"), ("HDEL", "h", "b"), ("HPEXPIREAT", "h", IN_2099_MS + 1, "FIELDS", 1, "c")]
        ]

        def add(request: bytes) -> list[Write]:
            return writes.pop() if b"HPEXPIRETIME" in request and writes else []

        [read] = await _read(Meddler(link, link, add), version, b"h")

    assert read.value == HashValue({b"a": b"1", b"c": b"3"}, {b"a": IN_2099_MS, b"c": IN_2099_MS + 1})


@pytest.mark.parametrize("version", FIELD_TTL)
async def test_hashes_that_cannot_have_field_deadlines_are_read_once(version: str) -> None:
    """Small plain hashes are not asked again, nor are large ones when the caller knows better."""
    async with running(version) as server, linked(server) as link:
        await fill(link)
        watched = Meddler(link, link, lambda request: [])
        await _read(watched, version, b"hash:small")
        await read_values(
            watched, [b"hash:large"], features=features_of(version), vendor=vendor_of(version), field_deadlines=()
        )

    assert sum(b"HGETALL" in request for request in watched.requests) == 2


@pytest.mark.parametrize("version", FIELD_TTL)
async def test_field_deadlines_are_found_without_the_right_to_ask_for_encodings(version: str) -> None:
    """Many services forbid OBJECT; then every hash is asked."""
    async with running(version) as server, linked(server) as link:
        await link.command("HSET", "h", "a", "1", "b", "2")
        await link.command("SET", "s", "v")
        await link.command("HPEXPIREAT", "h", IN_2099_MS, "FIELDS", 1, "a")
        await link.command("ACL", "SETUSER", "default", "-object")
        hashed, other = await _read(link, version, b"h", b"s")

    assert hashed.value == HashValue({b"a": b"1", b"b": b"2"}, {b"a": IN_2099_MS})
    assert other.value == StringValue(b"v")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_key_the_server_refuses_to_read_hides_no_other(version: str) -> None:
    """A right that is missing is told for the keys that need it."""
    async with running(version) as server, linked(server) as link:
        await fill(link)
        await link.command("ACL", "SETUSER", "default", "-xinfo", "-smembers")
        stream, members, string = await _read(link, version, b"stream:plain", b"set:small", b"string")

    assert stream.value is None
    assert "NOPERM" in stream.problem
    assert "NOPERM" in members.problem
    assert string == ReadValue(StringValue(b"plain"))


async def test_types_that_are_not_known_are_named() -> None:
    """Vector sets of Redis 8 come by the same way as the types of any module."""
    async with running("redis-8.2") as server, linked(server) as link:
        answer = await link.command("VADD", "v", "VALUES", 2, "1.0", "0.5", "element")
        if isinstance(answer, ErrorReply):
            pytest.skip(f"this build has no vector sets: {answer}")
        [read] = await _read(link, "redis-8.2", b"v")

    assert read == ReadValue(None, problem="module type vectorset")

"""Canonical digests: the same for the same data, another for any other."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import assume, given

from tests.codec.values import VALUES, streams
from tests.servers import VERSIONS, ask, running
from transfer.codec.canonical import digest, stream_counters
from transfer.codec.rdb.decode import decode_dump
from transfer.model.value import (
    HashValue,
    ListValue,
    SetValue,
    SortedSetValue,
    StreamValue,
    StringValue,
    Value,
)

PINNED: tuple[tuple[Value, str], ...] = (
    (StringValue(b"value"), "7fbf1041bff1e68c0b6f6559a47d1d99"),
    (ListValue([b"a", b"b"]), "eee9013a4cc990f1b3ec1a63067c7e1c"),
    (SetValue(frozenset({b"a", b"b"})), "ee90a1cf6c8f58773b0aefa524b8cabe"),
    (SortedSetValue({b"a": 1.5, b"b": float("inf")}), "f668ee362bbe24af3ace90d29130c66e"),
    (HashValue({b"f": b"v", b"g": b"w"}, {b"g": 5}), "5a82b0113026767c0268fd9dbb1d8580"),
    (StreamValue([((1, 2), [b"f", b"v"])], (3, 4), None, None, []), "609214e5402840f3cae8883966fc5f0e"),
)
"""Digests of form 1, to be compared years later."""


@given(left=VALUES, right=VALUES)
def test_equal_digests_are_equal_values(left: Value, right: Value) -> None:
    """And the other way round, counters of streams apart."""
    same = type(left) is type(right) and left == right
    assume(not isinstance(left, StreamValue) or not isinstance(right, StreamValue) or same)

    assert (digest(left) == digest(right)) is same


@given(value=streams())
def test_counters_stand_beside_the_digest(value: StreamValue) -> None:
    """A server that lacks them agrees."""
    without = msgspec.structs.replace(value, entries_added=None, max_deleted_id=None)

    assert digest(without) == digest(value)
    assert stream_counters(value)[:2] == (value.entries_added, value.max_deleted_id)


def test_digests_of_form_1_never_change() -> None:
    """Somebody has kept them."""
    assert [digest(value).hex() for value, _ in PINNED] == [kept for _, kept in PINNED]


def test_order_matters_where_it_is_data() -> None:
    """In lists, not in sets and hashes; a minus before a zero is none."""
    assert digest(ListValue([b"a", b"b"])) != digest(ListValue([b"b", b"a"]))
    assert digest(ListValue([b"ab"])) != digest(ListValue([b"a", b"b"]))
    assert digest(HashValue({b"a": b"1", b"b": b"2"})) == digest(HashValue({b"b": b"2", b"a": b"1"}))
    assert digest(SortedSetValue({b"a": 0.0})) == digest(SortedSetValue({b"a": -0.0}))
    assert digest(HashValue({b"a": b"1"})) != digest(HashValue({b"a": b"1"}, {b"a": 5}))
    assert digest(SetValue(frozenset({b"a"}))) != digest(ListValue([b"a"]))


async def test_a_hyperloglog_is_its_registers() -> None:
    """Sparse or dense, with a count in cache or without; one that counts something else is another."""
    async with running() as server:
        chance = random.Random(5)
        words = [b"%d" % chance.randrange(1 << 40) for _ in range(200)]
        await ask(server, "PFADD", "sparse", *words)
        await ask(server, "PFADD", "dense", *words)
        await ask(server, "PFDEBUG", "TODENSE", "dense")
        await ask(server, "PFCOUNT", "dense")
        await ask(server, "PFADD", "other", *words, "one more of them")
        values = {}
        for name in ("sparse", "dense", "other"):
            data = await ask(server, "GET", name)
            assert isinstance(data, bytes)
            values[name] = data

    assert values["sparse"] != values["dense"]
    assert digest(StringValue(values["sparse"])) == digest(StringValue(values["dense"]))
    assert digest(StringValue(values["sparse"])) != digest(StringValue(values["other"]))
    assert digest(StringValue(values["dense"][:-1])) != digest(StringValue(values["dense"]))


@pytest.mark.parametrize("size", [4, 900])
async def test_all_servers_agree(size: int) -> None:
    """The same commands in every version, small and large encodings: one digest."""
    words = [b"item:%d" % number for number in range(size)]
    pairs = [word for number, item in enumerate(words) for word in (b"%.17g" % (number / 3), item)]
    commands = (
        ("SET", "s", b"text" * size),
        ("RPUSH", "l", *words),
        ("SADD", "e", *words),
        ("SADD", "n", *range(size)),
        ("ZADD", "z", *pairs),
        ("HSET", "h", *pairs),
        *(("XADD", "x", f"{number}-1", "field", words[number]) for number in range(1, size)),
        ("XGROUP", "CREATE", "x", "group", "0"),
        ("XREADGROUP", "GROUP", "group", "me", "COUNT", 3, "STREAMS", "x", ">"),
        ("XDEL", "x", "2-1"),
    )
    found: dict[str, set[bytes]] = {}
    for version in VERSIONS:
        async with running(version) as server:
            for words_of in commands:
                await ask(server, *words_of)
            for key in "slenzhx":
                dump = await ask(server, "DUMP", key)
                assert isinstance(dump, bytes)
                found.setdefault(key, set()).add(digest(decode_dump(dump)))

    assert {key: len(digests) for key, digests in found.items()} == dict.fromkeys("slenzhx", 1)

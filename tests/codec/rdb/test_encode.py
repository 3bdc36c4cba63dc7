"""Values written and read back: the same value in every form that may hold it, on servers as well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.values import PLAIN, VALUES, hashes, streams
from tests.servers import VERSIONS, ask, running
from transfer.codec.dump import stamp, version_of
from transfer.codec.rdb import listpack
from transfer.codec.rdb.decode import decode, decode_dump
from transfer.codec.rdb.encode import UnencodableError, encode
from transfer.codec.rdb.packing import pack
from transfer.codec.rdb.streams_out import STREAM_TYPES
from transfer.codec.rdb.transcode import transcode
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.value import HashValue, SortedSetValue, StreamGroup, StreamValue, Value

OLD = frozenset({0, 1, 2, 3, 4, 5, 15})
REDIS, VALKEY = frozenset({0, 1, 2, 4, 5, 21, 24}), frozenset({0, 1, 2, 4, 5, 21, 22})
_INTS = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-200, 200)


@given(elements=st.lists(st.binary(max_size=200) | st.sampled_from([b"x" * 63, b"y" * 64, b"z" * 5000]) | _INTS))
def test_a_listpack_is_read_as_it_was_packed(elements: list[bytes | int]) -> None:
    """Texts stay texts, numbers numbers, of every width."""
    assert listpack.elements(pack(elements)) == elements


@given(value=VALUES, family=st.sampled_from([(REDIS, 12), (VALKEY, 80)]))
def test_a_value_is_read_as_it_was_encoded(value: Value, family: tuple[frozenset[int], int]) -> None:
    """In the forms of the newest servers of both families nothing is lost."""
    assert decode(encode(value, *family), family[1]) == value


@given(scores=st.dictionaries(st.binary(max_size=9), st.floats(allow_nan=False), min_size=1))
def test_scores_survive_as_text(scores: dict[bytes, float]) -> None:
    """To the last bit, infinities too."""
    value = SortedSetValue(scores)

    assert decode(encode(value, {3}, 6), 6) == value


@given(value=streams())
def test_an_older_form_of_a_stream_lacks_its_counters_only(value: StreamValue) -> None:
    """Entries, ids, groups and all that is pending are the same."""
    old = decode(encode(value, OLD, 9), 9)

    assert old == _without_counters(value)


@given(value=streams(), newer=st.sampled_from([19, 21]), older=st.sampled_from([15, 19]))
def test_a_stream_is_brought_to_an_older_form_as_encoding_it_would(value: StreamValue, newer: int, older: int) -> None:
    """Taking out what the older form lacks gives what was to be had."""
    body = encode(value, {newer}, 11)

    assert decode(transcode(body, 11, {older}, 9), 9) == decode(encode(value, {min(newer, older)}, 9), 9)


@given(value=hashes(deadlines=True), valkey=st.booleans())
def test_deadlines_of_fields_change_families(value: HashValue, valkey: bool) -> None:
    """24 of Redis and 22 of Valkey hold the same."""
    here, there = ((VALKEY, 80), (REDIS, 12)) if valkey else ((REDIS, 12), (VALKEY, 80))

    assert decode(transcode(encode(value, *here), here[1], *there), there[1]) == value


@given(value=hashes(deadlines=True))
def test_what_cannot_be_held_is_refused(value: HashValue) -> None:
    """With the reason in words; nothing is left out in silence."""
    with pytest.raises(UnencodableError, match=r"of (its|their) own"):
        encode(value, OLD, 9)
    with pytest.raises(UnencodableError):
        transcode(encode(value, VALKEY, 80), 80, REDIS - {24}, 12)


@given(value=PLAIN)
def test_a_body_whose_type_is_taken_is_not_touched(value: Value) -> None:
    """The very same bytes."""
    body = encode(value, OLD, 9)

    assert transcode(body, 9, OLD, 11) is body


def _without_counters(value: StreamValue) -> StreamValue:
    groups = [StreamGroup(one.name, one.last_id, None, one.consumers, one.pending) for one in value.groups]
    return StreamValue(value.entries, value.last_id, None, None, groups)


async def _filled(server: ThrowawayServer, version: str) -> list[bytes]:
    """Every type, small and large."""
    for size in (5, 700):
        words = [b"item:%d" % number for number in range(size)]
        await ask(server, "SET", f"string:{size}", b"ab" * size)
        await ask(server, "RPUSH", f"list:{size}", *words, "x" * 9000)
        await ask(server, "SADD", f"set:{size}", *words)
        await ask(server, "SADD", f"numbers:{size}", *range(size))
        await ask(server, "ZADD", f"zset:{size}", *(w for n, word in enumerate(words) for w in (str(n / 7), word)))
        await ask(server, "HSET", f"hash:{size}", *(w for word in words for w in (word, "value")))
        for number in range(1, size):
            await ask(server, "XADD", f"stream:{size}", f"{number}-{number}", "f", f"v{number}", "g", "w")
        await ask(server, "XGROUP", "CREATE", f"stream:{size}", "group", "0")
        await ask(server, "XREADGROUP", "GROUP", "group", "me", "COUNT", "3", "STREAMS", f"stream:{size}", ">")
        await ask(server, "XDEL", f"stream:{size}", "2-2")
        if version in ("redis-8.2", "valkey-9.1"):
            await ask(server, "HSET", f"fields:{size}", *(w for word in words for w in (word, "value")))
            await ask(server, "HPEXPIREAT", f"fields:{size}", "1999999999999", "FIELDS", "2", "item:1", "item:2")
    names = await ask(server, "KEYS", "*")
    assert isinstance(names, list)
    return sorted(names)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_loads_what_was_encoded(version: str) -> None:
    """Every type in its plainest form, under the version that all servers take: the value is the same there."""
    async with running(version) as server:
        for key in await _filled(server, version):
            dump = await ask(server, "DUMP", key)
            assert isinstance(dump, bytes)
            value, own = decode_dump(dump), version_of(dump)
            newest = 15 if own < 10 else 19 if own < 11 else 21
            types = {0, 1, 2, 4, 5, *(kind for kind in STREAM_TYPES if kind <= newest), 22 if own >= 80 else 24}
            body = encode(value, types, own)
            assert await ask(server, "RESTORE", "copy", 0, stamp(body, 6 if body[0] < 22 else own), "REPLACE") == b"OK"
            again = await ask(server, "DUMP", "copy")
            assert isinstance(again, bytes)
            assert decode_dump(again) == value, key


async def test_an_old_server_keeps_what_is_pending_of_deleted_entries() -> None:
    """A stream of Valkey 9.1 in Redis 6.2: entries, groups, and the entry that was delivered and then deleted."""
    async with running("valkey-9.1") as newest, running("redis-6.2") as oldest:
        await _filled(newest, "valkey-9.1")
        dump = await ask(newest, "DUMP", "stream:700")
        assert isinstance(dump, bytes)
        body = transcode(dump[:-10], version_of(dump), OLD, 9)
        assert await ask(oldest, "RESTORE", "stream:700", 0, stamp(body, 9)) == b"OK"

        pending = [await ask(server, "XPENDING", "stream:700", "group", "-", "+", "9") for server in (newest, oldest)]
        entries = [await ask(server, "XRANGE", "stream:700", "-", "+") for server in (newest, oldest)]

        assert [item[0] for item in pending[0]] == [item[0] for item in pending[1]] == [b"1-1", b"2-2", b"3-3"]
        assert entries[0] == entries[1]

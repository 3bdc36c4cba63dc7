"""Payloads of real servers are decoded to what the servers themselves say they hold."""

from __future__ import annotations

import struct

import pytest

from tests.codec.rdb import packing
from tests.endpoint.corpus import IN_2099_MS, features_of, fill, vendor_of
from tests.endpoint.meddling import linked
from tests.servers import VERSIONS, running
from transfer.codec.dump import stamp
from transfer.codec.rdb.atoms import put_length, put_string
from transfer.codec.rdb.decode import decode, decode_dump
from transfer.codec.resp import command
from transfer.endpoint.redis.values import read_values
from transfer.model.errors import ChecksumError, FormatError, UnknownFormError
from transfer.model.value import HashValue, ListValue, SetValue, SortedSetValue, StreamValue, StringValue, Value
from transfer.wire.link import ErrorReply, Link

_POWERS = (3, 6, 7, 8, 12, 13, 15, 16, 23, 24, 31, 32, 62, 63)
_NUMBERS = sorted({sign * (1 << power) + by for power in _POWERS for sign in (-1, 1) for by in (-1, 0, 1)})
"""Around every limit of every integer form, and beyond the largest."""
_SIZES = (0, 1, 62, 63, 64, 125, 126, 127, 128, 250, 253, 254, 255, 4093, 4094, 4095, 4096, 8000)
_WIDE_SIZES = (16_377, 16_378, 16_379, 16_380, 16_381, 16_382, 16_383, 16_384, 65_535, 2_097_144, 2_097_150)
_EVERYTHING_SMALL = (
    *("--hash-max-ziplist-value", "9000000", "--hash-max-ziplist-entries", "70000"),
    *("--zset-max-ziplist-value", "9000000", "--zset-max-ziplist-entries", "70000"),
    *("--set-max-intset-entries", "70000", "--list-max-ziplist-size", "70000"),
)


def shapes() -> list[tuple[object, ...]]:
    """Commands for values of every item form."""
    words = [b"%d" % number for number in _NUMBERS] + [b"-0", b"+1", b"007", b" 1"] + [b"w" * n for n in _SIZES]
    wide = [b"%d" % n + b"x" * (n - len(str(n))) for n in _WIDE_SIZES]
    numbered = [(b"%d" % i, word) for i, word in enumerate(words)]
    fit = [number for number in _NUMBERS if -(1 << 63) <= number < 1 << 63]
    return [
        ("RPUSH", "shape:list", *words),
        ("RPUSH", "shape:list:wide", *wide),
        ("HSET", "shape:hash", *(word for pair in numbered for word in pair)),
        ("HSET", "shape:hash:names", *(word for name, value in numbered for word in (value, name))),
        ("HSET", "shape:hash:wide", *(word for value in wide for word in (value[:9], value))),
        ("SADD", "shape:set", *words),
        ("SADD", "shape:set:i16", *(n for n in fit if abs(n) < 1 << 15)),
        ("SADD", "shape:set:i32", *(n for n in fit if abs(n) < 1 << 31)),
        ("SADD", "shape:set:i64", *fit),
        ("ZADD", "shape:zset", *(word for i, name in enumerate(words) for word in (i * 1.1 - 7, name))),
        ("ZADD", "shape:zset:numbers", *(word for number in fit for word in (number, number))),
        *(("SET", b"shape:string:%d" % number, number) for number in _NUMBERS),
        ("XADD", "shape:stream", "18446744073709551615-0", "f", "v"),
        *(
            ("XADD", "shape:stream:far", f"{ms}-{seq}", *(x for pair in numbered[:20] for x in pair))
            for ms in (1, 1 << 40, (1 << 64) - 1)
            for seq in (5, 1 << 63, (1 << 64) - 1)
        ),
        ("XADD", "shape:stream:words", "1-1", *(word for pair in numbered for word in pair)),
        ("XDEL", "shape:stream:words", "1-2"),
    ]


async def _equal_to_what_is_read(link: Link, version: str, keys: list[bytes]) -> set[int]:
    """Decode every key and compare; the type numbers that were seen."""
    dumps = [await link.command("DUMP", key) for key in keys]
    read = await read_values(link, keys, features=features_of(version), vendor=vendor_of(version))
    for key, dump, told in zip(keys, dumps, read, strict=True):
        assert decode_dump(dump) == told.value, key
    return {dump[0] for dump in dumps}


async def _send(link: Link, commands: list[tuple[object, ...]]) -> None:
    answers = await link.ask_parts([command(*words) for words in commands], len(commands))  # type: ignore[arg-type]
    assert not [str(answer) for answer in answers if isinstance(answer, ErrorReply)]


TYPES = {
    "redis-6.2": {0, 2, 4, 5, 11, 12, 13, 14, 15},
    "redis-7.0": {0, 2, 4, 5, 11, 16, 17, 18, 19},
    "redis-8.2": {0, 2, 4, 5, 11, 16, 17, 18, 20, 21, 24, 25},
    "valkey-8.1": {0, 2, 4, 5, 11, 16, 17, 18, 20, 21},
    "valkey-9.1": {0, 2, 4, 5, 11, 16, 17, 18, 20, 21, 22},
}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_payload_is_decoded_to_what_the_server_reads(version: str) -> None:
    """Every type and encoding that the server writes as it is configured out of the box."""
    async with running(version) as server, linked(server) as link:
        keys = await fill(link)
        await _send(link, shapes())
        if features_of(version).field_ttl:
            await _send(link, _with_field_deadlines())
        found = await _equal_to_what_is_read(link, version, sorted(await link.command("KEYS", "*")))
    assert len(keys) > 1
    assert found == TYPES[version]


def _with_field_deadlines() -> list[tuple[object, ...]]:
    """Hashes small and large, with deadlines on some fields, on all, and on none any more."""
    commands: list[tuple[object, ...]] = []
    for name, count in (("small", 20), ("large", 2000)):
        key = f"fields:{name}"
        fields = [b"field %d" % i for i in range(count)]
        commands.append(("HSET", key, *(word for i, field in enumerate(fields) for word in (field, i))))
        until = [(IN_2099_MS + i * 1_000_003, fields[i]) for i in range(0, count, 3)]
        commands += [("HPEXPIREAT", key, until_ms, "FIELDS", 1, field) for until_ms, field in until]
        commands.append(("HSET", key + ":one", "f", "v", "g", "w"))
        commands.append(("HPEXPIREAT", key + ":one", IN_2099_MS, "FIELDS", 1, "f"))
        commands.append(("HSET", key + ":none", *(word for field in fields for word in (field, b"v" * 99))))
        commands.append(("HPEXPIREAT", key + ":none", IN_2099_MS, "FIELDS", 2, *fields[:2]))
        commands.append(("HPERSIST", key + ":none", "FIELDS", 2, *fields[:2]))
    return commands


@pytest.mark.parametrize("version", VERSIONS)
async def test_packed_forms_may_be_as_large_as_they_like(version: str) -> None:
    """Listpacks and ziplists with large texts, and with many items."""
    async with running(version, *_EVERYTHING_SMALL) as server, linked(server) as link:
        await _send(link, shapes())
        await _send(link, [("HSET", "many", *range(6_000))])
        assert (await link.command("DUMP", "many"))[0] in (13, 16)
        await _equal_to_what_is_read(link, version, sorted(await link.command("KEYS", "*")))


def bodies_by_hand() -> dict[str, tuple[bytes, Value]]:
    """Bodies of forms that no server of today writes, with what they hold."""
    pairs = [(b"f%d" % i, b"v" * (i * 50)) for i in range(8)]
    flat = [text for pair in pairs for text in pair]
    scores = {b"a": 1.5, b"b": -2.0, b"c": 1e300, b"d": float("inf"), b"e": float("-inf"), b"f": 0.1}
    texts = [b"1.5", b"-2", b"1e+300", b"inf", b"-inf", b"0.10000000000000001"]
    scored = [word for pair in zip(scores, texts, strict=True) for word in pair]
    old = [b"\x031.5", b"\x02-2", b"\x061e+300", b"\xfe", b"\xff", b"\x130.10000000000000001"]
    items = [("imm", b"12"), ("i8", b"-1"), ("i16", b"300"), ("i24", b"-70000"), ("i32", b"1"), ("i64", b"5")]
    items += [("s6", b"a"), ("s14", b"b" * 300), ("s32", b"c" * 20_000), ("s6", b"")]
    listed = ListValue([text for _, text in items])
    words = _ziplist_of
    return {
        "1": (
            b"\x01" + put_length(3) + put_string(b"a") + b"\xc0\xfe" + put_string(b"x" * 70),
            _list(b"a", b"-2", b"x" * 70),
        ),
        "2": (b"\x02" + put_length(2) + put_string(b"a") + put_string(b"b"), SetValue(frozenset((b"a", b"b")))),
        "3": (b"\x03\x06" + b"".join(map(put_string_and, scores, old)), SortedSetValue(scores)),
        "4": (b"\x04\x08" + b"".join(map(put_string, flat)), HashValue(dict(pairs))),
        "5": (b"\x05\x06" + b"".join(map(put_string_and, scores, map(_f64, scores.values()))), SortedSetValue(scores)),
        "9": (b"\x09" + put_string(packing.zipmap(pairs)), HashValue(dict(pairs))),
        "9 with free bytes": (
            b"\x09" + put_string(packing.zipmap(pairs, free=3, counted=False)),
            HashValue(dict(pairs)),
        ),
        "10": (b"\x0a" + put_string(packing.ziplist(items)), listed),
        "10 with long lengths": (b"\x0a" + put_string(packing.ziplist(items, long_backs=True)), listed),
        "10 uncounted": (b"\x0a" + put_string(packing.ziplist(items, count=65_535)), listed),
        "12": (b"\x0c" + put_string(words(scored)), SortedSetValue(scores)),
        "13": (b"\x0d" + put_string(words(flat)), HashValue(dict(pairs))),
        "16 uncounted": (
            b"\x10" + put_string(packing.listpack(list(map(packing.best, flat)), count=65_535)),
            HashValue(dict(pairs)),
        ),
        "14": (
            b"\x0e\x02" + put_string(packing.ziplist(items)) + put_string(words([b"end"])),
            ListValue([*listed.items, b"end"]),
        ),
        "14 with an empty node": (
            b"\x0e\x02" + put_string(packing.ziplist([])) + put_string(words([b"end"])),
            _list(b"end"),
        ),
    }


def _list(*items: bytes) -> ListValue:
    return ListValue(list(items))


def _ziplist_of(texts: list[bytes]) -> bytes:
    return packing.ziplist([("s6" if len(text) < 64 else "s14", text) for text in texts])


def put_string_and(text: bytes, after: bytes) -> bytes:
    return put_string(text) + after


def _f64(number: float) -> bytes:
    return struct.pack("<d", number)


@pytest.mark.parametrize("name", list(bodies_by_hand()))
async def test_forms_of_old_servers_are_read_as_a_server_of_today_reads_them(name: str) -> None:
    """What decoding finds is what was put in, and what RESTORE makes of the same bytes."""
    body, value = bodies_by_hand()[name]

    assert decode(body, 6) == value
    async with running("redis-7.0") as server, linked(server) as link:
        assert await link.command("RESTORE", "key", 0, stamp(body, 6)) in ("OK", b"OK")
        [read] = await read_values(link, [b"key"], features=features_of("redis-7.0"), vendor="redis")
    assert read.value == value


_TEXT = packing.listpack([("s6", b"a")])
REFUSED = {
    "nothing": b"",
    "an empty list": b"\x01\x00",
    "an empty set": b"\x02\x00",
    "an empty sorted set of texts": b"\x03\x00",
    "an empty hash": b"\x04\x00",
    "an empty sorted set": b"\x05\x00",
    "an empty zipmap": b"\x09" + put_string(packing.zipmap([])),
    "an empty ziplist": b"\x0a" + put_string(packing.ziplist([])),
    "an empty intset": b"\x0b" + put_string(packing.intset([], 2)),
    "an empty ziplist of scores": b"\x0c" + put_string(packing.ziplist([])),
    "an empty ziplist of fields": b"\x0d" + put_string(packing.ziplist([])),
    "a list without nodes": b"\x0e\x00",
    "a list of an empty node": b"\x0e\x01" + put_string(packing.ziplist([])),
    "an empty listpack of fields": b"\x10" + put_string(packing.listpack([])),
    "an empty listpack of scores": b"\x11" + put_string(packing.listpack([])),
    "a new list without nodes": b"\x12\x00",
    "a list of an empty plain node": b"\x12\x01\x01\x00",
    "a node of a third kind": b"\x12\x01\x03" + put_string(_TEXT),
    "an empty listpack of members": b"\x14" + put_string(packing.listpack([])),
    "an empty hash with deadlines": b"\x18" + bytes(8) + b"\x00",
    "an empty listpack with deadlines": b"\x19" + bytes(8) + put_string(packing.listpack([])),
    "a member twice": b"\x02\x02\x01a\x01a",
    "a number and its text": b"\x02\x02\xc0\x05\x015",
    "a member twice in a listpack": b"\x14" + put_string(packing.listpack([("u7", b"5"), ("s6", b"5")])),
    "a field twice": b"\x04\x02\x01a\x01b\x01a\x01c",
    "a field twice in a listpack": b"\x10" + put_string(packing.listpack([("s6", b"a")] * 4)),
    "a field without a value": b"\x10" + put_string(_TEXT),
    "a member without a score": b"\x11" + put_string(_TEXT),
    "a field without a deadline": b"\x19" + bytes(8) + put_string(packing.listpack([("s6", b"a")] * 2)),
    "a deadline that is text": b"\x19" + bytes(8) + put_string(packing.listpack([("s6", b"a")] * 3)),
    "a deadline below zero": b"\x19" + bytes(8) + put_string(packing.listpack([("s6", b"a")] * 2 + [("i16", b"-5")])),
    "a deadline past all": b"\x18" + b"\xff" * 5 + b"\x7f\x00\x00" + b"\x01\x81\x00\x7f" + b"\xff" * 6 + b"\x01a\x01b",
    "scored twice": b"\x05\x02\x01a" + bytes(8) + b"\x01a" + bytes(8),
    "not a number": b"\x05\x01\x01a" + _f64(float("nan")),
    "not a number, of old": b"\x03\x01\x01a\xfd",
    "a score with a space": b"\x03\x01\x01a\x02 1",
    "a score with an underscore": b"\x03\x01\x01a\x031_1",
    "a score that is a word": b"\x11" + put_string(packing.listpack([("s6", b"a"), ("s6", b"nan")])),
    "a score that is none": b"\x03\x01\x01a\x00",
    "numbers out of order": b"\x0b" + put_string(packing.intset([2, 1], 2)),
    "a number twice": b"\x0b" + put_string(packing.intset([2, 2], 2)),
    "numbers of three bytes": b"\x0b" + put_string(packing.intset([2], 3)),
    "bytes left over": b"\x00\x01ab",
    "bytes left over in a listpack": b"\x14" + put_string(_TEXT + b"x"),
    "more items than bytes": b"\x02\x81" + b"\xff" * 8 + b"\x01a",
    "more nodes than bytes": b"\x12\x81" + b"\xff" * 8 + b"\x02" + put_string(_TEXT),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_a_server_would_not_load_is_refused(name: str) -> None:
    """With the offset, before memory is taken for what is only claimed."""
    with pytest.raises(FormatError) as caught:
        decode(REFUSED[name], 12)
    assert not isinstance(caught.value, UnknownFormError)
    assert "offset" in caught.value.facts


@pytest.mark.parametrize("name", [name for name in REFUSED if name.startswith("an empty")])
async def test_servers_refuse_empty_collections_too(name: str) -> None:
    """The rule is theirs: Bad data format."""
    async with running("redis-8.2") as server, linked(server) as link:
        assert "Bad data format" in str(await link.command("RESTORE", "key", 0, stamp(REFUSED[name], 12)))


@pytest.mark.parametrize(
    ("kind", "version"),
    [(6, 9), (7, 9), (8, 9), (22, 12), (23, 12), (23, 81), (24, 80), (25, 80), (26, 13), (27, 14), (28, 14), (243, 13)],
)
def test_an_unknown_type_is_named(kind: int, version: int) -> None:
    """Modules, types known only on paper, and numbers of the other family."""
    with pytest.raises(UnknownFormError, match=f"type {kind} ") as caught:
        decode(bytes((kind,)) + b"\x01a", version)
    assert caught.value.facts["type"] == kind


def test_a_payload_that_was_altered_is_not_decoded() -> None:
    """The checksum covers every byte before it."""
    dump = stamp(b"\x00\x03abc", 9)

    assert decode_dump(dump) == StringValue(b"abc")
    with pytest.raises(ChecksumError):
        decode_dump(dump.replace(b"abc", b"abd"))
    with pytest.raises(FormatError):
        decode_dump(b"too short")


def _node(*items: int | bytes) -> bytes:
    forms = [("i64", b"%d" % item) if isinstance(item, int) else ("s6", item) for item in items]
    return put_string(struct.pack(">QQ", 5, 0)) + put_string(packing.listpack(forms))


def _stream(*nodes: bytes, length: int, groups: bytes = b"\x00", last: bytes = b"\x0a\x00") -> bytes:
    return b"\x0f" + put_length(len(nodes)) + b"".join(nodes) + put_length(length) + last + groups


_GOOD = _node(2, 1, 1, b"f", 0, 2, 0, 0, 9, 4, 3, 1, 0, b"x", 4, 0, 2, 0, 1, b"g", 7, 6)
_PENDING = struct.pack(">QQ", 5, 0) + bytes(8) + b"\x03"
_OWNED = struct.pack(">QQ", 5, 0)


def test_a_stream_is_its_entries_counters_and_groups() -> None:
    """Deleted entries are left out, names of fields come from the node, the owner from the consumer."""
    group = b"\x01\x01g\x05\x00\x01" + _PENDING + b"\x01\x01c" + bytes(8) + b"\x01" + _OWNED
    found = decode(_stream(_GOOD, length=2, groups=group), 9)

    assert isinstance(found, StreamValue)
    assert found.entries == [((5, 0), [b"f", b"9"]), ((7, 0), [b"g", b"7"])]
    assert (found.last_id, found.entries_added, found.max_deleted_id) == ((10, 0), None, None)
    [told] = found.groups
    assert (told.name, told.last_id, told.entries_read, told.consumers) == (b"g", (5, 0), None, frozenset({b"c"}))
    assert [(p.id, p.consumer, p.delivered_ms, p.deliveries) for p in told.pending] == [((5, 0), b"c", 0, 3)]


BROKEN_STREAMS = {
    "an id that is short": _stream(put_string(b"short") + _GOOD[17:], length=2),
    "ids out of order": _stream(_node(2, 0, 1, b"f", 0, 2, 1, 0, 9, 4, 2, 0, 0, 9, 4), length=2),
    "an id twice": _stream(_node(2, 0, 1, b"f", 0, 2, 1, 0, 9, 4, 2, 1, 0, 9, 4), length=2),
    "a node twice": _stream(_GOOD, _GOOD, length=4),
    "a node without entries": _stream(_node(0, 0, 1, b"f", 0), length=0),
    "text where a number belongs": _stream(_node(b"1", 0, 1, b"f", 0, 2, 0, 0, 9, 4), length=1),
    "more fields than there are": _stream(_node(1, 0, 99, b"f", 0, 2, 0, 0, 9, 4), length=1),
    "fewer than none": _stream(_node(1, 0, -1, b"f", 0, 2, 0, 0, 9, 4), length=1),
    "an entry without fields": _stream(_node(1, 0, 1, b"f", 0, 0, 0, 0, 0, 4), length=1),
    "a wrong size of an entry": _stream(_node(1, 0, 1, b"f", 0, 2, 0, 0, 9, 5), length=1),
    "a wrong count": _stream(_node(2, 0, 1, b"f", 0, 2, 0, 0, 9, 4), length=1),
    "a wrong count of the deleted": _stream(_node(1, 1, 1, b"f", 0, 2, 0, 0, 9, 4), length=1),
    "a wrong length": _stream(_GOOD, length=3),
    "a last id before the last": _stream(_GOOD, length=2, last=b"\x06\x00"),
    "a group twice": _stream(_GOOD, length=2, groups=b"\x02" + b"\x01g\x05\x00\x00\x00" * 2),
    "a consumer twice": _stream(_GOOD, length=2, groups=b"\x01\x01g\x05\x00\x00\x02" + (b"\x01c" + bytes(9)) * 2),
    "pending for nobody": _stream(_GOOD, length=2, groups=b"\x01\x01g\x05\x00\x01" + _PENDING + b"\x00"),
    "pending for one, not for the group": _stream(
        _GOOD, length=2, groups=b"\x01\x01g\x05\x00\x00\x01\x01c" + bytes(8) + b"\x01" + _OWNED
    ),
    "pending twice": _stream(_GOOD, length=2, groups=b"\x01\x01g\x05\x00\x02" + _PENDING * 2 + b"\x00"),
    "pending for two": _stream(
        _GOOD,
        length=2,
        groups=b"\x01\x01g\x05\x00\x01"
        + _PENDING
        + b"\x02"
        + b"".join(b"\x01" + name + bytes(8) + b"\x01" + _OWNED for name in (b"c", b"d")),
    ),
}


@pytest.mark.parametrize("name", list(BROKEN_STREAMS))
def test_a_stream_that_does_not_hold_together_is_refused(name: str) -> None:
    """Ids ascend, counts are those of what is there, and what is pending belongs to exactly one."""
    with pytest.raises(FormatError, match="stream"):
        decode(BROKEN_STREAMS[name], 9)

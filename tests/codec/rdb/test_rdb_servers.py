"""RDB files of real servers: what they save is read, what is written is loaded."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.codec.rdb.reading import Entry, Read, read
from tests.servers import VERSIONS, ask, running
from transfer.codec.rdb.decode import decode, decode_dump
from transfer.codec.rdb.items import Aux, DbSizes, Function
from transfer.codec.rdb.writer import RdbWriter, oldest_version
from transfer.endpoint.redis.throwaway import ThrowawayServer

_LATER_MS = 1_999_999_999_999
_LIBRARY = "#!lua name=lib\nredis.register_function('f', function() return 1 end)\n"
_FIELD_TTLS = ("redis-8.2", "valkey-9.1")
_WITHOUT_FUNCTIONS = "redis-6.2"
Words = tuple[str | int | bytes, ...]


def _commands(version: str) -> Iterator[tuple[int, Words]]:
    """(database, command): every type in its small and its large encodings, deadlines, libraries, groups."""
    yield 0, ("SET", "text", "some value")
    yield 0, ("SET", "number", "12345")
    yield 0, ("SET", "packed", "abc" * 3000)
    yield 9, ("SET", "deadline", "v", "PXAT" if version != _WITHOUT_FUNCTIONS else "PX", _LATER_MS)
    yield 0, ("SET", b"\x00\xff binary" * 12, "k" * 70)
    for size, name in ((4, "small"), (700, "large")):
        items = [f"item:{n}" for n in range(size)]
        yield 1, ("RPUSH", f"list:{name}", *items, *("x" * 9000 for _ in range(size // 100)))
        yield 1, ("SADD", f"set:{name}", *items)
        yield 1, ("SADD", f"numbers:{name}", *range(size))
        yield 1, ("ZADD", f"zset:{name}", *(word for n, item in enumerate(items) for word in (str(n / 3), item)))
        yield 1, ("HSET", f"hash:{name}", *(word for item in items for word in (item, "v" * 20)))
        for n in range(1, size):
            yield 2, ("XADD", f"stream:{name}", f"{n}-1", "field", f"value:{n}")
        yield 2, ("XGROUP", "CREATE", f"stream:{name}", "group", "0")
        yield 2, ("XREADGROUP", "GROUP", "group", "reader", "COUNT", 30, "STREAMS", f"stream:{name}", ">")
        yield 2, ("XDEL", f"stream:{name}", "2-1")
        if version in _FIELD_TTLS:
            yield 1, ("HPEXPIREAT", f"hash:{name}", _LATER_MS, "FIELDS", 2, "item:1", "item:2")
    yield 1, ("PEXPIREAT", "hash:small", _LATER_MS)
    if version != _WITHOUT_FUNCTIONS:
        yield 0, ("FUNCTION", "LOAD", _LIBRARY)


async def _filled(server: ThrowawayServer, version: str) -> None:
    for db, words in _commands(version):
        assert not isinstance(await ask(server, *words, db=db), Exception), words


async def _saved(server: ThrowawayServer, path: Path) -> Read:
    assert await ask(server, "SAVE") == b"OK"
    return read(await anyio.Path(path).read_bytes(), 50_000)


async def _assert_live(server: ThrowawayServer, entries: list[Entry], version: int) -> int:
    """Every key of the file is the live one: its body, or at least its value; returns how many bodies were equal."""
    same = 0
    for db, key, body, deadline, _ in entries:
        dump = await ask(server, "DUMP", key, db=db)
        assert isinstance(dump, bytes), key
        same += dump[:-10] == body
        assert dump[:-10] == body or decode_dump(dump) == decode(body, version), key
        ttl = await ask(server, "PTTL", key, db=db)
        assert isinstance(ttl, int)
        assert (ttl == -1) == (deadline == -1), key
    return same


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_a_server_saved_is_what_it_holds(version: str, tmp_path: Path) -> None:
    """Every database, key, body and deadline, the library, the sizes; the checksum is right."""
    async with running(version, "--dir", str(tmp_path), "--dbfilename", "x.rdb", "--save", "") as server:
        await _filled(server, version)
        found = await _saved(server, tmp_path / "x.rdb")
        assert found.header is not None
        same = await _assert_live(server, found.entries, found.header.version)
        sizes = {db: await ask(server, "DBSIZE", db=db) for db in (0, 1, 2, 9)}

    assert found.error is None
    assert found.end is not None
    assert found.end.checksum == "right"
    assert {db: sum(entry[0] == db for entry in found.entries) for db in sizes} == sizes
    assert {item.db: item.keys for item in found.others if isinstance(item, DbSizes)} == sizes
    assert same >= len(found.entries) - 6
    assert found.header.family == ("valkey" if version == "valkey-9.1" else "redis")
    libraries = [item.code for item in found.others if isinstance(item, Function)]
    assert libraries == ([] if version == _WITHOUT_FUNCTIONS else [_LIBRARY.encode()])
    if version != _WITHOUT_FUNCTIONS:
        assert [key_deadline for _, key, _, key_deadline, _ in found.entries if key == b"deadline"] == [_LATER_MS]
    large = read((tmp_path / "x.rdb").read_bytes(), 999, large_bytes=2_000)
    assert large.large
    assert large.entries == found.entries


@pytest.mark.parametrize(("policy", "word", "value"), [("allkeys-lru", "IDLETIME", 5_000), ("allkeys-lfu", "FREQ", 77)])
@pytest.mark.parametrize("version", VERSIONS)
async def test_how_keys_were_used_is_read(version: str, policy: str, word: str, value: int, tmp_path: Path) -> None:
    """By seconds or by count, as the policy of the server keeps it."""
    options = "--dir", str(tmp_path), "--dbfilename", "x.rdb", "--maxmemory-policy", policy, "--lfu-decay-time", "0"
    async with running(version, *options) as server:
        await ask(server, "SET", "a", "text")
        dump = await ask(server, "DUMP", "a")
        assert isinstance(dump, bytes)
        await ask(server, "RESTORE", "b", _LATER_MS, dump, "ABSTTL", word, value)
        found = await _saved(server, tmp_path / "x.rdb")

    used = {key: use for _, key, _, _, use in found.entries}
    assert value <= used[b"b"] <= value + 60
    assert 0 <= used[b"a"] < 60


def _written(found: Read, version: int) -> bytes:
    writer, db = RdbWriter(version), -1
    parts = [writer.header(), writer.aux(b"made-by", b"a test")]
    parts += [writer.function(item.code) for item in found.others if isinstance(item, Function)]
    for entry in found.entries:
        if entry[0] != db:
            db = entry[0]
            parts += [writer.select_db(db), writer.resize_db(sum(other[0] == db for other in found.entries), 1)]
        parts.append(writer.key(*entry[1:4], 60, "idletime"))
    return b"".join((*parts, writer.end()))


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_written_a_server_loads(version: str, tmp_path: Path) -> None:
    """The oldest version that knows the types: a server starts with the file and holds every key as it was."""
    path = tmp_path / "x.rdb"
    options = "--dir", str(tmp_path), "--dbfilename", path.name, "--save", ""
    async with running(version, *options) as server:
        await _filled(server, version)
        found = await _saved(server, path)
    kinds = {body[0] for _, _, body, _, _ in found.entries}
    functions = any(isinstance(item, Function) for item in found.others)
    oldest = oldest_version(kinds, valkey=version.startswith("valkey"), functions=functions)
    path.write_bytes(_written(found, oldest))

    assert found.header is not None
    assert oldest <= found.header.version
    if shutil.which("redis-check-rdb") and oldest <= 10:
        checked = await anyio.run_process(["redis-check-rdb", path], check=False)
        assert checked.returncode == 0, checked.stdout
    async with running(version, *options) as server:
        await _assert_live(server, found.entries, oldest)
        assert sum([int(str(await ask(server, "DBSIZE", db=db))) for db in (0, 1, 2, 9)]) == len(found.entries)
    again = read(path.read_bytes())
    assert again.entries == [(*entry[:4], 60 if oldest >= 9 else -1) for entry in found.entries]
    assert [type(item) for item in again.others].count(Aux) == 1

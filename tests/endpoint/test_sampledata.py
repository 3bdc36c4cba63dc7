"""Sample data is realistic, the same for the same seed, checkable, and goes without a trace of others' keys."""

from __future__ import annotations

import importlib

import pytest

from tests.servers import VERSIONS, ask, running
from transfer.endpoint.redis import sample
from transfer.endpoint.redis.sample import families
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.errors import DatabasesError, GuardError, UsageError
from transfer.model.report import Verdict
from transfer.wire.dial import Dialer
from transfer.wire.link import Link, Reply

KEYS = 3_000


def _dialer(server: ThrowawayServer) -> Dialer:
    return Dialer(server.address)


async def _size(server: ThrowawayServer) -> int:
    return sum([await ask(server, "DBSIZE", db=db) for db in range(16)])


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_takes_it_gives_it_back_and_is_empty_again(version: str) -> None:
    """fill, verify, clear on each server: all keys as declared, and nothing left."""
    async with running(version) as server:
        filled = await sample.fill(_dialer(server), keys=KEYS)
        assert await _size(server) == filled.keys == KEYS
        verified = await sample.verify(_dialer(server))
        assert verified.findings == []
        assert sum(count.same for count in verified.families.values()) == KEYS
        cleared = await sample.clear(_dialer(server))
        assert (cleared.removed, cleared.changed, cleared.gone) == (KEYS, 0, 0)
        assert await _size(server) == 0


async def test_every_type_and_several_databases_and_deadlines_on_a_third_are_there() -> None:
    """A copy that manages this data has met everything a plain server can hold."""
    async with running() as server:
        filled = await sample.fill(_dialer(server), keys=20_000)
        assert sorted(filled.dbs) == [0, 1, 5]
        asked = {
            b"user:7": b"string", b"driver:1": b"hash", b"queue:1": b"list", b"tags:1": b"set",
            b"leaderboard:4": b"zset", b"events:1": b"stream", b"visitors:1": b"string", b"config:system": b"string",
        }  # fmt: skip
        assert {key: await ask(server, "TYPE", key) for key in asked} == asked
        keyspace = (await ask(server, "INFO", "keyspace")).decode()
        expires = sum(
            int(line.split("expires=")[1].split(",")[0]) for line in keyspace.splitlines() if "expires=" in line
        )
        assert 0.30 < expires / filled.keys < 0.37
        assert await ask(server, "OBJECT", "ENCODING", "tags:2") == b"intset"
        assert (await ask(server, "XPENDING", "events:1", "workers"))[0] == 3
        assert await ask(server, "ZSCORE", "leaderboard:4", "odd:1") == b"-inf"
        assert await ask(server, "STRLEN", "big:string") == 2 << 20
        assert await ask(server, "HLEN", "big:hash") == 50_000
        assert abs(await ask(server, "PFCOUNT", "visitors:0") - 5_000) < 250


def test_the_same_seed_gives_the_same_items_and_another_seed_others() -> None:
    """Values hang on the seed; names and deadlines on the number alone."""
    first, again, other = (list(families.items(seed, 500)) for seed in (3, 3, 4))
    assert first == again
    assert [item.key for item in first] == [item.key for item in other]
    assert sum(mine.value != theirs.value for mine, theirs in zip(first, other, strict=True)) > 300


def test_names_are_those_of_the_items_and_no_two_are_the_same() -> None:
    """What fill looks up before writing is what it writes; one database can hold it all."""
    items = list(families.items(1, 20_000))
    assert list(families.names(20_000)) == [(item.db, item.key) for item in items]
    assert len({item.key for item in items}) == len(items) == 20_000 - len(families.DBS)


async def test_a_database_in_the_address_holds_all_of_it() -> None:
    """redis://host/3 touches no other database."""
    async with running() as server:
        there = Dialer(type(server.address)(host=server.address.host, port=server.address.port, db=3))
        filled = await sample.fill(there, keys=500)
        assert filled.dbs == {3: await ask(server, "DBSIZE", db=3)}
        assert await _size(server) == filled.keys
        assert (await sample.verify(there)).different == 0
        await sample.clear(there)
        assert await _size(server) == 0


async def test_a_server_with_too_few_databases_is_told_so() -> None:
    """The hint says how one database is enough."""
    async with running("valkey-9.1", "--databases", "2") as server:
        with pytest.raises(DatabasesError, match="no database 5"):
            await sample.fill(_dialer(server), keys=500)
        assert await ask(server, "DBSIZE") == 0


async def test_clear_leaves_what_others_wrote_or_changed() -> None:
    """Foreign keys stay, also under names like ours; so does a key of ours that somebody gave another value."""
    async with running() as server:
        await sample.fill(_dialer(server), keys=KEYS)
        await ask(server, "SET", "user:999999", "not ours")
        await ask(server, "SET", "foreign", "1", db=5)
        await ask(server, "SET", "user:1", "changed")
        await ask(server, "HSET", "driver:1", "state", "changed")
        await ask(server, "DEL", "queue:1")
        await ask(server, "RPUSH", "tags:x", "1")
        await ask(server, "PERSIST", "queue:0")
        cleared = await sample.clear(_dialer(server))
        assert (cleared.changed, cleared.gone) == (2, 1)
        assert sorted(await ask(server, "KEYS", "*")) == [b"driver:1", b"tags:x", b"user:1", b"user:999999"]
        assert await ask(server, "KEYS", "*", db=5) == [b"foreign"]
        assert await ask(server, "KEYS", "*", db=1) == []


async def test_a_key_that_changes_while_clear_looks_at_it_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the removal somebody writes: the removal is void, and the second look finds it foreign."""
    module = importlib.import_module("transfer.endpoint.redis.sample.clear")
    read_all = module.read_all
    changed: list[Reply] = []

    async def read_then_change(link: Link, first: bytes, found: list[families.Item]) -> list[Reply]:
        replies: list[Reply] = await read_all(link, first, found)
        if not changed and any(item.key == b"user:1" for item in found):
            changed.append(await ask(server, "SET", "user:1", "just now"))
        return replies

    monkeypatch.setattr(module, "read_all", read_then_change)
    async with running() as server:
        await sample.fill(_dialer(server), keys=500)
        cleared = await sample.clear(_dialer(server))
        assert (cleared.changed, cleared.gone, cleared.removed) == (1, 0, 499)
        assert await ask(server, "GET", "user:1") == b"just now"


async def test_clear_without_a_manifest_removes_nothing() -> None:
    """Names alone prove nothing."""
    async with running() as server:
        await ask(server, "SET", "user:1", "somebody's")
        assert (await sample.clear(_dialer(server))).removed == 0
        assert await _size(server) == 1


async def test_fill_refuses_names_that_are_taken() -> None:
    """Nothing is written, and the message names the key."""
    async with running() as server:
        await ask(server, "SET", "cart:3", "somebody's", db=1)
        with pytest.raises(GuardError, match=r"1 names .* db 1: 'cart:3'"):
            await sample.fill(_dialer(server), keys=500)
        assert await _size(server) == 1


async def test_a_foreign_key_under_the_name_of_the_manifest_is_refused() -> None:
    """Neither text nor another type under that name is taken for a manifest, nor overwritten."""
    async with running() as server:
        for words in (("SET", sample.MANIFEST_KEY, "hello"), ("RPUSH", sample.MANIFEST_KEY, "hello")):
            await ask(server, "FLUSHALL")
            await ask(server, *words)
            for act in (sample.fill, sample.verify, sample.clear):
                with pytest.raises(GuardError, match="was not written by demo fill"):
                    await act(_dialer(server))
            assert await _size(server) == 1


async def test_fill_again_renews_its_own_data_but_not_what_was_changed() -> None:
    """The manifest says which keys are ours; one with a foreign value stops the whole."""
    async with running() as server:
        await sample.fill(_dialer(server), keys=500)
        await ask(server, "DEL", "user:2")
        assert (await sample.fill(_dialer(server), keys=500)).keys == 500
        assert (await sample.verify(_dialer(server))).different == 0
        with pytest.raises(GuardError, match="500 demo keys of seed 1"):
            await sample.fill(_dialer(server), keys=500, seed=2)
        await ask(server, "SET", "user:2", "somebody's")
        with pytest.raises(GuardError, match="user:2"):
            await sample.fill(_dialer(server), keys=500)
        assert await ask(server, "GET", "user:2") == b"somebody's"
        assert await _size(server) == 500


@pytest.mark.parametrize(
    ("words", "verdict", "key"),
    [
        (("DEL", "user:5"), Verdict.MISSING, b"user:5"),
        (("SET", "user:5", "{}"), Verdict.VALUE, b"user:5"),
        (("APPEND", "active:1", "\0"), Verdict.VALUE, b"active:1"),
        (("RENAME", "user:5", "driver:5"), Verdict.TYPE, b"driver:5"),
        (("SREM", "tags:2", "no", "-1"), None, b""),
        (("SADD", "tags:2", "7777777"), Verdict.VALUE, b"tags:2"),
        (("LSET", "queue:3", "0", "x"), Verdict.VALUE, b"queue:3"),
        (("ZINCRBY", "leaderboard:4", "0.5", "odd:2"), Verdict.VALUE, b"leaderboard:4"),
        (("HDEL", "driver:9", "note"), Verdict.VALUE, b"driver:9"),
        (("XGROUP", "DELCONSUMER", "events:1", "workers", "bob"), Verdict.VALUE, b"events:1"),
        (("XDEL", "events:1", "1700000060000-0"), Verdict.VALUE, b"events:1"),
        (("DEL", "events:1"), Verdict.MISSING, b"events:1"),
        (("PFADD", "visitors:1", "one more"), Verdict.VALUE, b"visitors:1"),
        (("PERSIST", "queue:4"), Verdict.TTL, b"queue:4"),
        (("EXPIRE", "user:5", "1000"), Verdict.TTL, b"user:5"),
        (("EXPIRE", "queue:4", "60"), Verdict.TTL, b"queue:4"),
        (("DEL", "transfer:demo:manifest"), Verdict.MISSING, b"transfer:demo:manifest"),
    ],
)
async def test_verify_finds_each_kind_of_difference(
    words: tuple[str, ...], verdict: Verdict | None, key: bytes
) -> None:
    """One change in one key is one finding with its name; a change of nothing is none."""
    async with running() as server:
        await sample.fill(_dialer(server), keys=500)
        await ask(server, *words)
        found = {finding.key: finding.verdict for finding in (await sample.verify(_dialer(server))).findings}
        assert found.get(key) is verdict
        assert len(found) <= 2


async def test_verify_of_an_empty_server_misses_the_manifest() -> None:
    """Where nothing was filled nothing can be as declared."""
    async with running() as server:
        verified = await sample.verify(_dialer(server))
        assert [finding.verdict for finding in verified.findings] == [Verdict.MISSING]
        assert verified.different == 1


async def test_a_cut_fill_can_be_cleared() -> None:
    """The manifest is there before the first key, and every key is there whole or not at all."""
    async with running() as server:
        await sample.fill(_dialer(server), keys=500)
        for key in await ask(server, "KEYS", "[a-e]*"):
            await ask(server, "DEL", key)
        cleared = await sample.clear(_dialer(server))
        assert cleared.gone > 50
        assert await _size(server) == 0


async def test_a_key_past_its_deadline_is_no_difference() -> None:
    """What had to expire since is counted apart."""
    async with running() as server:
        await sample.fill(_dialer(server), keys=500)
        manifest = await ask(server, "GET", sample.MANIFEST_KEY)
        filled_at = int(manifest.split(b'"filled_at_ms":')[1].strip(b"}"))
        long_ago = manifest.replace(b"%d" % filled_at, b"%d" % (filled_at - 86_400_000 * 40))
        for db in families.DBS:
            await ask(server, "SET", sample.MANIFEST_KEY, long_ago, db=db)
        for key in await ask(server, "KEYS", "session:*"):
            await ask(server, "DEL", key)
        count = (await sample.verify(_dialer(server))).families["session:*"]
        assert (count.expired, count.same, count.different) == (count.expected, 0, 0)


def test_too_few_keys_are_refused() -> None:
    """Every family needs a key."""
    with pytest.raises(UsageError, match="cannot hold every family"):
        families.counted(99)

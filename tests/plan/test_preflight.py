"""Preflight on real servers: every refusal, every hazard, and no effect on either side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest
import trustme

from tests.clusters import cluster_node
from tests.servers import VERSIONS, ask, need, running, server_context, with_tls
from transfer.cli.render.plan import plan_json, plan_lines
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.endpoint import Address, Secret
from transfer.model.errors import (
    DatabasesError,
    IncompatibleError,
    PermissionDeniedError,
    ReadOnlyTargetError,
    ReplicaSourceError,
    SamePlaceError,
    SentinelError,
    TargetSizeError,
)
from transfer.model.plan import CopyPlan, CopyRequest
from transfer.plan import look
from transfer.plan.preflight import plan_copy, unaccepted

PAIRS = [(a, b) for a in VERSIONS for b in VERSIONS]
FITS = {
    "redis-6.2": {"redis-6.2"},
    "redis-7.0": {"redis-6.2", "redis-7.0"},
    "redis-8.2": {"redis-6.2", "redis-7.0", "valkey-8.1", "redis-8.2"},
    "valkey-8.1": {"redis-6.2", "redis-7.0", "valkey-8.1"},
    "valkey-9.1": {"redis-6.2", "redis-7.0", "valkey-8.1", "valkey-9.1"},
}
"""Target -> sources whose payloads it takes unchanged."""


@pytest.fixture(autouse=True)
def _looks_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second between the two looks at the target is enough here."""
    monkeypatch.setattr(look, "BETWEEN_LOOKS_S", 0.1)


async def plan(source: ThrowawayServer | Address, target: ThrowawayServer | Address, **words: Any) -> CopyPlan:
    """The plan of a copy between two servers, by the words of its request."""
    addresses = [one if isinstance(one, Address) else one.address for one in (source, target)]
    request = CopyRequest(source=addresses[0], target=addresses[1], **words)
    return await plan_copy(request, await Server.open(request.source), await Server.open(request.target))


def names(found: CopyPlan) -> list[str]:
    return [hazard.name for hazard in found.hazards]


def at(server: ThrowawayServer, **parts: Any) -> Address:
    return msgspec.structs.replace(server.address, **parts)


@asynccontextmanager
async def two(
    source: str = "redis-7.0", target: str = "redis-7.0", *options: str
) -> AsyncIterator[tuple[ThrowawayServer, ThrowawayServer]]:
    """A source and a target, *options* are the target's."""
    need(source)
    need(target)
    async with running(source) as a, running(target, *options) as b:
        yield a, b


async def follow(replica: ThrowawayServer, primary: ThrowawayServer) -> None:
    """Make one server the replica of another and wait until it has its data."""
    await ask(primary, "CONFIG", "SET", "repl-diskless-sync-delay", 0)
    await ask(replica, "REPLICAOF", primary.address.host, primary.address.port)
    with anyio.fail_after(20):
        while b"master_link_status:up" not in await ask(replica, "INFO", "replication"):  # noqa: ASYNC110
            await anyio.sleep(0.02)


@pytest.mark.parametrize(("source", "target"), PAIRS)
async def test_payloads_travel_raw_where_the_target_takes_them(source: str, target: str) -> None:
    """Found by RESTORE itself; where it says no, payloads are stamped anew, or raw is refused."""
    async with two(source, target) as (a, b):
        found = await plan(a, b)
        assert found.writing == ("raw" if source in FITS[target] else "restamp")
        assert found.hazards == []
        assert found.changes_known_by == "tracking"
        if found.writing != "raw":
            with pytest.raises(IncompatibleError, match="writes DUMP payloads of version"):
                await plan(a, b, format="raw")


@pytest.mark.parametrize("version", VERSIONS)
async def test_preflight_writes_nothing_on_either_side(version: str) -> None:
    """MONITOR sees no write but RESTORE of a type no server has, or of what expired in 1970; no key is there then."""
    async with two(version, version) as (a, b):
        await ask(a, "SET", "app:1", "v")
        seen = [await plan_watched(a, a, b), await plan_watched(b, a, b)]
        assert await ask(a, "DBSIZE") == 1
        assert await ask(b, "DBSIZE") == 0

        for words in seen[0] + seen[1]:
            name = words.split()[0].strip('"').upper()
            flags = (await ask(a, "COMMAND", "INFO", name))[0][2]
            if name == "RESTORE":
                assert r'"0" "\b' in words or ('"transfer:probe:' in words and '"1"' in words and '"ABSTTL"' in words)
            else:
                assert b"write" not in flags, words
                assert "write" not in flags, words
    assert any("RESTORE" in words for words in seen[1])


async def plan_watched(watched: ThrowawayServer, a: ThrowawayServer, b: ThrowawayServer) -> list[str]:
    """Commands that *watched* ran while a plan was made: the words of each."""
    monitor = await watched.link()
    assert await monitor.command("MONITOR") == b"OK"
    await plan(a, b, renames=((b"app:", b"new:"),), format="logical")
    await ask(watched, "ECHO", "the-plan-is-made")
    lines: list[str] = []
    while not (lines and "the-plan-is-made" in lines[-1]):
        lines.append((await monitor.next_push()).decode())
    await monitor.close()
    return [line.split("] ", 1)[1] for line in lines]


async def test_the_plan_counts_both_sides_and_tells_them_apart() -> None:
    """Per database: keys, deadlines, what the target holds; per server: who it is."""
    async with two("redis-7.0", "valkey-8.1") as (a, b):
        for db in (0, 4):
            await ask(a, "SET", "k", "v", db=db)
            await ask(a, "SET", "t", "v", "EX", 1000, db=db)
        await ask(b, "SET", "x", "v", db=4)
        found = await plan(a, b, allow=frozenset({"nonempty-target"}), match=(b"k\x00*",))
        text = "\n".join(plan_lines(found, {"nonempty-target"}))

    assert [(db.source_db, db.target_db, db.keys, db.with_deadline, db.target_keys) for db in found.dbs] == [
        (0, 0, 2, 1, 0),
        (4, 4, 2, 1, 1),
    ]
    assert text.startswith("copy 2 logical databases, 4 keys: redis://127.0.0.1:")
    assert "Redis 7.0.15, primary" in text
    assert "Valkey 8.1" in text
    assert "nonempty-target: accepted by --allow" in text
    assert r'"k\x00*"' in text
    assert plan_json(found)["plan"] == found.fingerprint()
    assert msgspec.json.encode(plan_json(found))


async def test_the_fingerprint_is_of_the_choice_and_not_of_the_moment() -> None:
    """More keys are the same plan; another policy, even in the smallest unit, is another."""
    async with two() as (a, b):
        first = (await plan(a, b, ttl="cap", ttl_amount_ms=86_400_000)).fingerprint()
        await ask(a, "SET", "k", "v")
        again = (await plan(a, b, ttl="cap", ttl_amount_ms=86_400_000)).fingerprint()
        other = (await plan(a, b, ttl="cap", ttl_amount_ms=86_400_001)).fingerprint()

    assert first == again != other


async def test_a_server_is_not_copied_onto_itself() -> None:
    """The same run id and an overlapping database; two databases of one server are two places."""
    async with running("redis-7.0") as a:
        await ask(a, "SET", "k", "v")
        with pytest.raises(SamePlaceError, match="the same server"):
            await plan(a, a)
        with pytest.raises(SamePlaceError):
            await plan(at(a, db=1), at(a, host="localhost", db=1))
        assert [db.target_db for db in (await plan(at(a, db=0), at(a, db=1))).dbs] == [1]


@pytest.mark.parametrize("version", VERSIONS)
async def test_replicating_pairs_are_refused_in_every_direction(version: str) -> None:
    """Target of source, source of target, both of one primary."""
    async with AsyncExitStack() as stack:
        primary, one, other = [await stack.enter_async_context(running(version)) for _ in range(3)]
        await follow(one, primary)
        await follow(other, primary)
        with pytest.raises(SamePlaceError, match="target replicates from the source"):
            await plan(primary, one)
        with pytest.raises(SamePlaceError, match="source replicates from the target"):
            await plan(one, primary)
        with pytest.raises(SamePlaceError, match="replicas of one primary"):
            await plan(one, other)


async def test_a_replica_that_has_not_met_its_primary_yet_is_known_by_its_address() -> None:
    """Replication ids are equal only after the first sync; the primary refuses this one for want of a password."""
    secret = {"password": "s3cret-primary"}
    async with running("redis-7.0", **secret) as primary, running("redis-7.0") as replica:
        await ask(replica, "REPLICAOF", "localhost", primary.address.port)
        with pytest.raises(SamePlaceError, match="target replicates from the source"):
            await plan(primary, replica)


async def test_a_replica_that_knows_its_primary_by_another_address_is_found_by_its_history() -> None:
    """Behind a proxy or a second name, the replication id is the same."""
    async with two() as (primary, replica), with_tls(primary.address, server_context(trustme.CA())) as proxy:
        await follow(replica, primary)
        elsewhere = msgspec.structs.replace(proxy, verify_tls=False)
        with pytest.raises(SamePlaceError, match="target replicates from the source"):
            await plan(elsewhere, replica)
        with pytest.raises(SamePlaceError, match="source replicates from the target"):
            await plan(replica, elsewhere)


async def test_a_replica_as_target_is_refused_and_its_primary_named() -> None:
    """Writes belong to the primary."""
    async with two() as (a, b), running("redis-7.0") as primary:
        await follow(b, primary)
        with pytest.raises(ReadOnlyTargetError) as caught:
            await plan(a, b)

    assert f":{primary.address.port}" in caught.value.hint


async def test_a_replica_as_source_needs_its_link() -> None:
    """In step it is as good as its primary; cut off, its data is of no known moment."""
    async with two() as (a, b), running("redis-7.0") as primary:
        await follow(a, primary)
        assert (await plan(a, b)).source.identity.role == "slave"
        await ask(a, "REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(ReplicaSourceError, match="has lost the link"):
            await plan(a, b)


@pytest.mark.parametrize("version", ["redis-6.2", "valkey-9.1"])
async def test_a_sentinel_is_not_a_place(version: str) -> None:
    """It names what it watches, which is the place that was meant."""
    async with running(version, "--sentinel") as sentinel, running("redis-7.0") as server:
        await ask(sentinel, "SENTINEL", "MONITOR", "orders", "127.0.0.1", server.address.port, 1)
        for pair in ((sentinel, server), (server, sentinel)):
            with pytest.raises(SentinelError, match=f"orders at 127.0.0.1:{server.address.port}"):
                await plan(*pair)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_cluster_node_is_one_shard_on_either_side(version: str) -> None:
    """Node, slots and share are in the hazard, which exits 5 unless accepted."""
    async with cluster_node(version) as node, running("redis-7.0") as plain:
        await ask(node, "CLUSTER", "ADDSLOTS", *range(8192))
        name = (await ask(node, "CLUSTER", "MYID")).decode()
        for source, target in ((node, plain), (plain, node)):
            found = await plan(source, target)
            hazard = next(hazard for hazard in found.hazards if hazard.name == "one-shard")
            assert (hazard.exit_code, hazard.code) == (5, "E501")
            assert all(part in hazard.message for part in (name, "0-8191", "8,192 of 16,384", "50.0%"))


async def test_a_database_the_target_lacks_is_named() -> None:
    """Also one that only the source's URL names, and one of a cluster node, which has database 0 alone."""
    async with two("redis-7.0", "redis-7.0", "--databases", "4") as (a, b):
        await ask(a, "SET", "k", "v", db=9)
        with pytest.raises(DatabasesError, match=r"target has 4 databases .* not 9"):
            await plan(a, b)
        with pytest.raises(DatabasesError, match="target has 4"):
            await plan(at(a, db=0), at(b, db=12))
        with pytest.raises(DatabasesError, match="source has 16"):
            await plan(at(a, db=16), at(b, db=0))
        assert [(db.source_db, db.target_db) for db in (await plan(a, b, dbs=((None, 3),))).dbs] == [(9, 3)]


async def test_a_target_with_keys_needs_consent() -> None:
    """Only the databases that are written count, and a conflict policy that is named is consent."""
    async with two() as (a, b):
        await ask(a, "SET", "k", "v")
        await ask(b, "SET", "k", "v", db=1)
        assert names(await plan(a, b)) == []
        await ask(b, "SET", "k", "v")
        found = await plan(a, b)
        assert names(found) == ["nonempty-target"]
        assert "database 0: 1 key)" in found.hazards[0].message
        assert names(await plan(a, b, on_conflict="skip")) == []


async def test_consent_by_name_takes_a_hazard_off_the_open_ones() -> None:
    """It stays listed."""
    async with two() as (a, b):
        await ask(b, "SET", "k", "v")
        found = await plan(a, b)
        request = CopyRequest(source=a.address, target=b.address)

    assert [hazard.name for hazard in unaccepted(found, request)] == ["nonempty-target"]
    assert unaccepted(found, msgspec.structs.replace(request, allow=frozenset({"nonempty-target"}))) == []


async def test_an_evicting_target_needs_consent() -> None:
    """A policy without a limit evicts nothing."""
    async with two("redis-7.0", "valkey-9.1", "--maxmemory-policy", "volatile-lfu") as (a, b):
        assert names(await plan(a, b)) == []
        await ask(b, "CONFIG", "SET", "maxmemory", "100mb")
        found = await plan(a, b)

    assert [(hazard.name, hazard.exit_code, hazard.code) for hazard in found.hazards] == [
        ("evicting-target", 5, "E505")
    ]


async def test_a_target_too_small_is_refused_before_the_first_write() -> None:
    """Unless the request says what to do when it is full, or leaves keys out."""
    async with two("redis-7.0", "redis-7.0", "--maxmemory", "6mb", "--maxmemory-policy", "noeviction") as (a, b):
        await ask(a, "SETRANGE", "big", 16 << 20, "x")
        await ask(a, "SETRANGE", "big", 16 << 20, "x", db=1)
        with pytest.raises(TargetSizeError) as caught:
            await plan(at(a, db=0), b)
        assert 16 << 20 < int(str(caught.value.facts["wanted_bytes"])) < 24 << 20  # half of both, as allocated
        assert (await plan(at(a, db=0), b, on_full="stop")).warnings != []
        assert (await plan(a, b, match=(b"a*",))).warnings != []


async def test_a_target_that_others_write_to_needs_consent() -> None:
    """Two looks half a second apart see the writes of somebody else."""
    async with two() as (a, b), anyio.create_task_group() as group:

        async def write() -> None:
            link = await b.link(db=1)
            while True:
                await link.command("INCR", "n")

        group.start_soon(write)
        found = await plan(a, b)
        group.cancel_scope.cancel()

    assert names(found) == ["busy-target"]


async def test_a_target_with_waiting_clients_needs_consent() -> None:
    """Somebody in BLPOP would take what the copy brings."""
    async with two() as (a, b), anyio.create_task_group() as group:

        async def wait() -> None:
            link = await b.link()
            await link.command("BLPOP", "queue", 0)

        group.start_soon(wait)
        with anyio.fail_after(10):
            while b"blocked_clients:1" not in await ask(b, "INFO", "clients"):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        found = await plan(a, b)
        group.cancel_scope.cancel()

    assert names(found) == ["busy-target"]
    assert "blocking command" in found.hazards[0].message


async def test_clocks_apart_need_consent_where_deadlines_are_kept() -> None:
    """The servers share this machine's clock: the offset that was measured is moved instead."""
    async with two() as (a, b):
        source, target = await Server.open(a.address), await Server.open(b.address)
        target._offset_ms += 5_000
        request = CopyRequest(source=a.address, target=b.address)
        found = await plan_copy(request, source, target)
        relaxed = [
            await plan_copy(msgspec.structs.replace(request, **words), source, target)
            for words in ({"ttl": "rebase"}, {"ttl": "drop"}, {"max_skew_ms": 60_000})
        ]

    assert names(found) == ["clock-skew"]
    assert abs(found.skew_ms - 5_000) < 200
    assert [names(one) for one in relaxed] == [[], [], []]


@pytest.mark.parametrize("version", VERSIONS)
async def test_missing_rights_are_named_for_both_sides_at_once(version: str) -> None:
    """Side, user and each command; subcommands as ACL rules name them."""
    async with two(version, version) as (a, b):
        await ask(a, "SET", "app:1", "v")
        await ask(a, "ACL", "SETUSER", "reader", "on", ">pw-1", "~*", "&*", "+@all", "-dump", "-xinfo")
        await ask(b, "ACL", "SETUSER", "writer", "on", ">pw-2", "~*", "&*", "+@all", "-restore")
        source = at(a, username="reader", password=Secret("pw-1"))
        target = at(b, username="writer", password=Secret("pw-2"))
        with pytest.raises(PermissionDeniedError) as caught:
            await plan(source, target)
        with pytest.raises(PermissionDeniedError, match=r"lacks DUMP; user writer .* lacks RESTORE$"):
            await plan(source, target, verify="none")

    assert "user reader of the source" in caught.value.message
    assert "user writer of the target" in caught.value.message
    assert {"DUMP", "XINFO|STREAM", "RESTORE"} <= set(caught.value.facts["commands"])  # type: ignore[call-overload]
    assert "pw-" not in caught.value.message


async def test_rights_that_only_large_keys_need_are_a_warning() -> None:
    """The copy is not refused for them; the keys that would be rejected are told, and whose right it is."""
    async with two() as (a, b):
        await ask(a, "SET", "app:1", "v")
        await ask(a, "ACL", "SETUSER", "reader", "on", "nopass", "~*", "&*", "+@all", "-zscan")
        await ask(b, "ACL", "SETUSER", "writer", "on", "nopass", "~app:*", "&*", "+@all", "-setrange")
        source = at(a, username="reader", password=Secret("any"))
        target = at(b, username="writer", password=Secret("any"))
        found = await plan(source, target, match=(b"app:*",))
        raw = await plan(source, target, match=(b"app:*",), format="raw")

    (warning,) = [text for text in found.warnings if "big-key" in text]
    assert "keys above --big-key would be rejected: user reader of the source" in warning
    assert "lacks ZSCAN; user writer of the target" in warning
    assert warning.endswith("keys transfer:tmp:*, SETRANGE") or warning.endswith("SETRANGE, keys transfer:tmp:*")
    assert not [text for text in raw.warnings if "big-key" in text]


async def test_a_user_of_some_keys_may_copy_those() -> None:
    """Rights are asked for a key the copy would take, under the name it gets."""
    async with two() as (a, b):
        await ask(a, "SET", "app:1", "v")
        await ask(a, "SET", "other", "v")
        await ask(b, "ACL", "SETUSER", "writer", "on", "nopass", "~new:*", "&*", "+@all")
        target = at(b, username="writer", password=Secret("any"))
        found = await plan(a, target, match=(b"app:*",), renames=((b"app:", b"new:"),))
        with pytest.raises(PermissionDeniedError, match="for this key"):
            await plan(a, target, match=(b"app:*",))

    assert found.writing == "raw"


async def test_a_certificate_that_is_not_verified_needs_consent() -> None:
    """The plan says which side may be anybody."""
    async with two() as (a, b), with_tls(a.address, server_context(trustme.CA())) as secure:
        found = await plan(msgspec.structs.replace(secure, verify_tls=False), b)

    assert names(found) == ["insecure"]
    assert "source rediss://" in found.hazards[0].message


async def test_reading_that_changes_what_is_evicted_needs_consent() -> None:
    """By LRU, with a limit, and without CLIENT NO-TOUCH; any one missing makes it a line at most."""
    lru = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    async with running("redis-7.0", *lru) as old, running("valkey-8.1", *lru) as new, two() as (a, b):
        assert names(await plan(old, b)) == ["touch"]
        assert names(await plan(new, b)) == []
        found = await plan(a, b)

    assert found.hazards == []
    assert any("NO-TOUCH" in note for note in found.notes)


async def test_what_does_not_travel_is_said() -> None:
    """ACL users are counted; functions travel with the whole of a source only."""
    async with two() as (a, b):
        for name in ("one", "two"):
            body = f"#!lua name={name}\nredis.register_function('{name}', function() return 1 end)"
            assert await ask(a, "FUNCTION", "LOAD", body) == name.encode()
        await ask(a, "ACL", "SETUSER", "app")
        found, part = await plan(a, b), await plan(a, b, match=(b"x*",))

    assert found.not_copied == ["1 ACL user"]
    assert "1 ACL user" in part.not_copied
    assert (sorted(found.functions), part.functions) == (["one", "two"], [])
    assert any("travel ahead of the keys" in note for note in found.notes)
    assert any("2 function libraries" in text and "only a part" in text for text in part.not_copied)

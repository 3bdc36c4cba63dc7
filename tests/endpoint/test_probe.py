"""Who answers, what it can do, and what its user may do: asked of real servers of every version."""

from __future__ import annotations

import pytest

from tests.clusters import cluster_node
from tests.servers import VERSIONS, ask, running
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.restorable import presumed_types
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.endpoint import Features, Identity
from transfer.model.errors import PermissionDeniedError
from transfer.wire.link import Link

DUMP_VERSIONS = {"redis-6.2": 9, "redis-7.0": 10, "redis-8.2": 12, "valkey-8.1": 11, "valkey-9.1": 80}
_TO_15 = {0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15}
_TO_19, _TO_21 = _TO_15 | {16, 17, 18, 19}, _TO_15 | {16, 17, 18, 19, 20, 21}
TYPES = {"redis-6.2": _TO_15, "redis-7.0": _TO_19, "redis-8.2": _TO_21 | {24, 25}}
TYPES |= {"valkey-8.1": _TO_21, "valkey-9.1": _TO_21 | {22}}
every_version = pytest.mark.parametrize("version", VERSIONS)


async def know(server: ThrowawayServer) -> tuple[Identity, Features]:
    link = await server.link()
    identity = await probe.identify(link)
    features = await probe.probe_features(link, identity)
    await link.close()
    return identity, features


async def as_user(server: ThrowawayServer, *rules: str) -> Link:
    """A link of a new user with these rules."""
    link = await server.link()
    assert await link.command("ACL", "SETUSER", "u", "reset", "on", "nopass", *rules) == b"OK"
    assert await link.command("AUTH", "u", "any") == b"OK"
    return link


@every_version
async def test_a_server_says_its_vendor_and_its_true_version(version: str) -> None:
    """Valkey's frozen redis_version is not taken for its version."""
    async with running(version) as server:
        identity, _ = await know(server)

    vendor, number = version.split("-")
    assert (identity.vendor, ".".join(map(str, identity.version[:2]))) == (vendor, number)
    assert (identity.mode, identity.role, identity.link_up) == ("standalone", "master", True)
    assert len(identity.run_id) == len(identity.replid) == 40
    assert identity.replid2 == ""


@every_version
async def test_abilities_are_those_of_the_version(version: str) -> None:
    """What is found by trying agrees with what the version is known to do."""
    async with running(version) as server:
        identity, features = await know(server)

    own = DUMP_VERSIONS[version]
    assert features.dump_version == own
    older = set(range(6, min(own, 11) + 1)) if identity.vendor == "valkey" else set(range(6, own + 1))
    assert features.restores == older | ({80} if own == 80 else set())
    assert features.restore_types == TYPES[version]
    assert features.tracking
    assert features.memory_usage
    assert features.pexpiretime == (version != "redis-6.2")
    assert features.no_touch == (version not in ("redis-6.2", "redis-7.0"))
    assert features.field_ttl == (version in ("redis-8.2", "valkey-9.1"))


@every_version
async def test_probing_leaves_no_key_and_no_state(version: str) -> None:
    """Afterwards the keyspace is empty and the link neither tracks nor speaks RESP3."""
    async with running(version) as server:
        link = await server.link()
        identity = await probe.identify(link)
        await probe.probe_features(link, identity)
        await probe.databases(link)
        listed = (await link.command("CLIENT", "LIST")).decode()
        assert await probe.missing_rights(link, identity, "target", values=True, logical=True) == []
        assert await link.command("DBSIZE") == 0
        assert await probe.keyspace(link) == {}
        await link.close()

    ours = next(line for line in listed.splitlines() if "cmd=client" in line)
    assert "flags=N " in ours
    assert " db=0 " in ours


async def test_a_full_or_read_only_server_is_judged_by_its_version() -> None:
    """RESTORE that is refused for want of memory says nothing about formats."""
    async with running("redis-7.0", "--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as server:
        _, full = await know(server)
    async with running("valkey-9.1") as server:
        await ask(server, "REPLICAOF", "127.0.0.1", 1)
        identity, replica = await know(server)

    assert full.restore_types == TYPES["redis-7.0"]
    assert replica.restore_types == TYPES["valkey-9.1"]
    assert full.restores == set(range(6, 11))
    assert replica.restores == {*range(6, 12), 80}
    assert (identity.role, identity.primary_port, identity.link_up) == ("slave", 1, False)


@every_version
async def test_what_cannot_be_tried_is_known_by_version(version: str) -> None:
    """The same types are found by trying and by the table of versions."""
    async with running(version) as server:
        identity, features = await know(server)

    assert presumed_types(identity.vendor, features.dump_version, features.restores) == TYPES[version]


async def test_a_server_that_keeps_what_expired_is_not_tried() -> None:
    """Under import-mode an expired RESTORE would stay: types are known by version, and no key is made."""
    async with running("valkey-9.1") as server:
        await ask(server, "CONFIG", "SET", "import-mode", "yes")
        _, features = await know(server)
        assert await ask(server, "DBSIZE") == 0

    assert features.restore_types == TYPES["valkey-9.1"]


@every_version
async def test_missing_rights_are_missing_abilities(version: str) -> None:
    """A user who may do nothing but ask INFO is probed without an error."""
    async with running(version) as server:
        link = await as_user(server, "-@all", "+info", "~*")
        identity = await probe.identify(link)
        features = await probe.probe_features(link, identity)
        await link.close()

    assert features == Features(dump_version=DUMP_VERSIONS[version])


async def test_a_user_of_some_keys_only_is_probed_by_version() -> None:
    """The probe's own key is forbidden, the command is not."""
    async with running("redis-8.2") as server:
        link = await as_user(server, "+@all", "~app:*")
        features = await probe.probe_features(link, await probe.identify(link))
        await link.close()

    assert features.restores == set(range(6, 13))
    assert features.pexpiretime


async def test_a_forbidden_info_is_named() -> None:
    """Nothing can be known without INFO, so its lack ends the run by name."""
    async with running("redis-7.0") as server:
        link = await as_user(server, "+@all", "-info", "~*")
        with pytest.raises(PermissionDeniedError, match="INFO"):
            await probe.identify(link)
        await link.close()


@every_version
async def test_each_right_that_is_lacking_is_named(version: str) -> None:
    """Rights are asked for commands and subcommands, and for the keys."""
    async with running(version) as server:
        identity, _ = await know(server)
        link = await as_user(server, "+@all", "-dump", "-exec", "-hgetall", "-xinfo", "~*")
        source = await probe.missing_rights(link, identity, "source", values=True)
        raw = await probe.missing_rights(link, identity, "source")
        await link.close()
        link = await as_user(server, "+@all", "-restore", "-zadd", "~app:*")
        target = await probe.missing_rights(link, identity, "target", logical=True, sample_key=b"app:1")
        other = await probe.missing_rights(link, identity, "source", sample_key=b"b")
        await link.close()

    assert source == ["DUMP", "HGETALL", "XINFO|STREAM", "EXEC"]
    assert raw == ["DUMP", "EXEC"]
    assert target == ["RESTORE", "ZADD"]
    assert other[:2] == ["DUMP (for this key)", "PTTL (for this key)"]


@every_version
async def test_what_large_keys_need_is_asked_apart(version: str) -> None:
    """A user who may copy small keys is told what those lack that go in pieces, under names of their own."""
    async with running(version) as server:
        identity, _ = await know(server)
        lacking = []
        for role, *rules in (
            ("source", "-watch", "-hscan", "-getrange", "-xpending", "~*"),
            ("target", "-sscan", "-renamenx", "-unlink", "-xgroup", "~*"),
            ("target", "~app:*"),
            ("target", "~app:*", "~transfer:tmp:*"),
            ("source", "~*"),
        ):
            link = await as_user(server, "+@all", *rules)
            assert await probe.missing_rights(link, identity, role, values=True, sample_key=b"app:1") == []  # type: ignore[arg-type]
            lacking.append(await probe.missing_for_large(link, identity, role, sample_key=b"app:1"))  # type: ignore[arg-type]
            assert await link.command("DBSIZE") == 0
            await link.close()

    assert lacking == [
        ["WATCH", "HSCAN", "GETRANGE", "XPENDING"],
        ["SSCAN", "XGROUP|CREATE", "XGROUP|CREATECONSUMER", "UNLINK", "RENAMENX"],
        ["keys transfer:tmp:*"],
        [],
        [],
    ]


async def test_rights_are_known_where_multi_is_forbidden() -> None:
    """Nothing is run for real then: ACL DRYRUN is asked instead, and without it only MULTI is named."""
    async with running("redis-7.0") as server:
        identity, _ = await know(server)
        link = await as_user(server, "+@all", "-multi", "-dump", "~*")
        asked = await probe.missing_rights(link, identity, "target", logical=True)
        await link.close()
        link = await as_user(server, "+@all", "-multi", "-acl", "-dump", "~*")
        unknown = await probe.missing_rights(link, identity, "target", logical=True)
        assert await link.command("DBSIZE") == 0
        await link.close()

    assert asked == ["DUMP", "MULTI"]
    assert unknown == ["MULTI"]


@pytest.mark.parametrize("rules", [("+@all",), ("+@all", "-config")])
async def test_the_number_of_databases_is_found_with_and_without_config(rules: tuple[str, ...]) -> None:
    """CONFIG is blocked on many managed servers; SELECT finds the number as well."""
    async with running("valkey-8.1", "--databases", "37") as server:
        link = await as_user(server, *rules, "~*")
        assert await probe.databases(link) == 37
        await link.close()


async def test_a_cluster_node_has_one_database() -> None:
    """Its setting says 16, SELECT says otherwise."""
    async with cluster_node("redis-7.0") as server:
        link = await server.link()
        assert (await probe.identify(link)).mode == "cluster"
        assert await probe.databases(link) == 1
        await link.close()


@every_version
async def test_writes_are_counted_across_a_save(version: str) -> None:
    """Reads and failed writes do not count, writes in scripts and transactions do, and SAVE sets nothing back."""
    async with running(version) as server:
        link = await server.link()
        before = await probe.writes_seen(link)
        await link.command("SET", "a", "1")
        await link.command("GET", "a")
        await link.command("RPUSH", "a", "1")
        await link.command("SAVE")
        await link.command("EVAL", "redis.call('SET', 'b', '1')", 0)
        await link.command("MULTI")
        await link.command("DEL", "a")
        await link.command("EXEC")
        assert await probe.writes_seen(link) - before == 3
        await link.close()


async def test_the_keyspace_and_memory_are_read() -> None:
    """Keys and deadlines per database, and the limit with its policy."""
    async with running("redis-6.2", "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as server:
        await ask(server, "SET", "a", "1")
        await ask(server, "SET", "b", "1", "EX", 100, db=3)
        link = await server.link()
        assert await probe.keyspace(link) == {0: (1, 0), 3: (1, 1)}
        memory = await probe.memory(link)
        assert await probe.evicted_and_expired(link) == (0, 0)
        assert await probe.is_loading(link) is False
        await link.close()

    assert (memory.maxmemory_bytes, memory.policy, memory.evicts) == (50 << 20, "allkeys-lru", True)
    assert memory.used_bytes > memory.dataset_bytes > 0


async def test_looking_writes_nothing_even_where_multi_is_forbidden() -> None:
    """Commands that were to be queued would run without MULTI: it is asked for alone."""
    async with running("redis-7.0") as server:
        link = await as_user(server, "~*", "&*", "+@all", "-multi")

        features = await probe.probe_features(link, await probe.identify(link))

        assert not features.takes_strings
        assert await ask(server, "DBSIZE") == 0
        await link.close()

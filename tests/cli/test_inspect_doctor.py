"""`inspect` and `doctor` on real servers: what they find, what they say, and their exit codes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.clusters import cluster_node
from tests.servers import VERSIONS, ask, running
from transfer.cli.commands.doctor import run_doctor
from transfer.cli.commands.inspect import run_inspect
from transfer.endpoint.redis import census
from transfer.endpoint.redis.census import span_of, start_cursors
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.endpoint import Address, Secret
from transfer.model.errors import DatabasesError, PermissionDeniedError
from transfer.plan import look

every_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(autouse=True)
def _looks_close_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of a second between the two looks at the target is enough here."""
    monkeypatch.setattr(look, "BETWEEN_LOOKS_S", 0.1)


async def fill(server: ThrowawayServer, db: int = 0) -> None:
    """One key of each type, one with a deadline, one with a name that is no text."""
    for words in (
        ("SET", b"s\x00\xff", "v", "EX", 90),
        ("RPUSH", "l", "a"),
        ("SADD", "set", "a"),
        ("HSET", "h", "a", "b"),
        ("ZADD", "z", 1, "a"),
        ("XADD", "x", "*", "a", "b"),
        ("SETRANGE", "big", 100_000, "x"),
    ):
        await ask(server, *words, db=db)


def states(data: dict[str, Any], server: int = 0) -> dict[str, str]:
    return {check["name"]: check["state"] for check in data["servers"][server]["checks"]}


@every_version
async def test_inspect_counts_types_deadlines_and_sizes(version: str) -> None:
    """Everything is looked at where it is few, each database by itself, and the largest values come first."""
    async with running(version) as server:
        await fill(server)
        await ask(server, "SET", "other", "v", db=3)
        lines, data, code = await run_inspect(server.address)
        _, one, _ = await run_inspect(msgspec.structs.replace(server.address, db=3))
        assert await ask(server, "DBSIZE") == 7

    first, last = data["dbs"]
    assert code == 0
    assert (data["keys"], first["keys"], first["with_deadline"], first["sampled"]) == (8, 7, 1, False)
    assert {kind: entry["keys"] for kind, entry in first["types"].items()} == {
        **dict.fromkeys(("list", "set", "hash", "zset", "stream"), 1),
        "string": 2,
    }
    assert first["time_to_live"] == {"1h": 1, "none": 6}
    assert data["biggest"][0]["key"] == "big"
    assert data["biggest"][0]["bytes"] > 100_000
    assert last["db"] == 3
    assert [entry["db"] for entry in one["dbs"]] == [3]
    assert "2 of 16 logical databases, 8 keys" in lines[0]
    assert any(r"s\x00\xff" in line for line in lines)
    assert msgspec.json.encode(data)


@every_version
async def test_a_large_database_is_sampled_and_says_so(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares come out near the truth, from pages all over the keyspace."""
    monkeypatch.setattr(census, "ALL_UP_TO_KEYS", 10_000)
    monkeypatch.setattr(census, "_SAMPLE_KEYS", 6_400)
    script = """for i = 1, 30000 do redis.call('SET', 's' .. i, i) end
    for i = 1, 10000 do redis.call('SADD', 't' .. i, 'abc') end"""
    async with running(version) as server:
        await ask(server, "EVAL", script, 0)
        lines, data, _ = await run_inspect(server.address)

    (found,) = data["dbs"]
    assert found["sampled"]
    assert 5_000 < found["looked_at"] < 12_000
    assert abs(found["types"]["string"]["share"] - 0.75) < 0.03
    assert abs(found["types"]["string"]["estimated_keys"] - 30_000) < 1_200
    assert any(f"a sample of {found['looked_at']:,} of 40,000 keys" in line for line in lines)


@every_version
async def test_a_sample_of_a_cluster_node_reaches_all_its_slots(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cursors of a node hold the slot in their low bits since Redis 7.4 and Valkey 8.0."""
    monkeypatch.setattr(census, "ALL_UP_TO_KEYS", 1_000)
    async with cluster_node(version) as node:
        await ask(node, "CLUSTER", "ADDSLOTS", *range(16384))
        link = await node.link()
        while b"cluster_state:ok" not in await link.command("CLUSTER", "INFO"):
            pass
        for start in range(0, 6_000, 500):
            names = [b"k%d" % number for number in range(start, start + 500)]
            await link.ask(b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$1\r\nv\r\n" % (len(n), n) for n in names), 500)
        await link.close()
        _, data, _ = await run_inspect(node.address)

    assert data["mode"] == "cluster"
    assert data["dbs"][0]["looked_at"] > 4_000


def test_start_cursors_cut_the_keyspace_in_equal_parts() -> None:
    """Bit-reversed they are the multiples of one 64th, as SCAN walks."""
    from transfer.model.endpoint import Identity

    plain = Identity(vendor="redis", version=(7, 0, 15), run_id="", mode="standalone", role="master")
    node = Identity(vendor="valkey", version=(8, 1, 0), run_id="", mode="cluster", role="master")

    walked = sorted(int(f"{cursor:06b}"[::-1], 2) for cursor in start_cursors(plain))
    assert walked == list(range(64))
    assert start_cursors(node) == list(range(0, 16384, 256))


@pytest.mark.parametrize(
    ("left_ms", "expected"),
    [(-1, "none"), (0, "1m"), (59_999, "1m"), (60_000, "1h"), (86_400_000, "7d"), (2_592_000_000, "more")],
)
def test_times_to_live_fall_into_classes(left_ms: int, expected: str) -> None:
    """Bounds belong to the class above them."""
    assert span_of(left_ms) == expected


async def test_inspect_hides_names_on_request() -> None:
    """With --hash-keys no name is shown, in lines or data."""
    async with running("redis-7.0") as server:
        await ask(server, "SET", "customer:4711", "v")
        lines, data, _ = await run_inspect(server.address, hash_keys=True)

    assert "4711" not in "\n".join(lines) + str(data)
    assert "h:" in lines[-1]


async def test_inspect_of_an_empty_server_and_of_a_database_that_is_not_there() -> None:
    """No keys is an answer, a database beyond the last one is an error."""
    async with running("valkey-9.1") as server:
        lines, data, code = await run_inspect(server.address)
        with pytest.raises(DatabasesError, match="16 databases, not 99"):
            await run_inspect(msgspec.structs.replace(server.address, db=99))

    assert (data["keys"], data["dbs"], code) == (0, [], 0)
    assert lines[-1] == "  no keys"


async def test_inspect_without_memory_usage_says_types_alone() -> None:
    """A right that is missing leaves a gap, not a failure; without SCAN there is nothing to say."""
    async with running("redis-7.0") as server:
        await fill(server)
        await ask(server, "ACL", "SETUSER", "u", "on", ">pw", "~*", "+@all", "-memory")
        address = msgspec.structs.replace(server.address, username="u", password=Secret("pw"))
        _, data, _ = await run_inspect(address)
        await ask(server, "ACL", "SETUSER", "u", "-scan")
        with pytest.raises(PermissionDeniedError, match="SCAN"):
            await run_inspect(address)

    assert data["dbs"][0]["types"]["string"] == {"keys": 2, "share": round(2 / 7, 6), "bytes": 0}
    assert data["biggest"] == []


@every_version
async def test_doctor_finds_a_server_well(version: str) -> None:
    """Each question has its line; a server that can be both sides exits 0, and nothing was written."""
    async with running(version) as server:
        await fill(server)
        lines, data, code = await run_doctor(server.address)
        assert await ask(server, "DBSIZE") == 7

    assert code == 0
    assert set(states(data).values()) == {"ok"}
    assert {"answers", "memory", "persistence", "databases", "clock", "payloads", "rights as source"} <= set(
        states(data)
    )
    assert lines[0].startswith("server  redis://")
    assert msgspec.json.encode(data)


async def test_doctor_says_why_nobody_answers() -> None:
    """Unreachable, a wrong password, a Sentinel: a line with code and hint, and the exit code of the cause."""
    async with running("redis-7.0", **{"password": "right"}) as locked, running("redis-7.0", "--sentinel") as sentinel:
        wrong = msgspec.structs.replace(locked.address, password=Secret("wrong-one"))
        found = [await run_doctor(address) for address in (Address(port=1), wrong, sentinel.address)]

    assert [code for _, _, code in found] == [4, 4, 5]
    assert [data["servers"][0]["error"]["code"] for _, data, _ in found] == ["E201", "E202", "E502"]
    assert "wrong-one" not in str(found)


async def test_doctor_names_rights_per_role() -> None:
    """A reader is a source and no target; who may do neither exits 4."""
    async with running("redis-7.0") as server:
        await ask(server, "ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@all", "-restore", "-sadd")
        address = msgspec.structs.replace(server.address, username="reader", password=Secret("pw"))
        lines, reader, code = await run_doctor(address)
        await ask(server, "ACL", "SETUSER", "reader", "-dump")
        _, _, neither = await run_doctor(address)

    assert (states(reader)["rights as source"], states(reader)["rights as target"], code) == ("ok", "warn", 0)
    assert any("lacks RESTORE, SADD" in line for line in lines)
    assert neither == 4


async def test_doctor_of_two_says_what_a_copy_would_do() -> None:
    """The plan of the copy, the settings that differ, and the exit code its hazards would have."""
    async with running("redis-8.2") as a, running("valkey-9.1", "--maxmemory", "100mb") as b:
        lines, data, code = await run_doctor(a.address, b.address)
        await ask(b, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        _, evicting, bad = await run_doctor(a.address, b.address)

    assert code == 0
    assert data["plan"]["writing"] == "restamp"
    assert {"name": "maxmemory", "source": "0", "target": "104857600"}.items() <= data["settings"][0].items()
    assert any(line.startswith("copy logical database 0") for line in lines)
    assert ([hazard["name"] for hazard in evicting["plan"]["hazards"]], bad) == (["evicting-target"], 5)


async def test_doctor_of_two_says_why_a_copy_would_be_refused() -> None:
    """A refusal is an answer; a side that is down leaves the other side's answers."""
    async with running("redis-7.0") as a:
        lines, same, code = await run_doctor(a.address, a.address)
        _, half, down = await run_doctor(a.address, Address(port=1))

    assert (same["refused"]["code"], code) == ("E103", 2)
    assert any("would be refused: error[E103]" in line for line in lines)
    assert down == 4
    assert states(half, 0)["answers"] == "ok"
    assert states(half, 1) == {"error": "fail"}


async def test_doctor_of_two_says_what_travels_how_and_what_does_not() -> None:
    """From a sample: counts by type and way; users and libraries that stay behind, each with the command for it."""
    async with running("valkey-9.1") as source, running("redis-6.2") as target:
        await ask(source, "SET", "s", "v")
        await ask(source, "RPUSH", "l", "a", "b")
        await ask(source, "HSET", "h", "f", "v")
        await ask(source, "HPEXPIREAT", "h", 4_070_908_800_000, "FIELDS", 1, "f")
        await ask(source, "ACL", "SETUSER", "app", "on", ">secret")
        await ask(source, "FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
        await ask(source, "CONFIG", "SET", "timeout", 77)
        lines, data, _ = await run_doctor(source.address, target.address)

    ways = {(row["type"], row["way"]): row["keys"] for row in data["travel"]["ways"]}
    assert ways == {("string", "stamped anew"): 1, ("list", "encoded anew"): 1, ("hash", "refused"): 1}
    assert "deadlines on fields" in next(iter(data["travel"]["refused"]))
    assert [row["what"] for row in data["left"]] == ["ACL user app", "function library lib"]
    commands = {row["name"]: row["command"] for row in data["settings"]}
    assert commands["timeout"] == "CONFIG SET timeout 77"
    assert "secret" not in "\n".join(lines)

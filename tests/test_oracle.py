"""The oracle tested against itself: each verdict, each type, on real servers."""

from __future__ import annotations

import pytest

from tests import oracle
from tests.campaign import data
from tests.servers import ask, running


async def test_equal_servers_of_two_versions_are_equal() -> None:
    """Every type, odd names, deadlines, two databases: no difference where there is none."""
    async with running() as left, running("redis-7.0") as right:
        for server in (left, right):
            with oracle.Client(server.address) as client:
                data.fill(client, 6, 1000)
                client.must([("SET", "near", "x", "PXAT", data.IN_2099_MS)])

        differences = oracle.compared(left.address, right.address, tolerance_ms=5000)

        assert not differences, differences.told()
        kinds = {held.kind for held in oracle.snapshot(left.address).keys.values()}
        assert kinds == {b"string", b"list", b"set", b"hash", b"zset", b"stream"}


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (("DEL", "s"), "lost"),
        (("SET", "s", "other"), "altered"),
        (("LSET", "l", 0, "b"), "altered"),
        (("SREM", "u", "a"), "altered"),
        (("HSET", "h", "f", "w"), "altered"),
        (("ZADD", "z", "1.0000000000000002", "m"), "altered"),
        (("XADD", "x", "9-9", "f", "v"), "altered"),
        (("XSETID", "x", "8-8"), "altered"),
        (("XACK", "x", "g", "1-1"), "altered"),
        (("XGROUP", "SETID", "x", "g", "0"), "altered"),
        (("SET", "new", "x"), "extra"),
        (("PERSIST", "d"), "deadline"),
        (("PEXPIREAT", "d", data.IN_2099_MS + 6), "deadline"),
        (("PEXPIREAT", "s", data.IN_2099_MS), "deadline"),
        (("HPEXPIREAT", "h", data.IN_2099_MS, "FIELDS", 1, "f"), "deadline"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else value,
)
async def test_each_difference_has_its_own_verdict(command: tuple[str | int, ...], kind: str) -> None:
    """One change at one side: exactly that key, under exactly that verdict, in the right database."""
    async with running() as left, running() as right:
        for server in (left, right):
            for words in _ONE_OF_EACH:
                await ask(server, *words, db=2)
        assert not oracle.compared(left.address, right.address)

        await ask(right, *command, db=2)
        differences = oracle.compared(left.address, right.address)

        name = command[2] if command[0] == "XGROUP" else command[1]
        found = {verdict: getattr(differences, verdict) for verdict in ("lost", "altered", "extra", "deadline")}
        assert {verdict: names for verdict, names in found.items() if names} == {kind: [(2, str(name).encode())]}


_ONE_OF_EACH: list[tuple[str | int, ...]] = [
    ("SET", "s", "v"),
    ("RPUSH", "l", "a", "b"),
    ("SADD", "u", "a", "b"),
    ("HSET", "h", "f", "v"),
    ("ZADD", "z", 1, "m", "-0.0", "n"),
    ("XADD", "x", "1-1", "f", "v"),
    ("XGROUP", "CREATE", "x", "g", 0),
    ("XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">"),
    ("SET", "d", "v"),
    ("PEXPIREAT", "d", data.IN_2099_MS),
]


async def test_what_is_no_difference_is_none() -> None:
    """Order of a set, the sign of a zero, a deadline within the tolerance, a key whose time has come."""
    async with running() as left, running("redis-6.2") as right:
        for server, words in ((left, ("a", "b", "-0")), (right, ("b", "a", "0"))):
            await ask(server, "SADD", "u", *words[:2], "c", "dddd")
            await ask(server, "ZADD", "z", words[2], "m")
            await ask(server, "SET", "d", "v")
            await ask(server, "PEXPIREAT", "d", data.IN_2099_MS + (server is right))
        await ask(left, "SET", "gone", "x", "PX", 1)

        differences = oracle.compared(left.address, right.address, tolerance_ms=20)

        assert not differences, differences.told()


async def test_a_password_and_a_tcp_port_are_served() -> None:
    """As the servers of the campaign are reached."""
    async with running(password="pw" * 9) as server, running(unix=True) as other:
        await ask(server, "SET", "k", "v")

        assert oracle.values(server.address) == {b"k": b"v"}
        assert oracle.compared(server.address, other.address).lost == [(0, b"k")]

"""Keys that are mostly strings go by MGET, MSETNX and SET: as safe as DUMP and RESTORE, and counted alike."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests import oracle
from tests.faults import Reset, Swallow, proxy
from tests.job.copying import copied
from tests.job.filling import IN_2099_MS, fill
from tests.job.test_copy_faults import Arming
from tests.servers import VERSIONS, ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.endpoint import Address, Secret

KEYS = 3_000


def fill_strings(address: Address, keys: int = KEYS, others: int = 10) -> None:
    """Strings of all kinds, a third with a deadline; one of *others* keys is a hash instead."""
    chance = random.Random(5)
    with oracle.client(address) as server, server.pipeline(transaction=False) as pipe:
        for number in range(keys):
            name = chance.choice((b"k%d", b"\r\n%d", b"{a}%d", b"\x00\xff%d")) % number
            if number % others == others - 1:
                pipe.hset(name, mapping={b"a": b"%d" % number})
                continue
            value = chance.choice((b"%d" % number, b"", b"ab" * 200, chance.randbytes(100), b"-0", b"x" * 3000))
            pipe.set(name, value, pxat=IN_2099_MS + number if not number % 3 else None)
        pipe.set(b"large", chance.randbytes(600_000))
        pipe.set(b"", b"an empty name")
        pipe.pfadd(b"visitors", *range(300))
        pipe.execute()


async def calls(server: ThrowawayServer, command: str) -> int:
    """How often *command* was run."""
    text: bytes = await ask(server, "INFO", "commandstats")
    rows = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    return int(rows[f"cmdstat_{command}"].split(",")[0].removeprefix("calls=")) if f"cmdstat_{command}" in rows else 0


@pytest.mark.parametrize("version", VERSIONS)
async def test_strings_arrive_as_they_are(version: str, tmp_path: Path) -> None:
    """Bytes, deadlines, odd names, HyperLogLogs, a large one; and hashes among them."""
    async with running(version) as source, running() as target:
        fill_strings(source.address)

        report = await copied(source, target, tmp_path, batch=100)

        assert (report.exit, report.verified, report.keys.written) == (0, True, KEYS + 3)
        assert await calls(source, "mget") > 5
        assert await calls(target, "msetnx") > 5
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize(("policy", "exit_code"), [("skip", 0), ("fail", 3), ("replace", 0)])
async def test_strings_that_are_there_already_are_looked_at(policy: str, exit_code: int, tmp_path: Path) -> None:
    """Equal ones are counted as such; another's value stays, unless it is to be replaced."""
    async with running() as source, running() as target:
        fill_strings(source.address, others=KEYS + 1)
        names = sorted(name for name in oracle.contents(source.address) if name.startswith((b"{a}", b"k")))
        theirs, equal = names[:2], names[2:22]
        await ask(target, "MSET", theirs[0], "another's", theirs[1], "another's")
        for name in equal:
            deadline = max(0, await ask(source, "PEXPIRETIME", name))
            await ask(target, "RESTORE", name, deadline, await ask(source, "DUMP", name), "ABSTTL")

        report = await copied(source, target, tmp_path, batch=100, on_conflict=policy)

        assert report.exit == exit_code
        if policy == "replace":
            assert (report.keys.written, report.keys.already) == (KEYS + 3 - 20, 20)
            oracle.assert_same(source.address, target.address)
            return
        assert (report.keys.already, report.keys.conflicts) == (20, 2)
        assert [await ask(target, "GET", name) for name in theirs] == [b"another's"] * 2


async def test_a_write_of_strings_whose_answer_was_lost_is_looked_up(tmp_path: Path) -> None:
    """MSETNX that had arrived says 0 the second time: found equal, and this run's, each counted once as written."""
    async with running() as source, running() as target:
        fill_strings(source.address)
        async with proxy(target.address) as faulty:
            watching = Arming(faulty, *(Swallow(after_messages=at) for at in (60, 75, 90, 105, 120)))

            report = await copied(source, faulty.address, tmp_path, watching, batch=100)

        assert faulty.fired
        assert (report.exit, report.verified, report.keys.written) == (0, True, KEYS + 3)
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("lacks", ["source -mget", "target -msetnx", "target -set"])
async def test_without_the_right_to_read_or_write_strings_payloads_go(lacks: str, tmp_path: Path) -> None:
    """A user who may DUMP and RESTORE needs no more."""
    side, rule = lacks.split()
    async with running() as source, running() as target:
        fill_strings(source.address)
        limited = source if side == "source" else target
        await ask(limited, "ACL", "SETUSER", "mover", "on", ">word", "~*", "&*", "+@all", rule)
        mover = Address(
            host=limited.address.host, port=limited.address.port, path=limited.address.path,
            scheme=limited.address.scheme, username="mover", password=Secret("word"),
        )  # fmt: skip

        report = await copied(*((mover, target) if side == "source" else (source, mover)), tmp_path, batch=100)

        assert (report.exit, report.verified, report.keys.written) == (0, True, KEYS + 3)
        assert await calls(target, "msetnx") == 0
        oracle.assert_same(source.address, target.address)


async def test_a_link_that_breaks_between_strings_and_others_loses_neither(tmp_path: Path) -> None:
    """What MGET gave nothing for is still to be read, also where the rest of the page is asked for anew."""
    async with running() as source, running() as target:
        fill_strings(source.address, 2_000)
        async with proxy(source.address) as faulty:
            breaking = Arming(faulty, *(Reset(after_bytes=at) for at in range(800_000, 1_200_000, 80_000)))

            asked = {"batch": 200, "rate_keys_per_s": 1_000, "verify": "none"}
            report = await copied(faulty.address, target, tmp_path, breaking, **asked)

        assert faulty.fired
        assert await calls(source, "mget") > 0
        assert report.keys.read == report.keys.written + report.keys.repeated
        oracle.assert_same(source.address, target.address)


async def test_names_tell_which_keys_are_strings(tmp_path: Path) -> None:
    """Where half of all keys are strings, only these are tried as such."""
    async with running() as source, running() as target:
        with oracle.client(source.address) as server, server.pipeline(transaction=False) as pipe:
            for number in range(2_000):
                pipe.set(b"page:%d" % number, b"x" * 50)
                pipe.hset(b"user:%d" % number, mapping={b"a": b"%d" % number})
            pipe.execute()

        await copied(source, target, tmp_path, batch=100, verify="none")

        assert await calls(source, "dump") < 2_400
        oracle.assert_same(source.address, target.address)


async def test_few_strings_among_others_go_as_payloads(tmp_path: Path) -> None:
    """Trying every name as a string would cost more than it saves: by chance a few pages may be."""
    async with running() as source, running() as target:
        fill(source.address, 2_000)

        await copied(source, target, tmp_path, batch=100)

        assert await calls(source, "mget") <= 8
        oracle.assert_same(source.address, target.address)


async def test_a_full_target_takes_no_group_of_strings_by_half(tmp_path: Path) -> None:
    """OOM in the middle: what was written is counted, the rest is said to be missing, nothing is lost in silence."""
    async with (
        running() as source,
        running("valkey-9.1", "--maxmemory", "6mb") as target,
    ):
        with oracle.client(source.address) as server, server.pipeline(transaction=False) as pipe:
            for number in range(20_000):
                pipe.set(b"k%d" % number, b"x" * 400)
            pipe.execute()

        with pytest.raises(Exception, match=r"OOM|full"):
            await copied(source, target, tmp_path, batch=500, on_full="stop", verify="none")

        held = int(await ask(target, "DBSIZE"))
        assert 0 < held < 20_000

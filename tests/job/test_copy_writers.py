"""A source that is written while it is copied: never a mixture, and what changed is told from what went wrong.

Every test holds its seed; `TRANSFER_TOGGLE_SEEDS` (default 4; the full count is 20) says how many toggling runs
of 20,000 keys are made.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis.client import Pipeline

from tests import oracle
from tests.job.copying import copied
from tests.job.filling import beside, fill, strings, until
from tests.job.watching import Watching
from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.endpoint import Address, Secret
from transfer.model.report import Verdict

TOGGLE_SEEDS = int(os.environ.get("TRANSFER_TOGGLE_SEEDS", "4"))
Write = Callable[[Pipeline, random.Random], None]


@contextmanager
def writing(server: ThrowawayServer, write: Write, seed: int) -> Iterator[list[int]]:
    """*write* again and again, from a thread, for the length of the block; gives how many pipelines were sent."""
    done, sent = threading.Event(), [0]

    def run() -> None:
        chance = random.Random(seed)
        with oracle.client(server.address) as client:
            while not done.is_set():
                with client.pipeline(transaction=False) as pipe:
                    for _ in range(50):
                        write(pipe, chance)
                    pipe.execute()
                sent[0] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield sent
    finally:
        done.set()
        thread.join()


def _toggle(pipe: Pipeline, chance: random.Random) -> None:
    name = b"k%d" % chance.randrange(20_000)
    if chance.random() < 0.5:
        pipe.set(name, b"A", px=3_600_000)
    else:
        pipe.set(name, b"B")


@pytest.mark.parametrize("seed", range(TOGGLE_SEEDS))
async def test_a_value_arrives_with_its_own_deadline_and_no_other(seed: int, tmp_path: Path) -> None:
    """A always has a deadline and B never: value and deadline are of one moment, whatever is written meanwhile."""
    form, version = ("auto", "logical")[seed % 2], ("valkey-9.1", "redis-6.2")[seed // 2 % 2]
    async with running(version) as source, running() as target:
        with oracle.client(source.address) as client, client.pipeline(transaction=False) as pipe:
            for number in range(20_000):
                pipe.set(b"k%d" % number, b"B")
            pipe.execute()
        watching = Watching(consents=True)
        with writing(source, _toggle, seed) as sent:
            report = await copied(
                source,
                target,
                tmp_path,
                watching,
                rate_keys_per_s=20_000,
                format=form,
                allow=frozenset({"busy-target"}),
            )
            assert sent[0] > 100

        there = strings(target.address)
        assert len(there) == 20_000
        assert {(value, deadline > 0) for value, deadline in there.values()} == {(b"A", True), (b"B", False)}
        assert {finding.verdict for finding in watching.findings} <= {Verdict.CHANGED}, [
            f for f in watching.findings if f.verdict != "CHANGED"
        ][:5]
        assert report.exit in (0, 7)
        assert report.keys.conflicts == report.keys.rejected == 0


def _meddle(pipe: Pipeline, chance: random.Random) -> None:
    """Delete, create, change the value, the type or the deadline."""
    name = b"w%d" % chance.randrange(1500)
    match chance.randrange(7):
        case 0:
            pipe.delete(name)
        case 1:
            pipe.set(name, chance.randbytes(10))
        case 2:
            pipe.delete(name)
            pipe.rpush(name, *(b"%d" % chance.randrange(9) for _ in range(5)))
        case 3:
            pipe.delete(name)
            pipe.sadd(name, *(chance.randbytes(20) for _ in range(5)))
        case 4:
            pipe.pexpire(name, chance.randrange(3_600_000, 7_200_000))
        case 5:
            pipe.persist(name)
        case _:
            pipe.set(b"new%d" % chance.randrange(10_000), b"x")


async def _without_tracking(server: ThrowawayServer) -> Address:
    words = ("ACL", "SETUSER", "plain", "on", ">pw", "~*", "&*", "+@all", "-client|tracking")
    assert await ask(server, *words) == b"OK"
    address = server.address
    return Address(host=address.host, port=address.port, username="plain", password=Secret("pw"))


@pytest.mark.parametrize("form", ["auto", "logical"])
@pytest.mark.parametrize("known_by", ["tracking", "hashes"])
async def test_what_the_source_changed_is_told_from_what_the_target_lost(
    known_by: str, form: str, tmp_path: Path
) -> None:
    """Written keys differ as CHANGED only; keys damaged at the target are findings, also those named alike."""
    async with running() as source, running() as target:
        fill(source.address, 3000)
        with oracle.client(source.address) as client, client.pipeline(transaction=False) as pipe:
            for number in range(1500):
                pipe.set(b"w%d" % number, b"v")
            pipe.execute()
        place = source if known_by == "tracking" else await _without_tracking(source)
        watching = Watching(consents=True)
        gone, undated = {b"k1", b"k2"}, b"k300"  # of every third name the deadline is far away
        spoilt = {b"k%d" % number for number in range(400, 2900, 101)}

        async def damage() -> None:
            with oracle.client(target.address) as client:
                await until(lambda: client.exists(*gone, undated, *spoilt) == 3 + len(spoilt))
                client.delete(*gone)
                client.persist(undated)
                for name in spoilt:
                    client.set(name, "spoilt", keepttl=True)

        with writing(source, _meddle, 7):
            report = await beside(
                lambda: copied(place, target, tmp_path, watching, rate_keys_per_s=3000, batch=100, format=form), damage
            )

        assert report.verify is not None
        assert report.verify.changes_known_by == known_by
        found = {finding.key: finding.verdict for finding in watching.findings}
        lost = {name: verdict for name, verdict in found.items() if verdict is not Verdict.CHANGED}
        assert {name for name, verdict in lost.items() if verdict is Verdict.MISSING} == gone
        assert lost.pop(undated) is Verdict.TTL
        # a table that grows has SCAN name keys again: one that was spoilt by then is another's value, a conflict
        assert gone <= lost.keys() <= gone | spoilt
        assert len(spoilt - lost.keys()) <= report.keys.conflicts
        assert all(name.startswith((b"w", b"new")) for name, verdict in found.items() if verdict is Verdict.CHANGED)
        assert Verdict.CHANGED in found.values()
        assert report.exit == 6


@pytest.mark.parametrize(("known_by", "form"), [("tracking", "logical"), ("hashes", "auto")])
async def test_writers_alone_make_no_findings(known_by: str, form: str, tmp_path: Path) -> None:
    """Keys deleted, created or turned into another type at any moment: exit 7, and nothing is called lost."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        fill(source.address, 1500)
        place = source if known_by == "tracking" else await _without_tracking(source)
        watching = Watching(consents=True)
        with writing(source, _meddle, 11):
            report = await copied(place, target, tmp_path, watching, rate_keys_per_s=1500, batch=100, format=form)

        assert {finding.verdict for finding in watching.findings} <= {Verdict.CHANGED}
        assert not [finding for finding in watching.findings if finding.key.startswith(b"k")]
        assert report.exit == (7 if watching.findings else 0)
        assert report.keys.conflicts == report.keys.rejected == 0


@pytest.mark.parametrize("form", ["auto", "logical"])
@pytest.mark.parametrize("version", ["redis-6.2", "valkey-9.1"])
async def test_keys_that_expire_under_way_do_not_become_immortal(version: str, form: str, tmp_path: Path) -> None:
    """20,000 keys that live 1 to 2,000 ms: what arrives has its deadline, what does not is no finding."""
    async with running(version) as source, running() as target:
        chance = random.Random(3)
        with oracle.client(source.address) as client, client.pipeline(transaction=False) as pipe:
            for number in range(20_000):
                pipe.set(b"forever%d" % number if number % 100 == 0 else b"k%d" % number, b"v")
            pipe.execute()
            for number in range(20_000):
                if number % 100:
                    pipe.pexpire(b"k%d" % number, 500 + chance.randrange(1, 2000))
            pipe.execute()
        watching = Watching(consents=True)
        report = await copied(source, target, tmp_path, watching, rate_keys_per_s=12_000, format=form)

        there = strings(target.address)
        immortal = {name for name, (_, deadline) in there.items() if deadline == -1}
        assert immortal == {b"forever%d" % number for number in range(0, 20_000, 100)}
        assert watching.findings == []
        assert report.exit == 0
        assert report.keys.conflicts == report.keys.rejected == 0


async def test_names_that_a_scan_gives_twice_are_repeated_and_none_is_left_out(tmp_path: Path) -> None:
    """A table that shrinks under the scan: what stays arrives, what is met twice is no conflict."""
    async with running("redis-7.0") as source, running() as target:
        await ask(source, "DEBUG", "POPULATE", 200_000, "gone")
        fill(source.address, 3000)

        async def shrink() -> None:
            with oracle.client(target.address) as there, oracle.client(source.address) as client:
                await until(lambda: there.dbsize() > 12_000)
                await ask(source, "DEL", *(f"gone:{number}" for number in range(200_000)))
                assert client.dbsize() == 3000

        watching = Watching(consents=True)
        report = await beside(
            lambda: copied(source, target, tmp_path, watching, rate_keys_per_s=40_000, batch=300), shrink
        )

        assert report.keys.conflicts == 0
        assert report.exit == 7
        assert all(finding.key.startswith(b"gone:") for finding in watching.findings)
        with oracle.client(target.address) as client:
            client.delete(*(f"gone:{number}" for number in range(200_000)))
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("own", [False, True], ids=["an empty target", "a target with keys of its own"])
@pytest.mark.parametrize("form", ["auto", "logical"])
@pytest.mark.parametrize("policy", ["fail", "skip", "replace"])
async def test_a_key_met_again_with_a_newer_value_gets_it(policy: str, form: str, own: bool, tmp_path: Path) -> None:
    """What this run wrote itself is no conflict; a foreign value that is met twice is one conflict.

    There are many keys between, since reading is some batches ahead of writing.
    """
    names = tmp_path / "names"
    lines = [b"again", b"theirs", *(b"k%d" % number for number in range(6000)), b"again", b"theirs", b"k5999"]
    names.write_bytes(b"\n".join(lines) + b"\n")
    async with running() as source, running() as target:
        fill(source.address, 6000)
        await ask(source, "HSET", "again", "f", "old", "g", "same")
        await ask(source, "SET", "theirs", "ours")
        if own:
            await ask(target, "SET", "theirs", "foreign")

        async def change() -> None:
            with oracle.client(target.address) as client:
                await until(lambda: bool(client.exists("again")))
            await ask(source, "HSET", "again", "f", "new")

        report = await beside(
            lambda: copied(
                source,
                target,
                tmp_path,
                on_conflict=policy,
                keys_from=str(names),
                rate_keys_per_s=4000,
                batch=100,
                format=form,
            ),
            change,
        )

        conflicts = int(own and policy != "replace")
        assert await ask(target, "HGET", "again", "f") == b"new"
        assert await ask(target, "GET", "theirs") == (b"foreign" if conflicts else b"ours")
        assert report.keys.conflicts == conflicts
        assert (report.keys.read, report.keys.repeated) == (6005, 3)
        assert len(report.rejects) == (conflicts if policy == "fail" else 0)
        assert report.exit == (3 if conflicts and policy == "fail" else 0)


@pytest.mark.parametrize(
    ("policy", "form", "members"),
    [("fail", "auto", 40), ("skip", "logical", 40), ("fail", "logical", 400_000), ("fail", "auto", 400_000)],
)
async def test_a_set_met_again_with_a_newer_value_is_changed_and_no_conflict(
    policy: str, form: str, members: int, tmp_path: Path
) -> None:
    """Redis 7.0 packs sets by a seed of its own: that this run wrote it cannot be told, nor that another did."""
    names = tmp_path / "names"
    names.write_bytes(b"\n".join([b"again", *(b"k%d" % number for number in range(6000)), b"again"]) + b"\n")
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        fill(source.address, 6000)
        await ask(source, "SADD", "again", *(f"member-{number}" for number in range(members)))

        async def change() -> None:
            with oracle.client(target.address) as client:
                await until(lambda: client.exists("again", "k0", "k99") == 3)
            await ask(source, "SADD", "again", "newer")

        watching = Watching(consents=True)
        report = await beside(
            lambda: copied(
                source,
                target,
                tmp_path,
                watching,
                on_conflict=policy,
                keys_from=str(names),
                rate_keys_per_s=4000,
                batch=100,
                format=form,
                max_memory_bytes=4 << 20,
            ),
            change,
        )

        assert await ask(target, "SCARD", "again") == members
        assert (report.keys.read, report.keys.written, report.keys.repeated) == (6002, 6001, 1)
        assert report.keys.conflicts == report.keys.rejected == 0
        assert {finding.key: finding.verdict for finding in watching.findings} == {b"again": Verdict.CHANGED}
        assert report.exit == 7

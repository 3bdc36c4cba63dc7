"""Keys that are not ours never change, whatever happened to the servers; and what is proved is what was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import oracle
from tests.job.copying import copied
from tests.job.filling import until
from tests.job.test_copy_restarts import KEYS, assert_named, struck
from tests.job.watching import Watching
from tests.servers import ask, running
from transfer.model.report import Verdict


@pytest.mark.parametrize("policy", ["fail", "skip"])
async def test_a_key_that_others_wrote_since_is_theirs_after_a_restart(policy: str, tmp_path: Path) -> None:
    """This run wrote the name, somebody wrote over it, the target came back from its save: the newer value stays."""
    async with running() as source, running() as target:
        names = [f"k{number}" for number in range(KEYS)]
        for name in names:
            await ask(source, "SET", name, f"source of {name}")
        taken: list[str] = []

        async def strike() -> None:
            with oracle.client(target.address) as client:
                taken.extend(sorted(name.decode() for name in client.scan_iter(count=1000))[:100])
                client.mset({name: f"user of {name}" for name in taken})
                client.save()
            await target.kill()
            await target.restart()

        def reached() -> bool:
            with oracle.client(target.address) as client:
                return int(client.dbsize()) > KEYS // 3

        report = await struck(source, target, tmp_path, strike, reached=reached, on_conflict=policy)

        assert_named(report, "target")
        there = oracle.values(target.address)
        assert len(taken) == 100
        assert all(there[name.encode()] == f"user of {name}".encode() for name in taken)
        assert report.keys.conflicts == 100
        assert report.exit == (3 if policy == "fail" else 0)


async def test_of_two_keys_that_fold_the_one_that_was_written_is_proved(tmp_path: Path) -> None:
    """The rejected key of a pair does not hide what becomes of the other one."""
    async with running() as source, running() as target:
        for number in range(200):
            await ask(source, "SET", f"a:{number}", f"a{number}")
            await ask(source, "SET", f"b:{number}", f"b{number}")
        watching = Watching(consents=True)

        async def tamper() -> None:
            with oracle.client(target.address) as client:
                await until(lambda: client.dbsize() > 50)
                chosen = next(client.scan_iter("b:*"))
                client.set(chosen, "tampered")

        report = await struck(
            source,
            target,
            tmp_path,
            tamper,
            reached=lambda: True,
            watching=watching,
            renames=((b"a:", b"b:"),),
            max_rejects="1000",
            batch=20,
            rate_keys_per_s=200,
        )

        assert (report.keys.written, report.keys.rejected) == (200, 200)
        assert report.verify is not None
        assert (report.verify.match, report.verify.value) == (199, 1)
        assert [finding.verdict for finding in watching.findings] == [Verdict.VALUE]
        assert (report.exit, report.verified) == (6, False)


async def test_a_source_that_lost_its_data_proves_nothing(tmp_path: Path) -> None:
    """FLUSHALL in mid-run: said in words, and not called verified."""
    async with running() as source, running() as target:
        for number in range(KEYS):
            await ask(source, "SET", f"k{number}", number)
        watching = Watching(consents=True)

        async def strike() -> None:
            await ask(source, "FLUSHALL")

        def reached() -> bool:
            with oracle.client(target.address) as client:
                return int(client.dbsize()) > KEYS // 3

        report = await struck(source, target, tmp_path, strike, reached=reached, watching=watching)

        assert (report.exit, report.verified) == (7, False)
        assert any("the source was emptied" in text for text in watching.warnings)


async def test_a_target_that_evicts_is_named(tmp_path: Path) -> None:
    """Missing keys at an evicting target come with the number it evicted."""
    options = ("--maxmemory", "12mb", "--maxmemory-policy", "allkeys-random")
    async with running() as source, running("valkey-9.1", *options) as target:
        for number in range(300):
            await ask(source, "SET", f"k{number}", bytes([number % 256]) * 100_000)
        watching = Watching(consents=True)

        report = await copied(source, target, tmp_path, watching, on_full="wait")

        assert report.exit == 6
        assert any("evicted" in text and "keys meanwhile" in text for text in watching.warnings)

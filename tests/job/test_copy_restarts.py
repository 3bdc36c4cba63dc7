"""Servers that die, come back, or are others than before: nothing is lost, nothing is mixed, and it is said.

Every case holds its seed, which says when in the run it strikes; `TRANSFER_FAULT_SEEDS` (default 2) says how many.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis

from tests import oracle
from tests.cli.running import transfer
from tests.faults import Stall, proxy
from tests.job.copying import Place, copied
from tests.job.filling import beside, fill, size, until
from tests.job.watching import Watching
from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.endpoint import Address
from transfer.model.errors import EmptiedSourceError, GaveUpError, ReadOnlyTargetError, ReplacedError
from transfer.model.report import Report, Verdict

SEEDS = range(int(os.environ.get("TRANSFER_FAULT_SEEDS", "2")))
KEYS = 3000
PACE = {"batch": 100, "rate_keys_per_s": 3000, "give_up_after_ms": 20_000}

AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""A primary that does not wait for further replicas before it sends its data."""


async def struck(
    source: Place,
    target: Place,
    state: Path,
    strike: Callable[[], Awaitable[None]],
    *,
    reached: Callable[[], bool],
    watching: Watching | None = None,
    **asked: object,
) -> Report:
    """A copy, with *strike* as soon as *reached* holds."""

    async def meanwhile() -> None:
        await until(reached)
        await strike()

    return await beside(lambda: copied(source, target, state, watching, **{**PACE, **asked}), meanwhile)  # type: ignore[no-any-return]


def some_keys_at(target: ThrowawayServer | Address, seed: int) -> Callable[[], bool]:
    """Whether the target holds as many keys as *seed* says, a tenth to two thirds of all."""
    address = target.address if isinstance(target, ThrowawayServer) else target
    wanted = random.Random(seed).randrange(KEYS // 10, KEYS * 2 // 3)
    return lambda: size(address) >= wanted


def assert_named(report: Report, side: str) -> None:
    assert report.restarts >= 1
    assert any(f"the {side} was replaced by another process" in note for note in report.notes), report.notes


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_source_restarted_from_its_save_loses_nothing(seed: int, tmp_path: Path) -> None:
    """Its hash seed is another, so old cursors would skip keys: everything is read again."""
    async with running() as source, running() as target:
        fill(source.address, KEYS, seed)
        await ask(source, "SAVE")

        async def strike() -> None:
            await source.kill()
            await source.restart()

        report = await struck(source, target, tmp_path, strike, reached=some_keys_at(target, seed))

        assert_named(report, "source")
        assert (report.exit, report.verified, report.keys.conflicts) == (0, True, 0)
        assert report.keys.written <= KEYS < report.keys.read
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("names_kept", [True, False], ids=["names kept", "names hashed"])
async def test_a_source_restarted_empty_stops_the_copy_until_it_has_its_data_again(
    names_kept: bool, tmp_path: Path
) -> None:
    """Exit 4, with what happened and the command; a resume is refused as long, then goes on and ends well."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        await ask(source, "SAVE")
        _, folder = await ask(source, "CONFIG", "GET", "dir")
        saved = Path(folder.decode()) / "dump.rdb"
        kept = saved.rename(tmp_path / "kept.rdb")

        async def restart() -> None:
            await source.kill()
            await source.restart()

        with pytest.raises(EmptiedSourceError, match=f"held {KEYS:,} keys and came back .* with 0") as failed:
            await struck(source, target, tmp_path, restart, reached=some_keys_at(target, 1), hash_keys=not names_kept)

        copied_keys = size(target.address)
        assert 0 < copied_keys < KEYS
        assert failed.value.exit_code == 4
        assert f"transfer resume {failed.value.facts['job']} --state {tmp_path}" in failed.value.hint
        again = transfer("resume", "--json", "--state", str(tmp_path))
        assert (again.exit, again.result["error"]["code"]) == (4, "E215"), again
        assert size(target.address) == copied_keys

        await source.kill()
        kept.rename(saved)
        await source.restart()
        ended = transfer("resume", "--json", "--state", str(tmp_path))
        assert (ended.exit, ended.result["verified"], ended.result["keys"]["conflicts"]) == (0, True, 0), ended
        oracle.assert_same(source.address, target.address)


def _fill_with_deadlines(address: Address, life_ms: int) -> None:
    """Nothing but keys that have so long to live."""
    with oracle.client(address) as client, client.pipeline(transaction=False) as pipe:
        for number in range(KEYS):
            pipe.set(f"k{number}", number, px=life_ms)
        pipe.execute()


@pytest.mark.parametrize(("ttl", "amount_ms"), [("drop", 0), ("add", 3_600_000), ("rebase", 0)])
async def test_a_source_of_which_all_keys_had_deadlines_is_known_to_be_emptied(
    ttl: str, amount_ms: int, tmp_path: Path
) -> None:
    """Its own deadlines tell, where those at the target are others."""
    async with running() as source, running() as target:
        _fill_with_deadlines(source.address, 3_600_000)

        async def restart() -> None:
            await source.kill()
            await source.restart()

        with pytest.raises(EmptiedSourceError, match="came back"):
            await struck(
                source, target, tmp_path, restart, reached=some_keys_at(target, 1), ttl=ttl, ttl_amount_ms=amount_ms
            )

        again = transfer("resume", "--json", "--state", str(tmp_path))
        assert (again.exit, again.result["error"]["code"]) == (4, "E215"), again


async def test_a_source_whose_keys_all_expired_while_it_was_restarted_is_gone_on_with(tmp_path: Path) -> None:
    """Nothing must still be there: an empty server is what it should be."""
    async with running() as source, running() as target:
        fill(source.address, 0)
        _fill_with_deadlines(source.address, 1_500)

        async def strike() -> None:
            await source.kill()
            await until(lambda: size(target.address) == 0)
            await source.restart()

        report = await struck(source, target, tmp_path, strike, reached=some_keys_at(target, 1))

        assert_named(report, "source")
        assert report.exit in (0, 7)


async def test_a_source_address_that_leads_to_a_stranger_is_left(tmp_path: Path) -> None:
    """Keys of another server are never mixed into the copy: exit 4."""
    async with running() as source, running() as stranger, running() as target:
        fill(source.address, KEYS)
        await ask(stranger, "SET", "strange", "1")
        async with proxy(source.address) as faulty:

            async def strike() -> None:
                faulty.switch(stranger.address)

            with pytest.raises(ReplacedError, match="another server answers at the source") as failed:
                await struck(faulty.address, target, tmp_path, strike, reached=some_keys_at(target, 1))

        assert failed.value.exit_code == 4
        assert await ask(target, "EXISTS", "strange") == 0


@pytest.mark.parametrize("form", ["auto", "logical"])
async def test_a_target_address_that_leads_to_a_stranger_is_left(form: str, tmp_path: Path) -> None:
    """A server that holds other keys and none of ours: nothing is written to it, exit 4."""
    async with running() as source, running() as stranger, running() as target:
        fill(source.address, KEYS)
        await ask(stranger, "SET", "strange", "1", db=3)
        async with proxy(target.address) as faulty:

            async def strike() -> None:
                faulty.switch(stranger.address)

            with pytest.raises(ReplacedError, match="another server answers at the target") as failed:
                await struck(source, faulty.address, tmp_path, strike, reached=some_keys_at(target, 1), format=form)

        assert failed.value.exit_code == 4
        assert size(stranger.address) == 0


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_target_that_lost_everything_gets_everything_again(seed: int, tmp_path: Path) -> None:
    """kill -9 without persistence: what was acknowledged is gone, and is written again."""
    async with running() as source, running() as target:
        fill(source.address, KEYS, seed)

        async def strike() -> None:
            await target.kill()
            await target.restart()

        report = await struck(source, target, tmp_path, strike, reached=some_keys_at(target, seed))

        assert_named(report, "target")
        assert (report.exit, report.verified) == (0, True)
        assert report.keys.written == KEYS
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("before", [0, 100], ids=["empty before", "with keys of its own"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_target_restored_from_an_older_save_is_completed(seed: int, before: int, tmp_path: Path) -> None:
    """It holds the first keys of the copy and not the last ones: it is recognised, and nothing is missing."""
    async with running() as source, running() as target:
        fill(source.address, KEYS, seed)
        if before:
            await ask(target, "DEBUG", "POPULATE", before, "own")
        saved: list[bool] = []

        def reached() -> bool:
            if not saved and size(target.address) > before + 100:
                with oracle.client(target.address) as client:
                    saved.append(client.save())
            return some_keys_at(target, seed)()

        async def strike() -> None:
            await target.kill()
            await target.restart()

        report = await struck(source, target, tmp_path, strike, reached=reached, batch=10)

        assert_named(report, "target")
        assert (report.exit, report.verified) == (0, True)
        assert size(target.address) == KEYS + before
        with oracle.client(target.address) as client:
            own = list(client.scan_iter("own:*", count=1000))
            assert len(own) == before
            client.delete("none", *own)
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("writes", [False, True], ids=["a quiet source", "a source that is written"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_a_target_restored_from_its_log_is_completed(seed: int, writes: bool, tmp_path: Path) -> None:
    """appendfsync everysec: replies were lost, keys had arrived; a newer value replaces ours and is no conflict."""
    log = ("--appendonly", "yes", "--appendfsync", "everysec")
    async with running() as source, running("valkey-9.1", *log) as target:
        fill(source.address, KEYS, seed)

        async def strike() -> None:
            await target.kill()
            if writes:
                with oracle.client(source.address) as client, client.pipeline(transaction=False) as pipe:
                    for number in range(0, KEYS, 10):
                        pipe.set(b"k%d" % number, b"newer")
                    pipe.execute()
            await target.restart()

        report = await struck(source, target, tmp_path, strike, reached=some_keys_at(target, seed))

        assert_named(report, "target")
        assert (report.exit, report.verified, report.keys.conflicts) == (0, True, 0)
        oracle.assert_same(source.address, target.address)


async def test_a_write_in_doubt_is_known_again_after_a_restart(tmp_path: Path) -> None:
    """Written, not answered, then the target restarts and the source goes on: our older value is no conflict."""
    async with running() as source, running("valkey-9.1", "--appendonly", "yes", "--appendfsync", "always") as target:
        fill(source.address, KEYS)
        await ask(target, "SET", "own", "1")
        async with proxy(target.address) as faulty:

            async def strike() -> None:
                faulty.arm(Stall())
                await faulty.until(lambda faulty: bool(faulty.fired))
                await target.kill()
                with oracle.client(source.address) as client, client.pipeline(transaction=False) as pipe:
                    for number in range(KEYS):
                        pipe.set(b"k%d" % number, b"newer", keepttl=True)
                    pipe.execute()
                await target.restart()

            half = some_keys_at(target, 1)
            report = await struck(source, faulty.address, tmp_path, strike, reached=half, on_conflict="fail")

        assert_named(report, "target")
        await ask(target, "DEL", "own")
        assert (report.exit, report.keys.conflicts, report.verified) == (0, 0, True)
        oracle.assert_same(source.address, target.address)


async def test_what_was_rejected_or_in_conflict_is_told_once(tmp_path: Path) -> None:
    """A run that begins anew meets the same refusals and conflicts again; they are the same keys."""
    async with running("redis-8.2") as source, running("redis-7.0") as target:
        fill(source.address, KEYS)
        for number in range(30):
            await ask(source, "HSET", f"timed{number}", "f", "v")
            await ask(source, "HEXPIRE", f"timed{number}", 9999, "FIELDS", 1, "f")
            await ask(target, "SET", f"k{number}", "theirs")
        await ask(target, "SAVE")
        watching = Watching(consents=True)

        async def strike() -> None:
            await target.kill()
            await target.restart()

        report = await struck(
            source,
            target,
            tmp_path,
            strike,
            reached=lambda: len(watching.rejects) > 30,
            watching=watching,
            on_conflict="fail",
            max_rejects="40",
        )

        assert_named(report, "target")
        assert (report.keys.rejected, report.keys.conflicts, report.exit) == (30, 30, 3)
        assert len(watching.rejects) == len(report.rejects) == 60
        assert report.verify is not None
        assert report.verify.differences() == 0
        assert report.keys.written == KEYS - 30


async def test_a_promoted_replica_of_the_target_is_gone_on_with(tmp_path: Path) -> None:
    """Another process with the same history: everything is checked again, nothing is lost."""
    async with running() as source, running("valkey-9.1", *AT_ONCE) as target, running() as replica:
        fill(source.address, KEYS)
        await ask(replica, "REPLICAOF", target.address.host, target.address.port)
        await until(lambda: follows(replica))
        async with proxy(target.address) as faulty:

            async def strike() -> None:
                await ask(replica, "REPLICAOF", "NO", "ONE")
                await target.kill()
                faulty.switch(replica.address)

            report = await struck(source, faulty.address, tmp_path, strike, reached=some_keys_at(replica, 1))

        assert_named(report, "target")
        assert "the same data's history" in report.notes[0]
        assert (report.exit, report.verified) == (0, True)
        oracle.assert_same(source.address, replica.address)


@pytest.mark.parametrize("form", ["auto", "logical"])
async def test_a_target_that_stays_a_replica_ends_the_run(form: str, tmp_path: Path) -> None:
    """READONLY is no refusal of one key: exit 4 after --give-up-after, and no key is listed as rejected."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        watching = Watching(consents=True)

        async def strike() -> None:
            await ask(target, "REPLICAOF", "127.0.0.1", 1)

        with pytest.raises(ReadOnlyTargetError) as failed:
            await struck(
                source,
                target,
                tmp_path,
                strike,
                reached=some_keys_at(target, 1),
                watching=watching,
                format=form,
                give_up_after_ms=1000,
            )

        assert failed.value.exit_code == 4
        assert watching.report is not None
        assert watching.rejects == []
        assert watching.report.keys.written == size(target.address)


@pytest.mark.parametrize("form", ["auto", "logical"])
@pytest.mark.parametrize("emptied", [False, True], ids=["its data kept", "emptied by another primary"])
async def test_a_target_that_is_a_replica_for_a_while_is_waited_for(emptied: bool, form: str, tmp_path: Path) -> None:
    """READONLY, then primary again: said once with what to do, everything arrives, nothing is a conflict."""
    async with running() as source, running() as target, running("valkey-9.1", *AT_ONCE) as other:
        fill(source.address, KEYS)
        watching = Watching(consents=True)

        async def strike() -> None:
            await ask(target, "REPLICAOF", "127.0.0.1", other.address.port if emptied else 1)
            if emptied:
                await until(lambda: size(target.address) == 0)
            await until(lambda: any("REPLICAOF NO ONE" in text for text in watching.warnings))
            await ask(target, "REPLICAOF", "NO", "ONE")

        reached = some_keys_at(target, 1)
        report = await struck(source, target, tmp_path, strike, reached=reached, watching=watching, format=form)

        assert len([text for text in watching.warnings if "a replica answers at the target" in text]) == 1
        assert any("the target was a replica meanwhile" in note for note in report.notes), report.notes
        assert (report.exit, report.verified, report.keys.conflicts, watching.rejects) == (0, True, 0, [])
        oracle.assert_same(source.address, target.address)


async def test_a_target_that_never_comes_back_ends_the_run(tmp_path: Path) -> None:
    """Exit 4 after --give-up-after, not later."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)

        with pytest.raises(GaveUpError) as failed:
            await struck(source, target, tmp_path, target.kill, reached=some_keys_at(target, 1), give_up_after_ms=1500)

        assert failed.value.exit_code == 4


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
async def test_a_source_that_is_flushed_is_told_as_changed(command: str, tmp_path: Path) -> None:
    """What had been copied was deleted at the source meanwhile: exit 7."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        watching = Watching(consents=True)

        async def strike() -> None:
            await ask(source, command)

        report = await struck(source, target, tmp_path, strike, reached=some_keys_at(target, 1), watching=watching)

        assert report.exit == 7
        assert {finding.verdict for finding in watching.findings} == {Verdict.CHANGED}
        assert len(watching.findings) == size(target.address)


async def test_a_target_that_is_flushed_is_told_as_missing(tmp_path: Path) -> None:
    """The source did not cause it: exit 6, every lost key is named."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        watching = Watching(consents=True)

        async def strike() -> None:
            await ask(target, "FLUSHALL")

        report = await struck(source, target, tmp_path, strike, reached=some_keys_at(target, 1), watching=watching)

        assert report.exit == 6
        assert {finding.verdict for finding in watching.findings} == {Verdict.MISSING}
        assert len(watching.findings) == KEYS - size(target.address) > 0


@pytest.mark.parametrize("delay", [0, 400], ids=["at once", "while it loads"])
async def test_a_replica_source_that_takes_over_other_data_is_read_again(delay: int, tmp_path: Path) -> None:
    """A full resync empties the keyspace under the scan and keeps our links: noticed, and read from the start."""
    primary = running("valkey-9.1", *AT_ONCE), running("valkey-9.1", *AT_ONCE)
    async with primary[0] as first, primary[1] as other, running() as source, running() as target:
        fill(first.address, KEYS, 1)
        fill(other.address, KEYS, 2)
        await ask(source, "CONFIG", "SET", "key-load-delay", delay)
        await ask(source, "REPLICAOF", first.address.host, first.address.port)
        await until(lambda: follows(source))

        async def strike() -> None:
            await ask(source, "REPLICAOF", other.address.host, other.address.port)

        half = some_keys_at(target, 1)
        report = await struck(
            source, target, tmp_path, strike, reached=half, batch=50, rate_keys_per_s=1500, route="scan"
        )

        assert report.restarts >= 1
        assert (report.exit, report.verified, report.keys.conflicts) == (0, True, 0)
        oracle.assert_same(other.address, target.address)


def follows(replica: ThrowawayServer) -> bool:
    """Whether it holds what its primary holds."""
    with oracle.client(replica.address) as client:
        try:
            return client.info("replication")["master_link_status"] == "up"
        except redis.RedisError:  # it loads what it got
            return False

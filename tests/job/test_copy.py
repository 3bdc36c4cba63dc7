"""A copy between real servers: what arrives is what left, and what does not is told by name."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.endpoint import corpus
from tests.job.copying import copied
from tests.job.watching import Watching
from tests.servers import VERSIONS, ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.errors import GuardError, RejectLimitError, TargetFullError
from transfer.model.report import KeyCounts

IN_2099_MS = 4_070_908_800_000


async def _filled(server: ThrowawayServer, *commands: tuple[Any, ...], db: int = 0) -> None:
    for words in commands:
        await ask(server, *words, db=db)


@pytest.mark.parametrize(("left", "right"), list(product(VERSIONS, VERSIONS)))
async def test_every_version_goes_to_every_version(left: str, right: str, tmp_path: Path) -> None:
    """Every type, odd names, deadlines: raw where the target takes the payload, else rebuilt; then proved."""
    async with running(left) as source, running(right) as target:
        link = await source.link()
        names = await corpus.fill(link)
        await link.close()

        report = await copied(source, target, tmp_path)

        assert report.keys == KeyCounts(read=len(names), written=len(names))
        oracle.assert_same(source.address, target.address)
        assert (report.exit, report.verified) == (0, True)
        assert report.dbs[0].digest[0] == report.dbs[0].digest[1]


async def test_an_empty_source_is_a_copy_of_nothing(tmp_path: Path) -> None:
    """0 keys: exit 0, verified."""
    async with running() as source, running() as target:
        report = await copied(source, target, tmp_path)

    assert (report.exit, report.verified, report.keys) == (0, True, KeyCounts())


async def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """The plan is all there is."""
    async with running() as source, running() as target:
        await _filled(source, ("SET", "k", "v"))
        watching = Watching()

        report = await copied(source, target, tmp_path, watching, dry_run=True)

        assert watching.plan is not None
        assert report.keys.read == 0
        assert await ask(target, "DBSIZE") == 0


@pytest.mark.parametrize("policy", ["fail", "skip", "replace"])
async def test_conflicts_follow_the_policy(policy: str, tmp_path: Path) -> None:
    """Equal is already there, whatever its encoding; another value stays unless replace was asked for."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        members = [f"member-{number}" for number in range(600)]
        await _filled(
            source, ("SET", "same", "1"), ("SET", "other", "ours"), ("SET", "new", "n"), ("SADD", "set", *members)
        )
        await _filled(source, ("SET", "ttl", "1", "PXAT", IN_2099_MS))
        await _filled(target, ("SET", "same", "1"), ("SET", "other", "theirs"), ("SADD", "set", *reversed(members)))
        await _filled(target, ("SET", "ttl", "1"), ("SET", "foreign", "f"))

        report = await copied(source, target, tmp_path, on_conflict=policy)

        there = oracle.contents(target.address)
        assert there[b"foreign"] == (b"f", -1)
        if policy == "replace":
            assert report.keys == KeyCounts(read=5, written=3, already=2)
            assert (there[b"other"][0], there[b"ttl"][1], report.exit) == (b"ours", IN_2099_MS, 0)
        else:
            assert report.keys == KeyCounts(read=5, written=1, already=2, conflicts=2)
            assert (there[b"other"][0], there[b"ttl"][1]) == (b"theirs", -1)
            assert report.exit == (3 if policy == "fail" else 0)
        assert report.verify is not None
        assert report.verify.differences() == 0


async def test_a_nonempty_target_needs_consent(tmp_path: Path) -> None:
    """Without --allow or an explicit --on-conflict nothing is written."""
    async with running() as source, running() as target:
        await _filled(source, ("SET", "a", "1"))
        await _filled(target, ("SET", "b", "1"))

        with pytest.raises(GuardError, match="nonempty-target"):
            await copied(source, target, tmp_path, Watching(consents=False))

        assert await ask(target, "DBSIZE") == 1


async def test_filters_renames_and_databases(tmp_path: Path) -> None:
    """Only what passes is read; names and databases are mapped; the rest of the target is not from the source."""
    async with running() as source, running() as target:
        for number in range(50):
            await _filled(source, ("SET", f"user:{number}", number), ("SET", f"tmp:{number}", number), db=2)
            await _filled(source, ("HSET", f"user:h{number}", "f", number), db=2)

        report = await copied(
            source,
            target,
            tmp_path,
            match=(b"user:*", b"tmp:*"),
            exclude=(b"tmp:1*",),
            types=("string",),
            renames=((b"user:", b"u/"),),
            dbs=((2, 5),),
        )

        expected = {b"u/%d" % n: b"%d" % n for n in range(50)}
        expected |= {b"tmp:%d" % n: b"%d" % n for n in range(50) if not str(n).startswith("1")}
        assert oracle.values(target.address, 5) == expected
        assert (report.exit, report.verified) == (0, True)


async def test_a_sample_is_the_same_keys_every_time(tmp_path: Path) -> None:
    """By hash of the name: a second run finds all of them there."""
    async with running() as source, running() as target:
        for number in range(2000):
            await ask(source, "SET", f"k{number}", number)

        first = await copied(source, target, tmp_path, sample=0.1)
        second = await copied(source, target, tmp_path, sample=0.1, on_conflict="skip")

    assert 120 < first.keys.written < 280
    assert second.keys == KeyCounts(read=first.keys.written, already=first.keys.written)


async def test_named_keys_only(tmp_path: Path) -> None:
    """--keys-from: names that are not there are counted as gone."""
    names = tmp_path / "names"
    names.write_bytes(b"a\nb c\n\xff\nmissing\n")
    async with running() as source, running() as target:
        await _filled(source, ("SET", "a", 1), ("SET", "b c", 2), ("SET", b"\xff", 3), ("SET", "other", 4))

        report = await copied(source, target, tmp_path, keys_from=str(names))

        assert oracle.values(target.address) == {b"a": b"1", b"b c": b"2", b"\xff": b"3"}
        assert report.keys == KeyCounts(read=4, written=3, gone=1)
        assert report.exit == 0


@pytest.mark.parametrize(
    ("rule", "amount", "expected"),
    [("drop", 0, -1), ("add", 3_600_000, IN_2099_MS + 3_600_000), ("keep", 0, IN_2099_MS)],
)
async def test_deadlines_follow_the_rule(rule: str, amount: int, expected: int, tmp_path: Path) -> None:
    """keep, drop and add are exact; a key without deadline gets none."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await _filled(source, ("SET", "ttl", 1, "PXAT", IN_2099_MS), ("SET", "forever", 1))

        report = await copied(source, target, tmp_path, ttl=rule, ttl_amount_ms=amount)

        assert await ask(target, "PEXPIRETIME", "ttl") == expected
        assert await ask(target, "PEXPIRETIME", "forever") == -1
        assert report.verified


async def test_cap_shortens_and_rebase_keeps_what_remained(tmp_path: Path) -> None:
    """cap: at most that long from now; rebase: the time that remained."""
    async with running() as source, running() as target:
        await _filled(source, ("SET", "long", 1, "PXAT", IN_2099_MS), ("SET", "short", 1, "PX", 50_000))

        await copied(source, target, tmp_path, ttl="cap", ttl_amount_ms=100_000)
        assert 90_000 < await ask(target, "PTTL", "long") <= 100_000
        assert 40_000 < await ask(target, "PTTL", "short") <= 50_000

        await ask(target, "FLUSHALL")
        await copied(source, target, tmp_path, ttl="rebase")
        assert 40_000 < await ask(target, "PTTL", "short") <= 50_000


async def test_what_a_cap_lets_expire_during_the_run_is_no_difference(tmp_path: Path) -> None:
    """A run that takes longer than the cap: the first keys are gone again when it is verified, as was asked for."""
    async with running() as source, running() as target:
        mortal = [("SET", f"k{number}", 1, "PX", 3_600_000) for number in range(100)]
        await _filled(source, *mortal, ("SET", "forever", 1))

        report = await copied(
            source, target, tmp_path, ttl="cap", ttl_amount_ms=300, rate_keys_per_s=100, batch=10, workers=1
        )

        assert report.verify is not None
        assert (report.exit, report.keys.written, report.verify.missing) == (0, 101, 0)
        assert report.verify.checked < 101
        assert await ask(target, "EXISTS", "forever") == 1


async def test_short_lives_are_left_out_when_asked(tmp_path: Path) -> None:
    """--min-ttl leaves out keys that live less; keys without deadline pass."""
    async with running() as source, running() as target:
        await _filled(source, ("SET", "short", 1, "PX", 30_000), ("SET", "long", 1, "PX", 90_000), ("SET", "ever", 1))

        report = await copied(source, target, tmp_path, min_ttl_ms=60_000)

        assert set(oracle.values(target.address)) == {b"long", b"ever"}
        assert report.verified


async def test_two_keys_that_fold_into_one_name_are_noticed(tmp_path: Path) -> None:
    """The second one is rejected by name, the first keeps its value, also under replace."""
    async with running() as source, running() as target:
        await _filled(source, ("SET", "a:1", "first"), ("SET", "b:1", "second"), ("SET", "a:2", "x"))

        report = await copied(source, target, tmp_path, renames=((b"a:", b"b:"),), on_conflict="replace")

        assert (report.keys.written, report.keys.rejected, report.exit) == (2, 1, 3)
        assert [reject.code for reject in report.rejects] == ["E305"]
        assert oracle.values(target.address)[b"b:2"] == b"x"


async def test_what_would_lose_parts_is_rejected_by_name(tmp_path: Path) -> None:
    """A hash with field deadlines cannot be rebuilt on 7.0; everything else arrives."""
    async with running("redis-8.2") as source, running("redis-7.0") as target:
        await _filled(source, ("HSET", "plain", "f", "v"), ("HSET", "timed", "f", "v", "g", "w"))
        await _filled(source, ("HEXPIRE", "timed", 10_000, "FIELDS", 1, "f"))

        report = await copied(source, target, tmp_path)

        assert set(oracle.values(target.address)) == {b"plain"}
        assert (report.keys.written, report.keys.rejected, report.exit) == (1, 1, 3)
        assert (report.rejects[0].key, report.rejects[0].code) == (b"timed", "E204")
        assert report.verify is not None
        assert report.verify.differences() == 0


async def test_too_many_rejects_end_the_run(tmp_path: Path) -> None:
    """--max-rejects is a limit: exit 8, and what was written is said."""
    async with running("redis-8.2") as source, running("redis-7.0") as target:
        for number in range(20):
            await _filled(source, ("HSET", f"h{number}", "f", "v"), ("HEXPIRE", f"h{number}", 9999, "FIELDS", 1, "f"))

        with pytest.raises(RejectLimitError) as failed:
            await copied(source, target, tmp_path, max_rejects="5")

    assert failed.value.exit_code == 8


async def test_a_full_target_stops_when_told_and_says_what_was_written(tmp_path: Path) -> None:
    """Exit 8; the count of written keys is the count of keys there."""
    async with running() as source, running("valkey-9.1", "--maxmemory", "20mb") as target:
        for number in range(400):
            await ask(source, "SET", f"k{number}", bytes([number % 256]) * 100_000)
        watching = Watching(consents=True)

        with pytest.raises(TargetFullError):
            await copied(source, target, tmp_path, watching, on_full="stop")

        assert watching.report is not None
        assert 0 < watching.report.keys.written < 400
        assert await ask(target, "DBSIZE") == watching.report.keys.written


async def test_a_value_beyond_the_memory_budget_arrives(tmp_path: Path) -> None:
    """300 MiB do not fit into 64 MiB, and pass through in pieces; the neighbours arrive, too."""
    async with running() as source, running() as target:
        await _filled(source, ("SETRANGE", "giant", 300 << 20, "x"), ("SET", "a", 1), ("SET", "b", 2))

        report = await copied(source, target, tmp_path, max_memory_bytes=64 << 20)

        assert await ask(target, "STRLEN", "giant") == (300 << 20) + 1
        assert (report.keys.written, report.exit, report.verified) == (3, 0, True)


async def test_an_item_beyond_the_memory_budget_is_rejected_by_name_where_it_cannot_pass(tmp_path: Path) -> None:
    """One field of 40 MiB, type commands asked for: it would have to be held whole. Its neighbours arrive."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await _filled(source, ("HSET", "giant", "f", "x" * (40 << 20)), ("SET", "a", 1))

        report = await copied(source, target, tmp_path, max_memory_bytes=16 << 20, format="logical")

        assert set(oracle.values(target.address)) == {b"a"}
        assert [(reject.key, reject.code) for reject in report.rejects] == [(b"giant", "E303")]
        assert (report.keys.written, report.exit) == (1, 3)


async def test_a_deadline_that_has_passed_is_counted_as_expired(tmp_path: Path) -> None:
    """A key past its deadline by the target's clock is not sent and is no finding."""
    async with running("redis-7.0", "--enable-debug-command", "yes") as source, running("redis-7.0") as target:
        await _filled(source, ("DEBUG", "SET-ACTIVE-EXPIRE", 0))
        for number in range(500):
            await ask(source, "SET", f"k{number}", 1, "PX", 1 + number)

        report = await copied(source, target, tmp_path)

        assert report.exit == 0
        assert report.keys.rejected == report.keys.conflicts == 0

"""A copy is killed, anything happens meanwhile, and `transfer resume` ends it: nothing lost, nothing done twice."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import transfer.job.copy
from tests import oracle
from tests.cli.running import Said, transfer
from tests.job.filling import commands, fill, size, until
from tests.job.test_copy_stops import copying
from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.job.database import FILE_NAME
from transfer.job.trail import Trail
from transfer.model.crash import POINTS

KEYS = 6000
BATCH = 500
PASSED = (
    *("store.begun", "store.planned", "store.state", "store.finished"),
    *("trail.restarted", "trail.sent", "sink.answered", "trail.flushed"),
)


def copy(source: ThrowawayServer, target: ThrowawayServer, state: Path, *more: str, crash: str = "") -> Said:
    """A copy in small batches, killed at the point *crash* (`name:n`)."""
    words = ("copy", source.url, target.url, "--json", "--pace", "max", "--batch", str(BATCH), *more)
    return transfer(*words, "--state", str(state), TRANSFER_CRASH_AT=crash)


def resume(state: Path, *words: str, crash: str = "") -> Said:
    return transfer("resume", *words, "--json", "--state", str(state), TRANSFER_CRASH_AT=crash)


def counts(said: Said) -> dict[str, int]:
    """Fates that keys had, but for those that were on their way and were read again."""
    keys = said.result["keys"]
    assert keys["repeated"] <= 6 * BATCH
    return {fate: count for fate, count in keys.items() if count and fate not in ("read", "repeated")}


def left_behind(state: Path) -> list[Path]:
    """What jobs keep beside the store."""
    return list(state.glob("2*"))


@pytest.mark.parametrize("point", PASSED)
async def test_a_copy_killed_anywhere_is_gone_on_with(point: str, tmp_path: Path) -> None:
    """At every point that a plain copy passes: what arrives is what left, every key counted once as written."""
    assert point in POINTS
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        killed = copy(source, target, tmp_path, crash=f"{point}:{3 if point in ('trail.sent', 'trail.flushed') else 1}")
        assert killed.exit == -9

        said = resume(tmp_path)

        if point == "store.finished":
            assert (said.exit, said.result["error"]["code"]) == (2, "E101")
        else:
            assert (said.exit, said.result["verified"]) == (0, True), said
            assert counts(said) == {"written": KEYS}
            assert left_behind(tmp_path) == []
        oracle.assert_same(source.address, target.address)


async def test_a_resumed_copy_sends_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    """At most what was in flight is sent again."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        copy(source, target, tmp_path, crash="trail.flushed:10")
        before = commands(target.address, "restore")

        said = resume(tmp_path)

        assert counts(said)["written"] == KEYS
        assert before + commands(target.address, "restore") - before <= KEYS + 5 * BATCH
        assert "going on after" in said.of("warning")[0]["message"]


async def test_a_kill_during_the_resume_is_gone_on_with(tmp_path: Path) -> None:
    """Three processes die one after the other."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        copy(source, target, tmp_path, crash="trail.sent:2")
        for point in ("sink.answered:2", "store.reopened", "trail.sent:1"):
            assert resume(tmp_path, crash=point).exit == -9

        said = resume(tmp_path)

        assert (said.exit, counts(said)) == (0, {"written": KEYS})
        assert said.result["resumed"] == 4
        oracle.assert_same(source.address, target.address)


async def test_the_same_pair_is_not_copied_beside_an_unfinished_job(tmp_path: Path) -> None:
    """Exit 2 with both commands; --fresh begins anew, and the old job cannot be resumed any more."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        copy(source, target, tmp_path, crash="trail.flushed:4")
        refused = copy(source, target, tmp_path)
        assert refused.exit == 2
        assert "transfer resume 2" in refused.result["error"]["hint"]
        assert "--fresh" in refused.result["error"]["hint"]

        said = copy(source, target, tmp_path, "--fresh", "--on-conflict", "skip")

        assert said.exit == 0
        assert counts(said)["already"] >= 4 * BATCH
        assert resume(tmp_path).result["error"]["code"] == "E101"


async def test_a_job_at_work_is_not_taken_over(tmp_path: Path) -> None:
    """Exit 11 for a second copy of the pair, and for resume, while the process lives."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with copying(source, target, tmp_path, "--rate", "300/s", "--batch", "100") as run:
            await until(lambda: size(target.address) > 100)
            job = json.loads(transfer("jobs", "list", "--json", "--state", str(tmp_path)).out)["data"][0]["job"]
            for said in (
                copy(source, target, tmp_path),
                copy(source, target, tmp_path, "--fresh"),
                resume(tmp_path, job),
            ):
                assert (said.exit, said.result["error"]["code"]) == (11, "E1100"), said
            run.tell(signal.SIGINT)
            assert await run.end() == 130


async def test_changes_at_the_source_in_between_are_no_findings(tmp_path: Path) -> None:
    """What was acknowledged and written since is listed as changed; what was not copied yet comes as it is now."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        copy(source, target, tmp_path, crash="trail.flushed:6")
        acknowledged = [key for key in oracle.contents(target.address) if key.startswith(b"k")]
        with oracle.client(source.address) as server:
            for key in acknowledged[:50]:
                server.set(key, b"another")
            server.delete(*acknowledged[50:60])

        said = resume(tmp_path)

        assert said.exit == 7, said
        assert said.result["verify"]["changed"] > 0
        assert said.result["verify"]["missing"] + said.result["verify"]["value"] + said.result["verify"]["extra"] == 0


async def test_a_database_that_was_emptied_in_between_is_still_compared(tmp_path: Path) -> None:
    """The target holds keys of it: they are listed as changed at the source, not forgotten."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        fill(source.address, 50, db=3)
        copy(source, target, tmp_path, crash="trail.flushed:6")
        with oracle.client(source.address) as server:
            server.flushdb()

        said = resume(tmp_path)

        assert (said.exit, [row["db"] for row in said.result["dbs"]]) == (7, [0, 3]), said
        assert said.result["verify"]["changed"] == size(target.address) > 0
        assert size(target.address, 3) == 50


async def test_a_key_that_was_on_its_way_is_known_as_this_jobs(tmp_path: Path) -> None:
    """It had arrived without an answer and changed at the source since: it is written over, no conflict."""
    async with running() as source, running() as target:
        with oracle.client(source.address) as server:
            for number in range(KEYS):
                server.rpush(b"list%d" % number, b"a", b"%d" % number)
        copy(source, target, tmp_path, crash="sink.answered:3")
        with oracle.client(source.address) as server:
            for key in oracle.contents(target.address):
                server.rpush(key, b"later")

        said = resume(tmp_path)

        assert said.exit in (0, 7), said
        assert counts(said) == {"written": KEYS}


@pytest.mark.parametrize("point", ["store.rejects:1", "trail.flushed:2", "trail.sent:3"])
async def test_keys_rejected_before_a_kill_are_counted(point: str, tmp_path: Path) -> None:
    """Each once, whatever was noted of them when the process died; exit 3 as without the kill."""
    async with running("valkey-9.1") as source, running("redis-7.0") as target:
        with oracle.client(source.address) as server, server.pipeline(transaction=False) as pipe:
            for number in range(KEYS):
                pipe.hset(b"k%d" % number, mapping={b"a": b"%d" % number, b"b": b"2"})
                if not number % 100:
                    pipe.execute_command("HPEXPIRE", b"k%d" % number, 10**9, "FIELDS", 1, "a")
            pipe.execute()
        assert copy(source, target, tmp_path, crash=point).exit == -9

        said = resume(tmp_path)

        assert said.exit == 3, said
        assert counts(said) == {"written": KEYS - 60, "rejected": 60}
        shown = json.loads(transfer("rejects", "show", said.result["job"], "--json", "--state", str(tmp_path)).out)
        assert len({item["key_b64"] for item in shown["data"]["rejects"]}) == 60


async def test_foreign_keys_stay_and_are_named_as_before(tmp_path: Path) -> None:
    """A conflict met before the kill is told once, and the key keeps its value."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        with oracle.client(target.address) as server:
            server.flushall()
            for number in range(0, KEYS, 100):
                server.set(b"k%d" % number, b"theirs")
        copy(source, target, tmp_path, "--allow", "nonempty-target", crash="trail.flushed:9")

        said = resume(tmp_path)

        assert said.exit == 3, said
        assert counts(said) == {"written": KEYS - 60, "conflicts": 60}
        shown = json.loads(transfer("jobs", "show", said.result["job"], "--json", "--state", str(tmp_path)).out)
        assert len({item["key_b64"] for item in shown["data"]["rejects"]}) == len(shown["data"]["rejects"]) == 60


@pytest.mark.parametrize("number", [3, 5, 7, 9])
async def test_keys_found_equal_before_a_kill_are_counted_once(number: int, tmp_path: Path) -> None:
    """Read again since their batch was on its way: they stay `already`, and are not written, too."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        fill(target.address, KEYS // 2)
        words = ("--on-conflict", "skip")
        assert copy(source, target, tmp_path, *words, crash=f"trail.flushed:{number}").exit == -9

        said = resume(tmp_path)

        assert said.exit == 0, said
        found = counts(said)
        assert found.pop("already") + found.pop("written") == KEYS
        assert not found
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize("how", [(), ("--hash-keys",)], ids=["names kept", "names hashed"])
async def test_a_source_that_is_a_stranger_is_refused(how: tuple[str, ...], tmp_path: Path) -> None:
    """Another process with keys of others: none of them is copied; with the right one again it goes on."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        fill(source.address, 6000)
        await ask(source, "SAVE")
        words = ("copy", source.url, target.url, *how, "--batch", "100", "--rate", "6000", "--state", str(tmp_path))
        assert transfer(*words, TRANSFER_CRASH_AT="trail.flushed:9").exit == -9
        there = await ask(target, "DBSIZE")
        saved = source.folder / "dump.rdb"
        await source.kill()
        os.rename(saved, tmp_path / "kept.rdb")
        await source.restart()
        await ask(source, "DEBUG", "POPULATE", 3000, "strange")

        said = transfer("resume", "--json", "--state", str(tmp_path))

        assert (said.exit, said.result["error"]["code"]) == (4, "E213"), said
        assert "transfer resume" in said.result["error"]["hint"]
        assert await ask(target, "DBSIZE") == there > 0
        await source.kill()
        os.rename(tmp_path / "kept.rdb", saved)
        await source.restart()
        again = transfer("resume", "--json", "--state", str(tmp_path))
        assert (again.exit, again.result["verified"]) == (0, True), again
        oracle.assert_same(source.address, target.address)


async def test_an_emptied_target_is_refused(tmp_path: Path) -> None:
    """None of the acknowledged keys is there: another server, or its data is gone. Nothing is written."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        copy(source, target, tmp_path, crash="trail.flushed:8")
        with oracle.client(target.address) as server:
            server.flushall()

        said = resume(tmp_path)

        assert (said.exit, said.result["error"]["code"]) == (4, "E213"), said
        assert "--fresh" in said.result["error"]["hint"]
        assert size(target.address) == 0


async def test_an_emptied_target_is_refused_by_names_that_were_not_kept(tmp_path: Path) -> None:
    """With --hash-keys no name outlives the process: names of the source whose hashes are known speak for it."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        copy(source, target, tmp_path, "--hash-keys", crash="trail.flushed:8")
        with oracle.client(target.address) as server:
            server.flushall()

        said = resume(tmp_path)

        assert (said.exit, said.result["error"]["code"]) == (4, "E213"), said
        assert size(target.address) == 0


async def test_keys_that_reached_their_deadlines_do_not_speak_against_a_target(tmp_path: Path) -> None:
    """All that was acknowledged has expired: that makes no other server of it; what is new is brought or listed."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        with oracle.client(source.address) as server:
            with server.pipeline(transaction=False) as pipe:
                for number in range(KEYS):
                    pipe.pexpire(b"k%d" % number, 6000)
                pipe.execute()
            copy(source, target, tmp_path, crash="trail.flushed:8")
            with oracle.client(target.address) as other:
                await until(lambda: not server.dbsize() and not other.dbsize())
            server.mset({f"new{number}": "x" for number in range(100)})

        said = resume(tmp_path)

        assert said.exit in (0, 7), said
        assert any("no key is left to recognise" in line.get("message", "") for line in said.lines), said
        assert size(target.address) + said.result["verify"]["changed"] == 100, said


async def test_where_names_are_hashed_and_none_is_found_again_that_is_said(tmp_path: Path) -> None:
    """Keys with deadlines say nothing about the target: the reason is the hashing, not that they expired."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        with oracle.client(source.address) as server, server.pipeline(transaction=False) as pipe:
            for number in range(KEYS):
                pipe.pexpire(b"k%d" % number, 3_600_000)
            pipe.execute()
        copy(source, target, tmp_path, "--hash-keys", crash="trail.flushed:8")

        said = resume(tmp_path)

        assert said.exit == 0, said
        told = [line["message"] for line in said.lines if "no key is left to recognise" in line.get("message", "")]
        assert ["names were not kept (--hash-keys)" in text and "deadlines" not in text for text in told] == [True]


@pytest.mark.parametrize(
    "how", [(), ("--format", "logical"), ("--on-conflict", "replace")], ids=["plain", "logical", "replace with undo"]
)
async def test_the_account_of_a_target_that_is_full_is_exact_at_each_stop(how: tuple[str, ...], tmp_path: Path) -> None:
    """Keys of a batch that was taken in part are counted once: as the target has them, stop after stop."""
    limits = ("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    async with running("valkey-9.1") as source, running("valkey-9.1", *limits) as target:
        link = await source.link()
        for number in range(600):
            words = ("SET", f"k{number}") if number % 2 else ("HSET", f"k{number}", "f")
            await link.command(*words, os.urandom(6000))
        await link.close()

        said = transfer("copy", source.url, target.url, *how, "--on-full", "stop", "--json", "--state", str(tmp_path))
        for megabytes in (4, 0):
            assert (said.exit, said.result["error"]["code"]) == (8, "E803"), said
            assert said.result["keys"]["written"] == await ask(target, "DBSIZE") < 600
            await ask(target, "CONFIG", "SET", "maxmemory", f"{megabytes}mb")
            said = transfer("resume", "--json", "--state", str(tmp_path))

        assert (said.exit, said.result["verified"], said.result["keys"]["rejected"]) == (0, True, 0), said
        assert said.result["keys"]["written"] == 600
        oracle.assert_same(source.address, target.address)


async def test_a_trail_that_is_damaged_costs_time_only(tmp_path: Path) -> None:
    """Everything is read again; what is equal is skipped."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        copy(source, target, tmp_path, crash="trail.flushed:8")
        for path in left_behind(tmp_path):
            path.write_bytes(b"\0" * path.stat().st_size)

        said = resume(tmp_path, "--allow", "nonempty-target")

        assert (said.exit, said.result["verified"]) == (0, True), said
        assert counts(said)["already"] >= 8 * BATCH
        oracle.assert_same(source.address, target.address)


async def test_passwords_are_not_kept(tmp_path: Path) -> None:
    """They are asked for again by the environment; nothing in the state directory holds them."""
    async with running("redis-7.0") as source, running() as target:
        fill(source.address, KEYS)
        with oracle.client(source.address) as server:
            server.config_set("requirepass", "tr0ub4dor")
        url = source.url.replace("redis://", "redis://:tr0ub4dor@")
        words = ("copy", url, target.url, "--batch", "500", "--state", str(tmp_path))
        transfer(*words, TRANSFER_CRASH_AT="trail.flushed:3")
        assert not any(b"tr0ub4dor" in path.read_bytes() for path in [*left_behind(tmp_path), tmp_path / FILE_NAME])

        refused = resume(tmp_path)
        assert (refused.exit, refused.result["error"]["code"]) == (2, "E101")
        assert "TRANSFER_SOURCE_PASSWORD" in refused.result["error"]["hint"]
        words = ("resume", "--json", "--state", str(tmp_path))
        said = transfer(*words, TRANSFER_SOURCE_PASSWORD="tr0ub4dor")  # noqa: S106 - of a throw-away server

        assert (said.exit, said.result["verified"]) == (0, True), said


def test_what_was_not_flushed_is_sent_and_not_written(tmp_path: Path) -> None:
    """Records become `written` with the transaction of their positions, not before."""
    trail = Trail.open(tmp_path / "j.trail")
    number = trail.sent(b"h" * 8, b"v" * 8)
    trail.landed(number)
    trail.moved("db0/0.0", "17")

    other = Trail.open(tmp_path / "j.trail")
    assert ([kind for kind, _, _ in other.records()], other.positions()) == (["sent"], {})
    trail.flush()

    assert ([kind for kind, _, _ in other.records()], other.positions()) == (["written"], {"db0/0.0": "17"})
    rights: Any = (tmp_path / "j.trail").stat().st_mode & 0o777
    assert rights == 0o600


def test_only_what_was_settled_is_recent(tmp_path: Path) -> None:
    """A name that was claimed, or about to be sent, is still to be copied."""
    trail = Trail.open(tmp_path / "j.trail")
    trail.noting("owners")(b"claimed!", b"v" * 8)
    trail.sent(b"underway", b"v" * 8)
    trail.landed(trail.sent(b"arrived!", b"v" * 8))
    for kind in ("written", "found_equal", "kept"):
        trail.noting(kind)(kind.encode().ljust(12)[:8], b"v" * 8)
    trail.flush()

    assert trail.recent() == {b"arrived!", b"written ", b"found_eq", b"kept    "}

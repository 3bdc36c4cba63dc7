"""What a job writes over is kept before, and put back by `undo`, whoever dies or writes meanwhile."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.cli.running import Said, transfer
from tests.job.copying import copied
from tests.job.filling import fill
from tests.servers import running
from transfer.codec.fingerprint import Intended
from transfer.endpoint.archive.undo import Held, UndoArchive, files_of
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.job.database import FILE_NAME
from transfer.job.store import JobStore
from transfer.model.errors import StateFullError

KEYS = 3000
POINTS = ("undo.captured", "undo.changed")


def replace(source: ThrowawayServer, target: ThrowawayServer, state: Path, *more: str, crash: str = "") -> Said:
    words = ("copy", source.url, target.url, "--on-conflict", "replace", "--json", "--pace", "max", "--batch", "300")
    return transfer(*words, "--state", str(state), *more, TRANSFER_CRASH_AT=crash)


def undo(job: str, state: Path, *more: str, crash: str = "") -> Said:
    return transfer("undo", job, "--json", "--state", str(state), *more, TRANSFER_CRASH_AT=crash)


def both_filled(source: ThrowawayServer, target: ThrowawayServer) -> oracle.Snapshot:
    """Other values under a half of the same names, and keys that the source does not have; what the target holds."""
    fill(source.address, KEYS, 1)
    fill(target.address, KEYS // 2, 2)
    with oracle.client(target.address) as server:
        server.delete("k1")
        server.sadd("k1", *range(2000))  # where the source has a string
        server.set("k2", "x" * 3000, px=86_400_000)
        server.set("of nobody else", "stays")
    return oracle.snapshot(target.address)


def assert_holds(before: oracle.Snapshot, target: ThrowawayServer) -> None:
    found = oracle.compare(before, oracle.snapshot(target.address))
    assert not found, found.told()


def jobs_of(state: Path) -> list[str]:
    with JobStore.open(str(state)) as store:
        return [job.job for job in store.list_jobs()]


@pytest.mark.parametrize("version", ["redis-6.2"])
async def test_an_undo_puts_back_what_a_copy_wrote_over_and_can_itself_be_undone(version: str, tmp_path: Path) -> None:
    """Byte for byte, deadlines and absent keys as well; by another version's payloads, too."""
    async with running("redis-7.0") as source, running(version) as target:
        before = both_filled(source, target)
        done = replace(source, target, tmp_path)
        after = oracle.snapshot(target.address)

        undone = undo(done.result["job"], tmp_path)

        assert (done.exit, undone.exit, undone.result["verified"]) == (0, 0, True), undone
        assert_holds(before, target)
        folder = tmp_path / "undo" / done.result["job"]
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, *files_of(folder))]
        assert modes == [0o700, 0o700, 0o600]

        assert undo(undone.result["job"], tmp_path).exit == 0
        assert_holds(after, target)


@pytest.mark.parametrize("version", ["redis-6.2", "redis-7.0"])
async def test_what_is_there_already_is_neither_written_nor_kept(version: str, tmp_path: Path) -> None:
    """A second copy with replace counts all as already, keeps nothing for undo, and leaves the target alone."""
    async with running("redis-7.0") as source, running(version) as target:
        fill(source.address, KEYS)
        first = replace(source, target, tmp_path)
        writes = oracle.client(target.address).info("persistence")["rdb_changes_since_last_save"]
        again = replace(source, target, tmp_path)
        after = oracle.client(target.address).info("persistence")["rdb_changes_since_last_save"]
        with oracle.client(source.address) as server:
            server.set("k1", "another")
            server.persist("k3")
        third = replace(source, target, tmp_path)
        undone = undo(third.result["job"], tmp_path)
        oracle_found = oracle.client(target.address).get("k1")

    counts = again.result["keys"]
    assert (first.exit, first.result["keys"]["written"]) == (0, KEYS), first
    assert (again.exit, again.result["verified"], counts["read"]) == (0, True, KEYS), again
    assert (counts["written"], counts["already"], after - writes) == (0, KEYS, 0), counts
    assert (third.exit, third.result["keys"]["written"], third.result["keys"]["already"]) == (0, 2, KEYS - 2), third
    assert (undone.exit, undone.result["keys"]["read"]) == (0, 2), undone
    assert oracle_found != b"another"


@pytest.mark.parametrize("point", POINTS)
async def test_an_undo_after_a_kill_and_a_resume_gives_back_what_was_there_before(point: str, tmp_path: Path) -> None:
    """The resumed process knows what the killed one had captured, and what of that it had changed."""
    async with running() as source, running() as target:
        before = both_filled(source, target)
        assert replace(source, target, tmp_path, crash=f"{point}:4").exit == -9

        resumed = transfer("resume", "--json", "--state", str(tmp_path))

        assert (resumed.exit, resumed.result["verified"]) == (0, True), resumed
        assert undo(resumed.result["job"], tmp_path).exit == 0
        assert_holds(before, target)


async def test_an_undo_of_a_killed_copy_and_one_that_is_killed_itself(tmp_path: Path) -> None:
    """Without a resume of the copy; the undo goes on where it was killed."""
    async with running() as source, running() as target:
        before = both_filled(source, target)
        assert replace(source, target, tmp_path, crash="undo.changed:5").exit == -9
        (job,) = jobs_of(tmp_path)

        assert undo(job, tmp_path, crash="undo.changed:2").exit == -9
        went_on = transfer("resume", "--json", "--state", str(tmp_path))

        assert (went_on.exit, went_on.result["command"]) == (0, "undo"), went_on
        assert_holds(before, target)
        again = transfer("resume", job, "--state", str(tmp_path))
        assert again.exit == 2
        assert "cannot be resumed" in again.err


async def test_a_writer_between_capture_and_write_gets_its_own_value_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compare-and-set fails, a newer pre-image is appended, and that one counts."""
    async with running() as source, running() as target:
        both_filled(source, target)
        capture = UndoArchive.capture
        names: list[bytes] = []

        async def interrupted(self: UndoArchive, db: int, held: Held, intended: list[Intended]) -> int:
            number = await capture(self, db, held, intended)
            if not names:
                names.extend((held.columns.keys + held.absent)[:3])
                with oracle.client(target.address) as other:
                    for name in names:
                        other.set(name, b"written between")
            return number

        monkeypatch.setattr(UndoArchive, "capture", interrupted)
        report = await copied(source, target, tmp_path, on_conflict="replace")
        assert (report.exit, report.verified) == (0, True)

        assert undo(report.job, tmp_path).exit == 0

        with oracle.client(target.address) as server:
            assert server.mget(names) == [b"written between"] * 3


async def test_what_others_changed_since_stays_and_is_listed(tmp_path: Path) -> None:
    """Exit 7 and a finding each; with --allow changed-since it is written over."""
    async with running() as source, running() as target:
        before = both_filled(source, target)
        job = replace(source, target, tmp_path).result["job"]
        with oracle.client(target.address) as server:
            server.set("k3", "newer")
            server.delete("k5")

            found = undo(job, tmp_path)

            assert found.exit == 7
            assert {line["key"] for line in found.of("finding")} == {"k3", "k5"}
            assert (server.get("k3"), server.get("k5")) == (b"newer", None)
        assert undo(job, tmp_path, "--allow", "changed-since").exit == 0
        assert_holds(before, target)


async def test_a_full_disk_stops_the_copy_before_the_next_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 8; the same job goes on once there is room, and all of it can be undone."""
    async with running() as source, running() as target:
        before = both_filled(source, target)
        write, written = os.write, 0

        def filling(file: int, data: Any) -> int:
            nonlocal written
            if "/undo/" not in os.readlink(f"/proc/self/fd/{file}"):
                return write(file, data)
            written += len(data)
            if written > 40_000:
                write(file, bytes(data)[: len(data) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data)

        monkeypatch.setattr(os, "write", filling)
        with pytest.raises(StateFullError) as failed:
            await copied(source, target, tmp_path, on_conflict="replace", batch=300)
        monkeypatch.undo()

        assert (failed.value.exit_code, "resume" in failed.value.hint) == (8, True)
        resumed = transfer("resume", "--json", "--state", str(tmp_path))
        assert resumed.exit == 0, resumed
        assert undo(resumed.result["job"], tmp_path).exit == 0
        assert_holds(before, target)


async def test_a_job_without_an_archive_is_refused_by_name(tmp_path: Path) -> None:
    """Unknown, told to keep nothing, or a kind of job that changes nothing: exit 2 and why."""
    async with running() as source, running() as target:
        both_filled(source, target)
        without = replace(source, target, tmp_path, "--allow", "no-undo")
        compared = transfer("verify", source.url, target.url, "--json", "--state", str(tmp_path))

        said = [undo(job, tmp_path) for job in ("nothing", without.result["job"], compared.result["job"])]

        assert [one.exit for one in said] == [2, 2, 2]
        assert [hazard["name"] for hazard in without.lines[0]["hazards"]] == ["no-undo"]
        assert "no undo archive" in said[1].err
        assert not (tmp_path / "undo").exists()
        assert (tmp_path / FILE_NAME).exists()


async def test_archives_of_jobs_that_are_not_through_are_never_pruned(tmp_path: Path) -> None:
    """What stays is said in bytes; --undo-dir is where they are looked for, too."""
    async with running() as source, running() as target:
        both_filled(source, target)
        elsewhere, state = tmp_path / "elsewhere", tmp_path / "state"
        killed = replace(source, target, state, "--undo-dir", str(elsewhere), crash="undo.took:3")
        (job,) = jobs_of(state)

        kept = transfer("jobs", "prune", "--older", "0s", "--json", "--state", str(state)).result["data"]

        assert (killed.exit, kept["pruned"], kept["unfinished"]) == (-9, [], 1)
        assert kept["undo_bytes_left"] == sum(path.stat().st_size for path in files_of(elsewhere / job)) > 0
        assert transfer("resume", "--state", str(state)).exit == 0
        gone = transfer("jobs", "prune", "--older", "0s", "--json", "--state", str(state)).result["data"]
        assert (gone["pruned"], gone["undo_bytes_left"], list(elsewhere.iterdir())) == ([job], 0, [])


async def test_a_user_who_may_not_capture_is_told_before_anything_is_written(tmp_path: Path) -> None:
    """With the commands by name; --allow no-undo needs none of them."""
    async with running() as source, running() as target:
        before = both_filled(source, target)
        with oracle.client(target.address) as server:
            server.execute_command("ACL", "SETUSER", "app", "on", ">app", "~*", "&*", "+@all", "-watch", "-unlink")
        url = target.url.replace("redis://", "redis://app:app@")
        words = ("copy", source.url, url, "--on-conflict", "replace", "--json", "--state", str(tmp_path))

        refused = transfer(*words)

        assert (refused.exit, refused.result["error"]["code"]) == (4, "E203"), refused
        assert "lacks WATCH, UNLINK" in refused.err
        assert_holds(before, target)
        assert transfer(*words, "--allow", "no-undo").exit == 0

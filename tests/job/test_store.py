"""The job store remembers every run, whatever happens to the process that wrote it."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.canaries import CANARIES, assert_no_canary
from transfer.job.database import FILE_NAME, store_path
from transfer.job.identity import is_alive, new_job_id, process_mark
from transfer.job.store import JobStore
from transfer.model.endpoint import Address, Secret
from transfer.model.errors import FormatError, LinkError, LockedError, UsageError
from transfer.model.report import DbTable, KeyCounts, Reject, Report, VerifyResult

A, B = "redis://a:6379", "redis://b:6379"


def _report(job: str, exit_code: int = 0) -> Report:
    keys = KeyCounts(read=3, written=2, rejected=1)
    dbs = [DbTable(0, (3, 2), (1, 1), ("aa", "bb"))]
    return Report(command="copy", job=job, exit=exit_code, keys=keys, verified=True, verify=VerifyResult(), dbs=dbs)


def test_a_job_id_tells_when_in_utc_and_is_the_next_one_free() -> None:
    """`20261122-1931-7f3a`: sorted by time, the same on every machine."""
    moment = datetime.fromisoformat("2026-11-22T20:31:59+01:00")

    assert new_job_id(moment).startswith("20261122-1931-")
    assert len(new_job_id()) == len("20261122-1931-7f3a")
    assert (
        abs(datetime.strptime(f"{new_job_id()[:13]}+0000", "%Y%m%d-%H%M%z") - datetime.now(UTC)).total_seconds() < 120
    )


def test_an_id_that_is_taken_is_never_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four random digits meet sooner than one thinks; the store draws again."""
    drawn = iter(["20261122-1931-0001", "20261122-1931-0001", "20261122-1931-0002"])
    monkeypatch.setattr("transfer.job.store.new_job_id", lambda: next(drawn))

    with JobStore.open(str(tmp_path)) as store:
        assert [store.new_job("copy", A, B), store.new_job("copy", A, B)] == [
            "20261122-1931-0001",
            "20261122-1931-0002",
        ]
        with pytest.raises(UsageError):
            store.create("20261122-1931-0001", "copy", A, B)


def test_a_run_is_remembered_from_its_row_to_its_report(tmp_path: Path) -> None:
    """Everything `jobs show` needs comes back from disk."""
    with JobStore.open(str(tmp_path)) as store:
        job = store.new_job("copy", A, B, '{"match":["user:*"]}', "nightly")
        store.state(job, "running")
        store.save_plan(job, '{"keys":3}')
        store.add_rejects(job, [Reject(0, b"bad\xff\x00", "E204", "Bad data format")])
        store.finish(job, _report(job, 3))

    with JobStore.open(str(tmp_path)) as store:
        found = store.get(job)
        assert (found.state, found.exit, found.label, found.rejected) == ("finished", 3, "nightly", 1)
        assert found.plan == '{"keys":3}'
        assert found.report == _report(job, 3)
        assert found.pid == os.getpid()
        assert found.ended_ms is not None
        assert found.ended_ms >= found.started_ms > 0
        assert store.rejects(job) == [Reject(0, b"bad\xff\x00", "E204", "Bad data format")]


@pytest.mark.parametrize(
    ("exit_code", "state"),
    [(0, "finished"), (3, "finished"), (6, "finished"), (7, "finished"), (4, "failed"), (130, "interrupted")],
)
def test_the_state_follows_from_the_exit_code(tmp_path: Path, exit_code: int, state: str) -> None:
    """A run with findings has finished; one that was stopped or failed has not."""
    with JobStore.open(str(tmp_path)) as store:
        job = store.new_job("copy", A, B)
        store.finish(job, _report(job, exit_code))
        assert store.get(job).state == state


def test_a_failure_is_remembered_with_its_code_and_place(tmp_path: Path) -> None:
    """`jobs show` says why, days later."""
    with JobStore.open(str(tmp_path)) as store:
        job = store.new_job("copy", A, B)
        store.finish(job, _report(job), LinkError("gone", where=A))
        found = store.get(job)

    assert (found.state, found.exit) == ("failed", 4)
    assert found.error is not None
    assert (found.error.code, found.error.message, found.error.where) == ("E200", "gone", A)


def test_the_newest_job_comes_first(tmp_path: Path) -> None:
    """Within one millisecond too."""
    with JobStore.open(str(tmp_path)) as store:
        made = [store.new_job("copy", A, B) for _ in range(5)]
        assert [job.job for job in store.list_jobs()] == made[::-1]


def test_a_job_is_found_by_any_part_of_its_id_that_only_it_has(tmp_path: Path) -> None:
    """The beginning, or the four digits at the end; `%` and `_` are themselves."""
    with JobStore.open(str(tmp_path)) as store:
        store.create("20261122-1931-7f3a", "copy", A, B)
        store.create("20261122-1932-0b1c", "copy", A, B)

        assert store.get("20261122-1931").job == "20261122-1931-7f3a"
        assert store.get("0b1c").job == "20261122-1932-0b1c"
        for wrong in ("20261122", "", "%", "____", "nope"):
            with pytest.raises(UsageError):
                store.get(wrong)


def test_a_job_whose_process_is_gone_is_shown_as_died(tmp_path: Path) -> None:
    """`running` in the row of a killed process is a claim nobody upholds."""
    code = (
        "import sys, os; from transfer.job.store import JobStore\n"
        "store = JobStore.open(sys.argv[1]); job = store.new_job('copy', 'a', 'b'); store.state(job, 'running')\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=30)

    with JobStore.open(str(tmp_path)) as store:
        mine = store.new_job("copy", A, B)
        assert {job.job == mine: job.state for job in store.list_jobs()} == {True: "planned", False: "died"}


def test_a_process_of_the_same_number_is_not_the_same_process() -> None:
    """Numbers are used again; the moment of the start tells them apart."""
    assert is_alive(os.getpid(), process_mark(os.getpid()))
    assert process_mark(os.getpid()) == "" or not is_alive(os.getpid(), "1")


def test_the_file_is_the_users_alone_from_its_first_byte(tmp_path: Path) -> None:
    """0600 and 0700 whatever the umask, the WAL beside it as well."""
    before = os.umask(0)
    try:
        with JobStore.open(str(tmp_path / "deep" / "state")) as store:
            store.new_job("copy", A, B)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()}
            assert modes
            assert set(modes.values()) == {0o600}
            assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_every_commit_is_synced_and_the_journal_is_a_wal(tmp_path: Path) -> None:
    """What was said to be stored survives the power."""
    with JobStore.open(str(tmp_path)) as store:
        assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_many_processes_write_at_once(tmp_path: Path) -> None:
    """Eight that open the same new store in the same moment: nobody fails, nothing is lost."""
    code = (
        "import sys; from transfer.job.store import JobStore; from transfer.model.report import Reject\n"
        "with JobStore.open(sys.argv[1]) as store:\n"
        "    for _ in range(5):\n"
        "        job = store.new_job('copy', 'a', 'b'); store.state(job, 'running')\n"
        "        store.add_rejects(job, [Reject(0, b'k%d' % n, 'E204', 'no') for n in range(20)]); store.flush()\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(8)]
    said = [process.communicate(timeout=60)[1] for process in started]

    assert said == [b""] * 8
    with JobStore.open(str(tmp_path)) as store:
        jobs = store.list_jobs()
        assert len({job.job for job in jobs}) == 40
        assert {job.rejected for job in jobs} == {20}


def test_rejects_are_written_in_batches(tmp_path: Path) -> None:
    """One by one they would cost a sync each; the last ones come with `finish`."""
    with JobStore.open(str(tmp_path)) as store:
        job = store.new_job("copy", A, B)
        for number in range(1_200):
            store.add_reject(job, Reject(0, b"%d" % number, "E204", "no"))
        syncs_saved = len(store._waiting)
        store.finish(job, _report(job))

        assert syncs_saved > 0
        assert [reject.key for reject in store.rejects(job)] == [b"%d" % number for number in range(1_200)]


def test_a_damaged_store_says_so_and_where(tmp_path: Path) -> None:
    """Not a traceback of sqlite3, and never a silent new store over the old one."""
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, and longer than a header" * 100)

    with pytest.raises(FormatError) as caught:
        JobStore.open(str(tmp_path))

    assert caught.value.where == str(tmp_path / FILE_NAME)
    assert "--state" in caught.value.hint


def test_a_store_that_was_cut_is_damaged(tmp_path: Path) -> None:
    """Half of the pages are missing."""
    with JobStore.open(str(tmp_path)) as store:
        for _ in range(50):
            store.new_job("copy", A, B, "x" * 500)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(FormatError), JobStore.open(str(tmp_path)) as store:
        store.list_jobs()


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """A file where the directory should be: it fails for root as well."""
    (tmp_path / "state").write_text("")

    with pytest.raises(UsageError) as caught:
        JobStore.open(str(tmp_path / "state"))

    assert "--state" in caught.value.hint


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """Writing into a layout one does not know would damage it."""
    JobStore.open(str(tmp_path)).close()
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.execute("PRAGMA user_version = 99")
    database.close()

    with pytest.raises(UsageError, match="newer version"):
        JobStore.open(str(tmp_path))


def test_a_store_that_another_process_holds_is_said_to_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the wait, with its own exit code."""
    monkeypatch.setattr("transfer.job.database.BUSY_MS", 50)
    with JobStore.open(str(tmp_path)) as store:
        other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError):
            store.new_job("copy", A, B)
        other.execute("ROLLBACK")
        other.close()


def test_no_secret_and_with_hash_keys_no_name_reaches_the_file(tmp_path: Path) -> None:
    """Places come redacted; names are hashed where that was asked for."""
    secret = Secret(CANARIES["url password"])
    address = Address(host="10.0.0.7", username="app", password=secret)
    with JobStore.open(str(tmp_path), hash_keys=True) as store:
        job = store.new_job("copy", str(address), repr(address))
        store.add_reject(job, Reject(0, CANARIES["key name"].encode(), "E204", "no"))
        report = _report(job)
        report.rejects = [Reject(0, CANARIES["key name"].encode(), "E204", "no")]
        store.finish(job, report)
        assert store.rejects(job)[0].key.startswith(b"h:")

    assert_no_canary(folder=tmp_path)


def test_looking_for_the_place_makes_nothing(tmp_path: Path) -> None:
    """`jobs list` on a new machine leaves no trace."""
    assert store_path(str(tmp_path / "none")).exists() is False
    assert not (tmp_path / "none").exists()

"""`jobs prune` and `jobs clean`: what is through is forgotten, what a job left is removed, what runs is left alone."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests import oracle
from tests.cli.running import run, transfer
from tests.job.filling import fill, size, until
from tests.job.test_copy_stops import KEYS, copying
from tests.servers import ask, running
from transfer.endpoint.redis.neighbours import connection_name
from transfer.job.store import JobStore
from transfer.model.report import Reject, Report
from transfer.wire.dial import Dialer

DAY_MS = 86_400_000
THROUGH, RECENT, RESUMABLE, LIVE, AWAY, DIED = (f"20261001-1931-000{number}" for number in range(6))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """One job of each kind, all begun 40 days ago; each left files."""
    long_ago_ms = time.time_ns() // 1_000_000 - 40 * DAY_MS
    with JobStore.open(str(tmp_path)) as store:
        for job in (THROUGH, RECENT, RESUMABLE, LIVE, AWAY, DIED):
            store.create(job, "copy", "redis://a:6379", "redis://b:6379")
            store.state(job, "running")
            store.add_reject(job, Reject(0, b"k", "E204", "bad"))
            (tmp_path / f"{job}.trail").touch()
        for job in (THROUGH, RECENT, RESUMABLE):
            store.finish(job, Report(command="copy", job=job))
        with store.transaction() as database:
            database.execute("UPDATE jobs SET started_ms = ?", (long_ago_ms,))
            database.execute("UPDATE jobs SET ended_ms = ? WHERE job <> ? AND ended_ms > 0", (long_ago_ms, RECENT))
            database.execute("UPDATE jobs SET holds = 1, state = 'interrupted' WHERE job = ?", (RESUMABLE,))
            database.execute("UPDATE jobs SET host = 'elsewhere' WHERE job = ?", (AWAY,))
            database.execute("UPDATE jobs SET pid = 99999999, holds = 1 WHERE job = ?", (DIED,))
    return tmp_path


def _left(state: Path) -> tuple[list[str], list[str], int]:
    """Jobs in the store, jobs with a file, rejected keys."""
    with JobStore.open(str(state)) as store:
        rows = sorted(job.job for job in store.list_jobs())
        rejects = sum(len(store.rejects(job)) for job in (THROUGH, RECENT, RESUMABLE, LIVE, AWAY, DIED))
    return rows, sorted(path.stem for path in state.glob("*.trail")), rejects


def test_what_is_through_and_old_is_forgotten_and_nothing_else(state: Path) -> None:
    """Rows, rejected keys and files; 30 days unless told otherwise. What runs or can be resumed stays."""
    first = transfer("jobs", "prune", "--json", "--state", str(state))
    stay = [RECENT, RESUMABLE, LIVE, AWAY, DIED]

    assert (first.exit, first.result["data"]) == (
        0,
        {"pruned": [THROUGH], "undo_bytes": 0, "undo_bytes_left": 0, "unfinished": 0},
    )
    assert _left(state) == (stay, stay, 5)

    assert transfer("jobs", "prune", "--older", "0s", "--keep", "1", "--state", str(state)).out == "0 jobs forgotten\n"
    assert transfer("jobs", "prune", "--older", "0s", "--state", str(state)).out == "1 job forgotten\n"
    assert _left(state) == (stay[1:], stay[1:], 4)


@pytest.mark.parametrize("words", [("--older", "soon"), ("--keep", "-1")])
def test_a_limit_that_cannot_be_read_forgets_nothing(words: tuple[str, str], state: Path) -> None:
    """Exit 2, and the flag is named."""
    said = transfer("jobs", "prune", *words, "--state", str(state))

    assert said.exit == 2, said
    assert len(_left(state)[0]) == 6


def test_a_running_job_is_not_cleaned(state: Path) -> None:
    """Exit 11, with the command that ends it."""
    said = transfer("jobs", "clean", LIVE, "--offline", "--state", str(state))

    assert said.exit == 11
    assert f"transfer jobs cancel {LIVE}" in said.err
    assert LIVE in _left(state)[1]


@pytest.mark.parametrize("job", [RESUMABLE, AWAY, DIED, THROUGH])
def test_a_cleaned_job_leaves_no_file_and_cannot_be_resumed(job: str, state: Path) -> None:
    """Whether it could be before or not; its row stays, for `jobs show`."""
    said = transfer("jobs", "clean", job, "--offline", "--json", "--state", str(state))

    assert (said.exit, said.result["data"]["files"], said.result["data"]["temporaries"]) == (0, 1, None)
    assert job not in _left(state)[1]
    assert transfer("jobs", "resume", job, "--state", str(state)).exit == 2
    assert transfer("jobs", "show", job, "--state", str(state)).exit == 0


async def test_temporary_keys_of_the_job_are_removed_at_the_target_and_no_others(tmp_path: Path) -> None:
    """An interrupted copy: its keys stay, its half-built ones go from every database; a new copy may begin."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with copying(source, target, tmp_path, "--rate", "2000/s", "--batch", "100") as copy:
            await until(lambda: size(target.address) > 300)
            copy.tell(signal.SIGINT)
            await copy.end()
        job, written = copy.result["job"], size(target.address)
        for db, name in ((0, f"transfer:tmp:{job}:1:{{a}}"), (3, f"transfer:tmp:{job}:2:{{b}}")):
            await ask(target, "RPUSH", name, "half", db=db)
        await ask(target, "SET", "transfer:tmp:20261001-1931-ffff:1:{a}", "of another job")
        link = await Dialer(target.address, name=connection_name(job, "elsewhere", 7)).dial()

        refused = await run("jobs", "clean", job, "--state", str(tmp_path), state=tmp_path)
        await link.close()
        cleaned = await run("jobs", "clean", job, "--state", str(tmp_path), state=tmp_path)
        resumed = await run("jobs", "resume", job, "--state", str(tmp_path), state=tmp_path)
        async with copying(source, target, tmp_path, "--on-conflict", "skip") as again:
            assert await again.end() in (0, 6)  # 6: the other job's temporary key is an extra one

        assert refused.exit == 11
        assert "elsewhere" in refused.err
        assert cleaned.exit == 0
        assert cleaned.out.startswith(f"{job}  removed 2 temporary keys at the target and ")
        assert cleaned.out.endswith("; it can no longer be resumed\n")
        assert resumed.exit == 2
        assert "it is cancelled" in resumed.err
        assert (size(target.address), size(target.address, 3)) == (KEYS + 1, 0)
        assert written < KEYS
        with oracle.client(target.address) as client:
            assert client.get("transfer:tmp:20261001-1931-ffff:1:{a}") == b"of another job"

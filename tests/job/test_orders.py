"""`jobs pause` and `jobs cancel` from another shell: the run ends as it was told, and what it says is what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.cli.running import run
from tests.job.filling import Stopwatch, fill, size, until
from tests.job.test_copy_stops import KEYS, copying
from tests.servers import running
from transfer.job.orders import give, orders_of, wait_end
from transfer.job.store import JobStore
from transfer.model.errors import UsageError
from transfer.model.report import Report


@pytest.mark.parametrize(("word", "state"), [("pause", "interrupted"), ("cancel", "cancelled")])
async def test_a_run_obeys_within_moments(word: str, state: str, tmp_path: Path) -> None:
    """Exit 130; what was counted as written is there, and the command that ordered it tells the same."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with copying(source, target, tmp_path, "--rate", "1000/s", "--batch", "100") as copy:
            await until(lambda: size(target.address) > 300)
            job = _newest(tmp_path)
            with Stopwatch() as watch:
                said = await run("jobs", word, job[-4:], "--json", state=tmp_path, TRANSFER_STATE=str(tmp_path))
                assert await copy.end() == 130

        assert watch.seconds < 5  # two processes start in it
        assert said.exit == 0, said
        data: dict[str, Any] = said.result["data"]
        assert (data["job"], data["obeyed"], data["state"], data["exit"]) == (job, True, state, 130)
        assert data["written"] == copy.result["keys"]["written"] == size(target.address) < KEYS
        error = copy.result["error"]
        assert error["code"] == ("E1300" if word == "pause" else "E1301")
        assert f"`transfer jobs {word}`" in error["message"]
        here, there = oracle.contents(source.address), oracle.contents(target.address)
        assert there == {name: here[name] for name in there}

        again = await run("jobs", word, job, "--json", state=tmp_path, TRANSFER_STATE=str(tmp_path))
        assert again.exit == 2
        assert f"job {job} does not run: it is {state}" in again.err


async def test_the_words_for_people_name_what_is_next(tmp_path: Path) -> None:
    """Paused: the command that goes on. Once more: it does not run."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        async with copying(source, target, tmp_path, "--rate", "1000/s", "--batch", "100") as copy:
            await until(lambda: size(target.address) > 300)
            job = _newest(tmp_path)
            said = await run("jobs", "pause", job, "--state", str(tmp_path), state=tmp_path)
            await copy.end()

    written = copy.result["keys"]["written"]
    going_on = f"transfer resume {job} --state {tmp_path}"
    assert said.out == f"{job}  paused, {written:,} keys written; go on with: {going_on}\n"


@pytest.mark.parametrize("word", ["pause", "cancel"])
async def test_a_job_that_does_not_run_here_takes_no_orders(word: str, tmp_path: Path) -> None:
    """Ended, died, on another host, unknown: exit 2, and why."""
    with JobStore.open(str(tmp_path)) as store:
        for number in range(3):
            store.create(f"20261122-1931-000{number}", "copy", "redis://a:6379", "redis://b:6379")
            store.state(f"20261122-1931-000{number}", "running")
        store.finish("20261122-1931-0000", Report(command="copy", job="20261122-1931-0000"))
        store._write("UPDATE jobs SET host = 'elsewhere' WHERE job LIKE '%0001'", ())
        store._write("UPDATE jobs SET pid = 99999999 WHERE job LIKE '%0002'", ())
    told = {"0000": "it is finished", "0001": "runs on elsewhere", "0002": "it is died", "ffff": "there is no job"}

    for job, why in told.items():
        said = await run("jobs", word, job, "--json", "--state", str(tmp_path), state=tmp_path)
        _refused(said, why)


def _refused(said: Any, why: str) -> None:
    assert (said.exit, said.result["exit"]) == (2, 2)
    assert why in said.err


def test_a_verify_is_cancelled_not_paused(tmp_path: Path) -> None:
    """There is nothing of it to go on with."""
    with JobStore.open(str(tmp_path)) as store:
        store.create("20261122-1931-0000", "verify", "redis://a:6379", "redis://b:6379")
        store.state("20261122-1931-0000", "running")
        job = store.get("0000")

        with pytest.raises(UsageError, match="only a copy can be paused"):
            give(store, job, "pause")
        give(store, job, "cancel")

        assert [orders_of(store, job.job)() for _ in range(2)] == ["cancel", ""]


def test_an_order_that_nobody_took_is_taken_back(tmp_path: Path) -> None:
    """It must not stop the job when that is gone on with."""
    with JobStore.open(str(tmp_path)) as store:
        store.create("20261122-1931-0000", "copy", "redis://a:6379", "redis://b:6379")
        store.state("20261122-1931-0000", "running")
        job = store.get("0000")
        give(store, job, "pause")

        assert wait_end(store, job.job, within_s=0.1).state == "running"

        assert orders_of(store, job.job)() == ""


def _newest(state: Path) -> str:
    with JobStore.open(str(state)) as store:
        return store.list_jobs()[0].job

"""`jobs`, `explain` and `completion`: what can be asked after and beside a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import transfer
from transfer.job.store import JobStore
from transfer.model.errors import LinkError
from transfer.model.report import DbTable, KeyCounts, Reject, Report, VerifyResult


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A store with a run that finished, one that failed and one that is on its way."""
    with JobStore.open(str(tmp_path)) as store:
        store.create(
            "20261122-1931-0001", "copy", "redis://a:6379", "redis://b:6379", '{"match":["user:*"]}', "nightly"
        )
        store.add_reject("20261122-1931-0001", Reject(0, b"bad\xff", "E204", "Bad data format"))
        dbs = [DbTable(0, (3, 2), (0, 0), ("aa" * 16, "bb" * 16))]
        keys = KeyCounts(read=3, written=2, rejected=1)
        verify = VerifyResult(checked=2, match=2)
        report = Report(
            command="copy", job="20261122-1931-0001", exit=3, keys=keys, verify=verify, verified=True, dbs=dbs
        )
        store.finish("20261122-1931-0001", report)
        store.create("20261122-1932-0002", "verify", "redis://a:6379", "redis://b:6379")
        failed = Report(command="verify", job="20261122-1932-0002")
        store.finish("20261122-1932-0002", failed, LinkError("gone", where="redis://b:6379"))
        store.create("20261122-1933-0003", "copy", "redis://a:6379", "redis://b:6379")
        store.state("20261122-1933-0003", "running")
    return tmp_path


def test_the_list_is_newest_first_for_programs(state: Path) -> None:
    """`data` of the result: job, command, state, started."""
    result = transfer("jobs", "list", "--json", "--state", str(state)).result

    assert (result["type"], result["command"], result["ok"], result["exit"]) == ("result", "jobs", True, 0)
    assert [(job["job"][-4:], job["command"], job["state"]) for job in result["data"]] == [
        ("0003", "copy", "running"),
        ("0002", "verify", "failed"),
        ("0001", "copy", "finished"),
    ]
    assert all(job["started"].endswith("Z") for job in result["data"])


def test_the_list_is_a_table_for_people(state: Path) -> None:
    """One line a job, with its label."""
    lines = transfer("jobs", "list", "--state", str(state)).out.splitlines()

    assert len(lines) == 4
    assert "[nightly]" in lines[3]


def test_one_job_is_shown_with_its_counts_rejects_and_proof(state: Path) -> None:
    """By any part of its id that is its own; in JSON everything."""
    text = transfer("jobs", "show", "0001", "--state", str(state)).out
    data = transfer("jobs", "show", "0001", "--json", "--state", str(state)).result["data"]

    assert "read 3 = written 2 + rejected 1" in text
    assert 'E204     db0  "bad\\xff"  Bad data format' in text
    assert "VERIFIED" in text
    assert data["rejects"] == [{"db": 0, "key_b64": "YmFk/w==", "code": "E204", "cause": "Bad data format"}]
    assert (data["keys"]["rejected"], data["verify"]["match"], data["label"]) == (1, 2, "nightly")
    assert data["request"] == {"match": ["user:*"]}


def test_a_job_that_failed_says_why(state: Path) -> None:
    """Days later."""
    assert "error[E200] gone" in transfer("jobs", "show", "0002", "--state", str(state)).out


def test_a_job_that_is_not_there_is_a_usage_error(state: Path) -> None:
    """Exit 2, with the command that lists them."""
    said = transfer("jobs", "show", "ffff", "--json", "--state", str(state))

    assert (said.exit, said.result["exit"]) == (2, 2)
    assert "transfer jobs list" in said.err


def test_looking_at_jobs_on_a_new_machine_makes_nothing(tmp_path: Path) -> None:
    """No directory, no file, no error."""
    said = transfer("jobs", "list", "--state", str(tmp_path / "new"))

    assert (said.exit, said.err) == (0, "")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("code", ["E204", "e204", "204"])
def test_a_code_is_explained_as_it_was_printed_or_shorter(code: str) -> None:
    """What it means, its exit code, what to do."""
    said = transfer("explain", code)

    assert said.exit == 0
    assert said.out.startswith("E204  RefusedError, exit code 3\n")
    assert "What to do:\n  - " in said.out


def test_explain_alone_lists_every_code() -> None:
    """For those who look for the right one; the same as data."""
    listed = transfer("explain").out.splitlines()
    data = transfer("explain", "--json").result["data"]

    assert [line.split()[0] for line in listed] == [entry["code"] for entry in data]
    assert {"E100", "E1300"} <= {entry["code"] for entry in data}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_names_commands_and_flags(shell: str) -> None:
    """It comes from the same declarations as --help."""
    said = transfer("completion", shell)

    assert said.exit == 0
    assert "verify" in said.out
    assert "on-conflict" in said.out


def test_completion_takes_the_shell_from_the_environment_or_asks() -> None:
    """An unknown one is refused with those that are served."""
    assert transfer("completion", SHELL="/bin/bash").out == transfer("completion", "bash").out
    assert transfer("completion", SHELL="/bin/tcsh").exit == 2

"""What programs and people read of a run: the lines of the contract, from a run that is made up and from a real one."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec
import pytest

from tests.canaries import CANARIES, assert_no_canary
from tests.cli.running import Said, transfer
from tests.servers import ask, running
from transfer.cli.exits import refused
from transfer.cli.render.json import JsonObserver
from transfer.cli.render.out import Out
from transfer.cli.render.text import TextObserver
from transfer.model.endpoint import Address, Features, Identity, Secret
from transfer.model.errors import GaveUpError, TransferError
from transfer.model.plan import CopyPlan, CopyRequest, DbPlan, Hazard, Side
from transfer.model.report import (
    AsOf,
    DbTable,
    Finding,
    KeyCounts,
    Progress,
    Reject,
    Report,
    Verdict,
    VerifyResult,
)
from transfer.report.names import hashed_name

JOB = "20261122-1931-7f3a"
ODD = b"bad\x1b[2J\r\nname\xff"
RESULT_FIELDS = {
    "v", "type", "command", "job", "ok", "exit", "route", "seconds", "as_of", "keys", "bytes", "keys_per_s",
    "peak_rss_bytes", "restarts", "verified", "verify", "dbs",
}  # fmt: skip
KEYS = {"read", "written", "already", "repeated", "conflicts", "expired", "gone", "rejected"}
VERIFY = {"mode", "checked", "match", "missing", "extra", "type", "value", "ttl", "changed", "not_from_source"}


def _side(place: str) -> Side:
    identity = Identity(vendor="redis", version=(7, 0, 15), run_id="ab" * 20, mode="standalone", role="master")
    return Side(
        place=place,
        identity=identity,
        features=Features(),
        databases=16,
        used_memory_bytes=1 << 20,
        dataset_bytes=1 << 19,
        maxmemory_bytes=0,
        maxmemory_policy="noeviction",
        clock_offset_ms=0,
    )


PLAN = CopyPlan(
    source=_side("redis://a:6379"),
    target=_side("redis://b:6379"),
    dbs=[DbPlan(0, 0, 10, 4, 0), DbPlan(3, 3, 2, 0, 0)],
    writing="raw",
    changes_known_by="tracking",
    skew_ms=0,
)


def _report(**more: Any) -> Report:
    return Report(
        command="copy",
        job=JOB,
        seconds=2.0,
        as_of=AsOf("interval", 1_000, 3_000, 5),
        keys=KeyCounts(read=12, written=11, rejected=1),
        bytes_read=2_048,
        bytes_written=1_024,
        peak_rss_bytes=64 << 20,
        verified=True,
        verify=VerifyResult(checked=11, match=11, seconds=1.5),
        dbs=[DbTable(0, (10, 9), (4, 4), ("aa" * 16, "bb" * 16))],
        **more,
    )


def _request(**more: Any) -> CopyRequest:
    return CopyRequest(
        source=Address(host="a", password=Secret(CANARIES["url password"])), target=Address(host="b"), **more
    )


def _play(observer: JsonObserver | TextObserver, report: Report | None, error: TransferError | None = None) -> int:
    """A run from its job to its end, with one of everything."""
    observer.job_started(JOB, "copy")
    observer.planned(PLAN)
    observer.progress(Progress(phase="copy", share=0.5, keys=6, total_keys=12))
    observer.warning("functions\x1b[31m cannot travel")
    observer.reject(Reject(0, ODD, "E204", "Bad data format"))
    observer.finding(Finding(Verdict.VALUE, 3, b"user:1", "2 fields differ"))
    if report is not None:
        observer.finished(report)
    return observer.end(None if error else report, error)


def _json(report: Report | None = None, error: TransferError | None = None, **more: Any) -> list[dict[str, Any]]:
    out = io.StringIO()
    code = _play(JsonObserver(_request(**more), out=Out(out), err=Out(io.StringIO())), report, error)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[-1]["exit"] == code
    assert out.getvalue().isascii()
    return lines


def _text(
    report: Report | None = None, error: TransferError | None = None, quiet: bool = False, **more: Any
) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    _play(TextObserver(_request(**more), quiet=quiet, out=Out(out), err=Out(err)), report, error)
    return out.getvalue(), err.getvalue()


def test_the_first_json_line_is_the_plan_and_the_last_the_result() -> None:
    """With the job, the hash that --approved-plan takes, and nothing outside the listed types."""
    lines = _json(_report(exit=3))

    assert (lines[0]["type"], lines[0]["job"], lines[0]["plan"]) == ("plan", JOB, PLAN.fingerprint())
    assert lines[-1]["type"] == "result"
    assert {line["type"] for line in lines} <= {"plan", "progress", "finding", "warning", "error", "result"}
    assert {line["v"] for line in lines} == {1}


def test_a_result_has_every_field_of_the_contract() -> None:
    """Scripts read them without asking whether they are there."""
    result = _json(_report())[-1]

    assert result.keys() >= RESULT_FIELDS
    assert result["keys"].keys() == KEYS
    assert result["verify"].keys() >= VERIFY
    assert result["as_of"] == {"kind": "interval", "from": 1_000, "to": 3_000, "writes_meanwhile": 5, "exceptions": 0}
    assert result["bytes"] == {"read": 2_048, "written": 1_024}
    assert result["keys_per_s"] == 6
    assert result["dbs"] == [{"db": 0, "keys": [10, 9], "with_deadline": [4, 4], "digest": ["aa" * 16, "bb" * 16]}]
    assert (result["ok"], result["exit"], result["seconds"], result["verified"]) == (True, 0, 2.0, True)
    assert "error" not in result


def test_a_run_that_failed_has_all_fields_too_and_says_why() -> None:
    """With what was reached until then, or zeros where nothing was."""
    error = GaveUpError("no progress for 5m", where="redis://b:6379")
    with_report, without = _json(_report(), error)[-1], _json(None, error)[-1]

    for result in (with_report, without):
        assert result.keys() >= RESULT_FIELDS
        assert result["error"].keys() == {"code", "message", "hint", "where"}
        assert (result["ok"], result["exit"], result["error"]["code"], result["job"]) == (False, 4, "E206", JOB)
    assert with_report["keys"]["read"] == 12
    assert without["keys"]["read"] == 0


def test_rejected_keys_are_the_error_of_a_run_that_went_on() -> None:
    """Exit 3 has the code E204 in its result."""
    causes = {"Bad data format": 1}
    result = _json(_report(exit=3, rejects=[Reject(0, ODD, "E204", "Bad data format")], causes=causes))[-1]

    assert result["error"]["code"] == "E204"
    assert "1 key was refused: Bad data format" in result["error"]["message"]
    assert JOB in result["error"]["hint"]


def test_a_name_is_told_as_text_only_where_it_is_text() -> None:
    """`key_b64` always; `key` only where UTF-8."""
    lines = _json(_report())
    finding = next(line for line in lines if line["type"] == "finding")
    reject = next(line for line in lines if line["type"] == "error")

    assert finding == {
        "v": 1,
        "type": "finding",
        "verdict": "VALUE",
        "db": 3,
        "key": "user:1",
        "key_b64": b64encode(b"user:1").decode(),
        "detail": "2 fields differ",
    }
    assert "key" not in reject
    assert reject["key_b64"] == b64encode(ODD).decode()


def test_with_hash_keys_no_name_is_told() -> None:
    """In JSON and in text, in findings and rejects."""
    lines = _json(_report(), hash_keys=True)
    finding = next(line for line in lines if line["type"] == "finding")
    out, _ = _text(_report(), hash_keys=True)

    assert finding["key"] == hashed_name(b"user:1")
    assert "key_b64" not in finding
    assert hashed_name(b"user:1") in out
    assert hashed_name(ODD) in out
    assert "user:1" not in out


def test_verify_tells_its_job_at_once() -> None:
    """There is no plan to wait for."""
    out = io.StringIO()
    JsonObserver(_request(), out=Out(out)).job_started(JOB, "verify")

    first = json.loads(out.getvalue())
    assert (first["type"], first["job"], first["command"]) == ("plan", JOB, "verify")


def test_text_names_the_job_first_and_last_with_the_table_between() -> None:
    """Places, how many databases, both sides of each, the counts, what was proved."""
    out, _ = _text(_report())
    lines = out.splitlines()

    assert lines[0].startswith(f"copy {JOB}  2 logical databases, 12 keys: redis://")
    assert lines[-1] == f"copy {JOB}  done (exit 0)"
    assert "  0  source               10                4  " + "aa" * 16 in lines
    assert "     target                9                4  " + "bb" * 16 + "  differs" in lines
    assert "read 12 = written 11 + rejected 1" in lines
    assert any(line.startswith("VERIFIED  full: 11 of 11 keys match") for line in lines)
    assert any("not of one instant: 5 writes" in line for line in lines)


def test_a_copy_without_proof_says_so() -> None:
    """`--verify none` must not look like a proof."""
    report = _report()
    report.verified, report.verify = False, None

    assert "NOT VERIFIED" in _text(report)[0]
    assert _json(report)[-1]["verified"] is False


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (VerifyResult(checked=11, match=10, value=1), "DIFFERENT"),
        (VerifyResult(checked=11, match=10, changed=1), "CHANGED MEANWHILE"),
    ],
)
def test_differences_and_changes_are_two_things(result: VerifyResult, said: str) -> None:
    """Exit 6 and exit 7."""
    report = _report()
    report.verify, report.verified = result, False

    assert said in _text(report)[0]


def test_a_failure_is_told_on_stderr_in_the_form_of_the_contract() -> None:
    """Three lines; the job's last line on stdout all the same."""
    out, err = _text(_report(), GaveUpError("no progress for 5m", where="redis://b:6379"))

    assert "error[E206] no progress for 5m\n  where: redis://b:6379   job: " + JOB + "\n  hint:  " in err
    assert out.splitlines()[-1] == f"copy {JOB}  failed (exit 4)"


def test_nothing_from_outside_reaches_a_terminal_raw() -> None:
    """Names, replies and warnings: escapes and line ends are shown, not obeyed."""
    for text in _text(_report()):
        assert "\x1b" not in text
        assert "\r" not in text
    assert '"bad\\x1b[2J\\r\\nname\\xff"' in _text(_report())[0]


def test_quiet_leaves_out_plan_and_progress_only() -> None:
    """What was asked for, and what went wrong, is still said."""
    out, err = _text(_report(), quiet=True)

    assert "run id" not in out
    assert "VERIFIED" in out
    assert out.startswith(f"copy {JOB}")
    assert "warning: functions" in err


@pytest.mark.parametrize(
    ("match", "rejected", "said"),
    [
        (0, 300, "NOT VERIFIED  full: nothing was proved, 300 of 300 keys were rejected, in"),
        (200, 100, "PARTLY VERIFIED  full: 200 of 300 keys match, in"),
    ],
)
def test_what_was_rejected_is_not_called_verified(match: int, rejected: int, said: str) -> None:
    """In words; the JSON result tells it by its counts and exit 3."""
    report = _report(exit=3)
    report.verify = VerifyResult(checked=300, match=match, rejected=rejected, seconds=1.5)

    assert any(line.startswith(said) for line in _text(report)[0].splitlines())
    assert (_json(report)[-1]["verified"], _json(report)[-1]["ok"]) == (True, False)


def test_a_dry_run_ends_with_the_hash_of_its_plan() -> None:
    """For --approved-plan; and says that nothing was written."""
    out, _ = _text(_report(), dry_run=True)

    assert out.splitlines()[-1] == f"copy {JOB}  dry run, nothing was written; plan {PLAN.fingerprint()}"
    assert _json(_report(), dry_run=True)[-1]["plan"] == PLAN.fingerprint()


def test_colours_are_for_terminals_and_for_those_who_force_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR has the last word."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;32mVERIFIED" in _text(_report())[0]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in _text(_report())[0]


async def test_off_a_terminal_nobody_is_asked() -> None:
    """A hazard without consent is refused; without hazards there is nothing to ask."""
    hazard = Hazard("nonempty-target", "the target holds 3 keys")
    for observer in (
        JsonObserver(_request(), err=Out(io.StringIO())),
        TextObserver(_request(), err=Out(io.StringIO())),
    ):
        assert await observer.consent(PLAN, []) is True
        assert await observer.consent(PLAN, [hazard]) is False


async def _said(*words: str, state: Path, **environment: str) -> Said:
    return await anyio.to_thread.run_sync(lambda: transfer(*words, state=state, **environment))


async def test_a_real_copy_keeps_the_contract_from_the_first_line_to_the_store(tmp_path: Path) -> None:
    """Two servers with passwords, one key that is refused by nobody, the job in the list, no secret anywhere."""
    source_password, target_password = CANARIES["env source password"], CANARIES["env target password"]
    async with running(password=source_password) as source, running(password=target_password) as target:
        for number in range(50):
            await ask(source, "SET", f"user:{number}", "x" * number)
        await ask(source, "SET", "session:1", "y", "PX", "3600000", db=3)
        places = [f"redis://{server.address.host}:{server.address.port}" for server in (source, target)]
        passwords = {
            "TRANSFER_SOURCE_PASSWORD": source_password,
            "TRANSFER_TARGET_PASSWORD": target_password,
        }
        said = await _said("copy", *places, "--json", state=tmp_path, **passwords)
        checked = await _said("verify", *places, "-v", "--log-format", "json", state=tmp_path, **passwords)
        again = await _said("copy", *places, state=tmp_path, **passwords)

    assert (said.exit, said.result["exit"]) == (0, 0), said
    counts = said.result["keys"]
    assert counts["read"] == 51 == sum(counts.values()) - counts["read"]
    assert said.result["verified"] is True
    assert [row["keys"] for row in said.result["dbs"]] == [[50, 50], [1, 1]]
    assert checked.exit == 0
    assert "SAME" in checked.out
    assert (again.exit, "error[E104]" in again.err) == (2, True)
    jobs = transfer("jobs", "list", "--json", state=tmp_path).result["data"]
    assert [job["exit"] for job in jobs] == [2, 0, 0]
    assert jobs[-1]["job"] == said.lines[0]["job"] == said.result["job"]
    assert_no_canary(*said[1:], *checked[1:], *again[1:], folder=tmp_path)


async def test_a_difference_is_a_finding_and_exit_6(tmp_path: Path) -> None:
    """`verify --json`: one line a difference, with the name as text and as base64."""
    async with running() as left, running() as right:
        for server, value in ((left, "1"), (right, "2")):
            await ask(server, "SET", "user:1", value)
            await ask(server, "SET", "same", "same")
        places = [server.url for server in (left, right)]
        said = await _said("verify", *places, "--json", state=tmp_path)

    findings = [line for line in said.lines if line["type"] == "finding"]
    assert (said.exit, said.result["verify"]["value"]) == (6, 1), said
    assert [(line["verdict"], line["db"], line["key"]) for line in findings] == [("VALUE", 0, "user:1")]
    assert said.lines[0]["type"] == "plan"


def test_several_causes_of_refused_keys_are_all_told() -> None:
    """Each with its count, the commonest first; one alone stands in the first line."""
    keys = KeyCounts(read=9, written=3, rejected=6, conflicts=0)
    report = Report(command="copy", job=JOB, exit=3, keys=keys, causes={"a": 1, "b": 3, "c": 1, "d": 1})
    told = refused(report)
    assert told is not None
    assert told.message == "6 keys were refused\n3 keys: b\n1 key: a\n1 key: c\n1 key: other causes"

    told = refused(msgspec.structs.replace(report, causes={"a": 6}))
    assert told is not None
    assert told.message == "6 keys were refused: a"

"""A run told to a program: JSON lines on stdout, `{"v":1,"type":...}` each.

    plan -> progress | finding | warning | error ... -> result          (error: a rejected key, or why the run failed)

Rule 1: the first line is `plan` with the job, the last one `result`, whatever happens between; warnings wait for it.
Rule 2: ASCII only; names that are no UTF-8 are told by `key_b64` alone.
Rule 3: lines are added to, fields are never taken away.
"""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from typing import Any

import msgspec

from transfer.cli.exits import error_lines, hint_of, refused
from transfer.cli.render.out import Out
from transfer.cli.render.question import accepted
from transfer.model.errors import TransferError
from transfer.model.plan import CopyPlan, CopyRequest, Hazard
from transfer.model.report import Finding, FunctionCounts, Missing, Progress, Reject, Report, worst
from transfer.report.log import redacted
from transfer.report.names import hashed_name, without_quoted
from transfer.report.progress import NoProgress, PlainLines, ProgressShow

PROGRESS_EVERY_S = 1.0


def line(kind: str, /, **fields: Any) -> str:
    """One line of output."""
    frame = {"v": 1, "type": kind}
    return json.dumps({**frame, **fields, **frame}, separators=(",", ":"), default=_plain)


def key_fields(key: bytes, hash_keys: bool) -> dict[str, str]:
    """`key` where it is UTF-8, `key_b64` always; with --hash-keys only the hash."""
    if hash_keys:
        return {"key": hashed_name(key)}
    fields = {"key_b64": b64encode(key).decode()}
    try:
        return {"key": key.decode(), **fields}
    except UnicodeDecodeError:
        return fields


def said_of(text: str, hash_keys: bool) -> str:
    """A detail or a cause; with --hash-keys without the names and values that it quotes."""
    return without_quoted(text) if hash_keys else text


def error_fields(error: TransferError, job: str = "") -> dict[str, str]:
    """`error` of a result."""
    where = redacted(error.where)
    return {"code": error.code, "message": redacted(error.message), "hint": hint_of(error, job), "where": where}


def result_fields(report: Report, code: int, error: TransferError | None) -> dict[str, Any]:
    """Every field of the result line, those that hold nothing included."""
    fields: dict[str, Any] = {
        "command": report.command,
        "job": report.job or None,
        "ok": code == 0,
        "exit": code,
        "route": report.route,
        "seconds": round(report.seconds, 3),
        "as_of": _plain(report.as_of) if report.as_of else None,
        "keys": _plain(report.keys),
        "bytes": {"read": report.bytes_read, "written": report.bytes_written},
        "keys_per_s": round(report.keys.read / report.seconds) if report.seconds > 0 else 0,
        "peak_rss_bytes": report.peak_rss_bytes,
        "restarts": report.restarts,
        "resumed": report.resumed,
        "verified": report.verified,
        "verify": _plain(report.verify) if report.verify else None,
        "dbs": _plain(report.dbs),
        "functions": _functions(report.functions) if report.functions else None,
        "lossy": report.lossy,
        "not_copied": report.not_copied,
        "notes": report.notes,
        "damage": report.damage,
        "missing": missing_fields(report.missing) if report.missing else None,
    }
    if report.data is not None:
        fields["data"] = _plain(report.data)
    if error is not None:
        fields["error"] = error_fields(error, report.job)
    return fields


def missing_fields(missing: Missing) -> dict[str, Any]:
    """What a damaged archive lacks; null where nobody knows."""
    return {"keys": missing.keys, **_plain(missing)}


class JsonObserver:
    """Keeps the promises of `model.ports.Observer` for a program."""

    def __init__(
        self,
        request: CopyRequest,
        *,
        quiet: bool = False,
        no_input: bool = False,
        out: Out | None = None,
        err: Out | None = None,
    ) -> None:
        self.request = request
        self._no_input = no_input
        self._out = out or Out(sys.stderr if request.target.is_stdio else sys.stdout)
        self._err = err or Out(sys.stderr)
        self._show: ProgressShow = NoProgress() if quiet else PlainLines(self._progress, every_s=PROGRESS_EVERY_S)
        self._job = ""
        self._command = ""
        self._plan_hash: str | None = None
        self._headed = False
        self._early: list[str] = []
        self._report: Report | None = None

    def job_started(self, job: str, command: str) -> None:
        self._job, self._command = job, command
        if command == "verify":
            self._head()

    def planned(self, plan: CopyPlan) -> None:
        from transfer.cli.render.plan import plan_json, plan_warnings

        self._plan_hash = plan.fingerprint()
        self._head(**plan_json(plan))
        for text in plan_warnings(plan):
            self.warning(text)

    async def consent(self, plan: CopyPlan, hazards: list[Hazard]) -> bool:
        return await accepted(plan, hazards, self.request, self._no_input, self._err)

    def progress(self, snapshot: Progress) -> None:
        self._show.update(snapshot)

    def finding(self, finding: Finding) -> None:
        named = key_fields(finding.key, self.request.hash_keys)
        detail = said_of(finding.detail, self.request.hash_keys)
        self._say("finding", verdict=finding.verdict.value, db=finding.db, **named, detail=detail)

    def reject(self, reject: Reject) -> None:
        named = key_fields(reject.key, self.request.hash_keys)
        cause = said_of(redacted(reject.cause), self.request.hash_keys)
        self._say("error", code=reject.code, db=reject.db, **named, message=cause)

    def warning(self, text: str) -> None:
        if self._headed:
            self._out.say(warning_line(text))
        else:
            self._early.append(text)

    def finished(self, report: Report) -> None:
        self._report = report

    def stop(self) -> None:
        self._show.stop()

    def end(self, report: Report | None, error: TransferError | None) -> int:
        """Print the result line and return the exit code. *error* is what the run raised, if it did."""
        report = report or self._report or Report(command=self._command or "copy", job=self._job)
        code = worst([error.exit_code if error else 0, report.exit])
        failure = error or refused(report, hash_keys=self.request.hash_keys)
        fields = result_fields(report, code, failure)
        if self._plan_hash:
            fields["plan"] = self._plan_hash
        if self.request.dry_run:
            fields["dry_run"] = True
        if error is not None:
            self._say("error", **error_fields(error, self._job))
        if failure is not None:
            self._err.say(*error_lines(failure, self._job))
        self._say("result", **fields)
        return code

    def _progress(self, now: Progress) -> None:
        rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in _plain(now).items()}
        self._say("progress", **rounded)

    def _say(self, kind: str, /, **fields: Any) -> None:
        self._head()
        self._out.say(line(kind, **fields))

    def _head(self, **fields: Any) -> None:
        if self._headed or not self._job:
            return
        self._headed = True
        sides = {"source": {"place": str(self.request.source)}, "target": {"place": str(self.request.target)}}
        if self.request.alone:
            del sides["target"]
        known = {"job": self._job, "command": self._command, "label": self.request.label, "plan": self._plan_hash}
        self._out.say(line("plan", **{**known, **sides, **fields, **known}))
        for text in self._early:
            self.warning(text)


def warning_line(text: str) -> str:
    """What a person should know besides."""
    return line("warning", message=redacted(text))


def simple_result(command: str, data: Any, code: int = 0, **more: Any) -> str:
    """The result line of a command that moves nothing: what it found is its data, *more* stands beside it."""
    return line("result", command=command, ok=code == 0, exit=code, **more, data=data)


def failed_result(command: str | None, error: TransferError) -> str:
    """The result line where nothing was begun."""
    return line("result", command=command, job=None, ok=False, exit=error.exit_code, error=error_fields(error))


def _functions(counts: FunctionCounts) -> dict[str, Any]:
    """The counts; the reasons stand in `not_copied` of the result."""
    return {name: count for name, count in _plain(counts).items() if name != "not_copied"}


def _plain(value: Any) -> Any:
    """Structs as dicts, bytes in base64."""
    return msgspec.to_builtins(value)

"""A run told to a person: the plan and the end on stdout, progress and warnings on stderr.

    job_started -> (first line) -> planned -> progress ... -> end: findings, rejects, table, counts, verdict, last line

Rule 1: the first and the last line of stdout name the job.
Rule 2: while a bar is on the screen nothing else is printed: findings and rejects wait for the end, and are few.
Rule 3: no name, message or reply can bring control characters to the terminal.
"""

from __future__ import annotations

import sys

from transfer.cli.exits import error_lines, refused
from transfer.cli.render.out import Out
from transfer.cli.render.question import accepted
from transfer.cli.render.summary import LISTED_MOST, finding_lines, outcome, reject_lines, summary_lines
from transfer.model.errors import TransferError
from transfer.model.plan import CopyPlan, CopyRequest, Hazard
from transfer.model.report import Finding, Progress, Reject, Report, worst
from transfer.report.log import redacted
from transfer.report.names import printable
from transfer.report.progress import progress_on


class TextObserver:
    """Keeps the promises of `model.ports.Observer` for a terminal or a text file."""

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
        self._quiet = quiet
        self._no_input = no_input
        self._out = out or Out(sys.stderr if request.target.is_stdio else sys.stdout)
        self._err = err or Out(sys.stderr)
        self._show = progress_on(self._err.stream, quiet=quiet)
        self._job = ""
        self._command = ""
        self._plan_hash = ""
        self._headed = False
        self._findings: list[Finding] = []
        self._rejects: list[Reject] = []
        self._found = 0
        self._rejected = 0
        self._report: Report | None = None

    def job_started(self, job: str, command: str) -> None:
        self._job, self._command = job, command
        if command == "verify":
            self._head()

    def planned(self, plan: CopyPlan) -> None:
        from transfer.cli.render.plan import plan_lines, plan_warnings

        self._plan_hash = plan.fingerprint()
        dry = self.request.dry_run
        lines = plan_lines(plan, self.request.allow, warnings=dry)
        first, *rest = (printable(redacted(line)) for line in lines)
        self._head(first.removeprefix("copy "))
        if not self._quiet:
            self._out.say(*rest)
        for text in [] if dry else plan_warnings(plan):
            self.warning(text)

    async def consent(self, plan: CopyPlan, hazards: list[Hazard]) -> bool:
        return await accepted(plan, hazards, self.request, self._no_input, self._err)

    def progress(self, snapshot: Progress) -> None:
        self._head()
        self._show.update(snapshot)

    def finding(self, finding: Finding) -> None:
        self._found += 1
        if len(self._findings) < LISTED_MOST:
            self._findings.append(finding)

    def reject(self, reject: Reject) -> None:
        self._rejected += 1
        if len(self._rejects) < LISTED_MOST:
            self._rejects.append(reject)

    def warning(self, text: str) -> None:
        self._show.stop()
        self._err.say(f"{self._err.paint('warning', 'yellow')}: {printable(redacted(text))}")

    def finished(self, report: Report) -> None:
        self._report = report

    def stop(self) -> None:
        self._show.stop()

    def end(self, report: Report | None, error: TransferError | None) -> int:
        """Print the end and return the exit code. *error* is what the run raised, if it did."""
        self.stop()
        report = report or self._report
        code = worst([error.exit_code if error else 0, report.exit if report else 0])
        if self._job:
            self._head()
            self._out.say(*self._ending(report, error))
            self._out.say("", self._last_line(code))
        if error := error or refused(report, hash_keys=self.request.hash_keys):
            lines = error_lines(error, self._job)
            self._err.say(self._err.paint(lines[0], "red"), *lines[1:])
        return code

    def _head(self, said: str = "") -> None:
        if self._headed:
            return
        self._headed = True
        arrow = "and" if self._command == "verify" else "->"
        places = f"{self.request.source} {arrow} {self.request.target}"
        said = said or (str(self.request.source) if self.request.alone else places)
        title = self._out.paint(f"{self._command} {self._job}", "bold")
        self._out.say(f"{title}  {said}")

    def _ending(self, report: Report | None, error: TransferError | None) -> list[str]:
        if self.request.dry_run or report is None:
            return []
        if error and not (report.keys.read or report.dbs or self._found or self._rejected):
            return []  # it failed before anything was moved
        paint, hashed = self._out.paint, self.request.hash_keys
        lines = finding_lines(self._findings, self._found, paint, hashed)
        lines += reject_lines(self._rejects, self._rejected, paint, hashed, self._job)
        return ([""] if lines else []) + lines + summary_lines(report, paint)

    def _last_line(self, code: int) -> str:
        title = self._out.paint(f"{self._command} {self._job}", "bold")
        if self.request.dry_run and not code:
            return f"{title}  dry run, nothing was written; plan {self._plan_hash or 'none'}"
        style = "green" if code == 0 else "yellow" if code in (3, 7, 8, 130, 143) else "red"
        return f"{title}  {self._out.paint(outcome(code), style)} (exit {code})"

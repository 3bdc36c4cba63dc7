"""An observer that remembers what it was told."""

from __future__ import annotations

from transfer.model.plan import CopyPlan, Hazard
from transfer.model.report import Finding, Progress, Reject, Report


class Watching:
    """Keeps everything; consents to nothing unless told."""

    def __init__(self, consents: bool = False) -> None:
        self.consents = consents
        self.plan: CopyPlan | None = None
        self.findings: list[Finding] = []
        self.rejects: list[Reject] = []
        self.warnings: list[str] = []
        self.snapshots: list[Progress] = []
        self.report: Report | None = None
        self.job = ""

    def job_started(self, job: str, command: str) -> None:
        self.job = job

    def planned(self, plan: CopyPlan) -> None:
        self.plan = plan

    async def consent(self, plan: CopyPlan, hazards: list[Hazard]) -> bool:
        return self.consents

    def progress(self, snapshot: Progress) -> None:
        self.snapshots.append(snapshot)

    def finding(self, finding: Finding) -> None:
        self.findings.append(finding)

    def reject(self, reject: Reject) -> None:
        self.rejects.append(reject)

    def warning(self, text: str) -> None:
        self.warnings.append(text)

    def finished(self, report: Report) -> None:
        self.report = report

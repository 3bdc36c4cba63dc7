"""A backup proves itself: the file that was just made is restored into a throw-away server and compared there.

file -> throw-away server (the newest there is) -> import, verified in full -> what came of it, in a sentence
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable

from transfer.endpoint.redis.throwaway import bundled_binary, throwaway
from transfer.model.plan import CopyPlan, CopyRequest, Hazard
from transfer.model.ports import Observer
from transfer.model.report import Finding, Progress, Reject, Report, worst

Importing = Callable[[CopyRequest, Observer], Awaitable[Report]]
_ACCEPTED = frozenset({"evicting-target", "insecure"})


async def restore_on_trial(importing: Importing, request: CopyRequest, made: Report) -> None:
    """Restore what *request* exported, and put what came of it into *made*.

    Raises:
        UsageError: there is no server program to start; the hint says which extra brings one.
        TransferError: the file could not be imported.
    """
    async with throwaway(bundled_binary()) as server:
        with tempfile.TemporaryDirectory(prefix="transfer-trial-") as state:
            asked = CopyRequest(
                source=request.target,
                target=server.address,
                pace="max",
                max_rejects="100%",
                allow=_ACCEPTED,
                state_dir=state,
                spill_dir=request.spill_dir,
                max_memory_bytes=request.max_memory_bytes,
                hash_keys=request.hash_keys,
            )
            found = await importing(asked, Silent())
    verify, keys = found.verify, found.keys
    assert verify is not None
    said = f"{verify.match:,} of {keys.read:,} keys were restored into a throw-away server and match"
    others = {"expired since": keys.expired, "rejected": keys.rejected, "different": verify.differences()}
    told = ", ".join(f"{count:,} {what}" for what, count in others.items() if count)
    made.notes.append(f"trial restore: {said}" + (f"; {told}" if told else ""))
    made.exit = worst([made.exit, found.exit])


class Silent:
    """An observer that says nothing and consents to nothing."""

    def job_started(self, job: str, command: str) -> None:
        return

    def planned(self, plan: CopyPlan) -> None:
        return

    async def consent(self, plan: CopyPlan, hazards: list[Hazard]) -> bool:
        return False

    def progress(self, snapshot: Progress) -> None:
        return

    def finding(self, finding: Finding) -> None:
        return

    def reject(self, reject: Reject) -> None:
        return

    def warning(self, text: str) -> None:
        return

    def finished(self, report: Report) -> None:
        return

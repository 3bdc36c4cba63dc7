"""Whether a plan may be carried out: the one that was approved, and every hazard of it accepted.

plan -> --approved-plan? -> hazards that no --allow names -> asked on a terminal -> kept with the job, or refused
"""

from __future__ import annotations

import msgspec

from transfer.job.claim import stored
from transfer.job.store import JobStore
from transfer.model.errors import ClusterNodeError, EvictingTargetError, GuardError, TransferError
from transfer.model.plan import CopyPlan, CopyRequest, Hazard
from transfer.model.ports import Observer


def check_approval(request: CopyRequest, plan: CopyPlan) -> None:
    """Raises GuardError: another plan was approved."""
    approved, actual = request.approved_plan, plan.fingerprint()
    if approved and approved != actual:
        text = f"the plan is {actual}, not the approved {approved}"
        raise GuardError(text, hint="transfer copy -n shows the plan")


async def ask_consent(request: CopyRequest, plan: CopyPlan, observer: Observer, store: JobStore, job: str) -> None:
    """Have every hazard accepted, and keep with *job* that it was. Raises as `refusal`."""
    open_hazards = [hazard for hazard in plan.hazards if hazard.name not in request.allow]
    if open_hazards and not await observer.consent(plan, open_hazards):
        raise refusal(open_hazards)
    accepted = request.allow | {hazard.name for hazard in open_hazards}
    store.save_request(job, stored(msgspec.structs.replace(request, allow=accepted)))


def refusal(hazards: list[Hazard]) -> TransferError:
    """The error for hazards that nobody accepted: the gravest exit code, all of them named."""
    gravest = max(hazards, key=lambda hazard: hazard.exit_code)
    said = "; ".join(f"{hazard.name}: {hazard.message}" for hazard in hazards)
    names = ",".join(hazard.name for hazard in hazards)
    kinds: dict[str, type[TransferError]] = {
        kind.code: kind for kind in (ClusterNodeError, EvictingTargetError, GuardError)
    }
    kind = kinds.get(gravest.code, GuardError)
    return kind(said, hint=f"accept with --allow {names}")

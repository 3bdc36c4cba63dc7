"""What it takes to capture what keys hold before they are changed: rights, asked of the target itself; room is said."""

from __future__ import annotations

from transfer.endpoint.redis.rights import missing_for_undo
from transfer.endpoint.redis.server import Server
from transfer.job.undo import add_room, changes_keys, keeps_undo
from transfer.model.errors import PermissionDeniedError
from transfer.model.plan import CopyPlan, CopyRequest
from transfer.plan.look import Look
from transfer.plan.standing import lacks


async def plan_captures(
    plan: CopyPlan, request: CopyRequest, target: Server, there: Look, most_bytes: int, sample_key: bytes = b""
) -> None:
    """Have *plan* say what becomes of what is changed, *most_bytes* of it at most.

    Raises:
        PermissionDeniedError: the user may not read, watch or delete what is to be changed.
    """
    if not changes_keys(request):
        return
    add_room(plan, request, most_bytes)
    if not keeps_undo(request):
        return
    async with target.link(db=0) as link:
        lacking = await missing_for_undo(link, sample_key)
    if lacking:
        raise PermissionDeniedError(
            f"{lacks(there, lacking)}, without which what is changed cannot be captured before",
            where=target.where,
            hint="grant them, or --allow no-undo does without",
            commands=lacking,
        )

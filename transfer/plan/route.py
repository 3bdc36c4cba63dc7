"""Which way the keys come: SCAN, or one full sync.

    --route, rights, memory of the host, Sentinels, filters -> Route: scan | psync, hazards, warnings, notes

    psync  what stands against it is a refusal, a hazard that needs consent, or a warning and SCAN (no right to it)
    auto   a full sync from a replica, or from a primary with --allow fork; whatever stands against it: SCAN

A full sync makes the server fork, and Sentinels take whoever asks for one for a replica.
"""

from __future__ import annotations

import msgspec

from transfer.endpoint.redis.fullsync.cost import SyncCost, sync_cost
from transfer.endpoint.redis.fullsync.spool import HEADROOM_BYTES, free_bytes
from transfer.endpoint.redis.server import Server
from transfer.model.errors import GuardError, LimitError, UsageError
from transfer.model.plan import CopyRequest, Hazard
from transfer.model.units import show_bytes
from transfer.plan.look import Look


class Route(msgspec.Struct):
    """What was chosen, and what is to be said about it. `use` is what is carried of each key's use, as in CopyPlan."""

    name: str
    use: str = ""
    hazards: list[Hazard] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)


async def choose_route(request: CopyRequest, source: Server, here: Look, writing: str, use: str) -> Route:
    """The route that *request* comes to.

    Raises:
        UsageError: the flags cannot be obeyed by a full sync.
        GuardError: a fork would not fit into the host's memory.
        LimitError: the spill directory has no room.
    """
    wanted, primary = request.route == "psync", here.side.identity.role == "master"
    if request.route == "scan" or (not wanted and primary and "fork" not in request.allow):
        return Route("scan", use)
    if text := _unfit(request, here, writing, use, wanted):
        if wanted:
            raise UsageError(f"--route psync: {text}", hint="--route scan does it")
        return Route("scan", use)
    cost = await sync_cost(source)
    if cost.refusal:
        said = f"the source gives no full sync ({cost.refusal}): it is read by SCAN, and the copy is not of one instant"
        return Route("scan", use, warnings=[said])
    try:
        _refuse(cost, here, request)
    except (GuardError, LimitError) as error:
        if wanted:
            raise
        hint = " (--spill-dir DIR names another folder)" if isinstance(error, LimitError) else ""
        said = f"read by SCAN, so the copy is not of one instant: {error.message}{hint}"
        return Route("scan", use, warnings=[said])
    route = Route("psync", use, hazards=_hazards(cost, here, primary=primary))
    if not wanted and any(hazard.name not in request.allow for hazard in route.hazards):
        return Route("scan", use, notes=["read by SCAN: Sentinels watch the source (--allow sentinel)"])
    route.notes.append("the copy will be of the instant at which the source forks; it reads no key one by one")
    return route


def _unfit(request: CopyRequest, here: Look, writing: str, use: str, wanted: bool) -> str:
    """Why a full sync cannot do what is asked for, "" if it can. What is only slower so matters to auto alone."""
    if request.keys_from:
        return "--keys-from names the keys, a full sync gives all of them"
    policy = "lfu" if use == "freq" else "lru"
    if use and policy not in here.side.maxmemory_policy:
        return f"it carries idle times only where the source's maxmemory-policy is {policy.upper()} (--keep-idle off)"
    if writing == "logical" and not wanted:
        return "type commands read every value from the live source"
    return ""


def _refuse(cost: SyncCost, here: Look, request: CopyRequest) -> None:
    """
    Raises:
        GuardError, LimitError
    """
    if not cost.fits:
        raise GuardError(
            f"fork: {_numbers(cost)}: 1.5 times the source's memory is more than its host has",
            where=here.side.place,
            hint="--route scan needs no fork",
        )
    spill_dir, free = request.spill_dir, free_bytes(request.spill_dir)
    if free + request.kept_bytes < cost.used_bytes + HEADROOM_BYTES:
        folder = spill_dir or "the folder for temporary files"
        raise LimitError(
            f"the full sync may have {show_bytes(cost.used_bytes)}, and {folder} has {show_bytes(free)} free "
            f"({show_bytes(HEADROOM_BYTES)} stay free)",
            hint="--spill-dir DIR names another folder; --route scan needs none",
            needed_bytes=cost.used_bytes,
            free_bytes=free,
        )


def _hazards(cost: SyncCost, here: Look, *, primary: bool) -> list[Hazard]:
    found = []
    if primary:
        found.append(Hazard("fork", f"a full sync makes the primary {here.side.place} fork: {_numbers(cost)}"))
    if cost.sentinels:
        count = f"{cost.sentinels} Sentinel{'s' * (cost.sentinels != 1)}"
        found.append(
            Hazard(
                "sentinel",
                f"{count} watch{'es' * (cost.sentinels == 1)} the source {here.side.place}: what asks for a full sync "
                "looks like a replica to them",
            )
        )
    return found


def _numbers(cost: SyncCost) -> str:
    host = show_bytes(cost.host_bytes) if cost.host_bytes else "unknown memory"
    last = f"the last fork took {cost.fork_us / 1000:.1f} ms" if cost.fork_us else "it has not forked yet"
    copied = f", the last save copied {show_bytes(cost.cow_bytes)} on write" if cost.cow_bytes else ""
    return f"{show_bytes(cost.rss_bytes)} resident on a host of {host}; {last}{copied}"

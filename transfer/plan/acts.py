"""Preflight of what brings nothing from elsewhere: an undo, a clear. Found out without any effect.

target looked at -> role, rights, unrest -> CopyPlan with the act's name; both sides of it are the target
"""

from __future__ import annotations

from transfer.endpoint.redis.server import Server
from transfer.job.clearing import Counter
from transfer.job.undoing import Contents
from transfer.model.endpoint import Features, Identity
from transfer.model.plan import CHANGED_SINCE, CLEAR, CopyPlan, CopyRequest, DbPlan, Hazard, Side
from transfer.model.units import show_bytes, some
from transfer.plan.capturing import plan_captures
from transfer.plan.choices import filters_of
from transfer.plan.databases import map_databases, refuse_missing
from transfer.plan.look import Look, look_at, unrest_later
from transfer.plan.preflight import insecure
from transfer.plan.standing import refuse_replica, refuse_sentinel, target_hazards


async def plan_undo(request: CopyRequest, contents: Contents, target: Server) -> CopyPlan:
    """What undoing the job of *contents* would do at *target*.

    Raises:
        ReadOnlyTargetError, SentinelError: this is no target.
    """
    there = await look_at(target, "target")
    refuse_replica(there)
    refuse_sentinel(there)
    names = sum(contents.names.values())
    plan = CopyPlan(
        source=_archive_side(contents),
        target=there.side,
        dbs=[
            DbPlan(db, db, count, 0, there.keyspace.get(db, (0, 0))[0]) for db, count in sorted(contents.names.items())
        ],
        writing="raw",
        act="undo",
        changes_known_by="archive",
        route="undo",
        skew_ms=0,
        choices={"undo of": contents.folder.name, "conflicts": _conflicts(request)},
        notes=[
            f"{names:,} names were captured; {contents.absent:,} of them held nothing before, and are deleted",
            "the job that is undone can no longer be resumed",
        ],
    )
    await plan_captures(plan, request, target, there, contents.size_bytes)
    await _judge(plan, request, there, target)
    return plan


async def plan_clear(request: CopyRequest, target: Server, count: Counter) -> CopyPlan:
    """What clearing *target* would do; *count* tells how many keys of a database match.

    Raises:
        ReadOnlyTargetError, SentinelError: this is no target.
        UsageError, DatabasesError: the logical databases do not fit.
    """
    there = await look_at(target, "target")
    refuse_replica(there)
    refuse_sentinel(there)
    dbs = map_databases(request, there.keyspace)
    refuse_missing(dbs, there.side.databases, there.side.databases, there.side.place, there.side.place)
    rows = [DbPlan(db, db, await count(db), 0, there.keyspace.get(db, (0, 0))[0]) for db in dbs]
    plan = CopyPlan(
        source=there.side,
        target=there.side,
        dbs=rows,
        writing="raw",
        act="clear",
        changes_known_by="nothing",
        route="clear",
        skew_ms=0,
        choices={name: text for name, text in filters_of(request).items() if text},
    )
    if plan.keys:
        listed = ", ".join(f"database {row.target_db}: {row.keys:,} of {row.target_keys:,}" for row in rows if row.keys)
        plan.hazards.append(Hazard(CLEAR, f"{some(plan.keys, 'key')} of {there.side.place} to be deleted ({listed})"))
    most_bytes = round(there.side.dataset_bytes * plan.keys / there.keys) if there.keys else 0
    await plan_captures(plan, request, target, there, most_bytes)
    await _judge(plan, request, there, target)
    return plan


def _conflicts(request: CopyRequest) -> str:
    if CHANGED_SINCE in request.allow:
        return "keys that others changed since are written over"
    return "keys that others changed since stay and are listed"


async def _judge(plan: CopyPlan, request: CopyRequest, there: Look, target: Server) -> None:
    later = await unrest_later(target, there)
    plan.hazards += [there.shard.hazard("target", there.side.place)] if there.shard else []
    hazards = target_hazards(there, later, plan.dbs, request)
    plan.hazards += [hazard for hazard in hazards if hazard.name == "busy-target"]
    plan.hazards += insecure(request, ("target",))


def _archive_side(contents: Contents) -> Side:
    return Side(
        place=str(contents.folder),
        identity=Identity(vendor="", version=(0, 0, 0), run_id=contents.folder.name, mode="", role=""),
        features=Features(),
        databases=max(contents.names, default=0) + 1,
        used_memory_bytes=0,
        dataset_bytes=contents.size_bytes,
        maxmemory_bytes=0,
        maxmemory_policy="",
        clock_offset_ms=0,
        about=f"undo archive of job {contents.folder.name}, {show_bytes(contents.size_bytes)}, read to its end",
    )

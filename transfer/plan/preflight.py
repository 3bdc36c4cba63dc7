"""Preflight: what a copy would do, found out without any effect on either side.

    request -> look at both -> who is it? -> which databases? -> rights -> room -> how to write -> CopyPlan
                                 `----------- a refusal ends it -----------'      hazards, warnings, notes in it

Rule 1: nothing is written; the one command that could, RESTORE, carries a type that no server has, or what is over.
Rule 2: what can never work is raised; what a person may want all the same is a Hazard with a name.
"""

from __future__ import annotations

from typing import Literal

from transfer.endpoint.redis import probe
from transfer.endpoint.redis.bridge import LOGICAL, RAW, RESTAMP, way_of
from transfer.endpoint.redis.server import Server
from transfer.model.endpoint import Features
from transfer.model.errors import ClusterNodeError, DatabasesError, IncompatibleError, PermissionDeniedError
from transfer.model.plan import CopyPlan, CopyRequest, DbPlan, Hazard, Side, allows_loss, narrows, skew_hazard
from transfer.model.selection import Mapping, Selection
from transfer.model.units import ranges
from transfer.plan.capturing import plan_captures
from transfer.plan.choices import choices_of
from transfer.plan.databases import map_databases, refuse_missing
from transfer.plan.idle import kept_use
from transfer.plan.look import Look, look_at, sample_key, unrest_later
from transfer.plan.route import choose_route
from transfer.plan.standing import (
    changed_bytes,
    functions_left,
    lacks,
    place_functions,
    refuse_roles,
    refuse_same,
    size_warning,
    target_hazards,
    touch,
)

ROUTES = {"scan": "scan: page by page, key by key", "psync": "psync: one full sync, of one instant"}


async def plan_copy(request: CopyRequest, source: Server, target: Server) -> CopyPlan:
    """What copying *request* from *source* to *target* would do.

    Raises:
        SamePlaceError, ReadOnlyTargetError, ReplicaSourceError: these two places cannot be a source and a target.
        UsageError, FoldError, DatabasesError: the logical databases do not fit.
        PermissionDeniedError: a user lacks rights; each is named.
        TargetSizeError, IncompatibleError: the data cannot be written there as asked.
    """
    there = await look_at(target, "target")
    here = await look_at(source, "source")
    dbs = map_databases(request, here.keyspace)
    refuse_same(here, there, request, dbs)
    refuse_roles(here, there)
    _refuse_missing(request, here, there, dbs)
    writing = writing_of(request, here.side.identity.name, here.side.features, there)
    sampled = await _sampled(request, source, dbs)
    await _refuse_missing_rights(request, source, target, here, there, sampled, writing)
    rows = _rows(here, there, dbs)
    use, notes = await kept_use(request, source, here, there, writing)
    route = await choose_route(request, source, here, writing, use)
    plan = CopyPlan(
        source=here.side,
        target=there.side,
        dbs=rows,
        writing=writing,
        changes_known_by="tracking" if here.side.features.tracking else "hashes",
        skew_ms=there.side.clock_offset_ms - here.side.clock_offset_ms,
        choices=choices_of(request, writing, loses=losses(request, there)),
        keeps_use=use,
        route=route.name,
        hazards=route.hazards,
        warnings=route.warnings,
        notes=notes + route.notes,
    )
    if route.name != "scan" or request.route != "auto":
        plan.choices["route"] = ROUTES[route.name]
    if use:
        plan.choices["keep-idle"] = f"{use} of each key, carried by RESTORE"
    plan.warnings += await _large_key_warnings(request, source, target, here, there, sampled)
    later = await unrest_later(target, there)
    _judge(plan, request, here, there, later)
    refusal = f"{plan.target.identity.name} {there.no_functions}" if there.no_functions else ""
    place_functions(plan, here, left=functions_left(request, here, dbs), no_functions=refusal)
    await plan_captures(plan, request, target, there, changed_bytes(there, plan.dbs), sampled["target"])
    return plan


def unaccepted(plan: CopyPlan, request: CopyRequest) -> list[Hazard]:
    """The hazards of *plan* that no `--allow` of *request* names."""
    return [hazard for hazard in plan.hazards if hazard.name not in request.allow]


def _refuse_missing(request: CopyRequest, here: Look, there: Look, dbs: dict[int, int]) -> None:
    """A cluster node has one database; that it is a node is what a person must hear first.

    Raises:
        DatabasesError, ClusterNodeError
    """
    try:
        refuse_missing(dbs, here.side.databases, there.side.databases, here.side.place, there.side.place)
    except DatabasesError:
        if there.shard is None or "one-shard" in request.allow:
            raise
        raise ClusterNodeError(there.shard.hazard(there.role, there.side.place).message) from None


def writing_of(request: CopyRequest, writer: str, payloads: Features, there: Look) -> str:
    """raw | restamp | logical, for *payloads* of a server or a file, which *writer* names.

    Raises:
        IncompatibleError: raw is asked for, and the target does not take such payloads; or it takes none.
    """
    version, taken = payloads.dump_version, there.side.features.restores
    if request.format in ("auto", LOGICAL) or version in taken or (request.format == RESTAMP and taken):
        return way_of(payloads, there.side.features, request.format)
    raise IncompatibleError(
        f"{writer} writes DUMP payloads of version {version}, {there.side.identity.name} takes "
        + (ranges(taken) or "none from this user"),
        where=there.side.place,
        hint="--format auto stamps payloads anew, encodes them anew, or writes by type commands, as each key needs it",
        version=version,
        accepted=sorted(taken),
    )


async def _refuse_missing_rights(
    request: CopyRequest,
    source: Server,
    target: Server,
    here: Look,
    there: Look,
    sampled: dict[str, bytes],
    writing: str,
) -> None:
    """Raise PermissionDeniedError with every command that either user lacks."""
    forbidden = not there.side.features.restores  # then RESTORE is what lacks, not all the commands instead of it
    logical = writing == "logical" and (request.format == "logical" or not forbidden)
    texts: list[str] = []
    commands: list[str] = []
    where = ""
    for server, look in ((source, here), (target, there)):
        async with server.link(db=0) as link:
            lacking = await probe.missing_rights(
                link,
                server.identity,
                look.role,
                values=logical or request.verify != "none",
                logical=logical,
                sample_key=sampled[look.role],
            )
        if request.format == "logical":
            lacking = [name for name in lacking if not name.startswith("RESTORE")]
        if lacking:
            texts.append(lacks(look, lacking))
            commands += lacking
            where = where or server.where
    if texts:
        raise PermissionDeniedError("; ".join(texts), where=where, commands=commands)


async def _sampled(request: CopyRequest, source: Server, dbs: dict[int, int]) -> dict[str, bytes]:
    """A key that would be copied, by its name on either side."""
    selection = Selection(match=request.match, exclude=request.exclude, sample=request.sample)
    key = await sample_key(source, next(iter(dbs)), selection)
    return {"source": key, "target": Mapping(dbs, request.renames).name(key)}


async def _large_key_warnings(
    request: CopyRequest, source: Server, target: Server, here: Look, there: Look, sampled: dict[str, bytes]
) -> list[str]:
    """What large keys need and a user lacks: without it the copy goes, and they are rejected."""
    if request.format == "raw":
        return []
    found = []
    for server, look in ((source, here), (target, there)):
        async with server.link(db=0) as link:
            lacking = await probe.missing_for_large(link, server.identity, look.role, sample_key=sampled[look.role])
        if lacking:
            found.append(lacks(look, lacking))
    return [f"keys above --big-key would be rejected: {'; '.join(found)}"] if found else []


def _rows(here: Look, there: Look, dbs: dict[int, int]) -> list[DbPlan]:
    none = (0, 0)
    return [
        DbPlan(source_db, target_db, *here.keyspace.get(source_db, none), there.keyspace.get(target_db, none)[0])
        for source_db, target_db in dbs.items()
    ]


def _judge(plan: CopyPlan, request: CopyRequest, here: Look, there: Look, later: tuple[int, int]) -> None:
    """Fill in hazards, warnings and notes.

    Raises:
        TargetSizeError: there is too little room at the target.
    """
    plan.hazards += [look.shard.hazard(look.role, look.side.place) for look in (here, there) if look.shard]
    plan.hazards += target_hazards(there, later, plan.dbs, request)
    plan.hazards += [hazard for hazard in (skew_hazard(plan.skew_ms, request),) if hazard]
    plan.hazards += insecure(request)
    hazards, notes = touch(here)
    plan.hazards += hazards
    plan.notes += notes
    plan.warnings += [text for text in (size_warning(here, there, plan.dbs, request),) if text]
    plan.not_copied += users_left(here)
    plan.notes += _notes(plan, request, here)


def insecure(
    request: CopyRequest, sides: tuple[Literal["source", "target"], ...] = ("source", "target")
) -> list[Hazard]:
    """Where anybody may answer, since a certificate is not verified."""
    addresses = {"source": request.source, "target": request.target}
    return [
        Hazard("insecure", f"the certificate of the {side} {addresses[side]} is not verified: anybody may answer there")
        for side in sides
        if addresses[side].tls and not addresses[side].verify_tls
    ]


def losses(request: CopyRequest, there: Look) -> str:
    """Why keys are written without some of their parts, "" if they are not."""
    side = there.side
    return f"{side.identity.name} has none (--allow lossy)" if allows_loss(request, side.features) else ""


def rejected_hashes(target: Side) -> str:
    """What becomes of parts that *target* cannot hold."""
    return (
        f"hashes whose fields have deadlines are rejected by name: {target.identity.name} has no such deadlines "
        "(--allow lossy writes them without)"
    )


def users_left(here: Look) -> list[str]:
    """ACL users never travel."""
    return [f"{here.users} ACL user{'s' * (here.users != 1)}"] if here.users else []


def _notes(plan: CopyPlan, request: CopyRequest, here: Look) -> list[str]:
    notes = []
    version, taken = plan.source.features.dump_version, ranges(plan.target.features.restores)
    if plan.writing != RAW and request.format == "auto":
        how = "stamped anew, encoded anew where a type is not taken" if plan.writing == RESTAMP else "written by type"
        notes.append(f"the target takes DUMP payloads of version {taken or 'none'}, not {version}: {how}")
    if plan.writing == LOGICAL:
        notes.append("modules and unknown types are rejected by name when written by type")
    if not plan.source.features.tracking:
        notes.append("changes at the source are told by hashes of what was read: CLIENT TRACKING is not allowed there")
    if plan.source.features.field_ttl and not plan.target.features.field_ttl and "lossy" not in plan.choices:
        notes.append(rejected_hashes(plan.target))
    if narrows(request):
        notes.append("filters apply: not all of the keys counted here are copied")
    return notes

"""Preflight where one side is a file: what an import or an export would do, found out without any effect.

file, looked through + target looked at -> databases, rights, room, hazards -> CopyPlan
source looked at + name of a file       -> databases, rights, room on the disk, `overwrite` -> CopyPlan
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from transfer.endpoint.archive.walk import ArchiveWalk
from transfer.endpoint.file.age import recipients_of
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.jsonl.walk import JsonlWalk
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.abilities import unlikely_key
from transfer.endpoint.redis.server import Server
from transfer.model.endpoint import ARCHIVE_SCHEME, JSONL_SCHEME, NAMES_SCHEME, Features, Identity
from transfer.model.errors import FileMissingError, PermissionDeniedError, UsageError
from transfer.model.plan import CopyPlan, CopyRequest, DbPlan, Hazard, Side, narrows
from transfer.model.selection import Selection
from transfer.model.units import show_bytes, show_moment, show_ms, some
from transfer.plan.capturing import plan_captures
from transfer.plan.choices import choices_of
from transfer.plan.databases import map_databases, refuse_missing
from transfer.plan.idle import file_use, saved_use
from transfer.plan.look import Look, look_at, sample_key, unrest_later
from transfer.plan.preflight import ROUTES, insecure, losses, users_left, writing_of
from transfer.plan.route import Route, choose_route
from transfer.plan.standing import (
    changed_bytes,
    functions_left,
    lacks,
    place_functions,
    refuse_lost,
    refuse_replica,
    refuse_sentinel,
    target_hazards,
    touch,
)
from transfer.report.names import hashed_name, shown_name

_ANY_DB = 1 << 31
"""A file holds as many databases as it likes."""
_WITHOUT_CODE = {
    JSONL_SCHEME: "lines of JSON have no place for code",
    NAMES_SCHEME: "a list of names has no place for code",
}
_ONE_LIST = (
    "names of all databases are in one list that does not say which is of which: --keys-from looks in each for all"
)


async def plan_import(request: CopyRequest, file: DataFile, target: Server) -> CopyPlan:
    """What importing *file* into *target* would do.

    Raises:
        ReadOnlyTargetError, SentinelError: this is no target.
        UsageError, FoldError, DatabasesError: the logical databases do not fit.
        PermissionDeniedError: the user lacks rights; each is named.
        IncompatibleError: the data cannot be written there as asked.
    """
    there = await look_at(target, "target")
    refuse_replica(there)
    refuse_sentinel(there)
    counts = file.counts()
    dbs = map_databases(request, counts)
    refuse_missing(dbs, _ANY_DB, there.side.databases, file.where, there.side.place)
    writing = writing_of(request, file.server, file.features, there)
    await _refuse_missing_rights(target, there, logical=writing == "logical", values=request.verify != "none")
    none = (0, 0)
    use, notes = file_use(request, file.use, file.where, there, writing)
    plan = CopyPlan(
        source=file_side(file),
        target=there.side,
        dbs=[
            DbPlan(here, into, *counts.get(here, none), there.keyspace.get(into, none)[0]) for here, into in dbs.items()
        ],
        writing=writing,
        changes_known_by="file",
        route="rdb",
        skew_ms=0,
        choices=choices_of(request, writing, loses=losses(request, there)),
        keeps_use=use,
        notes=_file_notes(file, request) + notes,
        warnings=[
            text for text in (*file_warnings(file, hash_keys=request.hash_keys), _room(request, file, there)) if text
        ],
    )
    for name in ("pace", "max-skew"):  # nobody else reads the file, and it has no clock
        plan.choices.pop(name, None)
    later = await unrest_later(target, there)
    plan.hazards += [there.shard.hazard("target", there.side.place)] if there.shard else []
    plan.hazards += target_hazards(there, later, plan.dbs, request) + insecure(request)
    await plan_captures(plan, request, target, there, changed_bytes(there, plan.dbs))
    return plan


def file_side(file: DataFile) -> Side:
    """A file as one side of a plan."""
    walk = file.walk
    said = f"{walk.form} by {file.server}, {show_bytes(file.size_bytes)}"
    return Side(
        place=file.where,
        identity=file.identity,
        features=file.features,
        databases=max(file.dbs, default=0) + 1,
        used_memory_bytes=file.used_memory_bytes,
        dataset_bytes=file.size_bytes,
        maxmemory_bytes=0,
        maxmemory_policy="",
        clock_offset_ms=0,
        about=f"{said}, {_saved_text(file)}; {checksum_text(file)}",
    )


def _saved_text(file: DataFile) -> str:
    if file.saved_ms:
        return f"saved {show_moment(file.saved_ms)}"
    return f"saved nobody knows when (last written {show_moment(file.dated_ms)})"


def checksum_text(file: DataFile) -> str:
    """What its checksum says."""
    return {
        "right": "its checksums hold" if isinstance(file.walk, ArchiveWalk) else "its checksum holds",
        "zero": "its checksum was not computed (zero): its structure alone was checked",
        "none": f"{file.walk.form} has no checksum: its structure alone was checked",
    }[file.walk.checksum]


def repeats_text(file: DataFile, *, hash_keys: bool = False) -> str:
    """Which names stand in it more than once, "" if none does."""
    if (found := file.repeats) is None:
        return ""
    name = (hashed_name if hash_keys else shown_name)(found.key)
    return (
        f"{some(found.count, 'key', 'comes', 'come')} again in the same database, one of them {name} in db {found.db}"
    )


def may_repeat(file: DataFile) -> bool:
    """Whether names that stand in it more than once are in order: an archive tells that it has some, or does not know.

    No server loads an RDB with such. Lines of JSON say nothing.
    """
    walk = file.walk
    return isinstance(walk, ArchiveWalk) and (walk.manifest is None or walk.manifest.repeated_keys != 0)


def file_warnings(file: DataFile, *, hash_keys: bool = False) -> list[str]:
    """What a person should know of a file that is whole."""
    walk, found = file.walk, [f"damaged: {text}" for text in file.walk.damage]
    if walk.missing is not None:
        found.append(str(walk.missing))
    if walk.trailing_bytes:
        found.append(f"{walk.trailing_bytes:,} bytes after the end are not read")
    if file.skipped:
        what = "key is an empty collection" if file.skipped == 1 else "keys are empty collections"
        found.append(f"{file.skipped:,} {what}: skipped, as servers do")
    if walk.passed_over:
        found.append(f"not read: {', '.join(dict.fromkeys(walk.passed_over))}")
    if (said := repeats_text(file, hash_keys=hash_keys)) and not may_repeat(file):
        found.append(f"{said}: of each the last one holds")
    return found


def _file_notes(file: DataFile, request: CopyRequest) -> list[str]:
    notes = [f"the file was looked through in {show_ms(file.seconds * 1000)}, before anything is written"]
    if "trust-file" in request.allow:
        notes.append("payloads go to the target as they stand in the file, unchecked (--allow trust-file)")
    notes += [_age(file, request)]
    if libraries := len(file.walk.functions):
        notes.append(f"{libraries} function librar{'y is' if libraries == 1 else 'ies are'} in the file")
    if narrows(request):
        notes.append("filters apply: not all of the keys counted here are copied")
    return notes


def _age(file: DataFile, request: CopyRequest) -> str:
    """How old it is, and what of it has passed."""
    ago = f"{show_ms(max(0, file.now_ms() - file.dated_ms))} ago"
    said = f"saved {ago}" if file.saved_ms else f"it does not say when it was saved; the file was last written {ago}"
    if request.ttl == "rebase" and not file.saved_ms:
        said += ", and from then --ttl rebase counts"
    if not file.passed or request.ttl in ("drop", "rebase"):
        return said
    keys = "1 key is past its deadline" if file.passed == 1 else f"{file.passed:,} keys are past their deadlines"
    return f"{said}: {keys} and not written (--ttl rebase gives each the time it had left then, --ttl drop no deadline)"


async def _refuse_missing_rights(target: Server, there: Look, *, logical: bool, values: bool) -> None:
    async with target.link(db=0) as link:
        lacking = await probe.missing_rights(
            link, target.identity, "target", values=logical or values, logical=logical, sample_key=unlikely_key()
        )
    if lacking:
        text = lacks(there, lacking)
        raise PermissionDeniedError(text, where=target.where, commands=lacking)


def _room(request: CopyRequest, file: DataFile, there: Look) -> str:
    limit, used = there.side.maxmemory_bytes, there.side.used_memory_bytes
    wanted = file.used_memory_bytes
    if not limit or wanted <= limit - used or narrows(request):
        return ""
    return (
        f"the server that saved the file used {show_bytes(wanted)}, the target has {show_bytes(max(0, limit - used))} "
        f"free of its maxmemory {show_bytes(limit)}"
    )


async def plan_export(request: CopyRequest, source: Server) -> CopyPlan:
    """What exporting *source* into the file `request.target` would do.

    Raises:
        ReplicaSourceError, SentinelError: this is no source.
        UsageError, DatabasesError: the logical databases do not fit.
        PermissionDeniedError: the user lacks rights; each is named.
        FileMissingError: there is no such folder, or it cannot be written to.
    """
    here = await look_at(source, "source")
    refuse_lost(here)
    refuse_sentinel(here)
    dbs = map_databases(request, here.keyspace)
    refuse_missing(dbs, here.side.databases, _ANY_DB, here.side.place, str(request.target))
    async with source.link(db=0) as link:
        key = await sample_key(source, next(iter(dbs)), Selection(match=request.match, exclude=request.exclude))
        lacking = await probe.missing_rights(
            link, source.identity, "source", values=False, logical=False, sample_key=key
        )
    if lacking:
        text = lacks(here, lacking)
        raise PermissionDeniedError(text, where=source.where, commands=lacking)
    listed = request.target.scheme == NAMES_SCHEME
    use = "" if listed else saved_use(request, here)
    route = Route("scan") if listed else await choose_route(request, source, here, "raw", use)
    path = Path(request.target.path)
    if request.encrypt_to:
        recipients_of(request.encrypt_to)  # what is wrong with them is told before anything is done
    rows = [DbPlan(db, into, *here.keyspace.get(db, (0, 0)), 0) for db, into in dbs.items()]
    plan = CopyPlan(
        source=here.side,
        target=_new_file_side(request, here),
        dbs=rows,
        writing="raw",
        changes_known_by="tracking" if here.side.features.tracking else "hashes",
        skew_ms=0,
        choices=_export_choices(request),
        keeps_use=use,
        route=route.name,
        hazards=route.hazards + (_overwrites(path) if not request.target.is_stdio else []),
        warnings=route.warnings,
        notes=route.notes,
    )
    if route.name != "scan" or request.route != "auto":
        plan.choices["route"] = ROUTES[route.name]
    hazards, notes = touch(here)
    plan.hazards += hazards + ([here.shard.hazard("source", here.side.place)] if here.shard else []) + insecure(request)
    plan.notes += notes
    plan.not_copied += users_left(here)
    nowhere = _WITHOUT_CODE.get(request.target.scheme, "")
    place_functions(plan, here, left=functions_left(request, here, dbs) or nowhere)
    if listed and len(rows) > 1:
        plan.notes.append(_ONE_LIST)
    if route.name == "scan":
        plan.notes.append("the file is of an interval, as a copy is: what is written meanwhile may be in it or not")
    if narrows(request):
        plan.notes.append("filters apply: not all of the keys counted here are copied")
    return plan


def _export_choices(request: CopyRequest) -> dict[str, str]:
    """Without those that are about a server as target."""
    none: tuple[str, ...] = ("conflicts", "format", "on-full", "max-skew")
    if request.target.scheme == NAMES_SCHEME:
        none += ("verify", "ttl", "max-rejects")
    return {name: text for name, text in choices_of(request, "raw").items() if name not in none}


def _new_file_side(request: CopyRequest, here: Look) -> Side:
    path = Path(request.target.path)
    folder = path.parent if not request.target.is_stdio else Path(request.spill_dir or tempfile.gettempdir())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise FileMissingError("there is no such folder, or it cannot be written to", where=str(folder))
    if path.is_dir():
        raise FileMissingError("this is a folder", where=str(path))
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    version = here.side.features.dump_version
    return Side(
        place=str(path),
        identity=Identity(vendor=here.side.identity.vendor, version=(0, 0, 0), run_id="", mode="file", role="file"),
        features=Features(dump_version=version),
        databases=0,
        used_memory_bytes=0,
        dataset_bytes=0,
        maxmemory_bytes=0,
        maxmemory_policy="",
        clock_offset_ms=0,
        about=f"{_new_form(request, version)}; {show_bytes(free_bytes)} are free there",
    )


def _new_form(request: CopyRequest, version: int) -> str:
    if request.target.scheme == NAMES_SCHEME:
        return "names, one a line"
    if request.target.scheme == JSONL_SCHEME:
        return JsonlWalk.form
    if request.target.scheme != ARCHIVE_SCHEME:
        return f"RDB version {version}"
    said = f"{ArchiveWalk.form}, zstd level {request.level}"
    return f"{said}, encrypted by age for {len(request.encrypt_to)}" if request.encrypt_to else said


def _overwrites(path: Path) -> list[Hazard]:
    if path.is_symlink():
        hint = f"name the file itself: {os.path.realpath(path)}"
        raise UsageError("this is a link, and nothing is written through links", where=str(path), hint=hint)
    if not path.exists():
        return []
    size = show_bytes(path.stat().st_size)
    return [Hazard("overwrite", f"the file {path} is there ({size}); it is replaced at the end")]

"""A plan for people, and the same as data.

    how much, from where -> both servers -> databases -> what is chosen -> hazards -> warnings, notes

Everything that comes from a server or a URL passes `printable` before it is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from transfer.model.endpoint import Features
from transfer.model.plan import CopyPlan, DbPlan, Hazard, Side
from transfer.model.units import ranges, show_bytes, show_ms, some
from transfer.report.names import printable

_INDENT = "  "


def plan_lines(plan: CopyPlan, allowed: Collection[str] = (), *, warnings: bool = True) -> list[str]:
    """Lines of text without colour; the hazards named in *allowed* are marked as accepted. *warnings*: those, too."""
    lines = [_first_line(plan), ""]
    lines += [] if plan.act == "clear" else _side_lines("source", plan.source)
    lines += _side_lines("target", plan.target)
    lines += ["", *(_match_lines(plan.dbs) if plan.act == "clear" else _db_lines(plan.dbs)), ""]
    lines += _aligned([(name, printable(text)) for name, text in plan.choices.items()])
    if abs(plan.skew_ms) > 1:
        lines.append(f"{_INDENT}clocks: the target is {show_ms(abs(plan.skew_ms))} {_ahead(plan.skew_ms)} the source")
    if plan.hazards or plan.notes or (warnings and plan_warnings(plan)):
        lines.append("")
    for hazard in plan.hazards:
        lines += _hazard_lines(hazard, accepted=hazard.name in allowed)
    lines += [f"warning: {printable(text)}" for text in plan_warnings(plan)] if warnings else []
    lines += [f"note: {printable(text)}" for text in plan.notes]
    return lines


def plan_warnings(plan: CopyPlan) -> list[str]:
    """What a person must hear of, also who sees no plan."""
    return [*plan.warnings, *(f"not copied: {text}" for text in plan.not_copied)]


def plan_json(plan: CopyPlan) -> dict[str, Any]:
    """The plan as JSON values: sizes in bytes, times in milliseconds."""
    return {
        "plan": plan.fingerprint(),
        "keys": plan.keys,
        "source": side_json(plan.source),
        "target": side_json(plan.target),
        "dbs": [
            {
                "source_db": db.source_db,
                "target_db": db.target_db,
                "keys": db.keys,
                "with_deadline": db.with_deadline,
                "target_keys": db.target_keys,
            }
            for db in plan.dbs
        ],
        "route": plan.route,
        "writing": plan.writing,
        "changes_known_by": plan.changes_known_by,
        "skew_ms": plan.skew_ms,
        "choices": dict(plan.choices),
        "hazards": [
            {"name": hazard.name, "message": hazard.message, "exit": hazard.exit_code, "code": hazard.code}
            for hazard in plan.hazards
        ],
        "functions": list(plan.functions),
        "warnings": plan_warnings(plan),
        "not_copied": list(plan.not_copied),
        "notes": list(plan.notes),
    }


def side_json(side: Side) -> dict[str, Any]:
    """One server as JSON values; the place is redacted."""
    identity = side.identity
    return {
        "place": side.place,
        "server": identity.name,
        "vendor": identity.vendor,
        "version": identity.number,
        "run_id": identity.run_id,
        "replid": identity.replid,
        "mode": identity.mode,
        "role": identity.role,
        "databases": side.databases,
        "used_memory_bytes": side.used_memory_bytes,
        "dataset_bytes": side.dataset_bytes,
        "maxmemory_bytes": side.maxmemory_bytes,
        "maxmemory_policy": side.maxmemory_policy,
        "clock_offset_ms": side.clock_offset_ms,
        "features": features_json(side.features),
        **({"about": side.about} if side.about else {}),
    }


def features_json(features: Features) -> dict[str, Any]:
    return {
        "dump_version": features.dump_version,
        "restores": sorted(features.restores),
        "pexpiretime": features.pexpiretime,
        "no_touch": features.no_touch,
        "tracking": features.tracking,
        "field_ttl": features.field_ttl,
        "memory_usage": features.memory_usage,
    }


def memory_text(side: Side) -> str:
    """`428.0 MiB in use, maxmemory 1.0 GiB (noeviction)`."""
    limit = f"maxmemory {show_bytes(side.maxmemory_bytes)}" if side.maxmemory_bytes else "no maxmemory"
    policy = f" ({printable(side.maxmemory_policy)})" if side.maxmemory_bytes and side.maxmemory_policy else ""
    return f"{show_bytes(side.used_memory_bytes)} in use, {limit}{policy}"


def role_text(side: Side) -> str:
    """`primary`, `replica of 10.0.0.8:6379`, and `cluster node` before it where it is one."""
    identity = side.identity
    role = {"master": "primary", "slave": f"replica of {identity.primary_host}:{identity.primary_port}"}
    text = role.get(identity.role, identity.role or "role unknown")
    return printable(f"cluster node, {text}" if identity.mode == "cluster" else text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 0) -> list[str]:
    """Columns under *head*, indented; the first *left* are aligned left, all others right."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        _INDENT
        + "  ".join(
            text.ljust(width) if column < left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _first_line(plan: CopyPlan) -> str:
    count = len(plan.dbs)
    one = f"logical database {plan.dbs[0].source_db}" if count == 1 else f"{count} logical databases"
    moved = [db for db in plan.dbs if db.source_db != db.target_db]
    into = f" into {moved[0].target_db}" if len(moved) == 1 and count == 1 else ""
    if plan.act == "undo":
        return printable(f"undo in {one}, {some(plan.keys, 'key')}: {plan.source.place} -> {plan.target.place}")
    if plan.act == "clear":
        return printable(f"clear {some(plan.keys, 'key')} of {one}: {plan.target.place}")
    return printable(f"copy {one}{into}, {some(plan.keys, 'key')}: {plan.source.place} -> {plan.target.place}")


def _side_lines(name: str, side: Side) -> list[str]:
    takes = f", takes {ranges(side.features.restores)}" if name == "target" and side.features.restores else ""
    if side.about:
        return [f"{name}  {printable(side.place)}", f"{_INDENT}{printable(side.about)}"]
    payloads = f"DUMP version {side.features.dump_version or 'unknown'}{takes}"
    return [
        f"{name}  {printable(side.place)}",
        f"{_INDENT}{side.identity.name}, {role_text(side)}, run id {printable(side.identity.run_id[:12])}",
        f"{_INDENT}{memory_text(side)}; {side.databases} databases; {payloads}",
    ]


def _db_lines(dbs: list[DbPlan]) -> list[str]:
    rows = [
        (str(db.source_db), f"{db.keys:,}", f"{db.with_deadline:,}", str(db.target_db), f"{db.target_keys:,}")
        for db in dbs
    ]
    return table(("db", "keys", "with deadline", "into db", "keys there now"), rows)


def _match_lines(dbs: list[DbPlan]) -> list[str]:
    rows = [(str(db.target_db), f"{db.keys:,}", f"{db.target_keys:,}") for db in dbs]
    return table(("db", "to be deleted", "keys there now"), rows)


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{_INDENT}{name.ljust(width)}  {text}" for name, text in rows]


def _hazard_lines(hazard: Hazard, *, accepted: bool) -> list[str]:
    consent = "accepted by --allow" if accepted else f"needs --allow {hazard.name}"
    return [f"hazard: {printable(hazard.message)}", f"{_INDENT}{hazard.name}: {consent}"]


def _ahead(skew_ms: int) -> str:
    return "ahead of" if skew_ms > 0 else "behind"

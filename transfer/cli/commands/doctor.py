"""Is it fit for a copy? `doctor URL [URL]`.

    one URL:  open -> checks in both roles                       exit: 0, or why nothing can be done there
    two URLs: open both -> checks, each in its role -> plan_copy exit: the one a copy would end with before it began

What fails is a line and an exit code here, never a raised error: the other answers are worth as much.
"""

from __future__ import annotations

from typing import Any

import msgspec

from transfer.cli.render.plan import features_json, plan_json, plan_lines, side_json, table
from transfer.endpoint.redis.rights import Role
from transfer.endpoint.redis.server import Server
from transfer.model.endpoint import Address
from transfer.model.errors import TransferError
from transfer.model.plan import CopyRequest
from transfer.plan.checkup import Check, check_up
from transfer.plan.look import Look, look_at
from transfer.plan.preflight import plan_copy, unaccepted
from transfer.plan.settings import differing, equaliser, settings_of
from transfer.plan.travel import WAYS, left_behind, travel_of
from transfer.report.names import printable

_NO_RIGHTS_EXIT = 4


class _Finding(msgspec.Struct, kw_only=True):
    """One server as found: open or not."""

    address: Address
    checks: list[Check]
    server: Server | None = None
    look: Look | None = None
    error: TransferError | None = None


async def run_doctor(
    source: Address, target: Address | None = None, *, connect_timeout_s: float = 10.0, timeout_s: float = 30.0
) -> tuple[list[str], dict[str, Any], int]:
    """Lines, data and exit code."""
    limits = (connect_timeout_s, timeout_s)
    if target is None:
        found = await _examine(source, ("source", "target"), *limits)
        return _lines("server", found), {"servers": [_data(found)]}, _alone_exit(found)
    here = await _examine(source, ("source",), *limits)
    there = await _examine(target, ("target",), *limits)
    lines = [*_lines("source", here), "", *_lines("target", there)]
    data: dict[str, Any] = {"servers": [_data(here), _data(there)]}
    errors = [one.error for one in (here, there) if one.error]
    if errors or here.server is None or there.server is None:
        return lines, data, errors[0].exit_code
    more, planned, code = await _together(here.server, there.server)
    return [*lines, "", *more], data | planned, code


async def _examine(address: Address, roles: tuple[Role, ...], connect_timeout_s: float, timeout_s: float) -> _Finding:
    """Open the server and ask it everything; the first error ends it."""
    found = _Finding(address=address, checks=[])
    try:
        found.server = await Server.open(
            address, name="transfer-doctor", connect_timeout=connect_timeout_s, timeout=timeout_s
        )
        identity = found.server.identity
        found.checks.append(Check("answers", "ok", f"{identity.name}, {identity.mode}, run id {identity.run_id[:12]}"))
        found.look = await look_at(found.server, roles[0])
        if address.tls and not address.verify_tls:
            found.checks.append(Check("tls", "warn", "the certificate is not verified: anybody may answer here"))
        found.checks += await check_up(found.server, found.look, roles)
    except TransferError as error:
        found.error = error
        hint = "" if error.hint.startswith("transfer doctor") else f"; hint: {error.hint}"
        found.checks.append(Check("error", "fail", f"[{error.code}] {error.message}{hint}"))
    return found


async def _together(source: Server, target: Server) -> tuple[list[str], dict[str, Any], int]:
    """What a copy would do, or why it would be refused, and the settings that differ."""
    rows = [
        (*row, equaliser(row[0], row[1])) for row in differing(await settings_of(source), await settings_of(target))
    ]
    head = ("", "source", "target", "matters because", "would make it equal")
    lines = ["settings that differ", *table(head, rows, left=5), ""] if rows else []
    data: dict[str, Any] = {
        "settings": [dict(zip(("name", "source", "target", "why", "command"), row, strict=True)) for row in rows]
    }
    more, about = await _on_the_way(source, target)
    lines = [printable(line) for line in (*lines, *more)]
    data |= about
    request = CopyRequest(source=source.address, target=target.address)
    try:
        plan = await plan_copy(request, source, target)
    except TransferError as error:
        refused = {"code": error.code, "message": error.message, "hint": error.hint}
        text = f"a copy would be refused: error[{error.code}] {error.message}"
        return [*lines, printable(text), printable(f"hint: {error.hint}")], data | {"refused": refused}, error.exit_code
    code = max((hazard.exit_code for hazard in unaccepted(plan, request)), default=0)
    return [*lines, *plan_lines(plan)], data | {"plan": plan_json(plan)}, code


async def _on_the_way(source: Server, target: Server) -> tuple[list[str], dict[str, Any]]:
    """What will travel how, told from a sample, and what will not travel."""
    try:
        here = await look_at(source, "source")
        dbs = here.keyspace if source.address.db is None else {source.address.db}
        found = await travel_of(source, target, sorted(dbs))
        left = await left_behind(source, target, here)
    except TransferError as error:
        return [f"what would travel how cannot be told: {error.message}", ""], {"travel": None, "left": []}
    lines: list[str] = []
    if found.sampled:
        lines = [f"how keys would travel, from a sample of {found.sampled:,}"]
        lines += [*table(("", *WAYS), found.rows(), left=1), ""]
        lines += [f"refused: {count:,} of them: {cause}" for cause, count in found.causes.items()]
    if left:
        lines += [
            "what does not travel",
            *table(("", "would make it equal"), [(it.what, it.command) for it in left], 2),
            "",
        ]
    ways = [{"type": kind, "way": way, "keys": count} for (kind, way), count in sorted(found.ways.items())]
    travel = {"sampled": found.sampled, "ways": ways, "refused": dict(found.causes)}
    return lines, {"travel": travel, "left": [{"what": it.what, "command": it.command} for it in left]}


def _alone_exit(found: _Finding) -> int:
    if found.error:
        return found.error.exit_code
    rights = [check for check in found.checks if check.name.startswith("rights")]
    return _NO_RIGHTS_EXIT if all(check.state != "ok" for check in rights) else 0


def _lines(name: str, found: _Finding) -> list[str]:
    rows = [(check.state, check.name, printable(check.text)) for check in found.checks]
    width = max(len(name) for _, name, _ in rows)
    return [f"{name}  {found.address}", *(f"  {state:<4}  {what:<{width}}  {text}" for state, what, text in rows)]


def _data(found: _Finding) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "place": str(found.address),
        "checks": [{"name": check.name, "state": check.state, "text": check.text} for check in found.checks],
    }
    if found.look is not None:
        entry |= {"server": side_json(found.look.side)}
    elif found.server is not None:
        entry |= {"features": features_json(found.server.features)}
    if found.error is not None:
        entry |= {"error": {"code": found.error.code, "message": found.error.message, "hint": found.error.hint}}
    return entry

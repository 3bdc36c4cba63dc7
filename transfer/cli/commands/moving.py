"""Which job moves keys between two places: `copy`, `import`, `export` and `resume` all come by here.

server -> server: copy        file -> server: import        server -> file: export
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from transfer.cli.effect import kind_of, refuse_idle
from transfer.cli.options import Moving
from transfer.cli.request import copy_request
from transfer.model.endpoint import NAMES_SCHEME
from transfer.model.errors import PlaceError
from transfer.model.plan import CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import Report

if TYPE_CHECKING:
    from transfer.cli.conduct import Run


def move(source: str, target: str, command: str, said: Moving, **more: Any) -> int:
    """Carry out *command* between two places as it was *said*, *more* groups of flags in it; the exit code."""
    from transfer.cli.conduct import conduct

    groups = {field.name: getattr(said, field.name) for field in fields(said) if field.name != "talk"}
    request = copy_request(source, target, **more, **groups)
    run = mover(request, command)
    refuse_idle(kind_of(request.source, request.target), groups.values())
    return conduct(run, request, said.talk, no_input=said.consent.no_input)


def mover(request: CopyRequest, command: str, job: str = "") -> Run:
    """What carries *request* out, as *command*, going on with *job* if there is one.

    Raises:
        PlaceError: no command moves keys between such places.
    """
    if command == "undo":
        return partial(_undo, job=job)
    if command == "clear":
        return partial(_clear, job=job)
    files = request.source.is_file, request.target.is_file
    if files == (True, True):
        raise PlaceError("a file cannot be copied into a file", hint="name a server on one side: redis://host:6379")
    if command == "import" and not files[0]:
        raise PlaceError("import takes a file first", hint="transfer import dump.rdb redis://host:6379")
    if command == "export" and not files[1]:
        raise PlaceError("export takes a file last", hint="transfer export redis://host:6379 out.rdb")
    if request.source.scheme == NAMES_SCHEME:
        text = "a list of names holds no values"
        raise PlaceError(text, hint=f"transfer copy A B --keys-from {request.source} copies the keys it names")
    if files[1] and request.delete_extra:
        raise PlaceError("--delete-extra is for servers: a file is made anew", hint="leave it out")
    if files[0]:
        return partial(_import, job=job)
    if request.target.scheme == NAMES_SCHEME:
        return _names
    return _export if files[1] else partial(_copy, job=job)


async def _copy(request: CopyRequest, observer: Observer, *, job: str) -> Report:
    from transfer.job.copy import run_copy
    from transfer.plan.preflight import plan_copy

    return await run_copy(request, observer, plan_copy, job)


async def _import(request: CopyRequest, observer: Observer, *, job: str) -> Report:
    from transfer.job.importing import run_import
    from transfer.plan.files import plan_import

    return await run_import(request, observer, plan_import, job)


async def _export(request: CopyRequest, observer: Observer) -> Report:
    from transfer.job.exporting import run_export
    from transfer.plan.files import plan_export

    report = await run_export(request, observer, plan_export)
    if request.trial_restore and not request.dry_run:
        from transfer.job.trial import restore_on_trial

        await restore_on_trial(partial(_import, job=""), request, report)
    return report


async def _names(request: CopyRequest, observer: Observer) -> Report:
    from transfer.job.naming import run_names
    from transfer.plan.files import plan_export

    return await run_names(request, observer, plan_export)


async def _undo(request: CopyRequest, observer: Observer, *, job: str) -> Report:
    from transfer.job.undoing import run_undo
    from transfer.plan.acts import plan_undo

    return await run_undo(request, observer, plan_undo, job)


async def _clear(request: CopyRequest, observer: Observer, *, job: str) -> Report:
    from transfer.job.clearing import run_clear
    from transfer.plan.acts import plan_clear

    return await run_clear(request, observer, plan_clear, job)

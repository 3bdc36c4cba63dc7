"""`transfer jobs prune`, `clean ID`: what the store and the target need not keep.

words -> job/housekeeping -> one line | `data` of a result line
"""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from transfer.cli import loop
from transfer.cli.options import Store, Talk
from transfer.cli.render.json import simple_result
from transfer.cli.render.out import Out
from transfer.job.database import store_path
from transfer.job.housekeeping import Cleaned, Pruned, clean_here, clean_target, refuse_running
from transfer.job.housekeeping import prune as forget
from transfer.job.rows import Job
from transfer.job.store import JobStore
from transfer.model.errors import UsageError
from transfer.model.units import duration_ms, show_bytes, some


def prune(
    *,
    older: Annotated[str, Parameter(help="Only those that ended so long ago.")] = "30d",
    keep: Annotated[int, Parameter(help="Of those, the last N stay.")] = 0,
    store: Store = Store(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
) -> int:
    """Forget jobs that are through: their rows, rejected keys and files. What runs or can be resumed stays."""
    try:
        older_ms = duration_ms(older)
    except ValueError as error:
        raise UsageError(f"--older: {error}", hint="--older 30d") from None
    if keep < 0:
        raise UsageError("--keep: a number of jobs, 0 or more", hint="--keep 100")
    gone = Pruned([])
    if store_path(store.state).exists():
        with JobStore.open(store.state) as kept:
            gone = forget(kept, older_ms, keep)
    out = Out(sys.stdout)
    out.say(simple_result("jobs", msgspec.to_builtins(gone)) if talk.json else _told_pruned(gone))
    return 0


def _told_pruned(gone: Pruned) -> str:
    told = f"{some(len(gone.pruned), 'job')} forgotten"
    if gone.undo_bytes:
        told += f", with {show_bytes(gone.undo_bytes)} of undo archives"
    if gone.undo_bytes_left:
        of_these = f", {gone.unfinished} of them of jobs that are not through" if gone.unfinished else ""
        told += f"; undo archives that stay take {show_bytes(gone.undo_bytes_left)}{of_these}"
    return told


def clean(
    job: Annotated[str, Parameter(show_default=False)],
    /,
    *,
    offline: Annotated[bool, Parameter(help="Leave the target alone: it cannot be reached.")] = False,
    store: Store = Store(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
) -> int:
    """Remove what a job left: its temporary keys at the target, its files here. It cannot be resumed then.

    Keys that it wrote stay. Refused while it runs. The target's password, if it has one, is taken from
    TRANSFER_TARGET_PASSWORD, or asked for on a terminal.

    Parameters
    ----------
    job
        Its id, or a part of it that only one has: the beginning, or the last four.
    """
    with JobStore.open(store.state) as kept:
        found = kept.get(job)
        refuse_running(found)
        done = clean_here(kept, found, None if offline else _cleaned_target(found))
    out = Out(sys.stdout)
    out.say(simple_result("jobs", msgspec.to_builtins(done)) if talk.json else f"{done.job}  {_told(done)}")
    return 0


def _cleaned_target(job: Job) -> int | None:
    """How many temporary keys were removed; None where the job had nothing to do with a target."""
    from transfer.cli.secrets import with_stored_password
    from transfer.job.claim import restored

    if not job.whole:
        return None
    asked = restored(job.whole)
    target = with_stored_password(asked.target, "target", no_input=False)
    return loop.run(clean_target, job.job, msgspec.structs.replace(asked, target=target))


def _told(done: Cleaned) -> str:
    parts = [] if done.temporaries is None else [f"{some(done.temporaries, 'temporary key')} at the target"]
    parts.append(f"{some(done.files, 'file')} here")
    ending = "; it can no longer be resumed" if done.was_resumable else ""
    return "removed " + " and ".join(parts) + ending

"""`transfer undo JOB`: put back what a job changed."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from transfer.cli.options import Consent, DryRun, Extent, GiveUp, Keep, Names, Store, Talk, Waits
from transfer.model.endpoint import ARCHIVE_SCHEME, Address


def undo(
    job: Annotated[str, Parameter(show_default=False)],
    /,
    *,
    extent: Extent = Extent(),  # noqa: B008 - frozen, as are all below
    dry_run: DryRun = DryRun(),  # noqa: B008
    keep: Keep = Keep(),  # noqa: B008
    store: Store = Store(),  # noqa: B008
    waits: Waits = Waits(),  # noqa: B008
    give_up: GiveUp = GiveUp(),  # noqa: B008
    talk: Talk = Talk(),  # noqa: B008
    consent: Consent = Consent(),  # noqa: B008
    names: Names = Names(),  # noqa: B008
) -> int:
    """Put back what a job changed at its target, where nobody changed it since; the rest is listed (exit 7).

    --allow changed-since writes over later changes, too. An undo keeps what it writes over: it can be undone. The
    target's password, if it has one, is taken from TRANSFER_TARGET_PASSWORD, or asked for on a terminal.

    Parameters
    ----------
    job
        Its id, or a part of it that only one has: the beginning, or the last four.
    """
    from transfer.cli.commands.moving import mover
    from transfer.cli.conduct import conduct
    from transfer.cli.request import act_request
    from transfer.cli.secrets import with_stored_password
    from transfer.job.store import JobStore
    from transfer.job.undo import archive_of, undoable

    with JobStore.open(store.state) as kept:
        found = kept.get(job)
    asked = undoable(found)
    folder = archive_of(found, store.state, keep.undo_dir or asked.undo_dir)
    target = with_stored_password(asked.target, "target", no_input=consent.no_input)
    request = act_request(
        Address(scheme=ARCHIVE_SCHEME, path=str(folder)),
        target,
        undo_dir=asked.undo_dir,
        extent=extent,
        dry_run=dry_run,
        keep=keep,
        store=store,
        waits=waits,
        give_up=give_up,
        consent=consent,
        names=names,
    )
    return conduct(mover(request, "undo"), request, talk, no_input=consent.no_input)

"""`transfer undo JOB`: put back what a job changed."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from transfer.cli.options import Acting
from transfer.cli.options_files import Opening, Sealing
from transfer.model.endpoint import ARCHIVE_SCHEME, Address


def undo(
    job: Annotated[str, Parameter(show_default=False)],
    /,
    *,
    opening: Opening = Opening(),  # noqa: B008 - frozen, as are all below
    sealing: Sealing = Sealing(),  # noqa: B008
    acting: Acting = Acting(),  # noqa: B008
) -> int:
    """Put back what a job changed at its target, where nobody changed it since; the rest is listed (exit 7).

    --allow changed-since writes over later changes, too. An undo keeps what it writes over: it can be undone. The
    target's password, if it has one, is taken from TRANSFER_TARGET_PASSWORD, or asked for on a terminal. An archive
    that was encrypted is opened by --identity; what is kept now is encrypted for the same KEYs, or for --encrypt-to.

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

    with JobStore.open(acting.store.state) as kept:
        found = kept.get(job)
    asked = undoable(found)
    folder = archive_of(found, acting.store.state, acting.keep.undo_dir or asked.undo_dir)
    target = with_stored_password(asked.target, "target", no_input=acting.consent.no_input)
    request = act_request(
        Address(scheme=ARCHIVE_SCHEME, path=str(folder)),
        target,
        acting,
        undo_dir=asked.undo_dir,
        opening=opening,
        sealing=sealing if sealing.encrypt_to else Sealing(asked.encrypt_to),
    )
    return conduct(mover(request, "undo"), request, acting.talk, no_input=acting.consent.no_input)

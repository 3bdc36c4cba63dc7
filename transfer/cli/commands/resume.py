"""`transfer resume [JOB]`, the same as `transfer jobs resume JOB`: go on with an interrupted copy."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter

from transfer.cli.options import Consent, Store, Talk
from transfer.cli.options_files import Opening
from transfer.model.plan import CopyRequest


def resume(
    job: Annotated[str, Parameter(show_default=False)] = "",
    /,
    *,
    opening: Opening = Opening(),  # noqa: B008 - frozen, as are all below
    store: Store = Store(),  # noqa: B008
    talk: Talk = Talk(),  # noqa: B008
    consent: Consent = Consent(),  # noqa: B008
) -> int:
    """Go on with an interrupted copy, as it was asked for; then verify, in full unless --verify none was said.

    Passwords are not kept: those that were in the URLs are taken from TRANSFER_SOURCE_PASSWORD and
    TRANSFER_TARGET_PASSWORD, or asked for on a terminal. Where the undo archive is encrypted, --identity opens it.

    Parameters
    ----------
    job
        Its id, or a part of it that only one has; default: the last one that can be resumed.
    """
    from transfer.cli.commands.moving import mover
    from transfer.cli.conduct import conduct
    from transfer.cli.request import allowed_hazards
    from transfer.cli.request_files import identity_file
    from transfer.job.claim import reopen, restored, resumable
    from transfer.job.store import JobStore

    more = allowed_hazards(consent.allow)
    with JobStore.open(store.state) as kept:
        found = resumable(kept, job)
        asked = _ready(restored(found.whole), store, consent)
        reopen(kept, found.job)
    request = msgspec.structs.replace(
        asked, allow=asked.allow | more, identity=identity_file(opening) or asked.identity
    )

    run = mover(request, found.command, found.job)
    return conduct(run, request, talk, no_input=consent.no_input)


def _ready(request: CopyRequest, store: Store, consent: Consent) -> CopyRequest:
    """The stored request with its passwords, and with a full verify where a part was asked for."""
    from transfer.cli.secrets import with_passwords

    return msgspec.structs.replace(
        with_passwords(request, no_input=consent.no_input),
        state_dir=store.state,
        verify="none" if request.verify == "none" else "full",
        verify_sample=1.0,
    )

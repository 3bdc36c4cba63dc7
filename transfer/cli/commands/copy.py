"""`transfer copy SRC DST`."""

from __future__ import annotations

from typing import Annotated

from transfer.cli.options import (
    PLACE,
    Bounds,
    Change,
    Check,
    Conflict,
    Consent,
    DryRun,
    Extent,
    GiveUp,
    Keep,
    Names,
    Pace,
    Proof,
    Rename,
    Store,
    Talk,
    Waits,
    What,
)
from transfer.cli.request import copy_request


def copy(
    source: Annotated[str, PLACE],
    target: Annotated[str, PLACE],
    /,
    *,
    what: What = What(),  # noqa: B008 - frozen, as are all below
    rename: Rename = Rename(),  # noqa: B008
    change: Change = Change(),  # noqa: B008
    conflict: Conflict = Conflict(),  # noqa: B008
    pace: Pace = Pace(),  # noqa: B008
    extent: Extent = Extent(),  # noqa: B008
    bounds: Bounds = Bounds(),  # noqa: B008
    check: Check = Check(),  # noqa: B008
    proof: Proof = Proof(),  # noqa: B008
    dry_run: DryRun = DryRun(),  # noqa: B008
    keep: Keep = Keep(),  # noqa: B008
    store: Store = Store(),  # noqa: B008
    waits: Waits = Waits(),  # noqa: B008
    give_up: GiveUp = GiveUp(),  # noqa: B008
    talk: Talk = Talk(),  # noqa: B008
    consent: Consent = Consent(),  # noqa: B008
    names: Names = Names(),  # noqa: B008
) -> int:
    """Move every key that passes the filters, with its deadline; then verify.

    A place is a URL: redis://[user[:password]@]host[:6379][/db], rediss:// valkey:// valkeys://, unix:///path?db=0.
    Without /db all logical databases are meant. A file name.rdb is a place, too: on one side, as import and export
    take it.

    Parameters
    ----------
    source
        Where the keys are. Nothing is written there.
    target
        Where they go.
    """
    from transfer.cli.commands.moving import mover
    from transfer.cli.conduct import conduct

    request = copy_request(
        source,
        target,
        what=what,
        rename=rename,
        change=change,
        conflict=conflict,
        pace=pace,
        extent=extent,
        bounds=bounds,
        check=check,
        proof=proof,
        dry_run=dry_run,
        keep=keep,
        store=store,
        waits=waits,
        give_up=give_up,
        consent=consent,
        names=names,
    )
    return conduct(mover(request, "copy"), request, talk, no_input=consent.no_input)

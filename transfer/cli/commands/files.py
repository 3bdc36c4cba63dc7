"""`transfer import FILE DST` and `transfer export SRC FILE`: a copy with a file on one side."""

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


def import_(
    file: Annotated[str, PLACE],
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
    """Bring the keys of a file to a live server, without a stop of it; then verify.

    The file is read to its checksum before anything is written: a damaged one is refused (exit 12).

    Parameters
    ----------
    file
        An RDB file, name.rdb, of Redis or Valkey.
    target
        Where its keys go: the URL of a server.
    """
    from transfer.cli.commands.moving import mover
    from transfer.cli.conduct import conduct

    request = copy_request(
        file,
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
    return conduct(mover(request, "import"), request, talk, no_input=consent.no_input)


def export(
    source: Annotated[str, PLACE],
    file: Annotated[str, PLACE],
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
    """Write the keys of a live server into a file that servers can be started from; then verify.

    The file has a temporary name until it is whole and was read back.

    Parameters
    ----------
    source
        Where the keys are: the URL of a server. Nothing is written there.
    file
        The RDB file, name.rdb, that is made.
    """
    from transfer.cli.commands.moving import mover
    from transfer.cli.conduct import conduct

    request = copy_request(
        source,
        file,
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
    return conduct(mover(request, "export"), request, talk, no_input=consent.no_input)

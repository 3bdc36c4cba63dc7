"""`transfer verify A B`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

from transfer.cli.effect import refuse_all, refuse_idle
from transfer.cli.options import (
    PLACE,
    Allow,
    Extent,
    GiveUp,
    Keep,
    Names,
    Proof,
    Rename,
    Store,
    Talk,
    Unasked,
    Waits,
    What,
)
from transfer.cli.options_files import Deep, Opening
from transfer.cli.request import copy_request, place, spill_folder
from transfer.model.errors import PlaceError, UsageError
from transfer.model.plan import CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import Report


def verify(
    a: Annotated[str, PLACE],
    b: Annotated[str | None, PLACE] = None,
    /,
    *,
    what: What = What(),  # noqa: B008 - frozen, as are all below
    rename: Rename = Rename(),  # noqa: B008
    extent: Extent = Extent(),  # noqa: B008
    proof: Proof = Proof(),  # noqa: B008
    deep: Deep = Deep(),  # noqa: B008
    opening: Opening = Opening(),  # noqa: B008
    keep: Keep = Keep(),  # noqa: B008
    store: Store = Store(),  # noqa: B008
    waits: Waits = Waits(),  # noqa: B008
    give_up: GiveUp = GiveUp(),  # noqa: B008
    talk: Talk = Talk(),  # noqa: B008
    consent: Allow = Allow(),  # noqa: B008
    names: Names = Names(),  # noqa: B008
    unasked: Unasked = Unasked(),  # noqa: B008
) -> int:
    """Do these two places hold the same data? Nothing is written on either side. One file alone: is it whole?

    Every key of A is compared with B (type, value, deadline), and every key of B is accounted for.
    Exit 0: the same. Exit 6: differences, one finding each. Exit 7: only keys that changed meanwhile.
    Exit 12: a file is damaged, or holds a value that is none.

    Parameters
    ----------
    a
        One place, the side that is believed.
    b
        The other place. Without it A is a file: name.rdb, of which structure, checksum and every value are checked, or
        name.xfer, of which every value is only with --deep; `-` is an archive on standard input.
    """
    from transfer.cli.conduct import conduct

    if b is None:
        kept = replace(keep, spill_dir="")
        refuse_all((what, rename, extent, proof, kept, waits, give_up, consent), "one file is looked at, by itself")
        return _alone(a, talk, names, opening, spill_folder(keep.spill_dir), deep=deep.deep)

    if deep.deep:
        raise UsageError(
            "--deep is about one file; two places are compared value by value", hint=f"transfer verify {a}"
        )
    request = copy_request(
        a,
        b,
        what=what,
        rename=rename,
        extent=extent,
        proof=proof,
        keep=keep,
        store=store,
        waits=waits,
        give_up=give_up,
        consent=consent,
        names=names,
        opening=opening,
    )
    refuse_idle("verify", (keep,))
    if not request.source.encrypted and not request.target.encrypted:
        refuse_all((opening,), "neither place is an encrypted archive")
    return conduct(_verify, request, talk, no_input=True)


def _alone(a: str, talk: Talk, names: Names, opening: Opening, spill_dir: str, *, deep: bool) -> int:
    from transfer.cli.commands.inspect_file import run_verify_file, run_verify_stdin
    from transfer.cli.outcome import run_and_tell

    address, hashed = place(a, "source"), names.hash_keys
    if not address.is_file:
        raise PlaceError(
            "verify takes two places, or one file", hint="transfer verify dump.rdb, or transfer verify A B"
        )
    run = partial(run_verify_file, address.path, opening.identity, spill_dir)
    if address.is_stdio:
        run = partial(run_verify_stdin, opening.identity, spill_dir)
    return run_and_tell("verify", talk, lambda: run(deep=deep, hash_keys=hashed))


async def _verify(request: CopyRequest, observer: Observer) -> Report:
    from transfer.job.verify import run_verify
    from transfer.plan.comparison import plan_verify

    return await run_verify(request, observer, plan_verify)

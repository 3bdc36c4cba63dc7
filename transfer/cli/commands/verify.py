"""`transfer verify A [B]`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

import msgspec

from transfer.cli.effect import refuse_all, refuse_idle
from transfer.cli.options import (
    PLACE,
    Allow,
    Extent,
    GiveUp,
    Keep,
    Names,
    Pace,
    Proof,
    Rename,
    Sparing,
    Store,
    Talk,
    Unasked,
    Waits,
    What,
)
from transfer.cli.options_files import Deep, Opening
from transfer.cli.request import copy_request, place, spill_folder
from transfer.model.errors import UsageError
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
    sparing: Sparing = Sparing(),  # noqa: B008
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
    """Do these two places hold the same data? Nothing is written on either side. A alone: is it whole, can it be read?

    Every key of A is compared with B (type, value, deadline), and every key of B is accounted for.
    Exit 0: the same. Exit 6: differences, or keys that cannot be read, one finding each. Exit 7: only keys that changed
    meanwhile. Exit 12: a file is damaged, or holds a value that is none.

    Parameters
    ----------
    a
        One place, the side that is believed.
    b
        The other place. Without it A is a file: name.rdb, of which structure, checksum and every value are checked, or
        name.xfer, of which every value is only with --deep; `-` is an archive on standard input. Or A is a server:
        every key is read, and with --digest canonical decoded, which gives digests to compare with other days'.
    """
    from transfer.cli.conduct import conduct

    if b is None and place(a, "source").is_file:
        kept, proved = replace(keep, spill_dir=""), replace(proof, digest="pair")
        refuse_all(
            (what, rename, extent, sparing, proved, kept, waits, give_up, consent), "one file is looked at, by itself"
        )
        return _file(a, talk, names, opening, spill_folder(keep.spill_dir), deep=deep.deep, digest=proof.digest)

    if deep.deep:
        hint = f"transfer verify {a}" if b else f"transfer verify {a} --digest canonical decodes every value"
        raise UsageError("--deep is about one file", hint=hint)
    if b is None:
        refuse_all((rename, opening, replace(proof, digest="pair")), "one server is read, by itself")
    request = copy_request(
        a,
        a if b is None else b,
        what=what,
        rename=rename,
        extent=extent,
        proof=proof,
        pace=Pace(sparing.pace, sparing.max_source_latency),
        keep=keep,
        store=store,
        waits=waits,
        give_up=give_up,
        consent=consent,
        names=names,
        opening=opening,
    )
    refuse_idle("verify", (keep,))
    if b is None:
        if any(into is not None for _, into in request.dbs):
            raise UsageError("--db N:M has a target, and one place is read", hint="--db N reads database N alone")
        alone = msgspec.structs.replace(request, target=request.source, alone=True)
        return conduct(_survey, alone, talk, no_input=True)
    if not request.source.encrypted and not request.target.encrypted:
        refuse_all((opening,), "neither place is an encrypted archive")
    return conduct(_verify, request, talk, no_input=True)


def _file(a: str, talk: Talk, names: Names, opening: Opening, spill_dir: str, *, deep: bool, digest: str) -> int:
    from transfer.cli.commands.verify_file import run_verify_file, run_verify_stdin
    from transfer.cli.outcome import run_and_tell

    address, canonical = place(a, "source"), digest == "canonical"
    run = partial(run_verify_file, address.path, opening.identity, spill_dir)
    if address.is_stdio:
        run = partial(run_verify_stdin, opening.identity, spill_dir)
    return run_and_tell("verify", talk, lambda: run(deep=deep, canonical=canonical, hash_keys=names.hash_keys))


async def _survey(request: CopyRequest, observer: Observer) -> Report:
    from transfer.job.survey import run_survey
    from transfer.plan.comparison import plan_survey

    return await run_survey(request, observer, plan_survey)


async def _verify(request: CopyRequest, observer: Observer) -> Report:
    from transfer.job.verify import run_verify
    from transfer.plan.comparison import plan_verify

    return await run_verify(request, observer, plan_verify)

"""`transfer clear URL`: delete what matches."""

from __future__ import annotations

from typing import Annotated

import msgspec

from transfer.cli.options import PLACE, Acting, What
from transfer.cli.options_files import Sealing
from transfer.model.errors import PlaceError, UsageError


def clear(
    url: Annotated[str, PLACE],
    /,
    *,
    what: What = What(),  # noqa: B008 - frozen, as are all below
    sealing: Sealing = Sealing(),  # noqa: B008
    acting: Acting = Acting(),  # noqa: B008
) -> int:
    """Delete the keys of a server that pass the filters; without any, all of them.

    They are counted first, and nothing is deleted without --allow clear, or an answer on a terminal. What they held is
    kept: transfer undo JOB puts it back.

    Parameters
    ----------
    url
        The server; without /db all its logical databases are meant.
    """
    from transfer.cli.commands.moving import mover
    from transfer.cli.conduct import conduct
    from transfer.cli.request import act_request, place

    address = place(url, "target")
    if address.is_file:
        raise PlaceError("clear takes a server", hint="transfer clear redis://host:6379/0")
    if any(":" in word for word in what.db):
        raise UsageError("--db: clear moves nothing: N, without :M", hint="--db 0")
    request = act_request(
        msgspec.structs.replace(address, password=None),  # the same place, whose password is asked for once
        address,
        acting,
        what=what,
        sealing=sealing,
    )
    return conduct(mover(request, "clear"), request, acting.talk, no_input=acting.consent.no_input)

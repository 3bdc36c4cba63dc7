"""`transfer copy SRC DST`."""

from __future__ import annotations

from typing import Annotated

from transfer.cli.commands.moving import move
from transfer.cli.options import PLACE, Moving
from transfer.cli.options_files import Sealing


def copy(
    source: Annotated[str, PLACE],
    target: Annotated[str, PLACE],
    /,
    *,
    sealing: Sealing = Sealing(),  # noqa: B008 - frozen, as is the next
    moving: Moving = Moving(),  # noqa: B008
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
    return move(source, target, "copy", moving, sealing=sealing)

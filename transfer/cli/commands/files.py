"""`transfer import FILE DST` and `transfer export SRC FILE`: a copy with a file on one side."""

from __future__ import annotations

from typing import Annotated

from transfer.cli.commands.moving import move
from transfer.cli.options import PLACE, Moving


def import_(
    file: Annotated[str, PLACE],
    target: Annotated[str, PLACE],
    /,
    *,
    moving: Moving = Moving(),  # noqa: B008 - frozen
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
    return move(file, target, "import", moving)


def export(
    source: Annotated[str, PLACE],
    file: Annotated[str, PLACE],
    /,
    *,
    moving: Moving = Moving(),  # noqa: B008 - frozen
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
    return move(source, file, "export", moving)

"""`transfer import FILE DST` and `transfer export SRC FILE`: a copy with a file on one side."""

from __future__ import annotations

from typing import Annotated

from transfer.cli.commands.moving import move
from transfer.cli.options import PLACE, Moving, Packing, Rescue


def import_(
    file: Annotated[str, PLACE],
    target: Annotated[str, PLACE],
    /,
    *,
    rescue: Rescue = Rescue(),  # noqa: B008 - frozen, as is the next
    moving: Moving = Moving(),  # noqa: B008
) -> int:
    """Bring the keys of a file to a live server, without a stop of it; then verify.

    The file is read to its checksum before anything is written: a damaged one is refused (exit 12), or with --salvage
    all of it that is whole is imported.

    Parameters
    ----------
    file
        An archive, name.xfer, or an RDB file, name.rdb, of Redis or Valkey.
    target
        Where its keys go: the URL of a server.
    """
    return move(file, target, "import", moving, rescue=rescue)


def export(
    source: Annotated[str, PLACE],
    file: Annotated[str, PLACE],
    /,
    *,
    packing: Packing = Packing(),  # noqa: B008 - frozen, as is the next
    moving: Moving = Moving(),  # noqa: B008
) -> int:
    """Write the keys of a live server into a file, an archive or an RDB; then verify.

    The file has a temporary name until it is whole and was read back.

    Parameters
    ----------
    source
        Where the keys are: the URL of a server. Nothing is written there.
    file
        What is made: name.xfer, a compressed archive, or name.rdb, from which servers can be started.
    """
    return move(source, file, "export", moving, packing=packing)

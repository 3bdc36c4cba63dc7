"""`transfer import FILE DST` and `transfer export SRC FILE`: a copy with a file on one side."""

from __future__ import annotations

from typing import Annotated

from transfer.cli.commands.moving import move
from transfer.cli.options import PLACE, Moving
from transfer.cli.options_files import Opening, Packing, Rescue, Sealing, Trial


def import_(
    file: Annotated[str, PLACE],
    target: Annotated[str, PLACE],
    /,
    *,
    opening: Opening = Opening(),  # noqa: B008 - frozen, as are all below
    rescue: Rescue = Rescue(),  # noqa: B008
    sealing: Sealing = Sealing(),  # noqa: B008
    moving: Moving = Moving(),  # noqa: B008
) -> int:
    """Bring the keys of a file to a live server, without a stop of it; then verify.

    The file is read to its checksum before anything is written: a damaged one is refused (exit 12), or with --salvage
    all of it that is whole is imported.

    Parameters
    ----------
    file
        An archive, name.xfer or name.xfer.age, `-` for one on standard input, name.rdb, or name.jsonl.
    target
        Where its keys go: the URL of a server.
    """
    return move(file, target, "import", moving, rescue=rescue, opening=opening, sealing=sealing)


def export(
    source: Annotated[str, PLACE],
    file: Annotated[str, PLACE],
    /,
    *,
    packing: Packing = Packing(),  # noqa: B008 - frozen, as are all below
    sealing: Sealing = Sealing(),  # noqa: B008
    trial: Trial = Trial(),  # noqa: B008
    moving: Moving = Moving(),  # noqa: B008
) -> int:
    """Write the keys of a live server into a file: an archive, an RDB, lines of JSON, names; then verify.

    The file has a temporary name until it is whole and was read back.

    Parameters
    ----------
    source
        Where the keys are: the URL of a server. Nothing is written there.
    file
        What is made: name.xfer, an archive, name.xfer.age, an encrypted one, `-`, one on standard output, name.rdb,
        from which servers can be started, name.jsonl, a row a key, or name.txt, names alone, as --keys-from reads them.
    """
    return move(source, file, "export", moving, packing=packing, sealing=sealing, trial=trial)

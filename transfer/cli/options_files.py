"""The flags that are about files, as in `options.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from transfer.cli.options import CONFLICT, PROOF, WHAT, flag


@Parameter(name="*")
@dataclass(frozen=True)
class Packing:
    """How an archive is written."""

    level: Annotated[
        int | None, flag(CONFLICT, "--level", "N", "Of zstd, for an archive: 0 (none) to 19 (default: 3).")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Sealing:
    """For whom an archive is encrypted."""

    encrypt_to: Annotated[
        tuple[str, ...],
        flag(
            CONFLICT,
            "--encrypt-to",
            "KEY",
            "For name.xfer.age and undo archives: age1..., ssh-..., a file of such; again for more.",
        ),
    ] = ()


@Parameter(name="*")
@dataclass(frozen=True)
class Trial:
    """What a backup has to prove."""

    trial_restore: Annotated[
        bool, flag(PROOF, "--trial-restore", "", "Restore the file into a throw-away server, and compare it there.")
    ] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Opening:
    """What opens an encrypted archive."""

    identity: Annotated[
        str, flag(CONFLICT, "--identity", "FILE", "The age or SSH key that opens what --encrypt-to made.")
    ] = ""


@Parameter(name="*")
@dataclass(frozen=True)
class Rescue:
    """What becomes of a damaged file."""

    salvage: Annotated[
        bool,
        flag(CONFLICT, "--salvage", "", "Take what can be had of a damaged file; exit 12 if anything is missing."),
    ] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Deep:
    """How closely a file is looked at."""

    deep: Annotated[
        bool, flag(PROOF, "--deep", "", "Of an archive every record and value, too, not only blocks and manifest.")
    ] = False


@Parameter(name="*")
@dataclass(frozen=True)
class OneKey:
    """One key of an archive."""

    key: Annotated[
        str | None, flag(WHAT, "--key", "NAME", "Of an archive only this key, without reading the rest.")
    ] = None
    key_b64: Annotated[
        str | None,
        flag(WHAT, "--key-b64", "BASE64", "The same for a name of any bytes, written as key_b64 of --json has it."),
    ] = None
    db: Annotated[int | None, flag(WHAT, "--db", "N", "The database of --key (0).")] = None

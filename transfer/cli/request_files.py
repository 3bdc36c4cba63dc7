"""What flags about files say: checked, and in the units of the engine. As `request.py`."""

from __future__ import annotations

from pathlib import Path

from transfer.cli.options_files import Opening, Sealing, Trial
from transfer.model.endpoint import AGE_ENDING, ARCHIVE_SCHEME, NAMES_SCHEME, STDIO
from transfer.model.errors import UsageError
from transfer.model.plan import DEFAULT_LEVEL

_MOST_LEVEL = 19


def zstd_level(level: int | None, target: str) -> int:
    """Of --level, for the place *target*."""
    if level is None:
        return DEFAULT_LEVEL
    if not 0 <= level <= _MOST_LEVEL:
        raise UsageError(f"--level: {level} is none of zstd's", hint=f"0 (none) to {_MOST_LEVEL}; 3 is the default")
    if not target.lower().endswith((f".{ARCHIVE_SCHEME}", AGE_ENDING, STDIO)):
        raise UsageError("--level is for archives", hint="name the file ....xfer")
    return level


def on_trial(trial: Trial, target: str) -> bool:
    """Whether the file that is made at *target* is to be restored for a trial."""
    if trial.trial_restore and target.lower().endswith((AGE_ENDING, STDIO)):
        raise UsageError("--trial-restore needs a file that can be read here", hint="name.xfer, without encryption")
    if trial.trial_restore and target.lower().endswith(f".{NAMES_SCHEME}"):
        raise UsageError("--trial-restore: a list of names holds no values", hint="name.xfer can be restored")
    return trial.trial_restore


def identity_file(opening: Opening) -> str:
    """The file of --identity, wherever the command goes on from; "" for none."""
    return str(Path(opening.identity).absolute()) if opening.identity else ""


def recipients(sealing: Sealing, target: str, *, keeps_undo: bool) -> tuple[str, ...]:
    """For whom what is made at *target*, or kept of it (*keeps_undo*), is encrypted."""
    encrypted = target.lower().endswith(AGE_ENDING)
    if sealing.encrypt_to and not (encrypted or keeps_undo):
        text = "--encrypt-to encrypts archives, and undo archives where keys are written over or deleted"
        raise UsageError(text, hint="name the file ....xfer.age")
    if encrypted and not sealing.encrypt_to:
        raise UsageError("nobody could open this file", hint="--encrypt-to KEY says for whom it is encrypted")
    keys = ("age1", "ssh-")
    return tuple(word if word.startswith(keys) else str(Path(word).absolute()) for word in sealing.encrypt_to)

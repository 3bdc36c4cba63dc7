"""Where undo archives lie, when a job keeps one, and what is kept open of it while the job runs.

state directory/undo/JOB/0001.xfer ...      or --undo-dir DIR: DIR/JOB/0001.xfer ...
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import msgspec

from transfer import __version__
from transfer.codec.archive.items import AsOf, Head
from transfer.endpoint.archive.undo import UndoArchive, entries, files_of, size_of
from transfer.endpoint.file.age import recipients_of
from transfer.endpoint.file.kinds import keys_of
from transfer.endpoint.redis.captures import Captures
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.wholesale import BatchWriter
from transfer.job.claim import restored
from transfer.job.database import state_dir
from transfer.job.rows import Job
from transfer.model.errors import LockedError, UsageError
from transfer.model.plan import NO_UNDO, CopyPlan, CopyRequest, Hazard
from transfer.model.units import show_bytes
from transfer.pipeline.ledger import Ledger

_FOLDER = "undo"


def folder_of(job: str, directory: str, undo_dir: str) -> Path:
    """The folder of *job*'s archive; it need not be there. *directory*: of the state, as it was given."""
    return (Path(undo_dir).expanduser() if undo_dir else state_dir(directory) / _FOLDER) / job


def changes_keys(request: CopyRequest) -> bool:
    """Whether *request* may change or delete keys that are at its target."""
    return request.on_conflict == "replace" or request.delete_extra or request.clears


def keeps_undo(request: CopyRequest) -> bool:
    """Whether what *request* changes at its target is captured first."""
    return changes_keys(request) and NO_UNDO not in request.allow


class Room(msgspec.Struct, frozen=True):
    """What a plan says of the undo archive: the choice, notes with its numbers, warnings, hazards."""

    choice: str
    notes: list[str]
    warnings: list[str]
    hazards: list[Hazard]


def room(request: CopyRequest, most_bytes: int) -> Room:
    """Where the archive will be, how large it may become (*most_bytes* are changed at most), what is free."""
    if not keeps_undo(request):
        text = "nothing is kept of what is written over or deleted: it cannot be undone"
        return Room("none", [], [], [Hazard(NO_UNDO, text)])
    for_whom = len(recipients_of(request.encrypt_to))  # what is wrong with them is told before anything is done
    folder = folder_of("JOB", request.state_dir, request.undo_dir).parent
    there = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), Path("/"))
    disk = os.statvfs(there)
    free = disk.f_bavail * disk.f_frsize
    said = f"the undo archive takes at most about {show_bytes(most_bytes)}; {show_bytes(free)} are free in {folder}"
    warnings = [f"{said}: the run stops before the first change that does not fit"] if free < most_bytes else []
    kept, opened = (f", encrypted by age for {for_whom}", " --identity FILE") if for_whom else ("", "")
    choice = f"kept in {folder}{kept}; transfer undo JOB{opened} puts it back"
    return Room(choice, [] if warnings else [said], warnings, [])


def add_room(plan: CopyPlan, request: CopyRequest, most_bytes: int) -> None:
    """Have *plan* say what becomes of what is changed."""
    found = room(request, most_bytes)
    plan.choices["undo"] = found.choice
    plan.notes += found.notes
    plan.warnings += found.warnings
    plan.hazards += found.hazards


class Keeping:
    """The undo archive of a job at work, and the writer that obeys it."""

    def __init__(
        self, job: str, request: CopyRequest, target: Server, *, limit_bytes: int, exact: bool, why: str
    ) -> None:
        folder = folder_of(job, request.state_dir, request.undo_dir)
        now_ms = target.now_ms()
        head = Head(
            f"transfer {__version__}",
            now_ms,
            target.identity.vendor,
            target.identity.number,
            AsOf("interval", now_ms),
            purpose="undo",
            extra={"job": job, "command": why, "target": target.where, "run_id": target.identity.run_id},
        )
        self._ledger = Ledger(spill_dir=request.spill_dir)
        self.archive = UndoArchive(folder, head, recipients_of(request.encrypt_to))
        captures = Captures(self.archive, self._ledger) if keeps_undo(request) else None
        if captures is not None and files_of(folder):
            self.archive.go_on(captures.recall(entries(folder, keys_of(request.identity))))
        self.keep_library = self.archive.library if captures is not None else None
        self.writer = BatchWriter(target, captures, limit_bytes=limit_bytes, exact=exact)

    def close(self) -> None:
        """Let go of the file."""
        self.archive.close()
        self._ledger.close()


def undoable(job: Job) -> CopyRequest:
    """What *job* was asked for, if it may have changed keys and is over.

    Raises:
        UsageError: it changes no keys.
        LockedError: it runs.
    """
    if job.live:
        away = "" if job.host == socket.gethostname() else f" on {job.host}"
        hint = f"transfer jobs cancel {job.job}, then undo it"
        raise LockedError(f"job {job.job} runs: process {job.pid}{away}", where=f"{job.source} {job.target}", hint=hint)
    if not job.whole:
        raise UsageError(f"job {job.job} is a {job.command}: it changed no keys", hint="transfer jobs list")
    return restored(job.whole)


def archive_of(job: Job, directory: str, undo_dir: str) -> Path:
    """The folder of an archive that is there. Raises UsageError: the job has none."""
    folder = folder_of(job.job, directory, undo_dir)
    if not files_of(folder):
        text = f"job {job.job} has no undo archive: it changed no key that was there, or was told --allow no-undo"
        raise UsageError(text, where=str(folder), hint=f"transfer jobs show {job.job}")
    return folder


def archive_folder(job: Job, state: Path) -> Path:
    """Where the archive of *job*, of the store in *state*, is if it has one."""
    try:
        undo_dir = restored(job.whole).undo_dir if job.whole else ""
    except UsageError:  # of another version
        undo_dir = ""
    return folder_of(job.job, str(state), undo_dir)


def remove_archive(folder: Path) -> int:
    """Take an archive away; how many bytes it took."""
    size_bytes = size_of(folder)
    if files_of(folder):
        shutil.rmtree(folder)
    return size_bytes

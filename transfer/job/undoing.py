"""Carry out an undo: what a job changed is put back, where nobody changed it since.

    archive, read to its end -> plan -> consent -> [ pre-image, what the job left ] -> Changing -> looked at again

Rule 1: a name is written only where it holds what the job left there; what holds its pre-image is done already.
Rule 2: an undo is a job: it keeps what it writes over, in an archive of its own, and can be resumed, and undone.
Rule 3: the job that is undone is never resumed: what it knows of the target is over.
Rule 4: bodies are never held for longer than their group. Of names that stand in the archive more than once, the
        places are, about 300 bytes each.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec

from transfer.codec import resp
from transfer.codec.archive.undo import AgainNote, LibraryNote, TookNote
from transfer.codec.dump import stamp
from transfer.codec.fingerprint import NOTHING, Intended, fingerprint
from transfer.endpoint.archive.undo import Captured, Entry, entries, libraries, size_of
from transfer.endpoint.file.age import Identities
from transfer.endpoint.file.kinds import keys_of
from transfer.endpoint.redis.changing import AsyncGroups, Group
from transfer.endpoint.redis.leftovers import remove_temporaries
from transfer.endpoint.redis.looking import ALREADY, OTHERS, Change
from transfer.endpoint.redis.server import Server
from transfer.job.acting import Act, run_act
from transfer.job.store import JobStore
from transfer.job.undoing_libraries import undo_libraries
from transfer.model.plan import CHANGED_SINCE, CopyPlan, CopyRequest
from transfer.model.ports import Observer
from transfer.model.record import NO_DEADLINE, hash_of_name, hashes_of_names
from transfer.model.report import Report, VerifyResult
from transfer.model.units import some
from transfer.pipeline.buckets import BucketStore
from transfer.wire.link import ErrorReply, Reply

_GROUP_KEYS = 500


class Contents(msgspec.Struct):
    """What an archive holds: the size of its files, names by database, those of them that held nothing before."""

    folder: Path
    size_bytes: int = 0
    names: dict[int, int] = msgspec.field(default_factory=dict)
    absent: int = 0


class Undone(msgspec.Struct, frozen=True):
    """What an undo says of itself in the result: whose changes; how many names others changed since."""

    undone: str
    changed_since: int


UndoPlanner = Callable[[CopyRequest, Contents, Server], Awaitable[CopyPlan]]


class _History(msgspec.Struct):
    """A name that stands in an archive more than once: the group its pre-image is in, what was to be there since."""

    captured: int = 0
    intended: list[tuple[int, int, Intended]] = msgspec.field(default_factory=list)
    first: int = 0

    def took(self, number: int, place: int) -> None:
        at = [index for index, one in enumerate(self.intended) if one[:2] == (number, place)]
        self.first = max(self.first, *at) if at else self.first

    def expected(self) -> list[Intended]:
        return [one for _, _, one in self.intended[self.first :]]


class UndoArchiveReader:
    """The archive of one job, to be read as often as it is needed.

    Raises, everywhere: FormatError: it is damaged.
    """

    def __init__(self, folder: Path, spill_dir: str = "", identities: Identities = ()) -> None:
        self.folder, self._spill_dir, self._identities = folder, spill_dir, identities
        self._histories: dict[bytes, _History] = {}

    def _entries(self) -> Iterator[Entry]:
        return entries(self.folder, self._identities)

    def libraries(self) -> dict[bytes, LibraryNote]:
        """What the job did to function libraries."""
        return libraries(self.folder, self._identities)

    def look_through(self) -> Contents:
        """Read all of it once: what it holds."""
        found, seen = Contents(self.folder, size_of(self.folder)), BucketStore(0, spill_dir=self._spill_dir)
        try:
            for entry in self._entries():
                if isinstance(entry, (Captured, AgainNote)):
                    seen.add_joined(b"".join(hashes_of_names(entry.db, entry.names)), b"")
                if isinstance(entry, Captured):
                    found.names[entry.db] = found.names.get(entry.db, 0) + len(entry.names)
                    found.absent += entry.bodies.count(None)
            repeated = seen.repeated()
        finally:
            seen.close()
        self._histories = {mark: _History() for mark in repeated}
        if repeated:
            self._fill_histories()
        return found

    def _fill_histories(self) -> None:
        places: dict[int, list[tuple[int, _History]]] = {}
        for entry in self._entries():
            if isinstance(entry, TookNote):
                for place, history in places.pop(entry.number, ()):
                    if entry.places is None or place in entry.places:
                        history.took(entry.number, place)
                continue
            for place, (name, intended) in enumerate(zip(entry.names, entry.intended, strict=True)):
                if (known := self._histories.get(hash_of_name(entry.db, name))) is not None:
                    known.intended.append((entry.number, place, intended))
                    known.captured = entry.number if isinstance(entry, Captured) else known.captured
                    places.setdefault(entry.number, []).append((place, known))

    def groups(self, target: Server, *, always: bool) -> Iterator[Group]:
        """What is to be put back, each name once. *always*: whatever it holds now."""
        for entry in self._entries():
            if not isinstance(entry, Captured):
                continue
            changes = []
            rows = zip(entry.names, entry.bodies, entry.deadlines, entry.intended, strict=True)
            for name, body, deadline, intended in rows:
                known = self._histories.get(hash_of_name(entry.db, name)) if self._histories else None
                if known is None or known.captured == entry.number:
                    expected = [intended] if known is None else known.expected()
                    dump = None if body is None else stamp(body, entry.version)
                    exact = entry.version == target.features.dump_version
                    changes.append(_change(name, dump, deadline, None if always else expected, target, exact))
            for at in range(0, len(changes), _GROUP_KEYS):
                yield entry.db, changes[at : at + _GROUP_KEYS]


def _change(
    name: bytes, dump: bytes | None, deadline: int, expected: list[Intended] | None, target: Server, exact: bool
) -> Change:
    """What puts *name* back; a deadline that has passed by now would have taken it away."""
    if dump is None or NO_DEADLINE < deadline <= target.now_ms():
        return Change(name, (resp.command(b"UNLINK", name),), NOTHING, None, expected)
    intended = Intended(fingerprint(dump, exact=exact), deadline)
    return Change(name, resp.restore_parts(name, dump, deadline, replace=True), intended, dump, expected)


class UndoRun(Act):
    """One undo."""

    command = "undo"

    def __init__(
        self, request: CopyRequest, observer: Observer, store: JobStore, report: Report, planner: UndoPlanner
    ) -> None:
        super().__init__(request, observer, store, report)
        folder = Path(request.source.path)
        self._undone, self._planner = folder.name, planner
        self._archive = UndoArchiveReader(folder, request.spill_dir, keys_of(request.identity))
        self._others: set[bytes] = set()

    async def planned(self) -> CopyPlan:
        return await self._planner(self.request, self._archive.look_through(), self.target)

    async def begun(self) -> None:
        self.store.let_go(self._undone)
        await remove_temporaries(self.target, self._undone)
        await self._put_back_libraries()

    async def _put_back_libraries(self) -> None:
        always = CHANGED_SINCE in self.request.allow
        done = await undo_libraries(self._archive.libraries(), self.target, self.keep_library, always=always)
        if done.restored:
            self.report.notes.append(f"function libraries put back: {done.restored:,}")
        self.left_as_found(done.left)

    def groups(self) -> AsyncGroups:
        always = CHANGED_SINCE in self.request.allow
        return _each(self._archive.groups(self.target, always=always))

    def settle(self, db: int, change: Change, answer: Reply) -> None:
        if answer is ALREADY:
            self.tally.settle("already")
        elif answer is OTHERS:
            self._others.add(hash_of_name(db, change.name))
            self.tally.settle("conflicts")
            self.changed_by_others(db, change.name, "it does not hold what the job left there: it stays as it is")
        elif isinstance(answer, ErrorReply):
            self.refuse(db, change.name, str(answer))
        else:
            self.tally.settle("written")
            self.tally.bytes_written += len(change.dump or b"")

    async def check(self) -> None:
        started, result = time.monotonic(), VerifyResult(changes_known_by="hashes")
        differing: list[tuple[int, bytes]] = []

        def look(db: int, change: Change, answer: Reply) -> None:
            result.checked += 1
            if answer is ALREADY:
                result.match += 1
            elif isinstance(answer, ErrorReply):
                result.rejected += 1
            elif hash_of_name(db, change.name) not in self._others:
                differing.append((db, change.name))

        await self.changing(self.looker(), look).run(_each(self._archive.groups(self.target, always=True)))
        for db, name in differing:
            self.changed_by_others(db, name, "it was changed since it was put back")
        result.changed, result.seconds = len(self._others) + len(differing), time.monotonic() - started
        self.report.verify = result
        self.report.verified = not (result.changed or result.rejected or self.report.not_copied)
        self.report.data = Undone(self._undone, result.changed)
        if self._others:
            self.report.notes.append(
                f"{some(len(self._others), 'key')} changed by others since, left as found (--allow changed-since)"
            )


async def _each(groups: Iterator[Group]) -> AsyncGroups:
    for group in groups:
        yield group


async def run_undo(request: CopyRequest, observer: Observer, planner: UndoPlanner, job: str = "") -> Report:
    """Put back what the job of the archive `request.source` changed at `request.target`.

    Raises:
        FormatError: the archive is damaged; nothing was changed.
        TransferError: what stopped the undo before its end; it can be resumed.
    """

    def make(store: JobStore, report: Report) -> UndoRun:
        return UndoRun(request, observer, store, report, planner)

    return await run_act("undo", make, request, observer, job)

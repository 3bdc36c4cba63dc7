"""What a job knows of the names it changed: which are captured for good, which it cannot be sure of yet.

    captured -> sent -> answered: taken (its pre-image stays for ever) | nothing was changed: captured again next time
                 `----> no answer, or the process died: open, until what stands there tells

Rule 1: a name is taken once a write of this job to it took. From then on only what it is to hold is noted.
Rule 2: an open name that holds what was intended is taken; else somebody wrote, or nobody: it is captured again.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import unpack

import xxhash

from transfer.codec.archive.undo import AgainNote, TookNote
from transfer.codec.fingerprint import Intended
from transfer.endpoint.archive.undo import Captured, Entry, UndoArchive
from transfer.model.ports import HashLedger
from transfer.model.record import hashes_of_names, seed

_BITS = 26
_PLACES, _SHIFT = (1 << _BITS) - 1, 32
Name = tuple[int, bytes]
Attempt = tuple[int, int, Intended]
"""Number of the group, place in it, what was intended."""


class Captures:
    """The names of one job; *ledger* remembers those that are taken, *archive* what they held.

    A map of bits answers for most names that were never taken, the ledger for the others. *open* names are few: those
    of which no answer came.
    """

    def __init__(self, archive: UndoArchive, ledger: HashLedger) -> None:
        self.archive, self._ledger = archive, ledger
        self._bits = bytearray(1 << (_BITS - 3))
        self.open: dict[Name, list[Attempt]] = {}

    def taken(self, db: int, name: bytes) -> bool:
        """Whether a write of this job to *name* took."""
        return self.which_taken(db, [name]) == {name}

    def which_taken(self, db: int, names: list[bytes]) -> set[bytes]:
        """Those of *names* to which a write of this job took."""
        bits, start = self._bits, seed(db)
        marks = [xxhash.xxh3_64_intdigest(name, start) for name in names]
        maybe = [
            name
            for name, mark in zip(names, marks, strict=True)
            if bits[(mark & _PLACES) >> 3] >> (mark & 7) & 1
            and bits[(mark >> _SHIFT & _PLACES) >> 3] >> (mark >> _SHIFT & 7) & 1
        ]
        return {name for name in maybe if self._ledger.value_hash(db, name) is not None}

    def take(self, db: int, names: list[bytes]) -> None:
        """Writes of this job to *names* took."""
        bits, joined = self._bits, b"".join(hashes_of_names(db, names))
        for mark in unpack(f">{len(names)}Q", joined):
            bits[(mark & _PLACES) >> 3] |= 1 << (mark & 7)
            bits[(mark >> _SHIFT & _PLACES) >> 3] |= 1 << (mark >> _SHIFT & 7)
        if self.open:
            for name in names:
                self.open.pop((db, name), None)
        self._ledger.add(joined, joined)

    def doubt(self, db: int, number: int, names: list[bytes], intended: list[Intended]) -> None:
        """These were sent, and nobody knows what became of it."""
        for place, (name, one) in enumerate(zip(names, intended, strict=True)):
            self.open.setdefault((db, name), []).append((number, place, one))

    def recall(self, entries: Iterable[Entry]) -> int:
        """Take up what earlier processes of the job noted; returns the number that comes next."""
        groups: dict[int, tuple[int, list[bytes]]] = {}
        last = 0
        for entry in entries:
            last = max(last, entry.number)
            match entry:
                case TookNote(number=number, places=places) if number in groups:
                    db, names = groups.pop(number)
                    some = names if places is None else [names[place] for place in places]
                    self.take(db, some)
                case Captured() | AgainNote():
                    groups[entry.number] = (entry.db, entry.names)
                    self.doubt(entry.db, entry.number, entry.names, entry.intended)
        return last + 1

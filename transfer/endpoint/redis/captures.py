"""What a job knows of the names it changed: which are captured for good, which it cannot be sure of yet.

    captured -> sent -> answered: taken (its pre-image stays for ever) | nothing was changed: captured again next time
                 `----> no answer, or the process died: open, until what stands there tells

Rule 1: a name is taken once a write of this job to it took. From then on only what it is to hold is noted.
Rule 2: an open name that holds what was intended is taken; else somebody wrote, or nobody: it is captured again.
"""

from __future__ import annotations

from collections.abc import Iterable

import xxhash

from transfer.codec.archive.undo import AgainNote, TookNote
from transfer.codec.fingerprint import Intended
from transfer.endpoint.archive.undo import Captured, Entry, UndoArchive
from transfer.model.ports import HashLedger
from transfer.model.record import seed

_BITS = 26
_PLACES, _SHIFT = (1 << _BITS) - 1, 32
Name = tuple[int, bytes]
Attempt = tuple[int, int, Intended]
"""Number of the group, place in it, what was intended."""


class Captures:
    """The names of one job; *ledger* remembers those that are taken, *archive* what they held.

    A map of bits answers for most names that were never taken, the ledger for the others. *open* names are few: those
    on their way.
    """

    def __init__(self, archive: UndoArchive, ledger: HashLedger) -> None:
        self.archive, self._ledger = archive, ledger
        self._bits = bytearray(1 << (_BITS - 3))
        self.open: dict[Name, list[Attempt]] = {}

    def taken(self, db: int, name: bytes) -> bool:
        """Whether a write of this job to *name* took."""
        first, second = _places(db, name)
        bits = self._bits
        if not (bits[first >> 3] >> (first & 7) & 1 and bits[second >> 3] >> (second & 7) & 1):
            return False
        return self._ledger.value_hash(db, name) is not None

    def take(self, db: int, names: list[bytes]) -> None:
        """Writes of this job to *names* took."""
        bits = self._bits
        for name in names:
            for place in _places(db, name):
                bits[place >> 3] |= 1 << (place & 7)
            if self.open:
                self.open.pop((db, name), None)
        hashes, values = self._ledger.hashed(db, names, names)
        self._ledger.add(hashes, values)

    def begin(self, db: int, number: int, names: list[bytes], intended: list[Intended]) -> None:
        """These are about to be sent."""
        for place, (name, one) in enumerate(zip(names, intended, strict=True)):
            self.open.setdefault((db, name), []).append((number, place, one))

    def undone(self, db: int, number: int, names: Iterable[bytes]) -> None:
        """The server said that of group *number* it changed nothing under *names*."""
        for name in names:
            left = [one for one in self.open.pop((db, name), []) if one[0] != number]
            if left:
                self.open[db, name] = left

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
                    self.begin(entry.db, entry.number, entry.names, entry.intended)
        return last + 1


def _places(db: int, name: bytes) -> tuple[int, int]:
    number = xxhash.xxh3_64_intdigest(name, seed(db))
    return number & _PLACES, number >> _SHIFT & _PLACES

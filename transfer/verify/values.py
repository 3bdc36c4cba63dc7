"""Canonical digests of values that somebody else reads and decodes, per database.

(db, names, bodies, values, deadlines) -> DbTally of each db -> tables
"""

from __future__ import annotations

from collections.abc import Iterable

from transfer.codec.canonical import digest
from transfer.model.report import DbTable
from transfer.model.value import Value
from transfer.verify.digest import DbTally
from transfer.verify.hashes import body_hash
from transfer.verify.sides import NewRecords


class ValueDigests:
    """Digests as `CanonicalHashes` makes them; of a name that comes again the last holds. `close` it."""

    def __init__(self, new_records: NewRecords) -> None:
        self._new_records = new_records
        self._tallies: dict[int, DbTally] = {}

    def add(
        self, db: int, names: list[bytes], bodies: list[bytes], values: Iterable[Value | None], deadlines: list[int]
    ) -> None:
        """Count in these keys; where there is no value, its body stands for it."""
        if not names:
            return
        tally = self._tallies.get(db)
        if tally is None:
            tally = self._tallies[db] = DbTally(db, self._new_records)
        pairs = zip(bodies, values, strict=True)
        hashes = [body_hash(body) if value is None else digest(value) for body, value in pairs]
        tally.left(names, hashes, deadlines, deadlines)

    def tables(self) -> list[DbTable]:
        """A row for each database."""
        return [tally.alone() for _, tally in sorted(self._tallies.items())]

    def close(self) -> None:
        """Let go of memory and disk."""
        for tally in self._tallies.values():
            tally.close()

"""One place read through: can every key be had, how many are there, and what do they add up to?

    pages -> names selected -> reader x N -> portions -> payloads -> hash -> DbTally
                                                      `-> refused, undecodable -> Finding
                                                      `-> too large -> read in pieces -> hash | Finding

Rule 1: digests are made as `march.py` makes them, so that those of one place are the same alone and in a comparison.
Rule 2: a key is told once, however often SCAN names it; one that is gone when it is read is not missed.
Rule 3: a database of which a value could not be read has no digest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from transfer.codec.dump import type_name
from transfer.model.ports import FindingListener
from transfer.model.report import DbTable, Finding, Verdict, VerifyResult
from transfer.model.selection import Selection
from transfer.verify.digest import DbTally, name_hash
from transfer.verify.hashes import HASHES
from transfer.verify.pages import each_page, telling
from transfer.verify.sides import Keyspace, MarchOptions, NewRecords, Reading, Records

_UNREAD = bytes(16)
"""Stands for a value that could not be read."""


class Survey:
    """One reading of a place; `run` it once. Arguments as those of `March`.

    Attributes:
        tables: a row for each database, once it ran.
    """

    def __init__(
        self,
        place: Keyspace,
        dbs: list[int],
        *,
        selection: Selection,
        new_records: NewRecords,
        options: MarchOptions = MarchOptions(),  # noqa: B008 - frozen
        on_finding: FindingListener = lambda finding: None,
        on_progress: Callable[[int], None] = lambda keys: None,
    ) -> None:
        self._place, self._dbs, self._selection = place, dbs, selection
        self._new_records, self._options = new_records, options
        self._hashes = HASHES[options.digest]
        self._on_finding, self._on_progress = on_finding, on_progress
        self.result = VerifyResult(mode=options.mode, places=1, changes_known_by="nothing")
        self.tables: list[DbTable] = []

    async def run(self) -> VerifyResult:
        """Read everything selected.

        Raises:
            ReplacedError, GaveUpError: the place was lost.
            LimitError: neither memory nor disk has room for what must be remembered.
        """
        began = time.monotonic()
        try:
            for db in self._dbs:
                await self._survey_db(db)
        except BaseExceptionGroup as group:
            raise telling(group) from None
        self.result.seconds = time.monotonic() - began
        return self.result

    async def _survey_db(self, db: int) -> None:
        tally, told = DbTally(db, self._new_records), self._new_records(0)
        before = self.result.value
        try:
            read = partial(self._read_page, tally, told)
            await each_page(self._place, db, self._selection, self._options.comparers, read)
            row, unread = tally.alone(), self.result.value - before
            if unread:
                row.digest = ("",)
            self.tables.append(row)
            self.result.checked += row.keys[0]
            self.result.match += row.keys[0] - unread
        finally:
            tally.close()
            told.close()

    async def _read_page(self, tally: DbTally, told: Records, keys: list[bytes]) -> None:
        for portion in await self._place.portions(tally.db, keys):
            await self._read(tally, told, portion)
        self._on_progress(len(keys))

    async def _read(self, tally: DbTally, told: Records, keys: list[bytes]) -> None:
        found = await self._place.dumps(tally.db, keys)
        names, hashes, deadlines = list[bytes](), list[bytes](), list[int]()
        for key, payload, deadline in zip(keys, found.payloads, found.deadlines, strict=True):
            if payload is not None and self._wanted(type_name(payload, self._place.vendor)):
                value_hash, problem = self._hashes.of_checked(payload)
            elif payload is None and key in found.refused:
                value_hash, problem = _UNREAD, f"the server refused to give it: {found.refused[key]}"
            else:
                continue
            self._tell(told, tally.db, key, problem)
            names.append(key)
            hashes.append(value_hash)
            deadlines.append(deadline)
        if names:
            tally.left(names, hashes, deadlines, deadlines)
        await self._read_large(tally, told, found)

    async def _read_large(self, tally: DbTally, told: Records, found: Reading) -> None:
        for key in found.too_large:
            value = await self._place.large(tally.db, key)
            if value.kind == "none" or not (value.problem or self._wanted(value.kind)):
                continue
            self._tell(told, tally.db, key, value.problem)
            self.result.in_pieces += 1
            until = [value.expire_at_ms]
            tally.left([key], [value.digest or _UNREAD], until, until)

    def _wanted(self, kind: str) -> bool:
        return not self._selection.types or kind in self._selection.types

    def _tell(self, told: Records, db: int, key: bytes, problem: str) -> None:
        """Tell a key that cannot be read, once."""
        mark = name_hash(key)
        if not problem or told.find(mark) is not None:
            return
        told.add_records([mark])
        self.result.count(Verdict.VALUE)
        self._on_finding(Finding(Verdict.VALUE, db, key, f"cannot be read: {problem}"))

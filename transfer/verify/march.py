"""The comparison of two live places: every key of the left against the right, every key of the right accounted for.

    left.pages -> names selected -> comparer x N -> Looker -> equal -----------------------> DbTally (both)
                                                          `-> apart -> Rounds: read again -> DbTally, Finding
    right.pages -> hashes of names -> DbTally.unmet -> right.pages again -> Looker -> ... the same

Rule 1: a difference is told once, after it was there in every round.
Rule 2: what no key of the left leads to is looked up at the left before it is called EXTRA.
Rule 3: memory is bounded: names in flight, one batch of suspects, and Records that spill.
Rule 4: where neither side wrote anything meanwhile, and as many keys were found equal as either side has, there is no
        other key at the right: nothing is left to be accounted for.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from itertools import islice

from transfer.model.endpoint import Population
from transfer.model.ports import FindingListener
from transfer.model.report import DbTable, VerifyResult
from transfer.model.selection import Mapping, Selection, is_temporary
from transfer.verify.deadlines import Deadlines
from transfer.verify.digest import DbTally, name_hash
from transfer.verify.hashes import HASHES
from transfer.verify.look import Looker
from transfer.verify.pages import each_page, telling
from transfer.verify.rounds import Rounds
from transfer.verify.sides import Changes, Keyspace, MarchOptions, NewRecords, Promise

_UNMET_AT_ONCE = 500_000
"""Hashes held while the right is scanned again for their names, about 50 MB."""
_Candidates = list[tuple[int, bytes]]


class March:
    """One comparison; `run` it once.

    Args:
        promise: what a copy that went before promised; None compares two places as they are.
        new_records: makes the stores for what is remembered of each key.
        on_finding: told each difference that stands, and each change, once.
        on_progress: told how many keys of the left were looked at since the last call.
    """

    def __init__(
        self,
        left: Keyspace,
        right: Keyspace,
        *,
        selection: Selection,
        mapping: Mapping,
        changes: Changes,
        new_records: NewRecords,
        promise: Promise | None = None,
        options: MarchOptions = MarchOptions(),  # noqa: B008 - frozen
        on_finding: FindingListener = lambda finding: None,
        on_progress: Callable[[int], None] = lambda keys: None,
    ) -> None:
        self._left, self._right = left, right
        self._selection, self._mapping = selection, mapping
        self._changes, self._promise = changes, promise
        self._new_records = new_records
        self._options = options
        self._on_finding, self._on_progress = on_finding, on_progress
        deadlines = Deadlines(mapping.ttl, options.ttl_tolerance_ms, left, right, began_ms=options.began_ms)
        self._deadlines = deadlines
        self._looker = Looker(left, right, selection, mapping, deadlines, HASHES[options.digest], lossy=options.lossy)
        self.result = VerifyResult(mode=options.mode)
        self.tables: list[DbTable] = []
        self.leftovers = 0

    async def run(self) -> VerifyResult:
        """Compare everything selected; `tables` holds a row per database of the right afterwards.

        `leftovers` counts names at the right under which copies build large values: no data, and no finding.

        Raises:
            ReplacedError, GaveUpError: a side was lost.
            LimitError: neither memory nor disk has room for what must be remembered.
        """
        began = time.monotonic()
        origins: dict[int, list[int]] = defaultdict(list)
        for left_db, right_db in self._mapping.dbs.items():
            origins[right_db].append(left_db)
        try:
            for right_db, left_dbs in sorted(origins.items()):
                await self._compare_db(left_dbs, right_db)
        except BaseExceptionGroup as group:
            raise telling(group) from None
        self.result.seconds = time.monotonic() - began
        self.result.changes_known_by = self._changes.known_by
        return self.result

    async def _compare_db(self, left_dbs: list[int], right_db: int) -> None:
        tally = DbTally(right_db, self._new_records)
        rounds = Rounds(
            self._looker,
            tally,
            self._deadlines,
            self.result,
            changes=self._changes,
            promise=self._promise,
            pauses_s=self._options.pauses_s,
            new_records=self._new_records,
            on_finding=self._on_finding,
            clocks=(self._left.look_at_clock, self._right.look_at_clock),
        )
        try:
            before = await self._populations(left_dbs, right_db)
            for left_db in left_dbs:
                await self._forward(rounds, left_db)
            if before and tally.equals(before[0].keys) and before == await self._populations(left_dbs, right_db):
                tally.no_name_twice()
            elif self._options.both_ways:
                await self._name_right(tally, right_db)
                await self._backward(rounds, tally, left_dbs, right_db)
            await rounds.finish()
            row = tally.row()
            self.tables.append(row)
            self.result.checked += row.keys[0]
            self.result.match += row.keys[0] - rounds.left_apart
        finally:
            tally.close()
            rounds.close()

    async def _populations(self, left_dbs: list[int], right_db: int) -> list[Population]:
        """Of both sides, where both tell and have the same number of keys, all of them to be compared; else none."""
        if len(left_dbs) > 1 or not self._options.both_ways or not self._selection.all_names:
            return []
        left, right = await self._left.population(left_dbs[0]), await self._right.population(right_db)
        return [left, right] if left is not None and right is not None and left.keys == right.keys else []

    async def _forward(self, rounds: Rounds, left_db: int) -> None:
        """Every selected key of *left_db* against the right."""

        async def compare(keys: list[bytes]) -> None:
            await rounds.compare(left_db, keys)
            self._on_progress(len(keys))

        await each_page(self._left, left_db, self._selection, self._options.comparers, compare)

    async def _name_right(self, tally: DbTally, right_db: int) -> None:
        async for page in self._right_pages(right_db):
            self.leftovers += sum(map(is_temporary, page))
            tally.named_at_right(self._selected_names(page))

    def _right_pages(self, right_db: int) -> AsyncIterator[list[bytes]]:
        match = self._selection.pushed_match() if self._mapping.keeps_names else None
        return self._right.pages(right_db, match)

    def _selected_names(self, names: list[bytes]) -> list[bytes]:
        """Names of the right that a selected key of the left could have come to."""
        if self._mapping.keeps_names:
            return self._selection.names(names)
        passes, origins = self._selection.passes, self._mapping.origins
        return [name for name in names if any(map(passes, origins(name)))]

    async def _backward(self, rounds: Rounds, tally: DbTally, left_dbs: list[int], right_db: int) -> None:
        """Account for the names at the right that no key of the left led to."""
        unmet = tally.unmet()
        while wanted := set(islice(unmet, _UNMET_AT_ONCE)):
            async for page in self._right_pages(right_db):
                names = [name for name in page if name_hash(name) in wanted]
                await self._look_up(rounds, left_dbs, self._selected_names(names))

    async def _look_up(self, rounds: Rounds, left_dbs: list[int], names: list[bytes]) -> None:
        """Compare *names* of the right with whichever of their possible origins there is."""
        origins = self._mapping.origins
        waiting: list[_Candidates] = [
            [(db, key) for db in left_dbs for key in origins(name) if self._selection.passes(key)] for name in names
        ]
        while waiting:
            by_db: dict[int, dict[bytes, _Candidates]] = defaultdict(dict)
            for candidates in waiting:
                db, key = candidates.pop(0)
                by_db[db][key] = candidates
            waiting = []
            for db, keys in by_db.items():
                absent = await rounds.compare(db, list(keys), defer=[key for key, others in keys.items() if others])
                waiting += [keys[key] for key in absent]

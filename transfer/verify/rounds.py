"""Differing keys are read again, in rounds, before they are called findings: what was in flight is excused.

    compare -> equal -> DbTally
          `-> apart -> suspects (names only) -> pause, look again, up to 3 rounds -> conclude -> Finding | nothing

Rule 1: a key is told once, however often SCAN names it.
Rule 2: who knows of changes is asked last, after everything read before is known to them. The clocks are looked at
        before each round.
Rule 3: when thousands of keys differ, nothing is in flight any more: one round is enough then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable

import anyio

from transfer.model.ports import FindingListener
from transfer.model.record import NO_DEADLINE
from transfer.model.report import Finding, Verdict, VerifyResult
from transfer.verify.deadlines import Deadlines
from transfer.verify.digest import DbTally, name_hash
from transfer.verify.look import Equal, Look, Looker, Sight
from transfer.verify.sides import Changes, NewRecords, Promise

_SUSPECT_KEYS = 20_000
_SUSPECT_BYTES = 16 << 20
_MANY = 10_000
"""Differences after which later ones get one round."""


class Rounds:
    """Compares keys of one database of the right with those of the left that lead there.

    Attributes:
        left_apart: keys of the left that differ, or whose counterpart is not theirs.
    """

    def __init__(
        self,
        looker: Looker,
        tally: DbTally,
        deadlines: Deadlines,
        result: VerifyResult,
        *,
        changes: Changes,
        promise: Promise | None,
        pauses_s: tuple[float, ...],
        new_records: NewRecords,
        on_finding: FindingListener,
        clocks: tuple[Callable[[], Awaitable[None]], ...] = (),
    ) -> None:
        self._looker, self._tally, self._deadlines, self._result = looker, tally, deadlines, result
        self._changes, self._promise = changes, promise
        self._pauses_s = pauses_s
        self._on_finding = on_finding
        self._clocks = clocks
        self._told = new_records(0)
        self._told_count = 0
        self._suspects: defaultdict[int, list[bytes]] = defaultdict(list)
        self._held_keys = self._held_bytes = 0
        self.left_apart = 0

    async def compare(self, left_db: int, keys: list[bytes], defer: list[bytes] | None = None) -> list[bytes]:
        """Compare *keys* of *left_db* with their counterparts.

        Returns those of *defer* that the left does not have and the right has: they are not suspected yet.
        """
        if self._promise is not None:
            keys = self._promise.carried(left_db, keys)
        deferred = set(defer or ())
        absent: list[bytes] = []
        async for look in self._looker.look(left_db, self._tally.db, keys):
            self._note_equal(look.equal)
            for sight in self._apart(look):
                if sight.verdict is Verdict.EXTRA and sight.key in deferred:
                    absent.append(sight.key)
                else:
                    self._suspect(left_db, sight.key)
        if self._held_keys >= _SUSPECT_KEYS or self._held_bytes >= _SUSPECT_BYTES:
            await self._settle()
        return absent

    async def finish(self) -> None:
        """Settle what is left."""
        await self._settle()

    def close(self) -> None:
        self._told.close()

    def _suspect(self, left_db: int, key: bytes) -> None:
        self._suspects[left_db].append(key)
        self._held_keys += 1
        self._held_bytes += len(key)

    async def _settle(self) -> None:
        suspects, self._suspects = self._suspects, defaultdict(list)
        self._held_keys = self._held_bytes = 0
        pauses = self._pauses_s if self._told_count < _MANY else self._pauses_s[:1]
        for number, pause in enumerate(pauses, start=1):
            if suspects:
                await anyio.sleep(pause)
                await self._look_at_clocks()
            suspects = await self._again(suspects, last=number == len(pauses))

    async def _look_at_clocks(self) -> None:
        """Whether a key is past its deadline must not be told by a clock that was stepped meanwhile."""
        for look in self._clocks:
            await look()

    async def _again(self, suspects: dict[int, list[bytes]], *, last: bool) -> defaultdict[int, list[bytes]]:
        """Look at suspects once more; those that still differ are returned, or concluded in the *last* round."""
        remaining: defaultdict[int, list[bytes]] = defaultdict(list)
        for left_db, keys in suspects.items():
            async for look in self._looker.look(left_db, self._tally.db, list(dict.fromkeys(keys))):
                self._note_equal(look.equal)
                apart = self._apart(look)
                if last and apart:
                    await self._changes.catch_up()
                    for sight in apart:
                        self._conclude(sight)
                elif apart:
                    remaining[left_db] += [sight.key for sight in apart]
        return remaining

    def _apart(self, look: Look) -> list[Sight]:
        """What differs by more than was left out on purpose; the others are counted."""
        for sight in look.apart:
            if sight.lossy and self._first_time(sight.name):
                self._note_sides(sight)
                self.left_apart += 1
                self._result.lossy += 1
        return [sight for sight in look.apart if not sight.lossy]

    def _note_equal(self, equal: Equal) -> None:
        if not equal.names:
            return
        if self._deadlines.drops:
            none = [NO_DEADLINE] * len(equal.names)
            self._tally.left(equal.names, equal.hashes, equal.left_ms, none)
            self._tally.right(equal.names, equal.hashes, equal.right_ms)
        else:
            self._tally.both(equal.names, equal.hashes, equal.left_ms)

    def _conclude(self, sight: Sight) -> None:
        db, name, promise = self._tally.db, sight.name, self._promise
        stray = promise is not None and sight.verdict is Verdict.EXTRA and not promise.wrote(db, name)
        if not stray:
            self._note_sides(sight)
        if not self._first_time(name):
            return
        self.left_apart += bool(sight.left_hash)
        if promise is not None and promise.rejected(db, name):
            self._result.rejected += 1
            return
        if stray or (promise is not None and promise.kept(db, name)):
            self._result.not_from_source += 1
            return
        unread = sight.left is None and sight.verdict is not Verdict.EXTRA  # refused or too large: hashes tell nothing
        tracked = sight.large and self._changes.known_by == "tracking"
        payload = b"" if tracked and unread else sight.left  # not None, which would say that the left has no such key
        changed = (tracked or not unread) and self._changes.changed(sight.key, db, name, payload, sight.left_ms)
        verdict = Verdict.CHANGED if changed else sight.verdict
        detail = f"{sight.verdict} {sight.detail}".rstrip() if changed else sight.detail
        self._result.count(verdict)
        self._on_finding(Finding(verdict, db, name, detail))

    def _note_sides(self, sight: Sight) -> None:
        if sight.left_hash:
            promised = [self._deadlines.promised(sight.left_ms)]
            self._tally.left([sight.name], [sight.left_hash], [sight.left_ms], promised)
        if sight.right_hash:
            self._tally.right([sight.name], [sight.right_hash], [sight.right_ms])

    def _first_time(self, name: bytes) -> bool:
        told = name_hash(name)
        if self._told.find(told) is not None:
            return False
        self._told.add_records([told])
        self._told_count += 1
        return True

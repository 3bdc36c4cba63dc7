"""Was it the copy, or did the key change meanwhile? Trackers first, then hashes of what was read, else nobody knows.

plain verify:  tracker of A, tracker of B: a write to the name since the comparison began
after a copy:  tracker of the source: a write since the copy read it
               or the ledger of what the copy read: the source says something else now
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import xxhash

from transfer.model.ports import KeyLedger


class Watch(Protocol):
    """Hears of writes at one server."""

    @property
    def reliable(self) -> bool:
        """Whether a name that was not reported was not written."""

    def changed_since(self, key: bytes, moment: float) -> bool:
        """Whether *key* may have been written at or after *moment*."""

    async def catch_up(self) -> None:
        """Wait until every write answered before this call is known."""


class NobodyKnows:
    """No tracker and no hashes: every difference counts."""

    known_by = "nothing"

    async def catch_up(self) -> None:
        return

    def changed(self, key: bytes, db: int, name: bytes, payload: bytes | None, left_ms: int) -> bool:
        return False


class ChangesNow:
    """For two servers that are only compared: any write on either side since *began* (monotonic seconds)."""

    def __init__(self, left: Watch, right: Watch, began: float) -> None:
        self._left, self._right, self._began = left, right, began

    @property
    def known_by(self) -> str:
        return "tracking" if self._left.reliable and self._right.reliable else "nothing"

    async def catch_up(self) -> None:
        await self._left.catch_up()
        await self._right.catch_up()

    def changed(self, key: bytes, db: int, name: bytes, payload: bytes | None, left_ms: int) -> bool:
        sides = ((self._left, key), (self._right, name))
        return any(watch.reliable and watch.changed_since(word, self._began) for watch, word in sides)


class ChangesSinceCopy:
    """For the check after a copy: writes at the source since the copy read the key.

    *watch* must have forgotten, key by key, what the copy's reads have seen (WriteTracker.clean).
    *ledgers* hold what the copy read: target database and name, and the bytes of the source's DUMP payload,
    with its deadline where *deadlines_noted* (hash seeded with deadline + 1, as `Ledger.note` does).
    """

    def __init__(
        self,
        watch: Watch | None,
        ledgers: Sequence[KeyLedger] = (),
        began: float = -math.inf,
        *,
        deadlines_noted: bool = False,
    ) -> None:
        self._watch, self._ledgers, self._began = watch, ledgers, began
        self._deadlines_noted = deadlines_noted

    @property
    def known_by(self) -> str:
        if self._watch is not None and self._watch.reliable:
            return "tracking"
        return "hashes" if self._ledgers else "nothing"

    async def catch_up(self) -> None:
        if self._watch is not None:
            await self._watch.catch_up()

    def changed(self, key: bytes, db: int, name: bytes, payload: bytes | None, left_ms: int) -> bool:
        if self._watch is not None and self._watch.reliable:
            return self._watch.changed_since(key, self._began)
        if not self._ledgers:
            return False
        read = {value for ledger in self._ledgers if (value := ledger.value_hash(db, name)) is not None}
        if payload is None:
            return bool(read)
        seed = left_ms + 1 if self._deadlines_noted else 0
        return xxhash.xxh3_64_digest(payload, seed) not in read

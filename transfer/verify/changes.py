"""Was it the copy, or did the key change meanwhile? Trackers and hashes of what was read tell, else nobody knows.

plain verify:  tracker of A, tracker of B: a write to the name since the comparison began
after a copy:  the ledger of what the copy read: the source says the same now -> it did not change
               else the tracker of the source: no write since the copy read it -> it did not change
               no tracker: it changed

A source that says something else need not have changed: servers move the items of sets and hashes about by
themselves. So the tracker, where there is one, has the last word about those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import xxhash

from transfer.codec.strings import string_of
from transfer.model.ports import KeyLedger
from transfer.model.record import deadline_seed


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


class Unchanging(NobodyKnows):
    """For a left side that stays as it is, a file: no difference is a change of it."""

    known_by = "file"
    reliable = True

    def changed_since(self, key: bytes, moment: float) -> bool:
        """As `Watch`: nothing of a file changes."""
        return False


class ChangesNow:
    """For two servers that are only compared: any write on either side since *began* (monotonic seconds)."""

    def __init__(self, left: Watch, right: Watch, began: float) -> None:
        self._left, self._right, self._began = left, right, began

    @property
    def known_by(self) -> str:
        if isinstance(self._left, Unchanging) and isinstance(self._right, Unchanging):
            return "files"
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
    *ledgers* hold what the copy read: target database and name, and the bytes of the source's DUMP payload, or of
    the string itself where it was read as one, with its deadline where *deadlines_noted* (hash seeded with
    `deadline_seed`, as `Ledger.note` does).
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
        watch = self._watch if self._watch is not None and self._watch.reliable else None
        if not self._ledgers:
            return watch is not None and watch.changed_since(key, self._began)
        read = {value for ledger in self._ledgers if (value := ledger.value_hash(db, name)) is not None}
        if payload is None and (read or watch is None):
            return bool(read)
        if self._says_the_same(read, payload, left_ms) and (watch is None or self._deadlines_noted):
            return False
        return watch is None or watch.changed_since(key, self._began)

    def _says_the_same(self, read: set[bytes], payload: bytes | None, left_ms: int) -> bool:
        seed = deadline_seed(left_ms) if self._deadlines_noted else 0
        forms = () if payload is None else (payload, string_of(payload))
        return any(form is not None and xxhash.xxh3_64_digest(form, seed) in read for form in forms)

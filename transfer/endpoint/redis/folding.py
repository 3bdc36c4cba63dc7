"""Two source keys that come to one name at the target are noticed before either is lost."""

from __future__ import annotations

import xxhash

from transfer.endpoint.redis.landing import Landing
from transfer.model.ports import KeyLedger
from transfer.model.tally import Tally

FOLD_CODE = "E305"


class Folding:
    """Remembers which source key took which name; the first takes it, another one is rejected.

    Needed only where the mapping can fold (renames, several databases into one).
    """

    def __init__(self, owners: KeyLedger, tally: Tally) -> None:
        self._owners = owners
        self._tally = tally

    def claim(self, db: int, landings: list[Landing]) -> list[Landing]:
        """The landings that own their name; the others are rejected by name."""
        kept: list[Landing] = []
        for landing in landings:
            origin = b"%d:%b" % (landing.record.db, landing.record.key)
            owner = self._owners.value_hash(db, landing.name)
            if owner is None:
                self._owners.note(db, [landing.name], [origin])
            elif owner != xxhash.xxh3_64_digest(origin):
                name = landing.name.decode("ascii", "backslashreplace")
                cause = f"another source key was already written as '{name}' in db {db}"
                self._tally.reject(landing.record.db, landing.record.key, FOLD_CODE, cause)
                continue
            kept.append(landing)
        return kept

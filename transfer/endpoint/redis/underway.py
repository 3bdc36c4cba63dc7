"""Names that were asked for and are not acknowledged yet.

SCAN may name a key again while its first read is still on its way. Two reads of one key under way at once could
land in the wrong order, the older value over the newer: so the second one is left out. A key that was acknowledged
may be read again at any time.
"""

from __future__ import annotations

from collections import defaultdict


class Underway:
    """Names per logical database; as many as are in flight."""

    def __init__(self) -> None:
        self._names: defaultdict[int, set[bytes]] = defaultdict(set)

    def enter(self, db: int, names: list[bytes]) -> list[bytes]:
        """Those of *names*, each once, that were not under way; they are now."""
        held = self._names[db]
        if not held.isdisjoint(names):
            names = [name for name in names if name not in held]
        before = len(held)
        held.update(names)
        return names if len(held) - before == len(names) else list(dict.fromkeys(names))

    def leave(self, db: int, names: list[bytes]) -> None:
        """*names* were acknowledged, or will not be sent."""
        self._names[db].difference_update(names)

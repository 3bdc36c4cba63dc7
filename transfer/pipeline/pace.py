"""How fast: keys and bytes per second, kept by a schedule on the monotonic clock; and whether to go on at all."""

from __future__ import annotations

import anyio

from transfer.model.ports import UNTHROTTLED

_LOOK_S = 0.25
"""A wait looks this often whether its limits were changed."""


class Pace:
    """Delays batches so that their long-run rate stays below both limits (0: no limit), which may change meanwhile.

    At most `_SLACK_S` seconds of unused allowance are kept, so a pause is never followed by a burst. Nor should a batch
    be one: who makes them asks `most_keys` and `most_bytes`.

    Attributes:
        holds: why no batch gets its turn now; empty: nothing is in the way.
        waiting: batches that wait because of that.
        stop: once it is set nothing is waited for.
    """

    _SLACK_S = 0.1
    _BATCH_S = 0.1
    """A batch is no more than the limits let through in this time."""

    def __init__(self, keys_per_s: int = 0, bytes_per_s: int = 0, stop: anyio.Event | None = None) -> None:
        self.keys_per_s = keys_per_s
        self.bytes_per_s = bytes_per_s
        self.holds: set[str] = set()
        self.waiting = 0
        self.stop = stop or anyio.Event()
        self._free_at = 0.0
        self._changes = 0

    def change(self, keys_per_s: int, bytes_per_s: int) -> None:
        """Other limits from now on, also for those who wait: what was asked for under the old ones is forgotten."""
        self.keys_per_s, self.bytes_per_s = keys_per_s, bytes_per_s
        self._free_at = 0.0
        self._changes += 1

    @property
    def most_keys(self) -> int:
        """Of a batch, at least one."""
        return max(1, int(self.keys_per_s * self._BATCH_S)) if self.keys_per_s else UNTHROTTLED.most_keys

    @property
    def most_bytes(self) -> int:
        """Of a batch of more than one key."""
        return max(1, int(self.bytes_per_s * self._BATCH_S)) if self.bytes_per_s else UNTHROTTLED.most_bytes

    async def wait(self, keys: int, size_bytes: int) -> None:
        """Wait for the turn of a batch of *keys* keys and *size_bytes* bytes, or for the stop."""
        await self._until_let_go()
        while cost := self._cost_s(keys, size_bytes):
            now, changes = anyio.current_time(), self._changes
            start = max(self._free_at, now - self._SLACK_S)
            self._free_at = start + cost
            if await self._until(start, changes):
                return

    async def _until_let_go(self) -> None:
        self.waiting += 1
        try:
            while self.holds and not self.stop.is_set():
                await self._rest(_LOOK_S)
        finally:
            self.waiting -= 1

    def _cost_s(self, keys: int, size_bytes: int) -> float:
        return max(
            keys / self.keys_per_s if self.keys_per_s else 0.0,
            size_bytes / self.bytes_per_s if self.bytes_per_s else 0.0,
        )

    async def _until(self, start: float, changes: int) -> bool:
        """Wait until *start* or the stop; False as soon as the limits are others."""
        while (left := start - anyio.current_time()) > 0 and not self.stop.is_set():
            if self._changes != changes:
                return False
            await self._rest(min(left, _LOOK_S))
        return True

    async def _rest(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self.stop.wait()

"""How fast: keys and bytes per second, kept by a schedule on the monotonic clock."""

from __future__ import annotations

import anyio


class Pace:
    """Delays batches so that their long-run rate stays below both limits (0: no limit).

    At most `_SLACK_S` seconds of unused allowance are kept, so a pause is never followed by a burst.
    """

    _SLACK_S = 0.1

    def __init__(self, keys_per_s: int = 0, bytes_per_s: int = 0, stop: anyio.Event | None = None) -> None:
        self.keys_per_s = keys_per_s
        self.bytes_per_s = bytes_per_s
        self._free_at = 0.0
        self._stop = stop or anyio.Event()

    async def wait(self, keys: int, size_bytes: int) -> None:
        """Wait for the turn of a batch of *keys* keys and *size_bytes* bytes, or for the stop."""
        cost = max(
            keys / self.keys_per_s if self.keys_per_s else 0.0,
            size_bytes / self.bytes_per_s if self.bytes_per_s else 0.0,
        )
        if not cost:
            return
        now = anyio.current_time()
        start = max(self._free_at, now - self._SLACK_S)
        self._free_at = start + cost
        if start > now:
            with anyio.move_on_after(start - now):
                await self._stop.wait()

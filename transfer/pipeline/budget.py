"""One byte budget for everything in flight: what was read and not yet acknowledged.

    reader: acquire(estimate) -> read -> correct(actual) ... writer: acknowledged -> release(actual)

Rule 1: who asks first is served first, so a large request cannot starve.
Rule 2: a request above the whole budget is a mistake of the caller (it must be refused by name before).
"""

from __future__ import annotations

from collections import deque

import anyio


class ByteBudget:
    """Bounded memory for payloads, shared by all queues of a run."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.held_bytes = 0
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    async def acquire(self, size_bytes: int) -> None:
        """Wait until *size_bytes* fit, then hold them."""
        if size_bytes > self.total_bytes:
            raise ValueError(f"{size_bytes:,} bytes can never fit into {self.total_bytes:,}")
        if not self._waiting and self.held_bytes + size_bytes <= self.total_bytes:
            self.held_bytes += size_bytes
            return
        turn = anyio.Event()
        self._waiting.append((size_bytes, turn))
        try:
            await turn.wait()
        except BaseException:
            self._forget(size_bytes, turn)
            raise

    def correct(self, held_bytes: int, actual_bytes: int) -> None:
        """Replace an estimate by what it came to; may exceed the total for a moment, never waits."""
        self.held_bytes += actual_bytes - held_bytes
        self._serve()

    def release(self, size_bytes: int) -> None:
        self.held_bytes -= size_bytes
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self.held_bytes + self._waiting[0][0] <= self.total_bytes:
            size_bytes, turn = self._waiting.popleft()
            self.held_bytes += size_bytes
            turn.set()

    def _forget(self, size_bytes: int, turn: anyio.Event) -> None:
        """Take a cancelled request out of the line, or give back what it was granted meanwhile."""
        if turn.is_set():
            self.release(size_bytes)
        else:
            self._waiting.remove((size_bytes, turn))
            self._serve()

"""Counts over time: rates of the last seconds and the time that remains.

    count(keys, bytes) ... -> snapshot(share) -> Progress

Rule 1: only a monotonic clock is asked, so a clock that is set in mid-run changes nothing.
Rule 2: rates are of the last WINDOW_S seconds; a run that stands still says so.
Rule 3: what is not known is None, never a guess.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from transfer.model.report import Progress

WINDOW_S = 10.0
_LEAST_SPAN_S = 0.2
"""Below this the rate of the window is noise; the average since the start is said instead."""


class Meter:
    """Counts one phase of a run.

    Args:
        phase: copy | export | import | verify.
        total_keys: how many there are, None if nobody knows. It may be set later.
        clock: seconds that only go forward.
    """

    def __init__(
        self, phase: str, total_keys: int | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.phase = phase
        self.total_keys = total_keys
        self.keys = 0
        self.bytes = 0
        self.rejected = 0
        self._clock = clock
        self._started_s = clock()
        self._samples: deque[tuple[float, int, int, float]] = deque([(self._started_s, 0, 0, 0.0)])

    @property
    def seconds(self) -> float:
        """Since the phase began."""
        return self._clock() - self._started_s

    def count(self, keys: int = 0, size_bytes: int = 0, rejected: int = 0) -> None:
        """Add to the counts."""
        self.keys += keys
        self.bytes += size_bytes
        self.rejected += rejected

    def snapshot(self, share: float | None = None) -> Progress:
        """The counts as of now. *share* (0..1) is how far the cursors are; without it keys over total."""
        now_s = self._clock()
        if share is None and self.total_keys:
            share = self.keys / self.total_keys
        if share is not None:
            share = min(1.0, max(0.0, share))
        self._samples.append((now_s, self.keys, self.bytes, share or 0.0))
        while len(self._samples) > 2 and now_s - self._samples[0][0] > WINDOW_S:
            self._samples.popleft()
        keys_per_s, bytes_per_s, share_per_s = self._rates(now_s)
        return Progress(
            phase=self.phase,
            share=share,
            keys=self.keys,
            total_keys=self.total_keys,
            bytes=self.bytes,
            keys_per_s=keys_per_s,
            bytes_per_s=bytes_per_s,
            eta_s=(1.0 - share) / share_per_s if share is not None and share_per_s > 0 else None,
            rejected=self.rejected,
        )

    def _rates(self, now_s: float) -> tuple[float, float, float]:
        then_s, keys, size, share = self._samples[0]
        span_s = max(now_s - then_s, _LEAST_SPAN_S)
        last = self._samples[-1]
        return (last[1] - keys) / span_s, (last[2] - size) / span_s, (last[3] - share) / span_s

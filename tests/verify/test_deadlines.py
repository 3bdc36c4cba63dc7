"""Which absence at the right a deadline explains."""

from __future__ import annotations

import pytest

from transfer.model.record import NO_DEADLINE
from transfer.model.selection import TtlRule
from transfer.verify.deadlines import Deadlines

BEGAN_MS, CAP_MS, TOLERANCE_MS = 1_000_000, 10_000, 500
FAR_MS = BEGAN_MS + 1_000_000


class _Stopped:
    """A clock that stands."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def moments_ms(self) -> list[int]:
        return [self._now_ms]


@pytest.mark.parametrize(
    ("kind", "after_ms", "left_ms", "began_ms", "excused"),
    [
        ("cap", CAP_MS, FAR_MS, BEGAN_MS, True),
        ("cap", CAP_MS - TOLERANCE_MS - 1, FAR_MS, BEGAN_MS, False),
        ("cap", CAP_MS, NO_DEADLINE, BEGAN_MS, False),
        ("cap", CAP_MS, FAR_MS, 0, False),
        ("keep", CAP_MS, FAR_MS, BEGAN_MS, False),
        ("keep", CAP_MS, BEGAN_MS + CAP_MS, BEGAN_MS, True),
    ],
    ids=["passed", "not yet", "no deadline", "no copy before", "another rule", "its own deadline"],
)
def test_a_key_that_may_have_expired_by_its_cap_is_not_missed(
    kind: str, after_ms: int, left_ms: int, began_ms: int, excused: bool
) -> None:
    """From the first moment on at which one that was copied at once would have; never one that has no deadline."""
    clock = _Stopped(BEGAN_MS + after_ms)
    deadlines = Deadlines(TtlRule(kind, CAP_MS), TOLERANCE_MS, clock, clock, began_ms=began_ms)

    assert deadlines.excuses_absence(left_ms) == excused
    assert not deadlines.over(left_ms) or left_ms < FAR_MS

"""What a deadline should be at the target, and whether it is.

| rule | promised | compared |
|---|---|---|
| keep | the same | within the tolerance |
| drop | none | exactly |
| add | later by the amount | within the tolerance |
| rebase | the time that remained, by the target's clock | within the tolerance |
| cap | the same, or the amount after it was copied | not later than either, with the tolerance |

When a key was copied nobody notes: with `cap` one that is gone may have expired, once the amount has passed since the
copy began. It is not missed, as any other key that has expired.

Whether there is a deadline at all must always fit. Where a clock was stepped in mid-run, what was written before the
step went by the clock as it was then: for rebase and cap that fits as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from transfer.model.record import NO_DEADLINE, deadlines_match
from transfer.model.selection import TtlRule


class Clock(Protocol):
    """Of one side."""

    def now_ms(self) -> int:
        """What it says."""

    def moments_ms(self) -> list[int]:
        """What it says, and what it would say had it not been stepped: once for each step."""


class Deadlines:
    """The rule for deadlines between two places with clocks of their own.

    *began_ms*: when the copy that went before began to write, by the right's clock; 0: there was none.
    """

    def __init__(self, rule: TtlRule, tolerance_ms: int, left: Clock, right: Clock, *, began_ms: int = 0) -> None:
        self._rule = rule
        self._began_ms = began_ms
        self._tolerance_ms = tolerance_ms
        self._left, self._right = left, right

    @property
    def kept(self) -> bool:
        """Whether equal deadlines fit."""
        return self._rule.kind == "keep"

    @property
    def drops(self) -> bool:
        return self._rule.kind == "drop"

    def fit(self, left_ms: int, right_ms: int) -> bool:
        promised = self.promised(left_ms)
        if NO_DEADLINE in (promised, right_ms) or self._rule.kind not in ("cap", "rebase"):
            return deadlines_match(promised, right_ms, self._tolerance_ms)
        if self._rule.kind == "cap":
            latest = min(promised, max(self._right.moments_ms()) + self._rule.amount_ms)
            return right_ms <= latest + self._tolerance_ms
        return any(deadlines_match(left_ms + skew, right_ms, self._tolerance_ms) for skew in self._skews_ms())

    def show(self, left_ms: int, right_ms: int) -> str:
        """Why they do not fit, for people."""
        promised = self.promised(left_ms)
        if promised == NO_DEADLINE:
            return f"no deadline / {right_ms} ms"
        if right_ms == NO_DEADLINE:
            return f"{promised} ms / no deadline"
        return f"{promised} / {right_ms} ms: {right_ms - promised:+,} ms, tolerance {self._tolerance_ms:,} ms"

    def over(self, left_ms: int) -> bool:
        """Whether a key of the left is, or would be at the right, past its deadline."""
        right_now = self._right.now_ms()
        if self._past(left_ms, self._left.now_ms()) or self._past(self.promised(left_ms), right_now):
            return True
        return self._rule.kind == "rebase" and any(self._past(left_ms + skew, right_now) for skew in self._skews_ms())

    def excuses_absence(self, left_ms: int) -> bool:
        """Whether a key of the left that the right does not have may have expired there."""
        if self.over(left_ms):
            return True
        if self._rule.kind != "cap" or left_ms == NO_DEADLINE or not self._began_ms:
            return False
        return self._past(self._began_ms + self._rule.amount_ms, max(self._right.moments_ms()))

    def over_at_right(self, right_ms: int) -> bool:
        """Whether a key of the right is past its deadline, or its origin at the left is, as far as one can tell."""
        shift = self._rule.amount_ms if self._rule.kind == "add" else 0
        if self._past(right_ms, self._right.now_ms()):
            return True
        left_now = self._left.now_ms()
        if self._rule.kind == "rebase":
            return any(self._past(right_ms - skew, left_now) for skew in self._skews_ms())
        return self._rule.kind != "drop" and self._past(right_ms, left_now + shift)

    def promised(self, left_ms: int) -> int:
        """The deadline that a key with *left_ms* should have at the right; with `cap` it may be earlier."""
        if left_ms == NO_DEADLINE or self._rule.kind in ("keep", "cap"):
            return left_ms
        return self._rule.apply(left_ms, self._left.now_ms(), self._right.now_ms())

    def _skews_ms(self) -> Iterator[int]:
        """Right minus left, of the clocks as they are, then as they were before each step."""
        return (right - left for right in self._right.moments_ms() for left in self._left.moments_ms())

    def _past(self, deadline_ms: int, now_ms: int) -> bool:
        return deadline_ms != NO_DEADLINE and deadline_ms <= now_ms + self._tolerance_ms

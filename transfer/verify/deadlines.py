"""What a deadline should be at the target, and whether it is.

| rule | promised | compared |
|---|---|---|
| keep | the same | within the tolerance |
| drop | none | exactly |
| add | later by the amount | within the tolerance |
| rebase | the time that remained, by the target's clock | within the tolerance |
| cap | the same, or the amount after it was copied | not later than either, with the tolerance |

Whether there is a deadline at all must always fit.
"""

from __future__ import annotations

from collections.abc import Callable

from transfer.model.record import NO_DEADLINE
from transfer.model.selection import TtlRule
from transfer.verify.checks import deadlines_match

Clock = Callable[[], int]


class Deadlines:
    """The rule for deadlines between two places with clocks of their own."""

    def __init__(self, rule: TtlRule, tolerance_ms: int, left_now: Clock, right_now: Clock) -> None:
        self._rule = rule
        self._tolerance_ms = tolerance_ms
        self._left_now, self._right_now = left_now, right_now

    @property
    def kept(self) -> bool:
        """Whether equal deadlines fit."""
        return self._rule.kind == "keep"

    @property
    def drops(self) -> bool:
        return self._rule.kind == "drop"

    def fit(self, left_ms: int, right_ms: int) -> bool:
        promised = self.promised(left_ms)
        if self._rule.kind != "cap" or NO_DEADLINE in (promised, right_ms):
            return deadlines_match(promised, right_ms, self._tolerance_ms)
        latest = min(promised, self._right_now() + self._rule.amount_ms)
        return right_ms <= latest + self._tolerance_ms

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
        promised = self.promised(left_ms)
        return self._past(left_ms, self._left_now()) or self._past(promised, self._right_now())

    def over_at_right(self, right_ms: int) -> bool:
        """Whether a key of the right is past its deadline, or its origin at the left is, as far as one can tell."""
        shift = self._rule.amount_ms if self._rule.kind == "add" else 0
        if self._past(right_ms, self._right_now()):
            return True
        if self._rule.kind in ("rebase", "drop"):
            return False
        return self._past(right_ms, self._left_now() + shift)

    def promised(self, left_ms: int) -> int:
        """The deadline that a key with *left_ms* should have at the right; with `cap` it may be earlier."""
        if left_ms == NO_DEADLINE or self._rule.kind in ("keep", "cap"):
            return left_ms
        return self._rule.apply(left_ms, self._left_now(), self._right_now())

    def _past(self, deadline_ms: int, now_ms: int) -> bool:
        return deadline_ms != NO_DEADLINE and deadline_ms <= now_ms + self._tolerance_ms

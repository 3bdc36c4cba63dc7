"""How long a side that cannot go on is waited for, and what is said meanwhile."""

from __future__ import annotations

import random

import anyio
import structlog

from transfer.model.errors import GaveUpError, LinkError, TargetFullError
from transfer.model.ports import WarningListener
from transfer.wire.replies import ReplyClass, rule_of

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_QUIET_S = 30.0
"""Where writers take turns in waiting and going on, each turn would be a stretch of its own."""


class Patience:
    """Shared by all writers of a run: progress of any of them is progress.

    Args:
        give_up_s: no progress for this long ends the run.
        stop_when_full: OOM at the target ends the run at once (--on-full stop).
        stop: once it is set, a refusal is not waited out: the server said that it did nothing, so nothing is in doubt.
        on_warning: told once per stretch of waiting, and not more often than every `_QUIET_S`.
    """

    def __init__(
        self,
        give_up_s: float,
        *,
        stop_when_full: bool,
        where: str,
        on_warning: WarningListener,
        stop: anyio.Event | None = None,
    ) -> None:
        self._stop = stop or anyio.Event()
        self._give_up_s = give_up_s
        self._stop_when_full = stop_when_full
        self._where = where
        self._on_warning = on_warning
        self._since: float | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._quiet_until = 0.0
        self.breaks = 0

    def advanced(self) -> None:
        """Some of what is waited for went on: the time to give up begins anew, the pauses stay as long."""
        if self._since is not None:
            self._since = anyio.current_time()

    def progressed(self) -> None:
        self._since = None
        self._pause_s = _FIRST_PAUSE_S

    async def held(self, refusal: str) -> None:
        """Wait after an answer that says "not now".

        Raises:
            TargetFullError: the target is full and the run stops then, or waited long enough.
            GaveUpError: it said so for all of the give-up time, or the run is to stop.
        """
        if self._stop.is_set():
            raise GaveUpError(f"not waited for, since the run is to stop: {refusal}", where=self._where)
        rule = rule_of(refusal)
        full = rule.kind is ReplyClass.FULL
        if full and self._stop_when_full:
            raise TargetFullError(f"the target has no memory left: {refusal}", where=self._where)
        if self._since is None and anyio.current_time() >= self._quiet_until:
            self._quiet_until = anyio.current_time() + _QUIET_S
            todo = f" ({rule.advice})" if rule.advice else ""
            self._on_warning(f"{self._where} cannot go on, waiting up to {self._give_up_s:g} s: {refusal}{todo}")
        if self._exhausted():
            failure = TargetFullError if full else GaveUpError
            raise failure(f"no progress for {self._give_up_s:g} s: {refusal}", where=self._where)
        with anyio.move_on_after(self._next_pause_s()):
            await self._stop.wait()

    async def broken(self, error: LinkError) -> None:
        """Wait a moment after a broken link; the next lease dials anew.

        Raises:
            GaveUpError: links broke, without any progress, for all of the give-up time.
        """
        self.breaks += 1
        structlog.get_logger().debug("a link broke", where=self._where, error=error.message, breaks=self.breaks)
        if self._exhausted():
            raise GaveUpError(f"no progress for {self._give_up_s:g} s: {error.message}", where=self._where) from error
        await anyio.sleep(self._next_pause_s())

    def _exhausted(self) -> bool:
        now = anyio.current_time()
        self._since = now if self._since is None else self._since
        return now - self._since > self._give_up_s

    def _next_pause_s(self) -> float:
        pause = self._pause_s * random.uniform(0.5, 1.0)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return pause

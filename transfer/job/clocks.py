"""Clocks of source and target while a copy runs: one that is stepped is said, and what follows is as the plan says.

    stepped -> said -> skew within --max-skew, --ttl rebase | drop, clock-skew accepted -> goes on by the new clock
                    -> else: refused, as it would have been before the copy began

Rule 1: what was written before keeps the deadline that it got by the clocks as they were.
"""

from __future__ import annotations

from transfer.endpoint.redis.server import STEP_MS
from transfer.job.engine import Engine
from transfer.model.errors import RESUME_HINT, GuardError
from transfer.model.plan import skew_hazard
from transfer.model.ports import Observer
from transfer.model.units import show_ms


class Clocks:
    """Watches over the clocks of *engine*'s servers.

    Attributes:
        said: a sentence for each step.
    """

    def __init__(self, engine: Engine, observer: Observer) -> None:
        self._engine, self._observer = engine, observer
        self.said: list[str] = []

    async def look(self) -> None:
        """Look at both clocks, patiently. Raises as `judge`, and GaveUpError."""
        engine = self._engine
        sides = (("source", engine.source, engine.source_is_live), ("target", engine.target, engine.target_is_live))
        for side, server, live in sides:
            if live:
                self.judge(side, await server.asked(server.look_at_clock))
        if self._both_live and abs(self._skew_ms() - self._engine.plan.skew_ms) > STEP_MS:
            self._refuse("the clocks are not as they were when the copy began")

    def judge(self, side: str, step_ms: int) -> None:
        """Say that the clock of *side* was stepped by *step_ms*, unless 0.

        Raises:
            GuardError: deadlines come too early or too late at the target by it, and nobody accepted that.
        """
        if not step_ms:
            return
        ahead = "forward" if step_ms > 0 else "back"
        text = f"the {side}'s clock was set {ahead} by {show_ms(abs(step_ms))} in mid-run"
        text += ": deadlines written before follow the clocks as they were, those written later the clocks as they are"
        self.said.append(text)
        self._observer.warning(text)
        self._refuse(text)

    def _refuse(self, text: str) -> None:
        engine = self._engine
        hazard = skew_hazard(self._skew_ms(), engine.request) if self._both_live else None
        accepted = engine.request.allow | {known.name for known in engine.plan.hazards}
        if hazard is not None and hazard.name not in accepted:
            hint = f"set the clocks right, or add --allow {hazard.name}; {RESUME_HINT}"
            raise GuardError(f"{text}; {hazard.name}: {hazard.message}", hint=hint)

    @property
    def _both_live(self) -> bool:
        """A file has no clock that deadlines could be wrong by."""
        return self._engine.source_is_live and self._engine.target_is_live

    def _skew_ms(self) -> int:
        return self._engine.target.clock_offset_ms - self._engine.source.clock_offset_ms

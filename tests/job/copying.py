"""One copy, as a test asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.job.watching import Watching
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.job.copy import run_copy
from transfer.model.endpoint import Address
from transfer.model.plan import CopyRequest
from transfer.model.report import Report
from transfer.plan.preflight import plan_copy

Place = ThrowawayServer | Address


def address_of(place: Place) -> Address:
    return place if isinstance(place, Address) else place.address


async def copied(source: Place, target: Place, state: Path, watching: Watching | None = None, **asked: Any) -> Report:
    """Run a copy with everything in the plan consented to; the counts must add up."""
    # writers beside a copy slow it down at polite pace, which tests of other things need not wait for
    asked.setdefault("pace", "max")
    watching = watching or Watching(consents=True)
    request = CopyRequest(
        source=address_of(source), target=address_of(target), state_dir=str(state), spill_dir=str(state), **asked
    )
    try:
        return await run_copy(request, watching, plan_copy)
    finally:
        assert watching.report is not None
        assert watching.report.keys.adds_up()

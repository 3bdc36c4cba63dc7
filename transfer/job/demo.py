"""The demonstration: two throw-away servers, real data, copy, verify; nothing is left running.

    throwaway source, target -> fill the source -> copy (verified in full) -> target compared with the seed -> both end

Rule 1: how to copy and who is told are given by the caller; this module knows neither planner nor screen.
Rule 2: the servers, their folders and the store of the run end with the call, also when it is cancelled or fails.
Rule 3: copying listens to signals itself; what is done before and after it is `stoppable`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic

import msgspec

from transfer.endpoint.redis import sample
from transfer.endpoint.redis.throwaway import ThrowawayServer, throwaway
from transfer.job.steer import Steering
from transfer.model.plan import CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import Report, worst
from transfer.pipeline.flow import ungrouped
from transfer.wire.dial import Dialer

Copying = Callable[[CopyRequest, Observer], Awaitable[Report]]
Say = Callable[[str], None]


class Shown(msgspec.Struct, frozen=True):
    """What a demonstration came to. `target` is the target compared with the seed, beside the copy's own proof."""

    filled: sample.Filled
    report: Report
    target: sample.Verified
    seconds: float

    @property
    def exit(self) -> int:
        return worst([self.report.exit, 6 if self.target.different else 0])


async def demonstrate(
    copying: Copying,
    observer: Observer,
    say: Say,
    *,
    keys: int = sample.DEFAULT_KEYS,
    seed: int = sample.DEFAULT_SEED,
    state_dir: str = "",
) -> Shown:
    """Show a copy of *keys* keys from one new server to another; *say* gets a line before each step.

    *state_dir* keeps the record of the run; without it the record goes with the servers.

    Raises:
        UsageError: there is no server program to start; the hint says which extra brings one.
        TransferError: what stopped the copy.
    """
    began = monotonic()
    async with AsyncExitStack() as stack:
        async with stoppable():
            source, target = [await stack.enter_async_context(throwaway()) for _ in range(2)]
            say(f"two throw-away servers: source {source.address}, target {target.address}")
            filled = await _fill(source, keys, seed, say)
        say("copying, then comparing both sides in full")
        report = await copying(_request(source, target, state_dir), observer)
        async with stoppable():
            say(f"comparing the target with what seed {seed} says, key by key")
            found = await sample.verify(Dialer(target.address))
        say(f"the target holds {_verdict(found)}")
    say("both servers have ended, their folders are gone")
    return Shown(filled, report, found, monotonic() - began)


@asynccontextmanager
async def stoppable() -> AsyncIterator[None]:
    """A block that the first Ctrl-C or SIGTERM cancels; a failure comes out of it as it was raised.

    Raises:
        InterruptedRunError: a signal came.
    """
    with ungrouped():
        async with Steering().held() as steering:
            steering.abort_on_stop()
            yield


def _request(source: ThrowawayServer, target: ThrowawayServer, state_dir: str) -> CopyRequest:
    kept = state_dir or str(source.folder / "state")
    return CopyRequest(source=source.address, target=target.address, state_dir=kept, label="demo")


async def _fill(server: ThrowawayServer, keys: int, seed: int, say: Say) -> sample.Filled:
    say(f"filling the source with {keys:,} keys of every type")
    filled = await sample.fill(Dialer(server.address), keys=keys, seed=seed)
    say(f"filled in {filled.seconds:.1f} s: {_spread(filled)}")
    return filled


def _spread(filled: sample.Filled) -> str:
    return ", ".join(f"{count:,} keys in db {db}" for db, count in sorted(filled.dbs.items()))


def _verdict(found: sample.Verified) -> str:
    same = sum(count.same for count in found.families.values())
    return f"{same:,} keys as declared, {found.different:,} different"

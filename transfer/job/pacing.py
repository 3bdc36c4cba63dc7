"""The pace of one run, kept while it runs: watchers beside the work, each with its own link or file.

    source -> Sparing -> Governor: how much is asked of it at once
    target -> replicas -> Pace.holds: nothing is written while one of them is too far behind
    primary of a source that is a replica -> the same, while that one is too far behind
    either -> its clock -> Clocks: goes on by the stepped one, or refuses
    store  -> what `jobs pace` asked for -> Pace, Governor; and back, what the pace is now

Rule 1: a watcher that cannot see goes on looking, and the work goes on with the pace it had.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.to_thread
import msgspec
import structlog

from transfer.endpoint.redis.replicas import lag_bytes, replication
from transfer.endpoint.redis.server import Server
from transfer.job.clocks import Clocks
from transfer.job.engine import Engine
from transfer.job.replica import ReplicaLag, Standby
from transfer.job.sparing import Sparing
from transfer.job.store import JobStore
from transfer.model.errors import GaveUpError, GuardError, TransferError
from transfer.model.ports import Observer
from transfer.model.units import show_bytes, show_ms
from transfer.pipeline.pace import Pace
from transfer.wire.link import Link

_RETRY_S = 1.0
_LAG_S, _NEAR_LAG_S = 0.25, 0.1
_STORE_S = 0.5


class Pacing:
    """Watches over the pace of *engine*, the work of *job*."""

    def __init__(
        self, engine: Engine, store: JobStore, job: str, observer: Observer, standby: Standby | None = None
    ) -> None:
        self._engine = engine
        self._pace, self._governor = engine.pace, engine.governor
        self._store, self._job, self._observer = store, job, observer
        self._limit_bytes = engine.request.max_target_lag_bytes
        self._lag_bytes = 0
        self.clocks = Clocks(engine, observer)
        patience_s = engine.request.give_up_after_ms / 1000
        self._target, self._replica = (_Hold(engine.pace, observer, patience_s, who) for who in ("target", "replica"))
        self._standby = standby
        self._taken = 0
        self._told = ""

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Keep the pace for the length of the block; the first look is taken before it begins.

        Raises:
            GaveUpError: a replica stayed too far behind for all of the give-up time.
            GuardError: a clock was stepped, so that deadlines are wrong at the target, and nobody accepted that.
        """
        async with anyio.create_task_group() as group:
            if self._engine.source_is_live:
                spared = Sparing(self._engine.source, self._governor, partial(self.clocks.judge, "source"))
                await group.start(spared.watch)
            if self._engine.target_is_live:
                group.start_soon(self._watch_target)
            if self._standby is not None:
                group.start_soon(self._watch_standby, self._standby)
            group.start_soon(self._watch_store)
            try:
                yield
            finally:
                group.cancel_scope.cancel()

    async def _watch_target(self) -> None:
        async def look(link: Link) -> bool:
            self.clocks.judge("target", await self._engine.target.look_at_clock(link))
            self._lag_bytes = await lag_bytes(link)
            self._target.judge(
                anyio.current_time(),
                self._lag_bytes > self._limit_bytes,
                f"a replica of the target is {show_bytes(self._lag_bytes)} behind, more than --max-target-lag "
                f"{show_bytes(self._limit_bytes)}",
            )
            return self._lag_bytes * 4 > self._limit_bytes

        await self._watch(self._engine.target, look, self._target)

    async def _watch_standby(self, standby: Standby) -> None:
        lag, limit_ms = ReplicaLag(standby.server.address), self._engine.request.max_replica_lag_ms

        async def look(link: Link) -> bool:
            head, replicas = await replication(link)
            behind_s = lag.look(anyio.current_time(), head, replicas)
            self._replica.judge(
                anyio.current_time(),
                behind_s * 1000 > limit_ms,
                f"the replica that is read from, {standby.server.where}, is {show_ms(behind_s * 1000)} behind, more "
                f"than --max-replica-lag {show_ms(limit_ms)}",
            )
            return False

        await self._watch(standby.primary, look, self._replica)

    async def _watch(self, server: Server, look: Callable[[Link], Awaitable[bool]], hold: _Hold) -> None:
        """*look* at *server* again and again, sooner where it says so; what cannot be seen holds nobody."""
        while True:
            try:
                async with server.link(db=0) as link:
                    while True:  # noqa: ASYNC110 - the server sets no event
                        await anyio.sleep(_NEAR_LAG_S if await look(link) else _LAG_S)
            except (GaveUpError, GuardError):
                raise
            except TransferError:
                hold.let_go()
                await anyio.sleep(_RETRY_S)

    async def _watch_store(self) -> None:
        while True:
            try:
                number, asked = await anyio.to_thread.run_sync(self._store.asked_pace, self._job)
                if number > self._taken:
                    self._obey(asked)
                    self._taken = number
                present = msgspec.json.encode(self._present()).decode()
                if present != self._told:
                    await anyio.to_thread.run_sync(self._store.tell_pace, self._job, present, self._taken)
                    self._told = present
            except TransferError as error:
                structlog.get_logger().debug("the job store cannot be asked for the pace", error=error.message)
            await anyio.sleep(_STORE_S)

    def _obey(self, asked: dict[str, str | int]) -> None:
        """What `jobs pace` asked for; what it did not name stays."""
        pace, governor = self._pace, self._governor
        rate, bwlimit = asked.get("rate", pace.keys_per_s), asked.get("bwlimit", pace.bytes_per_s)
        if (rate, bwlimit) != (pace.keys_per_s, pace.bytes_per_s):
            pace.change(int(rate), int(bwlimit))
        regulates = asked["pace"] == "polite" if "pace" in asked else governor.regulates
        governor.change(
            regulates=regulates, allowance_ms=float(asked.get("max_source_latency_ms", governor.allowance_ms))
        )
        structlog.get_logger().info("another pace", **asked)

    def _present(self) -> dict[str, object]:
        pace, governor = self._pace, self._governor
        shown: dict[str, object] = {
            "pace": "polite" if governor.regulates else "max",
            "max_source_latency_ms": governor.allowance_ms,
            "others": governor.others if governor.regulates else None,
            "rate": pace.keys_per_s,
            "bwlimit": pace.bytes_per_s,
            "target_lag_bytes": self._lag_bytes,
            "held": sorted(pace.holds),
        }
        if governor.limits:
            shown |= {
                "keys_at_once": round(governor.level, 1),
                "idle_ms": _rounded(governor.idle_ms),
                "latency_ms": _rounded(governor.latency_ms),
            }
        return shown


class _Hold:
    """One reason to hold the writers, said once and not borne for ever."""

    def __init__(self, pace: Pace, observer: Observer, patience_s: float, name: str) -> None:
        self._pace, self._observer, self._patience_s, self._name = pace, observer, patience_s, name
        self._since_s: float | None = None
        self._told = False

    def judge(self, now_s: float, holds: bool, why: str) -> None:
        """Hold, or let go.

        Raises:
            GaveUpError: it held batches for all of the give-up time.
        """
        if not holds:
            self.let_go()
            return
        self._since_s = now_s if self._since_s is None else self._since_s
        self._pace.holds.add(self._name)
        if not self._told:
            self._told = True
            self._observer.warning(f"{why}: the copy waits until it has caught up")
        if self._pace.waiting and now_s - self._since_s > self._patience_s:
            raise GaveUpError(f"for {self._patience_s:g} s {why}")

    def let_go(self) -> None:
        self._since_s = None
        self._pace.holds.discard(self._name)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)

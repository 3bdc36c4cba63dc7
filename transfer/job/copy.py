"""Carry out a copy: plan, consent, move, move again if a server was replaced, prove.

open both -> planner -> consent -> [ Engine.attempt ]* -> verify -> Report
                                      ^ ReplacedError: who answers now? -'
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio
import msgspec
import structlog

from transfer.endpoint.redis import probe
from transfer.endpoint.redis.conflicts import CONFLICT_CODE
from transfer.endpoint.redis.functions import copy_functions
from transfer.endpoint.redis.keyfile import readable_again
from transfer.endpoint.redis.packing import packs_alike
from transfer.endpoint.redis.server import Server
from transfer.job.claim import next_command
from transfer.job.clocks import Clocks
from transfer.job.consent import ask_consent, check_approval
from transfer.job.engine import Engine
from transfer.job.extra import Extra, LiveNames, Names
from transfer.job.losses import (
    Gone,
    deleted,
    emptied,
    evicted,
    expired,
    gone_at,
    nothing_passed,
    remedy,
    taken_over,
)
from transfer.job.neighbours import own_name, refuse_living, refuse_neighbours
from transfer.job.orders import orders_of
from transfer.job.pacing import Pacing
from transfer.job.proof import prove
from transfer.job.record import note_reject, record_run
from transfer.job.replacement import Replacement, note_names
from transfer.job.replica import Standby, find_replica, tell_standby
from transfer.job.resume import for_planning, take_up, with_planned
from transfer.job.sources import largest_value_bytes
from transfer.job.steer import Steering
from transfer.job.store import JobStore
from transfer.job.ticker import Ticker
from transfer.job.trail import Facts, Trail, trail_path
from transfer.job.undo import Keeping, keeps_undo
from transfer.model.endpoint import Address
from transfer.model.errors import (
    GaveUpError,
    ReplacedError,
    TransferError,
    UsageError,
)
from transfer.model.plan import CopyPlan, CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import AsOf, DbTable, Reject, Report, worst
from transfer.model.tally import Tally
from transfer.pipeline.flow import ungrouped

Planner = Callable[[CopyRequest, Server, Server], Awaitable[CopyPlan]]
KeyspaceCounts = dict[int, tuple[int, int]]
"""Database -> keys, keys with a deadline."""

_MOST_RESTARTS = 20


async def run_copy(request: CopyRequest, observer: Observer, planner: Planner, job: str = "") -> Report:
    """Copy as *request* says, telling *observer*; the report is also in the job store.

    With *job*, which this process has taken over, what its earlier processes did is gone on with.

    Raises:
        TransferError: what stopped the run before its end; the observer was told `finished` before.
    """

    async def work(store: JobStore, report: Report) -> None:
        kept = store.path.with_name(f"{report.job}.names")
        asked = msgspec.structs.replace(request, keys_from=readable_again(request.keys_from, kept))
        await CopyRun(asked, observer, planner, store, report, resumes=bool(job)).run()

    return await record_run("copy", request, observer, work, job)


class CopyRun:
    """One copy, from what was asked for to its report. Where the source is no server, the hooks below are others."""

    def __init__(
        self,
        request: CopyRequest,
        observer: Observer,
        planner: Planner,
        store: JobStore,
        report: Report,
        *,
        resumes: bool,
    ) -> None:
        self._request = request
        self._observer = observer
        self._planner = planner
        self._store = store
        self._report = report
        self.tally = Tally(on_reject=self._rejected)
        self._report.keys = self.tally.counts
        self._engine: Engine
        self._standby: Standby | None = None
        self._keeping: Keeping | None = None
        self._deleted = 0
        self._resumes = resumes
        self._trail: Trail
        self._began_ms = self._writes_before = 0
        self._gone_before: Gone | None = None

    async def run(self) -> None:
        try:
            with ungrouped():
                await self._run()
        except TransferError as error:
            error.hint = self._next_command(error)
            raise

    def _next_command(self, error: TransferError) -> str:
        """The hint with the command that goes on."""
        return next_command(error, self._store, self._report.job, self._request, resumes=self._resumes)

    async def _run(self) -> None:
        source, target = await open_pair(self._request, self._report.job)
        source = await self._stand_by(source)
        self._trail = Trail.open(trail_path(self._store.path.parent, self._report.job))
        try:
            await self._plan_and_move(source, target)
        finally:
            self._trail.close()

    async def _plan_and_move(self, source: Server, target: Server) -> None:
        before = self._trail.last_facts() if self._resumes else None
        plan = await self._planner(
            for_planning(self._request, self._trail) if before else self._request, source, target
        )
        if before:
            plan.hazards = [hazard for hazard in plan.hazards if hazard.name != "nonempty-target"]
            plan.dbs = with_planned(plan.dbs, self._store.get(self._report.job).plan)
        if self._standby is not None:
            tell_standby(plan, self._standby, self._request)
        self._store.save_plan(self._report.job, msgspec.json.encode(plan).decode())
        self._report.route = plan.route
        self._observer.planned(plan)
        self._report.not_copied += plan.not_copied
        if self._request.dry_run:
            return
        check_approval(self._request, plan)
        dbs = {db.target_db for db in plan.dbs}
        await refuse_living(target, self._report.job, dbs)  # its writes would be asked about as those of a stranger
        await ask_consent(self._request, plan, self._observer, self._store, self._report.job)
        await refuse_neighbours(target, self._report.job, dbs, self._observer.warning)
        self._store.state(self._report.job, "running")
        self.tally.reject_limit = reject_limit(self._request.max_rejects, plan.keys)
        self._engine = self._new_engine(plan, source, target)
        self._trail.before, self._trail.facts = self._store.flush, self._facts
        try:
            orders = orders_of(self._store, self._report.job)
            await self._keep_undo(source, target)
            async with Steering(self._request.max_duration_ms, orders).held() as steering:
                if before:
                    await self._take_up(before, source, target)
                await self._carry_out(plan, source, target, steering)
        finally:
            self._engine.close()
            if self._keeping is not None:
                self._keeping.close()
            with anyio.CancelScope(shield=True):
                await target.withdraw()

    def _new_engine(self, plan: CopyPlan, source: Server, target: Server) -> Engine:
        job = self._report.job
        return Engine(self._request, plan, source, target, self.tally, self._observer, self._trail, job)

    async def _keep_undo(self, source: Server, target: Server) -> None:
        """Where keys are written over, what they hold is kept before."""
        if not keeps_undo(self._request):
            return
        job, limit_bytes = self._report.job, largest_value_bytes(self._request)
        exact = await self._exact(source, target)
        self._keeping = Keeping(
            job, self._request, target, limit_bytes=limit_bytes, exact=exact, why=self._report.command
        )
        if self._request.on_conflict == "replace":
            self._engine.captured = self._keeping.writer

    async def _exact(self, source: Server, target: Server) -> bool:
        """Whether what the target gives back of a payload is that payload."""
        return await packs_alike(source, target)

    async def _take_up(self, before: Facts, source: Server, target: Server) -> None:
        """Go on where the processes before this one stopped."""
        taken = await take_up(before, self._trail, source, target, self._engine, self._store.rejects(self._report.job))
        self._report.resumed, self._report.seconds = self._store.get(self._report.job).runs - 1, taken.seconds
        self._began_ms, self._writes_before = taken.began_ms, taken.writes_before
        self._tell(*taken.said)

    def _tell(self, *said: str) -> None:
        """While it runs, and in the report; what is empty is not said."""
        for text in filter(None, said):
            self._observer.warning(text)
            self._report.notes.append(text)

    def _facts(self) -> Facts:
        engine = self._engine
        return Facts(
            source=engine.source.identity,
            target=engine.target.identity,
            began_ms=self._began_ms,
            writes_before=self._writes_before,
            counts=self.tally.counts,
            bytes_read=self.tally.bytes_read,
            bytes_written=self.tally.bytes_written,
            seconds=self._report.seconds,
            marks=[] if self._request.hash_keys else engine.landmarks.marks(),
            held=engine.landmarks.held,
            lasting=engine.landmarks.lasting,
            until_ms=engine.landmarks.until_ms,
            read_later=engine.later,
        )

    async def _stand_by(self, source: Server) -> Server:
        """The server to read from; where it is a replica, the request says so from now on."""
        if self._request.read_from != "replica":
            return source

        async def open_server(address: Address) -> Server:
            return await open_one(self._request, address, self._report.job)

        self._standby = await find_replica(source, open_server)
        self._request = msgspec.structs.replace(self._request, source=self._standby.server.address)
        return self._standby.server

    async def _carry_out(self, plan: CopyPlan, source: Server, target: Server, steering: Steering) -> None:
        started = time.monotonic()
        if not self._began_ms:
            self._began_ms, self._writes_before = source.now_ms(), await self._writes(source)
        self._gone_before = await gone_at(target)
        await self._note_names()
        pacing = Pacing(self._engine, self._store, self._report.job, self._observer, self._standby)
        try:
            while True:
                steering.drain_on_stop()
                try:
                    with ungrouped():
                        async with pacing.kept():
                            await self._move_and_prove(source, target, plan, steering, pacing.clocks)
                    break
                except ReplacedError as error:
                    steering.check()
                    steering.abort_on_stop()
                    await self._start_again(error, source, target)
        except GaveUpError:
            steering.check()  # to stop what was waiting is the end that was asked for
            raise
        finally:
            self._report.seconds = self._report.seconds or time.monotonic() - started
            self._report.route = self._engine.route
            if self._engine.governor.limited and self._engine.route == "scan":
                self._report.notes.append("others used the source: it was read politely (--pace max is not held back)")
            self._report.notes += pacing.clocks.said
            self._settle()

    async def _copy_functions(self, plan: CopyPlan, source: Server, target: Server) -> None:
        """Ahead of the keys; what does not travel is a warning, and changes no exit code."""
        if not plan.functions and not plan.stranded:
            return
        keep = self._keeping.keep_library if self._keeping is not None else None
        counts = self._report.functions = await copy_functions(source, target, self._request.on_conflict, keep)
        self._tell_not_copied(counts.not_copied)

    def _tell_not_copied(self, said: list[str]) -> None:
        for text in said:
            if text not in self._report.not_copied:
                self._report.not_copied.append(text)
                self._observer.warning(f"not copied: {text}")

    async def _move_and_prove(
        self, source: Server, target: Server, plan: CopyPlan, steering: Steering, clocks: Clocks
    ) -> None:
        engine = self._engine
        await self._copy_functions(plan, source, target)
        started = time.monotonic()
        structlog.get_logger().info("reading", keys=plan.keys, writing=plan.writing, restarts=self._report.restarts)
        async with self._watched(source):
            try:
                async with self._ticking(plan):
                    await engine.attempt(steering.stop)
            finally:
                self._report.seconds += time.monotonic() - started
            await self._date(source)
            self._settle()
            await clocks.look()
            steering.check()
            if self._request.delete_extra:
                await self._delete_extra(steering.stop)
                steering.check()
            steering.abort_on_stop()
            if self._request.verify == "none":
                self._report.dbs = await self._counted(plan, source, target)
            else:
                await self._prove()
                await clocks.look()
        self._tell(await taken_over(source))
        self._tell_losses(plan, await gone_at(target))

    async def _delete_extra(self, stop: anyio.Event) -> None:
        writer = self._keeping.writer if self._keeping is not None else None
        names = self._names()
        extra = Extra(self._engine, writer, names, self.tally)
        try:
            self._tell(*await extra.delete(stop))
        finally:
            self._deleted += extra.deleted
            self._report.data = {"deleted": self._deleted}
            with anyio.CancelScope(shield=True):
                await names.close()

    def _names(self) -> Names:
        """What the source has."""
        return LiveNames(self._engine.source)

    def _watched(self, source: Server) -> AbstractAsyncContextManager[object]:
        """Hear of writes at the source for the length of the block."""
        return self._engine.tracker.running(source)

    async def _prove(self) -> None:
        await prove(self._engine, self._report, self._observer, began_ms=self._began_ms)

    async def _note_names(self) -> None:
        await note_names(self._engine)

    async def _adopt(self, error: ReplacedError, source: Server, target: Server) -> list[str]:
        return await Replacement(source, target, self._engine).adopt(error)

    async def _writes(self, source: Server) -> int:
        """The source's own count of writes, asked patiently: a short loss must not end a run that is nearly done."""
        return await source.asked(probe.writes_seen)

    async def _counted(self, plan: CopyPlan, source: Server, target: Server) -> list[DbTable]:
        """Key counts of both sides as they tell them; nothing was compared."""
        return counted(plan, await source.asked(probe.keyspace), await target.asked(probe.keyspace))

    def _tell_losses(self, plan: CopyPlan, gone_by_now: Gone | None) -> None:
        """Say what the servers lost; a source that lost its data proves nothing."""
        if lost := emptied(self._report, plan.keys):
            self._report.verified = False
        gone_of_itself = self._gone_before, gone_by_now
        self._tell(lost, evicted(*gone_of_itself), deleted(self._report, *gone_of_itself))
        self._tell(nothing_passed(self._report, self._request, plan.keys))
        for text in (expired(*gone_of_itself), "" if lost else remedy(self._report)):
            if text:
                self._report.notes.append(text)

    async def _date(self, source: Server) -> None:
        """Say of which instant or interval the copy is; what a process that is gone saw at its end is not known.

        Of what this job copied before its full sync, that does not tell what was deleted meanwhile: where anything was
        written, both together are of an interval.
        """
        wrote = await self._writes(source) - self._writes_before
        wrote, instant = max(0, wrote), self._engine.instant_ms
        if instant and not (wrote and self._engine.mixed):
            self._report.as_of = AsOf("instant", instant, instant, wrote, self._engine.later)
        else:
            self._report.as_of = AsOf("interval", self._began_ms, instant or source.now_ms(), wrote)

    async def _start_again(self, error: ReplacedError, source: Server, target: Server) -> None:
        self._report.restarts += 1
        if self._report.restarts > _MOST_RESTARTS:
            raise error
        asked = source.identity.run_id
        said = await self._adopt(error, source, target)
        if source.identity.run_id != asked:
            self._writes_before = 0  # a new process counts anew
        structlog.get_logger().info("a server was replaced", restarts=self._report.restarts, error=error.message)
        self._tell(*said)

    def _ticking(self, plan: CopyPlan) -> Ticker:
        return Ticker(self._engine, self.tally, plan, self._observer, self._report.command)

    def _rejected(self, reject: Reject) -> None:
        if reject.code != CONFLICT_CODE:  # the ledger of kept names knows those
            self._engine.note_reject(reject)
        note_reject(reject, self._store, self._report, self._observer)

    def _note_lossy(self) -> None:
        """Keys that were written with a loss, in this process, or in an earlier one as the proof found them."""
        report, lossy = self._report, self._engine.lossy
        report.lossy = max(len(lossy), report.verify.lossy if report.verify else 0)
        told = set(report.not_copied)
        report.not_copied += [line for line in lossy.values() if line and line not in told]

    def _settle(self) -> None:
        """Bring the report up to date with what is known."""
        report, counts = self._report, self.tally.counts
        again = bool(report.restarts or report.resumed or self._engine.rerouted)
        self._engine.settle_repeats(rewritten=again or self._request.on_conflict == "replace")
        self._note_lossy()
        report.bytes_read, report.bytes_written = self.tally.bytes_read, self.tally.bytes_written
        listed = counts.conflicts if self._request.on_conflict in ("", "fail") else 0
        verify = report.verify
        report.exit = worst(
            [
                12 if report.damage else 0,
                6 if verify and verify.differences() else 0,
                3 if counts.rejected or listed else 0,
                7 if verify and verify.changed else 0,
            ]
        )


async def open_pair(request: CopyRequest, job: str) -> tuple[Server, Server]:
    """Both servers, dialled once each. Raises as `Server.open`."""
    return await open_one(request, request.source, job), await open_one(request, request.target, job)


async def open_one(request: CopyRequest, address: Address, job: str) -> Server:
    """A server, dialled once. Raises as `Server.open`."""
    return await Server.open(
        address,
        name=own_name(job),
        connect_timeout=request.connect_timeout_ms / 1000,
        timeout=request.timeout_ms / 1000,
        give_up_s=request.give_up_after_ms / 1000,
        probes_restore=address is request.target,
    )


def reject_limit(text: str, keys: int) -> int:
    """`--max-rejects`: a count, or a share of the keys that are to be copied."""
    try:
        return int(keys * float(text[:-1]) / 100) if text.endswith("%") else int(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a number of keys or a share", hint="--max-rejects 1000 or 0.1%") from None


def counted(plan: CopyPlan, left: KeyspaceCounts, right: KeyspaceCounts) -> list[DbTable]:
    """A row per database: keys and those with a deadline on both sides, no digests."""
    rows = []
    for db in plan.dbs:
        here, there = left.get(db.source_db, (0, 0)), right.get(db.target_db, (0, 0))
        rows.append(DbTable(db.target_db, (here[0], there[0]), (here[1], there[1]), ("", "")))
    return rows

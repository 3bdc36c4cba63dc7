"""An act on the keys of one server that brings nothing from elsewhere: undo, clear. A job like any other.

open the target -> prepare -> plan -> consent -> changes, each captured before -> looked at again -> Report
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import anyio
import msgspec

from transfer.endpoint.redis.captured import CapturedWriter
from transfer.endpoint.redis.changing import AsyncGroups, Changing, Settle
from transfer.endpoint.redis.functions import Keep
from transfer.endpoint.redis.looking import Change, Looker
from transfer.endpoint.redis.rebuild import REFUSED_CODE
from transfer.endpoint.redis.server import Server
from transfer.job.claim import next_command
from transfer.job.consent import ask_consent, check_approval
from transfer.job.copy import open_one, reject_limit
from transfer.job.neighbours import refuse_neighbours
from transfer.job.orders import orders_of
from transfer.job.record import note_reject, record_run
from transfer.job.sources import largest_value_bytes, patience_with, reply_cap_bytes
from transfer.job.steer import Steering
from transfer.job.store import JobStore
from transfer.job.undo import Keeping
from transfer.model.errors import TransferError
from transfer.model.plan import CopyPlan, CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import Finding, Progress, Reject, Report, Verdict, worst
from transfer.model.tally import Tally
from transfer.pipeline.flow import ungrouped
from transfer.wire.link import Reply

_TICK_S = 0.2


class Act(ABC):
    """One act, from what was asked for to its report; what is done to which keys is the subclass's."""

    command: str

    def __init__(self, request: CopyRequest, observer: Observer, store: JobStore, report: Report) -> None:
        self.request, self.observer, self.store, self.report = request, observer, store, report
        self.tally = Tally(on_reject=self._rejected)
        report.keys = self.tally.counts
        self.target: Server
        self.steering: Steering
        self.writer: CapturedWriter | None = None
        self.keep_library: Keep | None = None
        self._findings = 0

    @abstractmethod
    async def planned(self) -> CopyPlan:
        """What will be done; nothing is changed yet."""

    @abstractmethod
    def groups(self) -> AsyncGroups:
        """The changes, group by group."""

    @abstractmethod
    def settle(self, db: int, change: Change, answer: Reply) -> None:
        """One change has its fate."""

    @abstractmethod
    async def begun(self) -> None:
        """Consent is given; nothing is changed yet."""

    @abstractmethod
    async def check(self) -> None:
        """Look again at what was changed, and say in the report what was found."""

    async def run(self) -> None:
        self.target = await open_one(self.request, self.request.target, self.report.job)
        try:
            with ungrouped():
                await self._run()
        except TransferError as error:
            error.hint = next_command(error, self.store, self.report.job, self.request)
            raise

    async def _run(self) -> None:
        plan = await self.planned()
        self.store.save_plan(self.report.job, msgspec.json.encode(plan).decode())
        self.report.route = plan.route
        self.observer.planned(plan)
        if self.request.dry_run:
            return
        check_approval(self.request, plan)
        await ask_consent(self.request, plan, self.observer, self.store, self.report.job)
        await refuse_neighbours(self.target, self.report.job, {db.target_db for db in plan.dbs}, self.observer.warning)
        self.report.resumed = self.store.get(self.report.job).runs - 1
        self.store.state(self.report.job, "running")
        self.tally.reject_limit = reject_limit(self.request.max_rejects, plan.keys)
        keeping: Keeping | None = None
        try:
            keeping = self._keeping()
            self.writer, self.keep_library = keeping.writer, keeping.keep_library
            await self.begun()
            await self._carry_out(plan)
        finally:
            if keeping is not None:
                keeping.close()
            with anyio.CancelScope(shield=True):
                await self.target.withdraw()

    def _keeping(self) -> Keeping:
        limit_bytes = largest_value_bytes(self.request)
        return Keeping(
            self.report.job, self.request, self.target, limit_bytes=limit_bytes, exact=True, why=self.command
        )

    async def _carry_out(self, plan: CopyPlan) -> None:
        orders = orders_of(self.store, self.report.job)
        async with Steering(self.request.max_duration_ms, orders).held() as self.steering:
            started = time.monotonic()
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._tick, plan.keys)
                    await self.changing(self.writer, self.settle).run(self.groups())
                    group.cancel_scope.cancel()
            finally:
                self.report.seconds += time.monotonic() - started
                self.settled()
            self.steering.check()
            self.steering.abort_on_stop()
            await self.check()
            self.settled()

    def changing(self, writer: Looker | None, settle: Settle) -> Changing:
        stop, target = self.steering.stop, self.target
        patience = patience_with(self.request, target, self.observer.warning, stop)
        return Changing(target, writer, patience, settle, stop, cap_bytes=reply_cap_bytes(self.request))

    def settled(self) -> None:
        """Bring the report up to date."""
        self.report.exit = worst([3 if self.tally.counts.rejected else 0, 7 if self._findings else 0])

    def changed_by_others(self, db: int, name: bytes, detail: str) -> None:
        """A finding: somebody wrote *name* meanwhile, and it stays."""
        self._findings += 1
        self.observer.finding(Finding(Verdict.CHANGED, db, name, detail))

    def left_as_found(self, said: list[str]) -> None:
        """Things that are no keys and were not changed, a sentence for each."""
        self._findings += len(said)
        self.report.not_copied += said
        for text in said:
            self.observer.warning(text)

    def looker(self) -> Looker:
        """Reads, and changes nothing."""
        return Looker(self.target, limit_bytes=largest_value_bytes(self.request))

    def refuse(self, db: int, name: bytes, cause: str) -> None:
        self.tally.reject(db, name, REFUSED_CODE, cause)

    def _rejected(self, reject: Reject) -> None:
        note_reject(reject, self.store, self.report, self.observer)

    async def _tick(self, total: int) -> None:
        while True:
            await anyio.sleep(_TICK_S)
            counts = self.tally.counts
            share = min(1.0, counts.read / total) if total else None
            self.observer.progress(
                Progress(phase=self.command, share=share, keys=counts.read, total_keys=total, rejected=counts.rejected)
            )


async def run_act(
    command: str, make: Callable[[JobStore, Report], Act], request: CopyRequest, observer: Observer, job: str
) -> Report:
    """Carry out the act that *make* makes, under a job of its own, or under *job*, taken over before."""

    async def work(store: JobStore, report: Report) -> None:
        await make(store, report).run()

    return await record_run(command, request, observer, work, job)

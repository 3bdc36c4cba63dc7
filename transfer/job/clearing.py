"""Carry out a clear: what matches is deleted, each key after what it held is kept.

    SCAN, filters -> counts -> plan -> consent -> SCAN again -> capture, UNLINK under WATCH -> SCAN: what matches now?

Rule 1: what is deleted is what matches when it is met, whether or not it was counted.
Rule 2: what matches at the end was written by others meanwhile: it stays, and is listed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from transfer.codec import resp
from transfer.endpoint.redis.changing import AsyncGroups
from transfer.endpoint.redis.keyfile import readable_again
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.looking import ALREADY, Change
from transfer.endpoint.redis.server import Server
from transfer.job.acting import Act, run_act
from transfer.job.sources import largest_value_bytes, selection_of
from transfer.job.store import JobStore
from transfer.model.plan import CopyPlan, CopyRequest
from transfer.model.ports import UNTHROTTLED, Observer, Throttle
from transfer.model.record import hashes_of_names
from transfer.model.report import Report, VerifyResult
from transfer.pipeline.buckets import BucketStore
from transfer.wire.link import ErrorReply, Reply

_GONE = b"none"
Counter = Callable[[int], Awaitable[int]]
"""How many keys of a database match."""
ClearPlanner = Callable[[CopyRequest, Server, Counter], Awaitable[CopyPlan]]


class Cleared(msgspec.Struct, frozen=True):
    """What a clear says of itself in the result: keys deleted, and those that match at its end."""

    deleted: int
    left: int


async def matching(
    request: CopyRequest, server: Server, db: int, throttle: Throttle = UNTHROTTLED
) -> AsyncIterator[list[bytes]]:
    """Names in *db* of *server* that the filters of *request* take, page by page; some may come twice."""
    selection = selection_of(request)
    keyspace = LiveKeyspace(
        server, limit_bytes=largest_value_bytes(request), keys_from=request.keys_from, throttle=throttle
    )
    named = bool(request.keys_from)
    try:
        for kind in request.types if request.types and not named else (None,):
            async for page in keyspace.pages(db, selection.pushed_match(), kind):
                names = selection.names(page)
                if named and names:
                    names = await _there(request, server, db, names)
                if names:
                    yield names
    finally:
        await keyspace.close()


async def _there(request: CopyRequest, server: Server, db: int, names: list[bytes]) -> list[bytes]:
    """Those of *names* that hold something, of the types that are asked for."""
    kinds = await server.asked(lambda link: link.ask(resp.each(b"TYPE", names), len(names)), db)
    wanted = {kind.encode() for kind in request.types}
    found = zip(names, kinds, strict=True)
    return [name for name, kind in found if _word(kind) != _GONE and (not wanted or _word(kind) in wanted)]


def _word(kind: Reply) -> bytes:
    return kind if isinstance(kind, bytes) else str(kind).encode()


class ClearRun(Act):
    """One clear."""

    command = "clear"

    def __init__(
        self, request: CopyRequest, observer: Observer, store: JobStore, report: Report, planner: ClearPlanner
    ) -> None:
        super().__init__(request, observer, store, report)
        self._planner = planner
        self._dbs: list[int] = []
        self._refused: set[tuple[int, bytes]] = set()

    async def planned(self) -> CopyPlan:
        plan = await self._planner(self.request, self.target, self._count)
        self._dbs = [db.target_db for db in plan.dbs]
        return plan

    async def _count(self, db: int) -> int:
        seen = BucketStore(0, spill_dir=self.request.spill_dir)
        try:
            async for names in matching(self.request, self.target, db):
                seen.add(hashes_of_names(db, names), ())
            return seen.distinct()
        finally:
            seen.close()

    async def begun(self) -> None:
        pass

    async def groups(self) -> AsyncGroups:
        for db in self._dbs:
            async for names in matching(self.request, self.target, db):
                yield db, [Change(name, (resp.command(b"UNLINK", name),)) for name in names]

    def settle(self, db: int, change: Change, answer: Reply) -> None:
        if isinstance(answer, ErrorReply):
            self._refused.add((db, change.name))
            self.refuse(db, change.name, str(answer))
        else:
            self.tally.settle("gone" if answer is ALREADY or answer == 0 else "written")

    async def check(self) -> None:
        started, left = time.monotonic(), set[tuple[int, bytes]]()
        for db in self._dbs:
            async for names in matching(self.request, self.target, db):
                left |= {(db, name) for name in names} - self._refused
        for db, name in sorted(left):
            self.changed_by_others(db, name, "it was written while the clear ran, and is there")
        deleted = self.tally.counts.written
        checked = deleted + len(left) + len(self._refused)
        self.report.verify = VerifyResult(checked=checked, match=deleted, changed=len(left))
        self.report.verify.rejected, self.report.verify.seconds = len(self._refused), time.monotonic() - started
        self.report.verified = not left and not self._refused
        self.report.data = Cleared(deleted, len(left) + len(self._refused))


async def run_clear(request: CopyRequest, observer: Observer, planner: ClearPlanner, job: str = "") -> Report:
    """Delete what matches at `request.target`.

    Raises:
        TransferError: what stopped the clear before its end; it can be resumed.
    """

    def make(store: JobStore, report: Report) -> ClearRun:
        kept = store.path.with_name(f"{report.job}.names")
        asked = msgspec.structs.replace(request, keys_from=readable_again(request.keys_from, kept))
        return ClearRun(asked, observer, store, report, planner)

    return await run_act("clear", make, request, observer, job)

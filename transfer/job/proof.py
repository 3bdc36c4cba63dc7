"""Proof: two places compared both ways, after a copy against what it promised, or as they are.

Engine -> _Kept (what the copy promised) + who knows of changes -> March -> Report
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from functools import partial

import anyio

from transfer.codec.canonical import CANONICAL
from transfer.endpoint.file.chosen import ChosenNames
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.file.index import WIDTH_BYTES
from transfer.endpoint.file.keyspace import FileKeyspace
from transfer.endpoint.redis.big.digests import CanonicalDigest, Digests, PairDigest
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.server import Server
from transfer.job.engine import Engine
from transfer.job.sources import largest_value_bytes
from transfer.model.plan import CopyRequest, allows_loss
from transfer.model.ports import UNTHROTTLED, Observer, Throttle
from transfer.model.report import Report
from transfer.model.selection import Mapping, Selection
from transfer.model.units import some
from transfer.pipeline.buckets import BucketStore
from transfer.pipeline.ledger import Ledger
from transfer.report.meter import Meter
from transfer.verify.changes import ChangesSinceCopy
from transfer.verify.march import March
from transfer.verify.sides import Changes, MarchOptions, Promise

_TICK_S = 0.2
_WHOLE_BYTES = 1 << 30
"""A value of a file is had whole only, so the server gives its own whole, too."""
_HELD_SHARE, _MOST_LIMITS, _LEAST_BYTES = 20, 3, 256 << 10
"""A value above this part of the memory budget is compared in pieces; one reply takes so many of these parts at most.
Three comparers read both sides at once, and items of a value take ten times the bytes of its payload (measured)."""


async def prove(engine: Engine, report: Report, observer: Observer, *, began_ms: int = 0) -> None:
    """Compare the target with what the copy promised; the outcome goes into *report*.

    *began_ms*: when that copy began, by the source's clock, 0 where nobody knows.
    """
    request = engine.request
    await march(
        request,
        report,
        observer,
        left=engine.source,
        right=engine.target,
        selection=engine.selection,
        mapping=engine.mapping,
        total_keys=engine.plan.keys,
        changes=ChangesSinceCopy(None if engine.unwatched else engine.tracker, _ledgers(engine), deadlines_noted=True),
        promise=Promised(engine),
        throttles=(engine.governor, UNTHROTTLED),
        began_ms=began_ms + engine.target.now_ms() - engine.source.now_ms() if began_ms else 0,
    )


async def march(
    request: CopyRequest,
    report: Report,
    observer: Observer,
    *,
    left: Server | DataFile,
    right: Server | DataFile,
    selection: Selection,
    mapping: Mapping,
    total_keys: int,
    changes: Changes,
    promise: Promise | None,
    throttles: tuple[Throttle, Throttle],
    began_ms: int = 0,
) -> None:
    """Compare everything selected on two places and put what came of it into *report*; *throttles* spare left, right.

    *began_ms*: when the copy that went before began to write, by the right's clock; 0: there was none.
    """
    meter = Meter("verify", total_keys)
    files = isinstance(left, DataFile) or isinstance(right, DataFile)
    limit_bytes = _WHOLE_BYTES if files else held_bytes(request)
    async with (
        keyspace_of(left, limit_bytes, observer, throttles[0], request, request.keys_from) as here,
        keyspace_of(right, limit_bytes, observer, throttles[1], request) as there,
    ):
        comparison = March(
            here,
            there,
            selection=sampled(selection, request),
            mapping=mapping,
            changes=changes,
            new_records=lambda value_bytes: BucketStore(value_bytes, spill_dir=request.spill_dir),
            promise=promise,
            options=MarchOptions(
                ttl_tolerance_ms=request.ttl_tolerance_ms,
                both_ways=not request.keys_from,
                mode="sample" if request.verify == "sample" else "full",
                digest=request.digest,
                began_ms=began_ms,
                lossy=isinstance(right, Server) and allows_loss(request, right.features),
            ),
            on_finding=observer.finding,
            on_progress=lambda keys: meter.count(keys),
        )
        async with ticking(meter, observer):
            with _blamed(left), _blamed(right):
                report.verify = result = await comparison.run()
    if comparison.leftovers:
        names = some(comparison.leftovers, "temporary key")
        text = f"{names} of interrupted copies left at {right.where} (transfer:tmp:*)"
        observer.warning(text)
        report.notes.append(text)
    if request.digest == "canonical":
        result.digest = CANONICAL
    report.dbs = comparison.tables
    report.verified = not result.differences()


def sampled(selection: Selection, request: CopyRequest) -> Selection:
    """The selection narrowed to the share that `--verify sample=` names."""
    if request.verify != "sample":
        return selection
    return Selection(
        match=selection.match,
        exclude=selection.exclude,
        types=selection.types,
        sample=min(selection.sample, request.verify_sample),
        min_ttl_ms=selection.min_ttl_ms,
    )


def _blamed(place: Server | DataFile) -> AbstractContextManager[None]:
    return place.blamed() if isinstance(place, DataFile) else nullcontext()


@asynccontextmanager
async def ticking(meter: Meter, observer: Observer) -> AsyncIterator[None]:
    """Tell *observer* how far it is, a few times a second for the length of the block."""
    async with anyio.create_task_group() as group:
        group.start_soon(_tick, meter, observer)
        yield
        group.cancel_scope.cancel()


async def _tick(meter: Meter, observer: Observer) -> None:
    while True:
        await anyio.sleep(_TICK_S)
        observer.progress(meter.snapshot())


@asynccontextmanager
async def choosing(file: DataFile, keys_from: str, spill_dir: str) -> AsyncIterator[ChosenNames | None]:
    """What --keys-from names, for each database of *file*; None where it was not given."""
    if not keys_from:
        yield None
        return
    chosen = ChosenNames(BucketStore(WIDTH_BYTES, spill_dir=spill_dir))
    try:
        await chosen.read(keys_from, file.counts())
        yield chosen
    finally:
        chosen.close()


def held_bytes(request: CopyRequest) -> int:
    """How much of one value is held of a server."""
    return min(max(_LEAST_BYTES, request.max_memory_bytes // _HELD_SHARE), largest_value_bytes(request))


def digests_of(request: CopyRequest) -> Digests:
    """What stands for values that come in pieces: canonical ones are the same as of values that are taken whole."""
    return partial(CanonicalDigest, spill_dir=request.spill_dir) if request.digest == "canonical" else PairDigest


@asynccontextmanager
async def keyspace_of(
    place: Server | DataFile,
    limit_bytes: int,
    observer: Observer,
    throttle: Throttle,
    request: CopyRequest,
    keys_from: str = "",
) -> AsyncIterator[LiveKeyspace | FileKeyspace]:
    """The keys of *place* for the length of the block; values above *limit_bytes* come in pieces."""
    if isinstance(place, DataFile):
        async with choosing(place, keys_from, request.spill_dir) as chosen:
            yield FileKeyspace(place, chosen)
        return
    keyspace = LiveKeyspace(
        place,
        limit_bytes=limit_bytes,
        cap_bytes=limit_bytes * _MOST_LIMITS,
        keys_from=keys_from,
        on_wait=observer.warning,
        throttle=throttle,
        digests=digests_of(request),
    )
    try:
        yield keyspace
    finally:
        with anyio.CancelScope(shield=True):
            await keyspace.close()


class Promised:
    """What a finished copy promised, by database and name at the target."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def carried(self, left_db: int, keys: list[bytes]) -> list[bytes]:
        folded = self._engine.folded
        return [key for key in keys if (left_db, key) not in folded] if folded else keys

    def rejected(self, db: int, name: bytes) -> bool:
        return (db, name) in self._engine.rejected

    def kept(self, db: int, name: bytes) -> bool:
        return self._engine.kept.value_hash(db, name) is not None

    def wrote(self, db: int, name: bytes) -> bool:
        return any(ledger.value_hash(db, name) is not None for ledger in _ledgers(self._engine))


def _ledgers(engine: Engine) -> tuple[Ledger, ...]:
    """What this job read and wrote, or was about to write when an earlier process of it died."""
    return engine.written, engine.found_equal, engine.announced

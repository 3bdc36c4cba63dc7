"""What a copy reads from, as its request says: SCAN, or one full sync; what both are asked for; and how it flows.

CopyRequest, CopyPlan -> Selection, Mapping -> RedisSource | FullSyncSource -> Flow -> sink
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import anyio

from transfer.endpoint.redis.big.mover import BigKeys
from transfer.endpoint.redis.fullsync.kept import KeptSync
from transfer.endpoint.redis.fullsync.source import FullSyncOptions, FullSyncSource
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.source import RedisSource, SourceOptions
from transfer.endpoint.redis.tracking import WriteTracker
from transfer.endpoint.redis.wholesale import BatchWriter
from transfer.job.trail import Trail
from transfer.model.plan import CopyPlan, CopyRequest
from transfer.model.ports import Sink, Source
from transfer.model.record import Batch
from transfer.model.selection import Mapping, Selection, TtlRule
from transfer.model.tally import Tally
from transfer.pipeline.budget import ByteBudget
from transfer.pipeline.flow import Flow
from transfer.pipeline.frontier import Frontier
from transfer.pipeline.pace import Pace
from transfer.pipeline.throttle import Governor

_LINKS, _LINKS_FAR = 4, 12
_FAR_S = 0.01
"""From this round trip on more links keep a server busy; on a near one they only take turns (measured)."""
PAGE_KEYS, _SYNC_KEYS = 2000, 4000
_SYNC_BYTES, _LEAST_SYNC_BYTES = 1 << 20, 16 << 10
"""Of a batch from a full sync; less would not make large values any slower, which come by themselves."""
_WINDOW_BYTES, _BESIDE_BYTES = 8 << 20, 16 << 20
_LARGEST_SHARE, _LARGEST_BYTES = 4, 8 << 20
"""A value above this part of the memory budget, or this size, is never held whole."""


class Copying(Protocol):
    """What is shared by all attempts of one copy."""

    request: CopyRequest
    plan: CopyPlan
    source: Server
    target: Server
    selection: Selection
    mapping: Mapping
    tally: Tally
    tracker: WriteTracker
    governor: Governor
    pace: Pace
    captured: BatchWriter | None
    trail: Trail


class Part(Protocol):
    """What holds links, and lets go of them."""

    async def close(self) -> None: ...


class Reading(Source, Part, Protocol):
    """A source that wants to know what has arrived."""

    def acknowledged(self, batch: Batch) -> None: ...

    def unsettled(self) -> int: ...


class Writing(Sink, Part, Protocol):
    """A sink."""


def selection_of(request: CopyRequest) -> Selection:
    return Selection(
        match=request.match,
        exclude=request.exclude,
        types=request.types,
        sample=request.sample,
        min_ttl_ms=request.min_ttl_ms,
    )


def mapping_of(request: CopyRequest, plan: CopyPlan) -> Mapping:
    dbs = {db.source_db: db.target_db for db in plan.dbs}
    return Mapping(dbs, request.renames, TtlRule(request.ttl, request.ttl_amount_ms))


def largest_value_bytes(request: CopyRequest) -> int:
    """Values above this pass through, or go piece by piece."""
    return min(request.max_memory_bytes // _LARGEST_SHARE, _LARGEST_BYTES)


def reply_cap_bytes(request: CopyRequest) -> int:
    """The largest reply on a link that carries values: one of them, and what comes beside it."""
    return largest_value_bytes(request) + _BESIDE_BYTES


def patience_with(
    request: CopyRequest, server: Server, on_warning: Callable[[str], None], stop: anyio.Event
) -> Patience:
    """How long *server* is waited for."""
    return Patience(
        request.give_up_after_ms / 1000,
        stop_when_full=request.on_full == "stop",
        where=server.where,
        on_warning=on_warning,
        stop=stop,
    )


def links_to(server: Server) -> int:
    return _LINKS_FAR if server.round_trip_s >= _FAR_S else _LINKS


def _as_strings(copying: Copying) -> bool:
    """Whether strings may travel as themselves; not where payloads are compared with what was written over."""
    return copying.captured is None and copying.request.format == "auto" and copying.target.features.takes_strings


def scan_source(
    copying: Copying,
    budget: ByteBudget,
    big: BigKeys,
    stop: anyio.Event,
    frontier: Frontier,
    patience: Patience,
    left: Callable[[int, list[bytes]], list[bytes]],
) -> RedisSource:
    """Reads page by page, key by key."""
    request = copying.request
    return RedisSource(
        copying.source,
        copying.selection,
        SourceOptions(
            dbs=tuple(copying.mapping.dbs),
            readers=request.workers or links_to(copying.source),
            page_keys=request.batch or PAGE_KEYS,
            limit_bytes=largest_value_bytes(request),
            keys_from=request.keys_from,
            use=copying.plan.keeps_use,
            strings=_as_strings(copying),
        ),
        budget=budget,
        tally=copying.tally,
        patience=patience,
        stop=stop,
        throttle=copying.governor,
        pace=copying.pace,
        on_read=copying.tracker.clean,
        frontier=frontier,
        left=left,
        move_large=big.move,
    )


def sync_options(copying: Copying, limit_bytes: int, *, strings: bool) -> FullSyncOptions:
    """Of a full sync of which values above *limit_bytes* come apart."""
    request = copying.request
    return FullSyncOptions(
        dbs=tuple(copying.mapping.dbs),
        limit_bytes=limit_bytes,
        batch_keys=request.batch or _SYNC_KEYS,
        spill_dir=request.spill_dir,
        window_bytes=min(_WINDOW_BYTES, request.max_memory_bytes // _LARGEST_SHARE),
        use=copying.plan.keeps_use,
        strings=strings,
    )


def sync_source(
    copying: Copying,
    budget: ByteBudget,
    big: BigKeys,
    stop: anyio.Event,
    kept: KeptSync | None,
    left: Callable[[int, list[bytes]], list[bytes]],
) -> FullSyncSource:
    """Reads everything as it was at one instant, or what is left of that in *kept*."""
    request = copying.request
    return FullSyncSource(
        copying.source,
        copying.selection,
        FullSyncOptions(
            dbs=tuple(copying.mapping.dbs),
            limit_bytes=largest_value_bytes(request),
            batch_keys=min(request.batch or _SYNC_KEYS, copying.pace.most_keys),
            batch_bytes=min(_SYNC_BYTES, max(_LEAST_SYNC_BYTES, copying.pace.most_bytes)),
            spill_dir=request.spill_dir,
            window_bytes=min(_WINDOW_BYTES, request.max_memory_bytes // _LARGEST_SHARE),
            use=copying.plan.keeps_use,
            strings=_as_strings(copying) and not copying.plan.keeps_use,
        ),
        budget=budget,
        tally=copying.tally,
        stop=stop,
        move_large=big.move,
        frontier=Frontier(copying.trail.moved),
        on_read=copying.tracker.clean,
        note=copying.trail.sync_note,
        kept=kept,
        left=left,
    )


@asynccontextmanager
async def flowing(
    copying: Copying, source: Reading, sink: Writing, budget: ByteBudget, stop: anyio.Event, *others: Part
) -> AsyncIterator[Flow]:
    """From *source* to *sink*, and what arrived into the trail; both, and *others*, are closed at its end."""

    def acknowledged(batch: Batch) -> None:
        source.acknowledged(batch)
        copying.trail.flush()

    parts: tuple[Part, ...] = (source, sink, *others)
    try:
        copying.pace.stop = stop
        yield Flow(
            source,
            sink,
            budget=budget,
            pace=copying.pace,
            writers=copying.request.workers or links_to(copying.target) * (2 if copying.captured is not None else 1),
            acknowledged=acknowledged,
            unsettled=source.unsettled,
            stop=stop,
        )
    finally:
        with anyio.CancelScope(shield=True):
            for part in parts:
                await part.close()

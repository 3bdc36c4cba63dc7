"""What one attempt of a copy writes with, put together from what its engine shares with all attempts.

Engine -> Conflicts (what stands there?) -> RedisSink (batches)
                                        `-> BigKeys (large values, one by one)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from transfer.endpoint.redis.big.move import BigOptions
from transfer.endpoint.redis.big.mover import BigKeys
from transfer.endpoint.redis.bridge import LOGICAL, RESTAMP, Bridge, bridge_between
from transfer.endpoint.redis.conflicts import ConflictPolicy, Conflicts
from transfer.endpoint.redis.folding import Folding
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.landing import Approach
from transfer.endpoint.redis.rebuild import Rebuild
from transfer.endpoint.redis.sink import RedisSink
from transfer.job.sources import reply_cap_bytes
from transfer.model.plan import CopyRequest
from transfer.model.ports import ValuesOf
from transfer.model.report import Verdict
from transfer.model.value import Value
from transfer.pipeline.budget import ByteBudget
from transfer.verify.checks import compare, same_but_deadlines

if TYPE_CHECKING:
    from transfer.job.engine import Engine


def same_value(left: Value, right: Value) -> bool:
    return compare(left, right)[0] is Verdict.MATCH


def same_or_lossy(left: Value, right: Value) -> bool:
    """As `same_value`, where the right cannot hold all that the left may."""
    return same_value(left, right) or same_but_deadlines(left, right)


def conflicts_of(engine: Engine, values: ValuesOf, there: LiveKeyspace) -> Conflicts:
    """Decides about keys whose names are taken; *values* tells those of the source."""
    return Conflicts(
        there,
        _policy(engine.request),
        engine.written,
        engine.found_equal,
        engine.tally,
        values,
        same_or_lossy if engine.lossy_fields else same_value,
        engine.kept,
        doubtful=engine.doubtful,
        announced=engine.announced,
        source_version=lambda: engine.source.features.dump_version,
        on_overtaken=engine.tracker.overtaken,
    )


def big_keys_of(
    engine: Engine, approach: Approach, conflicts: Conflicts, budget: ByteBudget, stop: anyio.Event
) -> BigKeys:
    """Copies what is too large for a batch."""
    return BigKeys(
        engine.source,
        engine.target,
        BigOptions(
            above_bytes=engine.request.big_key_bytes,
            cap_bytes=reply_cap_bytes(engine.request),
            job=engine.job,
            writing=_writing(engine),
            use=engine.plan.keeps_use,
        ),
        approach=approach,
        policy=_policy(engine.request),
        conflicts=conflicts,
        folding=folding_of(engine),
        selection=engine.selection,
        written=engine.written,
        journal=engine.trail,
        tally=engine.tally,
        budget=budget,
        landmarks=engine.landmarks,
        patience=(engine.patience(engine.source, stop), engine.patience(engine.target, stop)),
        paced=lambda size_bytes: engine.pace.wait(0, size_bytes),
        stop=stop,
        throttle=engine.governor,
        on_read=engine.tracker.clean,
        announce=engine.trail.temporary,
        bridge=_bridge(engine),
        captured=engine.captured,
        on_loss=engine.lost if engine.lossy_fields else None,
    )


def sink_of(engine: Engine, approach: Approach, conflicts: Conflicts, values: ValuesOf, stop: anyio.Event) -> RedisSink:
    """Writes batches."""
    policy = _policy(engine.request)
    rebuild = Rebuild(
        engine.source,
        engine.target,
        approach,
        values,
        engine.written,
        engine.trail,
        engine.tally,
        replace=policy.replace,
        landmarks=engine.landmarks,
        commands=engine.request.format != RESTAMP,
        on_loss=engine.lost if engine.lossy_fields else None,
        captured=engine.captured,
    )
    return RedisSink(
        engine.source,
        engine.target,
        approach=approach,
        policy=policy,
        conflicts=conflicts,
        rebuild=rebuild,
        folding=folding_of(engine),
        written=engine.written,
        journal=engine.trail,
        tally=engine.tally,
        writing=_writing(engine),
        bridge=_bridge(engine),
        patience=engine.patience(engine.target, stop),
        landmarks=engine.landmarks,
        cap_bytes=reply_cap_bytes(engine.request),
        use=engine.plan.keeps_use,
        captured=engine.captured,
    )


def _writing(engine: Engine) -> str:
    return LOGICAL if LOGICAL in (engine.request.format, engine.plan.writing) else engine.request.format


def _bridge(engine: Engine) -> Bridge:
    source, target = engine.source, engine.target
    return bridge_between(
        source.identity, source.features, target.identity, target.features, wish=engine.request.format
    )


def _policy(request: CopyRequest) -> ConflictPolicy:
    return ConflictPolicy(
        replace=request.on_conflict == "replace",
        listed=request.on_conflict in ("", "fail"),
        tolerance_ms=request.ttl_tolerance_ms,
    )


def folding_of(engine: Engine) -> Folding | None:
    """Watches over names that several keys of the source would have; None where none can."""
    return Folding(engine.owners, engine.tally) if engine.owners is not None else None

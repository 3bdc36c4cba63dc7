"""The campaign judged: the engine broken on purpose, and the rows that have to notice.

    python -m tests.campaign.mutants [NAME ...]      one JSON line a mutant; exit 1 unless each is caught

Rule 1: a mutant is a patch in the forked child; nothing of the engine's files changes.
Rule 2: where it damages data, the engine's own proof is blinded as well: the oracle has to see it.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

import transfer.endpoint.redis.conflicts as conflicts
import transfer.endpoint.redis.links as links
import transfer.endpoint.redis.server as server
import transfer.endpoint.redis.sink as sink
import transfer.endpoint.redis.source as source
import transfer.job.copy as copying
import transfer.job.engine as engine
import transfer.model.endpoint as endpoint
import transfer.pipeline.flow as flow
from tests.campaign.__main__ import play
from tests.campaign.bench import Bench
from tests.campaign.rows import CASES
from transfer.model.errors import LinkError
from transfer.model.record import NO_DEADLINE, Batch
from transfer.model.report import VerifyResult
from transfer.wire.replies import ReplyClass, classify

Patch = Callable[[], None]


@dataclass(frozen=True)
class Mutant:
    """One way to break the engine, and the rows that should tell."""

    name: str
    patch: Patch
    rows: tuple[str, ...]
    seeds: range = range(6)


MUTANTS: dict[str, Mutant] = {}


def mutant(*rows: str, seeds: range = range(6)) -> Callable[[Patch], Patch]:
    """Register a way to break it."""

    def register(patch: Patch) -> Patch:
        name = patch.__name__
        MUTANTS[name] = Mutant(name, patch, rows, seeds)
        return patch

    return register


def blind() -> None:
    """The engine's own proof says yes to everything."""

    async def prove(engine: Any, report: Any, observer: Any, **more: Any) -> None:
        report.verify, report.verified = VerifyResult(), True

    copying.prove = prove  # type: ignore[assignment]


def sending(change: Callable[[Batch], Batch]) -> None:
    """Whole batches are sent as *change* makes them."""
    send = sink.send_batch

    async def changed(link: Any, batch: Batch, **how: Any) -> Any:
        other = change(batch)
        return await send(link, other, **how) if other.keys else None

    sink.send_batch = changed


def only(batch: Batch, keep: list[bool]) -> Batch:
    """The records of *batch* that are to be kept."""
    columns = {name: list(itertools.compress(getattr(batch, name), keep)) for name in ("keys", "dumps", "deadlines")}
    sizes = list(itertools.compress(batch.sizes, keep))
    return msgspec.structs.replace(batch, **columns, sizes=sizes)


@mutant("K1", seeds=range(40))
def acknowledge_before_the_write() -> None:
    blind()

    async def write(self: Any, batch: Batch) -> None:
        self._acknowledged(batch)
        await self._sink.write(batch)

    flow.Flow._write = write  # type: ignore[method-assign]


@mutant("S14")
def drop_each_thousandth_key() -> None:
    blind()
    count = itertools.count(1)
    sending(lambda batch: only(batch, [next(count) % 1000 != 0 for _ in batch.keys]))


@mutant("S14", "S5")
def count_deadlines_from_the_arrival() -> None:
    blind()
    sending(
        lambda batch: msgspec.structs.replace(
            batch, deadlines=[at + 300 if at != NO_DEADLINE else at for at in batch.deadlines]
        )
    )


@mutant("S14")
def lose_the_deadlines() -> None:
    blind()
    sending(lambda batch: msgspec.structs.replace(batch, deadlines=[NO_DEADLINE] * len(batch.keys)))


@mutant("S14", seeds=range(10, 14))
def change_one_byte_of_a_string() -> None:
    blind()

    def change(batch: Batch) -> Batch:
        if not batch.strings or not batch.dumps[0]:
            return batch
        return msgspec.structs.replace(batch, dumps=[b"\x00" + batch.dumps[0][1:], *batch.dumps[1:]])

    sending(change)


@mutant("S14")
def skip_a_partition() -> None:
    blind()
    pages = source.RedisSource._pages

    async def fewer(self: Any, db: int, after: Any) -> Any:
        found = await pages(self, db, after)
        return dict(list(found.items())[1:]) if db == 3 or len(found) > 1 else found

    source.RedisSource._pages = fewer  # type: ignore[method-assign]


@mutant("S14")
def write_into_another_database() -> None:
    blind()
    mapping = engine.mapping_of

    def wrong(request: Any, plan: Any) -> Any:
        found = mapping(request, plan)
        found.dbs.update(dict.fromkeys(found.dbs, 0))
        return found

    engine.mapping_of = wrong


@mutant("S1", seeds=range(12))
def take_a_full_target_for_a_success() -> None:
    blind()
    place = sink.RedisSink._place

    def ignoring(self: Any, delivery: Any, landing: Any, refusal: str) -> str:
        if classify(refusal) is ReplyClass.FULL:
            self._settle_written(delivery, [landing])
            return ""
        return place(self, delivery, landing, refusal)

    sink.RedisSink._place = ignoring  # type: ignore[method-assign]


@mutant("S13")
def swallow_a_conflict() -> None:
    def silent(self: Any, db: int, landing: Any) -> None:
        self._kept.note(db, [landing.name], [b""])
        self._tally.settle("already")

    conflicts.Conflicts.conflict = silent  # type: ignore[method-assign]


@mutant("S13")
def write_over_what_is_not_ours() -> None:
    send = sink.send_batch

    async def replacing(link: Any, batch: Batch, *, replace: bool, together: int) -> Any:
        return await send(link, batch, replace=True, together=together)

    sink.send_batch = replacing


@mutant("N2", "N1", seeds=range(12))
def take_a_lost_reply_for_a_success() -> None:
    blind()
    whole = sink.RedisSink._send_whole

    async def assuming(self: Any, link: Any, delivery: Any, batch: Batch) -> str:
        try:
            return await whole(self, link, delivery, batch)
        except LinkError:
            delivery.whole, delivery.fresh = None, []
            self._count(len(batch.keys), 0)
            return ""

    sink.RedisSink._send_whole = assuming  # type: ignore[method-assign]


@mutant("S16", "S15")
def overlook_that_a_server_was_replaced() -> None:
    blind()

    async def anybody(self: Any, db: int, cap_bytes: int) -> Any:
        return await self.dialer.dial(db=db, cap_bytes=cap_bytes)

    server.Server._dial_known = anybody  # type: ignore[method-assign]


@mutant("N2late")
def leave_old_connections_at_the_target() -> None:
    async def spare(self: Any, link: Any) -> None:
        self._broken.clear()

    links.Links._end_broken = spare  # type: ignore[method-assign]


@mutant("S14", "N1")
def leave_links_open() -> None:
    async def kept(self: Any) -> None:
        _kept.append(self)

    links.Links.close = kept  # type: ignore[method-assign]


_kept: list[Any] = []


@mutant("S14")
def show_the_password() -> None:
    def shown(self: Any) -> str:
        return f"redis://:{self.password.reveal() if self.password else ''}@{self.path or self.host}"

    endpoint.Address.__str__ = shown  # type: ignore[method-assign]


@mutant("S14")
def say_zero_after_findings() -> None:
    count = itertools.count(1)
    sending(lambda batch: only(batch, [next(count) % 1000 != 0 for _ in batch.keys]))
    copying.worst = lambda codes: 0


def main(names: list[str]) -> int:
    """Run every mutant under its rows until one of them fails."""
    bench, missed = Bench(), 0
    try:
        for one in [MUTANTS[name] for name in names] or MUTANTS.values():
            told = _hunt(bench, one)
            missed += not told["caught"]
            print(json.dumps(told), flush=True)
    finally:
        bench.end()
    return int(missed > 0)


def _hunt(bench: Bench, one: Mutant) -> dict[str, Any]:
    runs = 0
    bench.mutant = one.patch
    try:
        for row in one.rows:
            for seed in one.seeds:
                runs += 1
                told = play(bench, CASES[row], seed)
                if told["ok"] is False:
                    return {"mutant": one.name, "caught": True, "by": row, "runs": runs, "saw": told["failure"][:300]}
    finally:
        bench.mutant = None
    return {"mutant": one.name, "caught": False, "runs": runs, "rows": list(one.rows)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

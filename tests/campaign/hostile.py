"""N7: malformed RESP from a hostile server, seed by seed: no crash, no hang, resident memory bounded.

    python -m tests.campaign.hostile --seeds 0:20000 [--whole 10]

A line of JSON per failure and per `--every` seeds: case, seed, verdict; at the end `hostile n failures bound(3/n)`.
Every `--whole`-th seed is a whole copy or verify between real servers of which one lies; the others strike a Link.
A verdict is the code of the error a run ended with, or `fine`; any other exception, a run that takes longer than
HANG_S, or resident memory above RSS_MIB is a failure. One seed alone: `--seeds N:N+1`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from tests import oracle
from tests.job.copying import copied
from tests.job.filling import fill
from tests.job.watching import Watching
from tests.servers import running
from tests.wire.hostile import Meddler, against_link, meddling_proxy
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.job.record import peak_rss_bytes
from transfer.job.verify import run_verify
from transfer.model.errors import TransferError
from transfer.model.plan import CopyRequest
from transfer.plan.comparison import plan_verify

KEYS = 40
_FAST_DISK = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of a random name in it
HANG_S = 20.0
RSS_MIB = 400
LIMITS: dict[str, Any] = {
    "timeout_ms": 150,
    "connect_timeout_ms": 300,
    "give_up_after_ms": 400,
    "batch": 10,
    "workers": 2,
    "max_memory_bytes": 32 << 20,
}
_REPLIES = {"copy": 160, "verify": 130}
"""Roughly those of a run; a place beyond its end strikes nothing."""


@asynccontextmanager
async def honest_pair() -> AsyncIterator[tuple[ThrowawayServer, ThrowawayServer]]:
    """A source with keys of every type, and an empty target."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        with oracle.client(source.address) as client:
            for number in range(4):
                client.xadd(f"stream{number}", {"f": "v"})
                client.xgroup_create(f"stream{number}", "g", "0")
        yield source, target


async def against_run(seed: int, source: ThrowawayServer, target: ThrowawayServer, state: Path) -> tuple[str, str]:
    """One whole run; returns (what it was, verdict)."""
    chance = random.Random(seed)
    command, side = chance.choice(("copy", "copy", "verify")), chance.choice(("source", "target"))
    form = chance.choice(("auto", "auto", "logical")) if command == "copy" else "auto"
    with oracle.client(target.address) as client:
        if command == "copy":
            client.flushall()
        elif client.dbsize() == 0:
            fill(target.address, KEYS // 2)
    meddler = Meddler(seed, _REPLIES[command])
    case = f"{command} {form} {side}: {meddler.name}{' always' if meddler.always else ''} at {meddler.at}"
    honest = source if side == "source" else target
    async with meddling_proxy(honest.address, meddler) as liar:
        left = liar if side == "source" else source.address
        right = liar if side == "target" else target.address
        with anyio.fail_after(HANG_S):
            try:
                await _run(command, left, right, state, form)
            except TransferError as error:
                return case, error.code
    return case, "fine" if meddler.struck else "not struck"


async def _run(command: str, left: Any, right: Any, state: Path, form: str) -> None:
    if command == "copy":
        await copied(left, right, state, format=form, fresh=True, **LIMITS)  # a proxy may get an earlier one's port
    else:
        request = CopyRequest(source=left, target=right, state_dir=str(state), spill_dir=str(state), **LIMITS)
        await run_verify(request, Watching(), plan_verify)


async def campaign(first: int, end: int, whole: int, every: int) -> int:
    """Run all seeds; prints as it goes. The number of failures."""
    verdicts: Counter[str] = Counter()
    failures, slowest = 0, 0.0
    with tempfile.TemporaryDirectory(dir=_FAST_DISK) as folder:
        async with honest_pair() as (source, target):
            for seed in range(first, end):
                began, case, verdict = time.monotonic(), "link", ""
                try:
                    if whole and seed % whole == 0:
                        case, verdict = await against_run(seed, source, target, Path(folder))
                    else:
                        with anyio.fail_after(HANG_S):
                            verdict = await against_link(seed)
                except BaseException as error:
                    if isinstance(error, (KeyboardInterrupt, SystemExit)):
                        raise
                    failures += 1
                    verdict = f"FAILED {type(error).__name__}"
                    told = "".join(traceback.format_exception(error))[-3000:]
                    print(json.dumps({"case": case, "seed": seed, "verdict": verdict, "told": told}), flush=True)
                took = time.monotonic() - began
                slowest = max(slowest, took)
                verdicts[("run " if case != "link" else "link ") + verdict] += 1
                if every and seed % every == 0:
                    print(json.dumps({"case": case, "seed": seed, "verdict": verdict, "s": round(took, 2)}), flush=True)
    rss = peak_rss_bytes() >> 20
    failures += rss > RSS_MIB
    count = end - first
    summary = {"verdicts": dict(verdicts.most_common()), "slowest_s": round(slowest, 2), "peak_rss_mib": rss}
    print(json.dumps(summary), flush=True)
    print(f"hostile {count} {failures} bound(3/{count}) = {3 / count:.2g}", flush=True)
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:20000", help="A:B, B not included")
    parser.add_argument("--whole", type=int, default=10, help="every n-th seed is a whole run; 0: none")
    parser.add_argument("--every", type=int, default=0, help="print every n-th seed")
    asked = parser.parse_args()
    first, _, end = asked.seeds.partition(":")
    sys.exit(bool(anyio.run(campaign, int(first), int(end), asked.whole, asked.every)))


if __name__ == "__main__":
    main()

"""Print docs/compatibility.md from copies between real servers of every version: what arrived, and how it travelled.

PYTHONPATH=. python docs/make_compatibility.py > docs/compatibility.md
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import anyio

from tests import oracle
from tests.job.copying import copied
from tests.matrix import fill
from tests.servers import VERSIONS, ask, running
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.plan.travel import travel_of

_HEAD = """# Any version to any version

Printed by `docs/make_compatibility.py` from copies between servers of these versions; `tests/test_matrix.py` makes
the same copies. The data has every type below and above each limit of its encodings, deadlines, deadlines of hash
fields where the source knows them, function libraries, and consumer groups with pending entries, those of deleted
ids among them. What arrived was read back by a client that shares no code with the engine.

- **as it is**: RESTORE of the payload that DUMP gave
- **stamped anew**: the same payload with a version that the target takes
- **encoded anew**: the value in a plainer type that the target loads, also one RESTORE
- strings travel as themselves (MGET, MSETNX) where the source holds many of them

| from | to | equal | as it is | stamped anew | encoded anew | refused, and why | functions |
|---|---|---|---|---|---|---|---|"""


async def page() -> str:
    """The whole of docs/compatibility.md."""
    rows = []
    async with AsyncExitStack() as stack:
        servers = {version: await stack.enter_async_context(running(version)) for version in VERSIONS}
        for here in VERSIONS:
            await _empty(servers[here])
            fill(servers[here].address, here)
            for there in VERSIONS:
                if here != there:
                    await _empty(servers[there])
                    rows.append(await _row(here, servers[here], there, servers[there]))
    return "\n".join([_HEAD, *rows]) + "\n"


async def _empty(server: ThrowawayServer) -> None:
    await ask(server, "FLUSHALL")
    await ask(server, "FUNCTION", "FLUSH")


async def _row(here: str, source: ThrowawayServer, there: str, target: ThrowawayServer) -> str:
    left, right = await Server.open(source.address), await Server.open(target.address)
    found = await travel_of(left, right, (0, 3))
    with tempfile.TemporaryDirectory() as state:
        report = await copied(source, target, Path(state))
    held, arrived = oracle.snapshot(source.address), oracle.snapshot(target.address)
    differences = oracle.compare(held, arrived)
    unequal = {*differences.lost, *differences.altered, *differences.deadline}
    ways = [sum(count for (_, way), count in found.ways.items() if way == named) for named in _WAYS]
    causes = "; ".join(sorted({f"{reject.cause}" for reject in report.rejects}))
    refused = f"{len(report.rejects)}: {causes}" if report.rejects else "-"
    functions = "-"
    if report.functions is not None:
        functions = f"{report.functions.written} of {report.functions.read}"
    equal = f"{len(held.keys) - len(unequal)} of {len(held.keys)}"
    return f"| {here} | {there} | {equal} | {' | '.join(map(str, ways))} | {refused} | {functions} |"


_WAYS = ("as it is", "stamped anew", "encoded anew")

if __name__ == "__main__":
    sys.stdout.write(anyio.run(page))

"""Killed while a large key is on its way: what the target holds is whole, and another run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.cli.running import run
from tests.job.test_copy_big import fill, temporaries
from tests.servers import running
from transfer.endpoint.redis.leftovers import remove_temporaries
from transfer.endpoint.redis.server import Server
from transfer.model.crash import POINTS

_WHERE: dict[str, tuple[str, ...]] = {
    "big.restored_part:2": ("--big-key", "1GiB"),
    "big.restored:1": ("--big-key", "1GiB"),
    "big.chunk_written:5": ("--big-key", "1MiB"),
    "big.before_rename:1": ("--big-key", "1MiB"),
    "big.renamed:2": ("--big-key", "1MiB"),
}


def test_every_named_point_of_large_keys_is_struck() -> None:
    """But for the removal after a refusal, which is an end like any other."""
    named = {name for name in POINTS if name.startswith("big.")}
    assert {where.partition(":")[0] for where in _WHERE} == named - {"big.temporary_removed"}


@pytest.mark.parametrize(("where", "words"), _WHERE.items())
async def test_a_kill_leaves_no_half_of_a_key_under_its_name(where: str, words: Any, tmp_path: Path) -> None:
    """SIGKILL at the point; `resume` ends with 0, and takes what was left under temporary names away."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "set", "zset", "string")
        asked = (source.url, target.url, "--max-memory", "4MiB", "--json", *words)

        killed = await run("copy", *asked, state=tmp_path, TRANSFER_CRASH_AT=where)
        assert killed.exit == -9, killed
        left = await temporaries(target)
        for key, found in oracle.contents(target.address).items():
            if key not in left:
                assert found == oracle.contents(source.address)[key]
        again = await run("resume", "--json", state=tmp_path)

        assert (again.exit, again.result["verified"]) == (0, True), again
        assert await remove_temporaries(await Server.open(target.address), again.result["job"]) == 0
        assert again.result["keys"]["written"] == len(oracle.contents(target.address)), again.result["keys"]
        oracle.assert_same(source.address, target.address, tolerance_ms=0)

"""What the target lost while a copy ran, and what filters left of the source, is said in a sentence of its own."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.job.copying import copied
from tests.job.filling import beside, fill, size, until
from tests.job.watching import Watching
from tests.servers import ask, running

KEYS = 3_000


@pytest.mark.parametrize(("verify", "exit_code"), [("full", 6), ("none", 0)])
async def test_keys_deleted_at_the_target_in_mid_run_are_named(verify: str, exit_code: int, tmp_path: Path) -> None:
    """FLUSHALL there: no verdict says so by itself, and without a proof nothing would."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        watching = Watching(consents=True)

        async def flush() -> None:
            await until(lambda: size(target.address) > KEYS // 3)
            await ask(target, "FLUSHALL")

        report = await beside(
            lambda: copied(source, target, tmp_path, watching, rate_keys_per_s=3000, batch=100, verify=verify), flush
        )

        assert report.exit == exit_code
        assert [text for text in watching.warnings if "not at the target, though it had acknowledged them" in text]


async def test_filters_that_let_nothing_pass_are_told(tmp_path: Path) -> None:
    """`VERIFIED 0 of 0` alone would look like a success."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        watching = Watching(consents=True)

        report = await copied(source, target, tmp_path, watching, match=(b"no-such:*",))

        assert (report.exit, report.keys.read) == (0, 0)
        assert f"no key passed the filters: none of {KEYS:,} keys was copied, and nothing was compared" in report.notes


async def test_how_much_is_done_grows_with_the_keys_of_every_database(tmp_path: Path) -> None:
    """SCAN runs ahead of what is read and written."""
    async with running() as source, running() as target:
        for db in (0, 3):
            await ask(source, "EVAL", "for i=1,4000 do redis.call('SET', 'k'..i, i) end", 0, db=db)
        watching = Watching(consents=True)

        await copied(source, target, tmp_path, watching, rate_keys_per_s=3000, verify="none")

        told = [(one.keys, one.share) for one in watching.snapshots if one.phase == "copy"]
        assert told
        assert all(abs(share - keys / 8000) < 0.06 for keys, share in told), told
        assert all(one <= two for (_, one), (_, two) in pairwise(told))

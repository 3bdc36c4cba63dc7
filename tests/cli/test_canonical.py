"""`--digest canonical`: digests that outlive the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import Said, transfer
from tests.job.filling import fill
from tests.rdbfiles import saved
from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer


def digests(said: Said) -> set[str]:
    return {digest for row in said.result["dbs"] for digest in row["digest"]}


async def test_canonical_digests_agree_across_versions_and_runs(tmp_path: Path) -> None:
    """Redis 6.2, 8.2 and Valkey 9.1 hold the same: compared in two runs, one digest; a changed byte, another."""

    def verify(left: ThrowawayServer, right: ThrowawayServer) -> Said:
        return transfer("verify", left.url, right.url, "--digest", "canonical", "--json", "--state", str(tmp_path))

    async with running("redis-6.2") as old, running("redis-8.2") as new, running("valkey-9.1") as newest:
        for server in (old, new, newest):
            fill(server.address, 300)

        first, second = verify(old, newest), verify(new, newest)
        await ask(newest, "APPEND", "k0", "x")
        third = verify(new, newest)

        assert (first.exit, second.exit, third.exit) == (0, 0, 6), (first, second, third)
        assert first.result["verify"]["digest"] == "canonical 1"
        assert len(digests(first)) == 1
        assert digests(first) == digests(second)
        assert len(digests(third)) == 2
        assert digests(first) < digests(third)


async def test_what_a_copy_proved_can_be_proved_again(tmp_path: Path) -> None:
    """The digest of a copy's table is the one that verify finds later; text says what it is."""
    async with running() as source, running("redis-7.0") as target:
        fill(source.address, 300)
        words = ("--digest", "canonical", "--state", str(tmp_path))
        copied = transfer("copy", source.url, target.url, "--json", *words)
        assert copied.exit == 0, copied

        said = transfer("verify", source.url, target.url, *words)

        assert said.exit == 0, said
        assert digests(copied).pop() in said.out
        assert "digests: canonical 1" in said.out


@pytest.mark.parametrize("version", ["redis-8.2", "valkey-9.1"])
async def test_a_file_has_the_digest_of_the_server_that_saved_it(version: str, tmp_path: Path) -> None:
    """Every type, deadlines of hash fields among them, whose numbers the two families count differently."""
    async with running(version) as server, running(version) as twin:
        for place in (server, twin):
            fill(place.address, 300)
            await ask(place, "HSET", "fields", "f", "v", "g", "w")
            await ask(place, "HPEXPIREAT", "fields", "4070908800000", "FIELDS", "1", "f")
        path = await saved(server, tmp_path / "dump.rdb")
        words = ("--digest", "canonical", "--json", "--state", str(tmp_path / "state"))

        live = transfer("verify", server.url, twin.url, *words)
        filed = transfer("verify", str(path), server.url, *words)

        assert (live.exit, filed.exit) == (0, 0), (live, filed)
        assert digests(live) == digests(filed)

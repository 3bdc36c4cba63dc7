"""Benchmarks run: a number nobody can make again is no number."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import generate_data
from tests.servers import VERSIONS, ask, need, running
from transfer.model.errors import GuardError
from transfer.wire.url import parse_address

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_generator_fills_every_version_with_the_mix_it_promises(version: str) -> None:
    """Of ten keys four plain strings, one that expires, two hashes, a list, a sorted set and a set."""
    async with running(version) as server:
        await generate_data.fill(server.address, keys=2_005, seed=3)
        assert await ask(server, "DBSIZE") == 2_005
        kinds = [await ask(server, "TYPE", b"k:%010d" % n) for n in range(10)]
        assert sorted(kinds) == [b"hash"] * 2 + [b"list"] + [b"set"] + [b"string"] * 5 + [b"zset"]
        assert b"expires=200," in (await ask(server, "INFO", "keyspace"))
        sizes = [await ask(server, *words) for words in (
            ("STRLEN", "k:0000000000"), ("STRLEN", "k:0000000005"), ("HLEN", "k:0000000001"), ("LLEN", "k:0000000003"),
            ("ZCARD", "k:0000000006"), ("SCARD", "k:0000000009"), ("STRLEN", "k:0000002004"),
        )]  # fmt: skip
        assert sizes == [120, 200, 10, 20, 20, 16, 120]


def test_the_same_seed_gives_the_same_requests() -> None:
    """Two machines measure the same data."""
    first, again, other = (list(generate_data.requests(3_000, seed)) for seed in (5, 5, 6))
    assert first == again != other
    assert [replies for _, replies in first] == [1_000] * 3


async def test_small_values_are_100_bytes_and_a_filled_database_is_left_alone() -> None:
    """The variant of many small strings; and nothing is written among keys of others."""
    async with running() as server:
        there = parse_address(f"{server.url}/2")
        await generate_data.fill(there, keys=10, values="small")
        assert await ask(server, "STRLEN", "k:0000000003", db=2) == 100
        with pytest.raises(GuardError, match="10 keys"):
            await generate_data.fill(there, keys=10)


def test_the_copy_benchmark_runs_and_writes_what_it_prints(tmp_path: Path) -> None:
    """A small run by the command line: every way measured, every ratio there, JSON beside the table."""
    need("valkey-9.1")
    out = tmp_path / "bench.json"
    words = ["--keys", "2000", "--rounds", "1", "--server", "valkey-9.1", "--out", str(out)]
    command = [sys.executable, "benchmarks/bench_copy.py", *words]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(out.read_text())
    assert set(found["median"]) == {"migrate", "copy", "copy + verify"}
    assert all(row["wall_s"] > 0 and row["source_cpu_s"] >= 0 for row in found["median"].values())
    assert found["median"]["copy"]["rss_mib"] > 1
    assert all(name in ran.stdout for name in found["ratios"])

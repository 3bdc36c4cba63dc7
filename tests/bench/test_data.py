"""Data of benchmarks: the mix that is promised, the same for the same seed."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from tests.servers import VERSIONS, ask, running
from transfer.bench import data
from transfer.model.errors import GuardError
from transfer.wire.url import parse_address

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_generator_fills_every_version_with_the_mix_it_promises(version: str) -> None:
    """Of ten keys four plain strings, one that expires, two hashes, a list, a sorted set and a set."""
    async with running(version) as server:
        await data.fill(server.address, keys=2_005, seed=3)
        assert await ask(server, "DBSIZE") == 2_005
        kinds = [await ask(server, "TYPE", b"%c:%010d" % (kind, n)) for n, kind in enumerate(b"khklkvzkhs")]
        assert sorted(kinds) == [b"hash"] * 2 + [b"list"] + [b"set"] + [b"string"] * 5 + [b"zset"]
        assert b"expires=200," in (await ask(server, "INFO", "keyspace"))
        sizes = [await ask(server, *words) for words in (
            ("STRLEN", "k:0000000000"), ("STRLEN", "v:0000000005"), ("HLEN", "h:0000000001"), ("LLEN", "l:0000000003"),
            ("ZCARD", "z:0000000006"), ("SCARD", "s:0000000009"), ("STRLEN", "k:0000002004"),
        )]  # fmt: skip
        assert sizes == [120, 200, 10, 20, 20, 16, 120]


def test_the_same_seed_gives_the_same_requests() -> None:
    """Two machines measure the same data."""
    first, again, other = (list(data.requests(3_000, seed)) for seed in (5, 5, 6))
    assert first == again != other
    assert [replies for _, replies in first] == [1_000] * 3


@pytest.mark.parametrize(("values", "size_bytes"), [("small", 100), ("10", 10), ("10000000", 10_000_000)])
async def test_strings_have_the_size_that_was_asked_for(values: str, size_bytes: int) -> None:
    """Also one larger than the random text they are cut from."""
    async with running() as server:
        await data.fill(server.address, keys=3, values=values)
        assert [await ask(server, "STRLEN", f"k:000000000{n}") for n in range(3)] == [size_bytes] * 3


async def test_a_filled_database_is_left_alone() -> None:
    """Nothing is written among keys of others."""
    async with running() as server:
        there = parse_address(f"{server.url}/2")
        await data.fill(there, keys=10, values="small")
        with pytest.raises(GuardError, match="10 keys"):
            await data.fill(there, keys=10)


async def test_the_script_fills_a_server_of_yours() -> None:
    """`benchmarks/generate_data.py URL`."""
    async with running() as server:
        words = [sys.executable, str(ROOT / "benchmarks" / "generate_data.py"), server.url, "--keys", "20"]
        ran = await anyio.run_process(words, check=False)
        assert ran.returncode == 0, ran.stderr
        assert "20 keys (mixed, seed 1)" in ran.stdout.decode()
        assert await ask(server, "DBSIZE") == 20

"""Servers that throw clients out: too many, killed, idle, too slow to read (N10). A run completes, or says why not."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.job.copying import copied
from tests.job.filling import beside, fill, size, until
from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.errors import TransferError
from transfer.model.report import Report

KEYS = 1500
PACE: dict[str, Any] = {"batch": 50, "rate_keys_per_s": 1500, "give_up_after_ms": 10_000}


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_server_of_few_clients_is_enough_or_said_to_be_crowded(side: str, tmp_path: Path) -> None:
    """maxclients 3, one of them taken: all arrives with the links there are, or the one error names the limit."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        await ask(source if side == "source" else target, "CONFIG", "SET", "maxclients", 3)
        ended = await _end_of(source, target, tmp_path, give_up_after_ms=2000, connect_timeout_ms=2000)

        if isinstance(ended, TransferError):
            assert ended.exit_code == 4
            assert "max number of clients" in ended.message
        else:
            assert (ended.exit, ended.verified) == (0, True)


@pytest.mark.parametrize("side", ["source", "target"])
async def test_clients_killed_in_mid_run_come_back(side: str, tmp_path: Path) -> None:
    """CLIENT KILL TYPE normal, again and again: everything arrives, nothing is in doubt."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)

        async def kill() -> None:
            for share in (10, 4, 2):
                await until(partial(_holds, target, KEYS // share))
                await ask(source if side == "source" else target, "CLIENT", "KILL", "TYPE", "normal")

        report = await beside(lambda: copied(source, target, tmp_path, **PACE), kill)

        assert (report.exit, report.verified, report.keys.conflicts) == (0, True, 0)
        oracle.assert_same(source.address, target.address)


async def test_servers_that_drop_idle_clients_lose_nothing(tmp_path: Path) -> None:
    """`timeout 1` on both sides, and a pace at which links lie idle longer than that."""
    async with running() as source, running() as target:
        fill(source.address, 120)
        for server in (source, target):
            await ask(server, "CONFIG", "SET", "timeout", 1)

        report = await copied(source, target, tmp_path, batch=20, rate_keys_per_s=30)

        assert (report.exit, report.verified) == (0, True)
        oracle.assert_same(source.address, target.address)


def _holds(server: ThrowawayServer, keys: int) -> bool:
    return size(server.address) >= keys


async def _end_of(
    source: ThrowawayServer, target: ThrowawayServer, state: Path, **asked: Any
) -> Report | TransferError:
    """How a copy ended."""
    try:
        return await copied(source, target, state, **asked)
    except TransferError as error:
        return error


async def test_a_source_with_small_output_buffers_is_read_or_named(tmp_path: Path) -> None:
    """Replies beyond its limit cost the connection: completes, or gives up with one error; never hangs or lies."""
    async with running() as source, running() as target:
        fill(source.address, 300, value_bytes=20_000)
        await ask(source, "CONFIG", "SET", "client-output-buffer-limit", "normal 262144 131072 1")
        ended = await _end_of(source, target, tmp_path, give_up_after_ms=3000)

        if isinstance(ended, TransferError):
            assert ended.exit_code == 4
        else:
            assert (ended.exit, ended.verified) == (0, True)
            oracle.assert_same(source.address, target.address)

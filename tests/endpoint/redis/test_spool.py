"""The spool: first in, first out, bounded in memory, and nothing of it stays."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import anyio
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.endpoint.redis.fullsync import spool as module
from transfer.endpoint.redis.fullsync.spool import Spool
from transfer.model.errors import LimitError


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.one_of(st.binary(min_size=1, max_size=50), st.none()), max_size=60),
    window=st.integers(1, 80),
    keeps=st.booleans(),
)
async def test_what_goes_in_comes_out_in_order(steps: list[bytes | None], window: int, keeps: bool) -> None:
    """Through memory, through the file, and through both by turns; None takes what is there. What is kept is all."""
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(window_bytes=window, path=f"{folder}/kept" if keeps else "")
        put = await _put_and_taken(spool, steps)

        assert _contents(folder) == ([put] if keeps and put else [])
        assert not keeps or spool.digest() == xxhash.xxh3_128_hexdigest(put)


def _contents(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in Path(folder).iterdir()]


async def _put_and_taken(spool: Spool, steps: list[bytes | None]) -> bytes:
    put, taken = b"", b""
    for step in steps:
        if step is not None:
            put += step
            await spool.put(step)
        elif len(taken) < len(put):
            taken += await spool.take()
    spool.end()
    while data := await spool.take(7):
        taken += data
    spool.close()

    assert taken == put == put[: spool.put_bytes]
    return put


async def test_the_file_is_private_and_has_no_name(tmp_path: Path) -> None:
    """0600, in the folder that was named, and gone with the process however that ends."""
    spool = Spool(str(tmp_path), window_bytes=10)
    for _ in range(5):
        await spool.put(b"x" * 100)

    found = os.fstat(spool._file)
    assert (found.st_mode & 0o777, found.st_nlink, found.st_size) == (0o600, 0, 500)
    assert found.st_dev == os.stat(tmp_path).st_dev
    assert os.listdir(tmp_path) == []
    assert spool.spilled_bytes == 400
    spool.close()


async def test_whoever_takes_waits_for_enough_or_the_end() -> None:
    """Small pieces would make small batches."""
    spool, got = Spool(), []

    async def take() -> None:
        while data := await spool.take(10):
            got.append(data)

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        for _ in range(3):
            await spool.put(b"12345")
            await anyio.wait_all_tasks_blocked()
        spool.end()

    assert got == [b"1234512345", b"12345"]


async def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what to do about it; what was taken before stands."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "pwrite", full)
    spool = Spool(str(tmp_path), window_bytes=1)
    await spool.put(b"a")
    with pytest.raises(LimitError, match="no room"):
        await spool.put(b"b")
    spool.close()

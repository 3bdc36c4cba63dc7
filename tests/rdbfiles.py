"""RDB files for tests: saved by real servers, and cut or altered."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer

CORPUS = Path(os.environ.get("RDB_CORPUS", Path(__file__).parents[2] / "shared" / "rdb-corpus"))
IN_2099_MS = 4_070_908_800_123


def corpus(name: str) -> Path:
    """A file of the corpus; skips the calling test where there is none."""
    path = CORPUS / name
    if not path.exists():
        pytest.skip(f"no RDB corpus at {CORPUS} (RDB_CORPUS names it)")
    return path


async def saved(server: ThrowawayServer, path: Path) -> Path:
    """What *server* holds now, saved by it, at *path*."""
    assert await ask(server, "SAVE") == b"OK"
    shutil.copy(server.folder / "dump.rdb", path)
    return path


@asynccontextmanager
async def started_from(path: Path, version: str, folder: Path) -> AsyncIterator[ThrowawayServer]:
    """A server of *version* that has loaded the file."""
    os.mkdir(folder)
    shutil.copy(path, folder / "dump.rdb")
    async with running(version, folder=folder) as server:
        yield server


def altered(path: Path, at: int, to: Path) -> Path:
    """A copy with the byte *at* inverted."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    to.write_bytes(data)
    return to


def cut(path: Path, size: int, to: Path) -> Path:
    """Its first *size* bytes."""
    to.write_bytes(path.read_bytes()[:size])
    return to

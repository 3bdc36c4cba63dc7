"""The way through a file: the same keys whether it is read whole, from a block on, or key by key."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.job.filling import fill
from tests.rdbfiles import corpus, saved
from tests.servers import ask, running
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.file.index import WIDTH_BYTES, NameIndex
from transfer.endpoint.file.keyspace import FileKeyspace
from transfer.endpoint.rdb.walk import RdbWalk
from transfer.model.errors import FileMissingError, FormatError, ReplacedError
from transfer.pipeline.buckets import BucketStore

KEYS = 6000
Row = tuple[int, bytes, bytes, int]


def rows_of(walk: RdbWalk, start: int = 0, db: int = 0) -> list[Row]:
    """(db, key, body, deadline) from a block on."""
    blocks = walk.blocks(start, db)
    return [(it.db, *row) for it in blocks for row in zip(it.keys, it.bodies, it.deadlines, strict=True)]


async def some_file(tmp_path: Path) -> Path:
    """Keys of five types in two databases, a third with deadlines; one value larger than what is read at once."""
    async with running("redis-7.0") as source:
        fill(source.address, KEYS, value_bytes=120)
        fill(source.address, 500, seed=1, db=7)
        await ask(source, "SET", "large", random.Random(0).randbytes(3 << 20), "PX", 100_000_000)
        return await saved(source, tmp_path / "dump.rdb")


async def test_a_block_read_alone_begins_what_reading_on_gives(tmp_path: Path) -> None:
    """From the start of any block on come the same keys, databases and deadlines as in one go."""
    walk = RdbWalk(await some_file(tmp_path))
    whole = rows_of(walk)
    blocks = list(walk.blocks())
    done = 0
    assert len(blocks) > 10
    for block in blocks:
        assert rows_of(walk, block.start, block.db) == whole[done:]
        done += len(block.keys)
    assert done == len(whole) == KEYS + 501


async def test_any_key_is_found_by_its_name(tmp_path: Path) -> None:
    """In any order, from either database, with its deadline; a name that is not there is not."""
    file = await DataFile.open(RdbWalk(await some_file(tmp_path)), index=NameIndex(BucketStore(WIDTH_BYTES)))
    whole = {(db, key): (body, deadline) for db, key, body, deadline in rows_of(file.walk)}
    keyspace, names = FileKeyspace(file), list(whole)
    random.Random(1).shuffle(names)
    for db in (0, 7):
        mine = [key for at, key in names if at == db]
        for at in range(0, len(mine), 400):
            asked = [*mine[at : at + 400], b"nobody"]
            found = await keyspace.dumps(db, asked)
            bodies = [None if payload is None else payload[:-10] for payload in found.payloads]
            wanted = [whole.get((db, key), (None, -1)) for key in asked]
            assert list(zip(bodies, found.deadlines, strict=True)) == wanted


async def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    """Its inode, size, time or beginning differ."""
    path = await some_file(tmp_path)
    file = await DataFile.open(RdbWalk(path))
    file.check_unchanged()
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(ReplacedError):
        file.check_unchanged()


async def test_every_cut_of_a_small_file_is_refused(tmp_path: Path) -> None:
    """At every byte: never a whole file, never another failure; a folder and nothing are no files."""
    data = corpus("redis-rdb-tools/redis_50_with_streams.rdb").read_bytes()
    path = tmp_path / "cut.rdb"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        with pytest.raises(FormatError) as raised:
            await DataFile.open(RdbWalk(path))
        assert raised.value.where == str(path)
    path.write_bytes(data)
    assert (await DataFile.open(RdbWalk(path))).keys == 14
    for wrong in (tmp_path, tmp_path / "none.rdb"):
        with pytest.raises(FileMissingError):
            await DataFile.open(RdbWalk(wrong))

"""Real files that others wrote, read as the table in their README says, and as a real server reads them."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from tests.codec.rdb.reading import Entry, Read, read
from tests.servers import ask, running
from transfer.codec.rdb.decode import decode, decode_dump
from transfer.codec.rdb.items import Skipped
from transfer.model.endpoint import Address
from transfer.model.errors import FormatError
from transfer.model.value import StreamValue, Value

CORPUS = Path(os.environ.get("RDB_CORPUS") or Path(__file__).parents[3] / "../shared/rdb-corpus").resolve()
_CHECKSUMS = {"ok": "right", "zero": "zero", "none": "none"}
_KEYS = re.compile(r"(?:(\d+) )?[a-z]")


class Row(msgspec.Struct):
    """One line of the table."""

    path: Path
    size_bytes: int
    version: int
    checksum: str
    keys: int
    server: str


def _rows() -> list[Row]:
    if not (CORPUS / "README.md").exists():
        return []
    lines = [line.strip("|").split("|") for line in (CORPUS / "README.md").read_text().splitlines() if ".rdb|" in line]
    return [Row(CORPUS / c[0], int(c[1]), int(c[2]), _CHECKSUMS[c[4]], _count(c[5]), c[7]) for c in lines]


def _count(types: str) -> int:
    """`18 string, hash` is 19 keys."""
    found = [_KEYS.match(part.strip()) for part in types.split(",")]
    return sum(int(match[1] or 1) for match in found if match)


ROWS = _rows()
_absent = f"no corpus of RDB files at {CORPUS} (RDB_CORPUS names another place)"
pytestmark = pytest.mark.skipif(not ROWS, reason=_absent)


def _named(name: str) -> Read:
    return read((CORPUS / name).read_bytes())


@pytest.mark.parametrize("row", [pytest.param(row, id=row.path.name) for row in ROWS])
def test_a_file_is_read_as_its_readme_says(row: Row) -> None:
    """Version, number of keys, checksum, and the same in pieces of three bytes; all else is behind the end."""
    data = row.path.read_bytes()

    found = read(data)

    assert found.error is None
    assert found.header is not None
    assert found.end is not None
    assert (found.header.version, len(found.entries), found.end.checksum) == (row.version, row.keys, row.checksum)
    assert len(data) == row.size_bytes == found.end.offset + found.trailing
    assert found.seen() == read(data, 3).seen()


def test_bytes_behind_the_end_are_reported() -> None:
    """The mark of a diskless replication that was kept with the file, and the commands behind a preamble."""
    assert _named("redis-rdb-tools/redis_40_with_module.rdb").trailing == 40
    assert _named("valkey/rdb-preamble.aof").trailing > 0


def test_what_no_server_would_hold_is_found_by_its_value() -> None:
    """The bytes of nine empty keys, and of a ziplist that contradicts itself, are well cut; the values do not hold."""
    empty = _named("valkey/corrupt_empty_keys.rdb")
    wrong = [name for _, name, body, *_ in empty.entries if _refused(body, 10)]
    corrupt = _named("valkey/corrupt_ziplist.rdb")

    assert len(wrong) == len(empty.entries) == 9
    assert [body[0] for *_, body, _, _ in corrupt.entries if _refused(body, 7)] == [13]


def test_data_of_a_module_is_named() -> None:
    """A file that holds nothing else has no keys."""
    found = _named("redis-rdb-tools/redis_60_with_module_aux.rdb")

    assert [type(item) for item in found.others].count(Skipped) == 1
    assert found.entries == []


def test_numbers_as_names_are_their_text() -> None:
    """Old servers wrote them as numbers."""
    names = {int(key) for _, key, *_ in _named("redis-rdb-tools/integer_keys.rdb").entries}

    assert names == {125, 0xABAB, 0x0AEDD325, -123, -0x7325, -0x0AEDD325}


async def test_redis_reads_the_same_values(tmp_path: Path) -> None:
    """Every file that Redis 7.0 takes: the same databases, keys, values and deadlines."""
    async with running("redis-7.0", "--dir", str(tmp_path), "--dbfilename", "x.rdb") as server:
        for row in ROWS:
            if not row.server.startswith("ok"):
                continue
            shutil.copyfile(row.path, tmp_path / "x.rdb")
            (tmp_path / "x.rdb").chmod(0o600)
            assert await ask(server, "DEBUG", "RELOAD", "NOSAVE") == b"OK", row.path.name
            found = read(row.path.read_bytes())
            for entry in found.entries:
                await _assert_same(server.address, entry, row)


async def _assert_same(address: Address, entry: Entry, row: Row) -> None:
    db, key, body, deadline, _ = entry
    if _refused(body, row.version) or -1 < deadline < time.time() * 1000:
        return
    dump = await ask(address, "DUMP", key, db=db)
    assert isinstance(dump, bytes), (row.path.name, key)
    assert _plain(decode(body, row.version)) == _plain(decode_dump(dump)), (row.path.name, key)
    assert await ask(address, "PEXPIRETIME", key, db=db) == deadline


def _plain(value: Value) -> object:
    """Of streams what the old file holds: a newer server has counters that it made up."""
    return (value.entries, value.last_id) if isinstance(value, StreamValue) else value


def _refused(body: bytes, version: int) -> bool:
    try:
        decode(body, version)
    except FormatError:
        return True
    return False

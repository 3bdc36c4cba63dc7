"""Files in which a name stands twice, and databases that no server has: said before anybody relies on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import Said, assert_failed, run, transfer
from tests.servers import ask, running
from transfer.codec.archive.items import AsOf, Columns, Head
from transfer.codec.archive.writer import ArchiveWriter
from transfer.model.errors import LinkError

_MAGIC, _END = b"REDIS0010", b"\xff" + bytes(8)
_HEAD = '{"format":"transfer-jsonl","version":1}\n'


def _entry(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _rdb(path: Path, *parts: bytes) -> Path:
    """An RDB of *parts* without a checksum."""
    path.write_bytes(b"".join((_MAGIC, *parts, _END)))
    return path


def twice_in_rdb(folder: Path) -> Path:
    entries = [_entry(b"x", b"first"), _entry(b"y", b"1"), _entry(b"x", b"last")]
    return _rdb(folder / "twice.rdb", b"\xfe\x00", *entries, b"\xfe\x01", _entry(b"x", b"of another database"))


def twice_in_lines(folder: Path) -> Path:
    rows = [(0, "x", "first"), (0, "y", "1"), (0, "x", "last"), (1, "x", "of another database")]
    lines = [f'{{"db":{db},"key":"{key}","type":"string","value":"{value}"}}\n' for db, key, value in rows]
    path = folder / "twice.jsonl"
    path.write_text(_HEAD + "".join(lines))
    return path


def twice_in_archive(folder: Path, repeated_keys: int | None) -> Path:
    """Whose manifest says that *repeated_keys* names stand in it more than once."""
    writer = ArchiveWriter()
    parts = [writer.begin(Head("test", 1, "redis", "7.0.15", AsOf("interval", 1)))]
    for value in (b"first", b"last"):
        columns = Columns(0, 10, [b"x"], [b"\x00" + bytes((len(value),)) + value], [-1])
        parts.append(writer.keys(columns))
    path = folder / "twice.xfer"
    path.write_bytes(b"".join((*parts, *writer.end(repeated_keys=repeated_keys))))
    return path


def _again(said: Said) -> list[str]:
    return [line["message"] for line in said.of("warning") if "again in the same database" in line["message"]]


Made = Callable[[Path], Path]


def test_an_rdb_in_which_a_name_stands_twice_is_damaged(tmp_path: Path) -> None:
    """No server loads it: it is not whole, whatever its structure says."""
    path = twice_in_rdb(tmp_path)

    said = transfer("verify", str(path), "--json", state=tmp_path)
    hashed = transfer("verify", str(path), "--hash-keys", state=tmp_path)

    assert_failed(said, 12, "E1200", "1 key comes again in the same database, one of them x in db 0", "no server loads")
    assert (hashed.exit, "them x in" in hashed.err, "them h:" in hashed.err) == (12, False, True), hashed


async def test_a_server_does_not_load_what_is_called_damaged(tmp_path: Path) -> None:
    """The reason for it: DEBUG RELOAD of such a file ends the server."""
    path = twice_in_rdb(tmp_path)
    async with running("redis-7.0") as server:
        (server.folder / "dump.rdb").write_bytes(path.read_bytes())
        with pytest.raises(LinkError, match="closed"):
            await ask(server, "DEBUG", "RELOAD", "NOSAVE", "NOFLUSH")


def test_lines_in_which_a_name_stands_twice_are_warned_about(tmp_path: Path) -> None:
    """Whoever appends lines may have meant that: how many, and which."""
    said = transfer("verify", str(twice_in_lines(tmp_path)), "--json", state=tmp_path)

    told = "1 key comes again in the same database, one of them x in db 0: of each the last one holds"
    assert (said.exit, _again(said), said.result["data"]["repeated"]) == (0, [told], 1), said


@pytest.mark.parametrize(("said_of_it", "code"), [(None, 0), (1, 0), (0, 12)])
def test_an_archive_is_held_against_what_its_manifest_says(said_of_it: int | None, code: int, tmp_path: Path) -> None:
    """What was streamed may hold a name twice, and says so; one that denies it is damaged, which --deep finds."""
    path = twice_in_archive(tmp_path, said_of_it)
    said = transfer("verify", str(path), "--json", state=tmp_path)
    assert (said.exit, said.result["data"]["repeated"]) == (0, said_of_it or 0), said

    said = transfer("verify", str(path), "--json", "--deep", state=tmp_path)
    assert (said.exit, said.of("warning")) == (code, []), said
    if code:
        assert_failed(said, 12, "E1200", "1 key comes again", "x in db 0", "its manifest says that none does")
    else:
        assert said.result["data"]["repeated"] == 1


@pytest.mark.parametrize("verify", ["full", "none"])
@pytest.mark.parametrize("made", [twice_in_rdb, twice_in_lines])
async def test_the_last_of_a_name_is_imported_and_the_others_are_told(made: Made, verify: str, tmp_path: Path) -> None:
    """They stand in one block: sent together they could land in any order."""
    path = made(tmp_path)
    async with running("redis-7.0") as target:
        planned = await run("import", str(path), target.url, "--dry-run", "--json", state=tmp_path)
        said = await run("import", str(path), target.url, "--verify", verify, "--json", state=tmp_path)
        values = [await ask(target, "GET", "x", db=db) for db in (0, 1)]
        same = await run("verify", str(path), target.url, "--json", state=tmp_path)
        other = await run("verify", target.url, str(path), "--json", state=tmp_path)

    counts = said.result["keys"]
    assert (said.exit, counts["read"], counts["written"], counts["repeated"]) == (0, 4, 3, 1), said
    assert values == [b"last", b"of another database"]
    assert len(_again(said)) == len(_again(planned)) == 1
    assert (same.exit, other.exit, same.result["verify"]["checked"]) == (0, 0, 3), (same, other)


def test_a_database_that_no_server_can_have_is_damage(tmp_path: Path) -> None:
    """They are numbered with an int: with another number the file is none that a server made."""
    path = _rdb(tmp_path / "far.rdb", b"\xfe\x80\xff\xff\xff\xff", _entry(b"x", b"1"))

    said = transfer("verify", str(path), "--json", state=tmp_path)

    assert_failed(said, 12, "E1200", "database 4294967295 at offset 10 cannot be")


async def test_a_file_says_that_it_needs_more_databases_than_servers_usually_have(tmp_path: Path) -> None:
    """What an import into such a server would say is known before there is one."""
    parts = [bytes((0xFE, db)) + _entry(b"x", b"1") for db in range(20)]
    path = _rdb(tmp_path / "many.rdb", *parts)

    said = transfer("verify", str(path), "--json", state=tmp_path)
    async with running("redis-7.0") as target:
        refused = await run("import", str(path), target.url, "--json", state=tmp_path)

    [warning] = said.of("warning")
    assert (said.exit, "databases 20" in warning["message"]) == (0, True), said
    assert refused.exit == 5

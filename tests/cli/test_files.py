"""`verify FILE`, `inspect FILE` and `verify FILE URL`: what is said of files, whole and damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import assert_failed, run, transfer
from tests.job.filling import fill
from tests.job.test_importing import fill_whole
from tests.rdbfiles import altered, corpus, cut, saved
from tests.servers import VERSIONS, ask, running

KEYS = 2000


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_file_of_any_server_is_found_whole(version: str, tmp_path: Path) -> None:
    """Structure, checksum and every value of every shape."""
    async with running(version) as source:
        await fill_whole(source)
        keys = await ask(source, "DBSIZE")
        path = await saved(source, tmp_path / "dump.rdb")

    said = transfer("verify", str(path), "--json", state=tmp_path)
    text = transfer("verify", str(path), state=tmp_path)

    data = said.result["data"]
    assert (said.exit, data["keys"], data["decoded"], data["checksum"]) == (0, keys, keys, "right"), said
    assert text.out.startswith("WHOLE"), text


async def test_damage_is_exit_12_with_its_offset(tmp_path: Path) -> None:
    """A byte altered, the end cut off, bytes that are no RDB, no byte at all."""
    async with running("redis-7.0") as source:
        fill(source.address, KEYS)
        path = await saved(source, tmp_path / "dump.rdb")
    whole, bad = path.stat().st_size, tmp_path / "bad.rdb"
    said = transfer("verify", str(altered(path, whole // 2, bad)), "--json", state=tmp_path)
    assert_failed(said, 12, said.result["error"]["code"], "offset")  # of a length, perhaps: then it is known at once
    said = transfer("verify", str(altered(path, whole - 3, bad)), "--json", state=tmp_path)
    assert_failed(said, 12, "E1202", "offset")
    said = transfer("verify", str(cut(path, whole // 2, bad)), "--json", state=tmp_path)
    assert_failed(said, 12, "E1201", f"offset {whole // 2:,}", "the last key before it: 'k")
    bad.write_bytes(b"PK\x03\x04 something else")
    assert_failed(transfer("verify", str(bad), "--json", state=tmp_path), 12, "E1200", "no RDB")
    bad.write_bytes(b"")
    assert transfer("verify", str(bad), "--json", state=tmp_path).exit == 12


def test_a_value_that_does_not_hold_is_named_with_its_offset(tmp_path: Path) -> None:
    """Its file has no checksum that would tell; one that was looked at by its checksum alone would pass."""
    said = transfer("verify", str(corpus("valkey/corrupt_ziplist.rdb")), "--json", state=tmp_path)

    assert_failed(said, 12, "E1200", "1 of 54 keys", "at offset 470", "ziplist")


def test_what_a_person_should_know_of_a_whole_file_is_said(tmp_path: Path) -> None:
    """Bytes after its end, a checksum that was not computed, a module's value; empty collections."""
    module = transfer("verify", str(corpus("redis-rdb-tools/redis_40_with_module.rdb")), "--json", state=tmp_path)
    empty = transfer("verify", str(corpus("valkey/corrupt_empty_keys.rdb")), "--json", state=tmp_path)

    data = module.result["data"]
    assert (module.exit, data["trailing_bytes"], data["checksum"], data["opaque"]) == (0, 40, "zero", 1), module
    assert "40 bytes after the end" in data["warnings"][0]
    assert [line["message"] for line in module.of("warning")] == data["warnings"]
    assert (empty.result["data"]["keys"], empty.result["data"]["skipped"]) == (0, 9)


async def test_inspect_counts_what_is_in_a_file(tmp_path: Path) -> None:
    """Versions, databases, types, deadlines, sizes, the biggest; names hashed where that is asked for."""
    async with running("redis-7.0") as source:
        fill(source.address, 1000)
        await ask(source, "SET", "big", b"x" * 100_000, db=4)
        path = await saved(source, tmp_path / "dump.rdb")

    said = transfer("inspect", str(path), "--json", state=tmp_path)
    text = transfer("inspect", str(path), "--hash-keys", state=tmp_path)

    data = said.result["data"]
    assert (data["rdb_version"], data["server"], data["keys"]) == (10, "Redis 7.0.15", 1001)
    assert [(row["db"], row["keys"], row["with_deadline"]) for row in data["dbs"]] == [(0, 1000, 334), (4, 1, 0)]
    assert {kind: row["keys"] for kind, row in data["dbs"][0]["types"].items()} == {
        "string": 600,
        "hash": 100,
        "list": 100,
        "set": 100,
        "zset": 100,
    }
    assert data["dbs"][0]["time_to_live"] == {"more": 334, "none": 666}
    assert (data["biggest"][0]["key"], data["biggest"][0]["db"]) == ("big", 4)
    assert "RDB version 10 by Redis 7.0.15" in text.out
    assert "big " not in text.out


async def test_a_file_is_compared_with_a_server_both_ways(tmp_path: Path) -> None:
    """Each kind of difference is a finding, from whichever side the file stands."""
    async with running("redis-7.0") as source:
        fill(source.address, KEYS)
        path = await saved(source, tmp_path / "dump.rdb")
        same = await run("verify", str(path), source.url, "--json", state=tmp_path)
        await ask(source, "DEL", "k0")
        await ask(source, "SET", "k1", "another")
        await ask(source, "SET", "k6", "a string")
        await ask(source, "PERSIST", "k3")
        await ask(source, "SET", "more", "v")

        left = await run("verify", str(path), source.url, "--json", state=tmp_path)
        right = await run("verify", source.url, str(path), "--json", state=tmp_path)

    assert (same.exit, same.result["verify"]["match"]) == (0, KEYS), same
    found = {line["key"]: line["verdict"] for line in left.of("finding")}
    assert (left.exit, found) == (6, {"k0": "MISSING", "k1": "VALUE", "k6": "TYPE", "k3": "TTL", "more": "EXTRA"})
    found = {line["key"]: line["verdict"] for line in right.of("finding")}
    assert (right.exit, found) == (6, {"k0": "EXTRA", "k1": "VALUE", "k6": "TYPE", "k3": "TTL", "more": "MISSING"})


async def test_two_files_of_different_servers_are_compared_by_their_values(tmp_path: Path) -> None:
    """The same data saved by Redis and by Valkey, in other encodings, is the same."""
    async with running("redis-6.2") as source, running("valkey-9.1") as target:
        fill(source.address, KEYS)
        first = await saved(source, tmp_path / "one.rdb")
        assert (await run("copy", source.url, target.url, state=tmp_path)).exit == 0
        second = await saved(target, tmp_path / "two.rdb")

    said = transfer("verify", str(first), str(second), "--json", state=tmp_path)

    assert (said.exit, said.result["verify"]["match"]) == (0, KEYS), said
    assert said.result["verify"]["changes_known_by"] == "files"


def test_words_that_do_not_go_with_files_are_refused(tmp_path: Path) -> None:
    """A server first where a file goes, a file first where it goes last."""
    server, file = "redis://127.0.0.1:1", str(tmp_path / "dump.rdb")
    for words in (
        ("import", server, server),
        ("import", file, file),
        ("export", server, server),
        ("export", file, server),
    ):
        assert transfer(*words, state=tmp_path).exit == 2, words
    assert transfer("verify", file, state=tmp_path).exit == 4
    assert transfer("inspect", file, state=tmp_path).exit == 4


OLD = b"REDIS0003\xfe\x00\x00\x01k\x01v\xff"
"""A file of Redis 2.6: it says neither who saved it nor when."""


async def test_what_a_file_does_not_say_is_said_to_be_unknown(tmp_path: Path) -> None:
    """When it was saved and by whom; the time at which somebody copied it is not called that."""
    path = tmp_path / "old.rdb"
    path.write_bytes(OLD)
    async with running("redis-7.0") as target:
        said = await run("import", str(path), target.url, "--json", state=tmp_path)
        assert await ask(target, "GET", "k") == b"v"

    looked = transfer("inspect", str(path), state=tmp_path)
    assert (said.exit, said.result["as_of"]) == (0, None), said
    assert "by an unknown server" in looked.out
    assert "saved nobody knows when (last written 20" in looked.out
    assert transfer("inspect", str(path), "--json", state=tmp_path).result["data"]["saved_ms"] is None


def test_the_hint_of_a_failure_names_something_else_to_do(tmp_path: Path) -> None:
    """A damaged file, one that is no RDB; a file where a server is asked; a word that is no place."""
    cut_file, foreign = tmp_path / "cut.rdb", tmp_path / "foreign.rdb"
    cut_file.write_bytes(OLD[:-3])
    foreign.write_bytes(b"PK\x03\x04 something else")

    said = transfer("verify", str(cut_file), state=tmp_path)
    assert (said.exit, f"transfer import {cut_file} URL --salvage" in said.err) == (12, True), said
    said = transfer("verify", str(foreign), state=tmp_path)
    assert (said.exit, "--salvage" in said.err, "transfer verify" in said.err) == (12, False, False), said
    said = transfer("doctor", str(cut_file), state=tmp_path)
    assert (said.exit, f"transfer verify {cut_file}" in said.err) == (2, True), said
    said = transfer("doctor", str(cut_file), "redis://127.0.0.1:1", state=tmp_path)
    assert (said.exit, f"transfer import {cut_file} redis://127.0.0.1:1 --dry-run" in said.err) == (2, True), said
    said = transfer("copy", "localhost", "redis://127.0.0.1:1", state=tmp_path)
    assert (said.exit, "redis://host[:port][/db]" in said.err) == (2, True), said
    assert ".xfer, .xfer.age, .rdb, .jsonl or .txt" in said.err
    assert "***" not in said.err


def test_values_that_nobody_could_decode_are_not_said_to_be(tmp_path: Path) -> None:
    """A module's value is whole as far as its structure tells, and counted."""
    said = transfer("verify", str(corpus("redis-rdb-tools/redis_40_with_module.rdb")), state=tmp_path)

    assert "every value decoded" not in said.out
    assert "1 value is a module's" in said.out


async def test_deadlines_that_were_dropped_as_asked_are_no_difference(tmp_path: Path) -> None:
    """The table of a run that is VERIFIED never says that its sides differ."""
    path = tmp_path / "out.xfer"
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        fill(source.address, 100)
        await ask(source, "SET", "mortal", "v", "EX", 1000)
        made = await run("export", source.url, str(path), state=tmp_path)
        said = await run("import", str(path), target.url, "--ttl", "drop", state=tmp_path)

    table = [line for line in said.out.splitlines() if " target  " in line]
    assert (said.exit, "VERIFIED  full" in said.out) == (0, True), said
    assert len(table) == 1
    assert table[0].endswith("same, without deadlines as asked"), table
    assert "differs" not in said.out + made.out

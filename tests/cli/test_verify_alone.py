"""`verify URL` reads one server through; digests of one place are those of a comparison, of a file, of other days."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Said, assert_failed, run, transfer
from tests.job.test_importing import fill_whole
from tests.rdbfiles import saved
from tests.servers import ask, running
from transfer.codec.dump import stamp

A_FIELD_WITHOUT_VALUE = b"\x10\x10" + b"\x10\0\0\0\x03\0" + b"\x81f\x02\x81v\x02\x81g\x02\xff"
"""A hash whose listpack has three items."""
CANONICAL = ("--digest", "canonical", "--json")


def rows(said: Said, side: int = 0) -> list[tuple[Any, ...]]:
    """Database, keys, keys with a deadline, digest of one side."""
    return [(it["db"], it["keys"][side], it["with_deadline"][side], it["digest"][side]) for it in said.result["dbs"]]


async def test_every_key_of_a_server_is_read_and_counted(tmp_path: Path) -> None:
    """A table of each database, in text and for programs; nothing is written, and the run is kept as any other."""
    async with running("redis-7.0") as server:
        await fill_whole(server)
        await ask(server, "SET", "until", "v", "EX", 1000, db=3)
        keys = await ask(server, "DBSIZE")
        said = await run("verify", server.url, "--json", state=tmp_path)
        text = await run("verify", server.url, state=tmp_path)
        again = await run("verify", server.url, "--json", state=tmp_path)

    found = said.result["verify"]
    assert (said.exit, found["checked"], found["match"], found["places"]) == (0, keys + 1, keys + 1, 1), said  # type: ignore[operator]
    assert [row[:3] for row in rows(said)] == [(0, keys, rows(said)[0][2]), (3, 1, 1)]
    assert rows(said) == rows(again)
    assert said.lines[0]["source"]
    assert "target" not in said.lines[0]
    assert "READABLE  full: " in text.out
    assert f"{rows(said)[1][3]}" in text.out
    listed = transfer("jobs", "list", "--json", state=tmp_path).result["data"][0]
    shown = transfer("jobs", "show", listed["job"], state=tmp_path).out
    assert (listed["command"], listed["source"], listed["target"]) == ("verify", server.url, "")
    assert "READABLE" in shown
    assert "target" not in shown


@pytest.mark.parametrize("other", ["redis-6.2", "valkey-9.1"])
async def test_a_digest_of_one_place_is_the_same_wherever_the_data_lies(other: str, tmp_path: Path) -> None:
    """Alone, in a comparison, on a server of another version, in a file of any kind."""
    files = [tmp_path / "out.xfer", tmp_path / "out.jsonl", tmp_path / "dump.rdb"]
    async with running("redis-7.0") as source, running(other) as target:
        await fill_whole(source)
        await ask(source, "SET", "until", "v", "EX", 1000, db=3)
        if other == "redis-6.2":
            await ask(source, "FUNCTION", "FLUSH")
        assert (await run("copy", source.url, target.url, "--verify", "none", state=tmp_path)).exit == 0
        for path in files[:2]:
            assert (await run("export", source.url, str(path), state=tmp_path)).exit == 0
        await saved(target, files[2])
        both = await run("verify", source.url, target.url, *CANONICAL, state=tmp_path)
        alone = [await run("verify", place.url, *CANONICAL, state=tmp_path) for place in (source, target)]

    of_files = [transfer("verify", str(path), *CANONICAL, state=tmp_path) for path in files]
    assert [said.exit for said in (both, *alone, *of_files)] == [0] * 6, (both, alone, of_files)
    assert rows(both) == rows(both, 1)
    for said in (*alone, *of_files):
        assert rows(said) == rows(both), said
    assert alone[0].result["verify"]["digest"] == of_files[0].result["data"]["digest"] == "canonical 1"
    assert rows(both)[0][3] in transfer("verify", str(files[0]), "--digest", "canonical", state=tmp_path).out


async def test_a_key_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    """By name, with the server's reason; its database has no digest, since one of less would look like one of all."""
    async with running("redis-7.0") as server:
        await ask(server, "MSET", "mine:1", "v", "theirs:1", "v")
        await ask(server, "SET", "mine:2", "v", db=1)
        await ask(server, "ACL", "SETUSER", "half", "on", ">pw", "+@all", "~mine:*")
        url = f"redis://half:pw@{server.address.host}:{server.address.port}"
        said = await run("verify", url, "--json", state=tmp_path)
        text = await run("verify", url, state=tmp_path)

    [finding] = said.of("finding")
    assert (said.exit, finding["verdict"], finding["key"], finding["db"]) == (6, "VALUE", "theirs:1", 0), said
    assert "cannot be read" in finding["detail"]
    assert (said.result["verified"], said.result["verify"]["checked"], said.result["verify"]["match"]) == (False, 3, 2)
    assert [row[1] for row in rows(said)] == [2, 1]
    assert [bool(row[3]) for row in rows(said)] == [False, True]
    assert (text.exit, "NOT ALL READABLE  full: 2 of 3 keys" in text.out) == (6, True), text


async def test_a_value_that_holds_nothing_is_found_by_decoding_it(tmp_path: Path) -> None:
    """A server gives what it has: only --digest canonical looks into it."""
    async with running("redis-7.0", "--sanitize-dump-payload", "no") as server:
        await ask(server, "HSET", "sound", "f", "v")
        assert await ask(server, "RESTORE", "broken", 0, stamp(A_FIELD_WITHOUT_VALUE, 10)) == b"OK"
        raw = await run("verify", server.url, "--json", state=tmp_path)
        decoded = await run("verify", server.url, *CANONICAL, state=tmp_path)

    assert (raw.exit, raw.result["verify"]["match"]) == (0, 2), raw
    [finding] = decoded.of("finding")
    assert (decoded.exit, finding["key"]) == (6, "broken"), decoded
    assert "does not hold" in finding["detail"]


async def test_filters_choose_what_is_read(tmp_path: Path) -> None:
    """Names, types, databases."""
    async with running("redis-7.0") as server:
        await ask(server, "MSET", "a:1", "v", "a:2", "v", "b:1", "v")
        await ask(server, "RPUSH", "a:3", "v")
        await ask(server, "SET", "a:4", "v", db=1)
        for more, counts in (
            (("--match", "a:*"), [(0, 3), (1, 1)]),
            (("--match", "a:*", "--type", "string", "--type", "set"), [(0, 2), (1, 1)]),
            (("--db", "1"), [(1, 1)]),
        ):
            said = await run("verify", server.url, *more, *CANONICAL, state=tmp_path)
            assert (said.exit, [row[:2] for row in rows(said)]) == (0, counts), said


async def test_a_value_too_large_to_be_held_is_read_in_pieces_and_said_to_be(tmp_path: Path) -> None:
    """Its canonical digest is the same as if it had been held; one of payloads is told to depend on the memory."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        for server in (source, target):
            await ask(server, "SET", "large", b"x" * (2 << 20))
            await ask(server, "SET", "small", "v")
            await ask(server, "SADD", "set", *(b"%d" % n * 40 for n in range(20_000)))
        small = (*CANONICAL, "--max-memory", "1MiB")
        alone = await run("verify", source.url, *small, state=tmp_path)
        both = await run("verify", source.url, target.url, *small, state=tmp_path)
        held = await run("verify", source.url, *CANONICAL, state=tmp_path)
        text = await run("verify", source.url, "--max-memory", "1MiB", state=tmp_path)

    assert (alone.exit, alone.result["verify"]["in_pieces"]) == (0, 2), alone
    assert held.result["verify"].get("in_pieces", 0) == 0
    assert rows(alone) == rows(both) == rows(held)
    assert "2 large values were hashed in pieces: digests compare" in text.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--rename", "a:b"), "--rename"),
        (("--ttl-tolerance", "1s"), "--ttl-tolerance"),
        (("--undo-dir", "undo"), "--undo-dir"),
        (("--db", "0:1"), "--db"),
        (("--deep",), "--deep"),
    ],
)
def test_what_is_about_two_places_or_files_is_refused(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """By name, before anything is dialled."""
    assert_failed(transfer("verify", "redis://127.0.0.1:1", *words, "--json", state=tmp_path), 2, "E101", told)

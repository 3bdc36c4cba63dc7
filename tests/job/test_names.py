"""Names of keys in a file: every name that passes, once, in a form that `--keys-from` reads again."""

from __future__ import annotations

import os
from pathlib import Path

from tests import oracle
from tests.cli.running import assert_failed, run
from tests.servers import ask, running
from transfer.endpoint.names.sink import NamesFile
from transfer.endpoint.redis.keyfile import key_pages, line_of
from transfer.pipeline.buckets import BucketStore

ODD = [
    b"", b"\n", b"a\nb", b"\r", b"\xff\xfe\x00", b" ", b"x" * 70_000, b"transfer names by database 1",
    b"transfer:key_b64:YQ==", b"transfer:key_b64:no base64", "gr\u00fc\u00df".encode(), b"plain",
]  # fmt: skip


async def test_names_of_any_bytes_make_the_round_trip(tmp_path: Path) -> None:
    """Line feeds, no UTF-8, no byte at all, names that look like lines of ours; values are not read."""
    path = tmp_path / "names.txt"
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        for name in ODD:
            await ask(source, "SET", name, b"v" + name)
        await ask(source, "SET", "elsewhere", "v", db=3)

        said = await run("export", source.url, str(path), "--db", "0", "--json", state=tmp_path)
        calls = await ask(source, "INFO", "commandstats")
        copied = await run("copy", source.url + "/0", target.url, "--keys-from", str(path), "--json", state=tmp_path)

        assert (said.exit, said.result["keys"]["written"]) == (0, len(ODD)), said
        assert said.result["verified"] is False
        assert "no values" in str(said.result), said
        assert b"cmdstat_dump:calls" not in calls
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"plain" in path.read_bytes().split(b"\n")
        assert path.read_bytes().count(b"\n") == len(ODD)
        assert (copied.exit, copied.result["keys"]["written"]) == (0, len(ODD)), copied
        with oracle.client(target.address) as asking:
            assert sorted(asking.keys("*")) == sorted(ODD)


async def test_filters_choose_names_and_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """Databases, patterns, types; an existing file needs --allow overwrite; nothing is imported from names."""
    path = tmp_path / "names.txt"
    async with running("redis-7.0") as source:
        for number in range(2500):
            await ask(source, "SET", f"user:{number}", "v", db=number % 2)
        await ask(source, "SADD", "user:set", "v")

        said = await run("export", source.url, str(path), "--match", "user:1*", "--type", "string", state=tmp_path)
        lines = path.read_bytes().splitlines()
        again = await run("export", source.url, str(path), "--json", state=tmp_path)
        idle = await run("export", source.url, str(path), "--rename", "a:b", state=tmp_path)
        back = await run("import", str(path), source.url, "--json", state=tmp_path)

    assert said.exit == 0, said
    assert sorted(lines) == sorted(b"user:%d" % n for n in range(2500) if str(n)[0] == "1")
    assert "one list" in said.out + said.err
    assert_failed(again, 2, "E104", "overwrite")
    assert path.read_bytes().splitlines() == lines
    assert (idle.exit, "--rename" in idle.err) == (2, True), idle
    assert_failed(back, 2, "E102", "--keys-from")


async def test_a_name_that_was_given_twice_stands_there_once(tmp_path: Path) -> None:
    """SCAN may give a name again; the same name in another database is another one."""
    path = tmp_path / "names.txt"
    file = NamesFile(path, "job", BucketStore(0))
    file.write(0, [b"a", b"b\n", b"c"])
    file.write(0, [b"b\n", b"d"])
    file.write(1, [b"a", b"a"])

    repeated = file.finish()
    file.keep()
    file.drop()

    assert (repeated, file.counts) == (2, {0: 4, 1: 1})
    assert path.read_bytes() == b"".join(map(line_of, [b"a", b"b\n", b"c", b"d", b"a"]))
    assert [page.names async for page in key_pages(str(path), 100)] == [[b"a", b"b\n", b"c", b"d", b"a"]]
    assert os.listdir(tmp_path) == ["names.txt"]

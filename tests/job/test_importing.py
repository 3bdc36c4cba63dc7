"""Files saved by real servers come to live ones: what arrives is what was saved, or nothing was written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import anyio.to_thread
import pytest

from tests import oracle
from tests.cli.running import COMMAND, Said, assert_failed, environment_for, keys_of, run, transfer
from tests.endpoint.corpus import fill as fill_all
from tests.job.filling import fill, size, until
from tests.rdbfiles import IN_2099_MS, altered, corpus, cut, saved
from tests.servers import VERSIONS, ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer

KEYS = 3000
PAIRS = [(version, version) for version in VERSIONS]
PAIRS += [
    ("redis-6.2", "redis-7.0"),
    ("redis-7.0", "redis-8.2"),
    ("redis-6.2", "valkey-8.1"),
    ("redis-7.0", "valkey-9.1"),
]
ODD = (b"", b"\r\n", b"\x00\xff {}", b"a b", "ключ".encode(), b"'\"\\")


async def fill_whole(server: ThrowawayServer) -> None:
    """Every shape a value can have."""
    link = await server.link()
    await fill_all(link)
    await link.close()


async def imported(path: Path, target: ThrowawayServer, state: Path, *more: str, **environment: str) -> Said:
    return await run("import", str(path), target.url, *more, "--json", state=state, **environment)


@pytest.mark.parametrize(("left", "right"), PAIRS)
async def test_a_file_of_any_server_comes_to_the_same_and_newer_ones(left: str, right: str, tmp_path: Path) -> None:
    """Every type in every size, several databases, deadlines, odd names: equal by values, and said to be."""
    async with running(left) as source, running(right) as target:
        await fill_whole(source)
        for name in ODD:
            await ask(source, "SET", name, name, db=3)
        path = await saved(source, tmp_path / "dump.rdb")

        said = await imported(path, target, tmp_path)

        assert (said.exit, said.result["verified"], said.result["route"]) == (0, True, "rdb"), said
        assert said.result["keys"]["written"] == said.result["keys"]["read"] == sum((await keys_of(source)).values())
        differences = oracle.compared(source.address, target.address)
        assert not differences, differences.told()


async def test_deadlines_that_passed_since_it_was_saved_are_counted_out(tmp_path: Path) -> None:
    """A server would not load them either; --ttl rebase gives each the time it had left."""
    async with running() as source, running() as target, running() as other:
        await ask(source, "SET", "short", "v", "PX", 400)
        await ask(source, "SET", "long", "v", "PXAT", IN_2099_MS)
        await ask(source, "SET", "last", "v")
        path = await saved(source, tmp_path / "dump.rdb")
        while await ask(source, "EXISTS", "short"):
            pass

        plain = await imported(path, target, tmp_path)
        rebased = await imported(path, other, tmp_path, "--ttl", "rebase", "--ttl-tolerance", "1s")

        assert (plain.exit, plain.result["keys"]["written"], plain.result["keys"]["expired"]) == (0, 2, 1), plain
        assert await ask(target, "PEXPIRETIME", "long") == IN_2099_MS
        assert await ask(other, "PEXPIRETIME", "long") >= IN_2099_MS  # type: ignore[operator]
        assert (rebased.exit, rebased.result["keys"]["read"]) == (0, 3), rebased


async def test_filters_choose_among_the_keys_of_a_file(tmp_path: Path) -> None:
    """Names, types, databases, renames, deadlines: as for a copy."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        await ask(source, "SET", "other", "v", db=5)
        path = await saved(source, tmp_path / "dump.rdb")
        filters = ("--match", "k1*", "--exclude", "k10*", "--type", "list", "--type", "string")
        moves = ("--db", "0:2", "--rename", "k:moved_", "--ttl", "drop")

        said = await imported(path, target, tmp_path, *filters, *moves)

        here = oracle.snapshot(source.address, (0,)).keys
        wanted = {
            b"moved_" + key[1:]: held.value
            for (_, key), held in here.items()
            if key.startswith(b"k1") and not key.startswith(b"k10") and held.kind in (b"list", b"string")
        }
        there = oracle.snapshot(target.address).keys
        assert said.exit == 0, said
        assert {key: held.value for (_, key), held in there.items()} == wanted
        assert {db for db, _ in there} == {2}
        assert {held.deadline for held in there.values()} == {-1}


async def test_a_sample_and_a_least_time_to_live_hold_for_files_too(tmp_path: Path) -> None:
    """The same keys every time."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        await ask(source, "SET", "soon", "v", "EX", 100)
        path = await saved(source, tmp_path / "dump.rdb")

        said = await imported(path, target, tmp_path, "--sample", "10%", "--min-ttl", "1h")
        again = await imported(path, target, tmp_path, "--sample", "10%", "--on-conflict", "skip", "--min-ttl", "1h")

        assert said.exit == again.exit == 0, said
        assert 0 < said.result["keys"]["written"] < KEYS // 5
        assert again.result["keys"]["already"] == said.result["keys"]["written"]
        assert not await ask(target, "EXISTS", "soon")


@pytest.mark.parametrize(
    ("policy", "exit_code", "left"), [("fail", 3, b"theirs"), ("skip", 0, b"theirs"), ("replace", 0, b"ours")]
)
async def test_keys_that_are_there_obey_the_conflict_policy(
    policy: str, exit_code: int, left: bytes, tmp_path: Path
) -> None:
    """Equal ones are skipped, sets in another order are equal; others stay, are counted, or are overwritten."""
    async with running() as source, running() as target:
        await ask(source, "SET", "same", "v")
        await ask(source, "SADD", "set", *"abcdefgh")
        await ask(source, "SET", "other", "ours")
        await ask(target, "SET", "same", "v")
        await ask(target, "SADD", "set", *"hgfedcba")
        await ask(target, "SET", "other", "theirs")
        path = await saved(source, tmp_path / "dump.rdb")

        said = await imported(path, target, tmp_path, "--on-conflict", policy)

        assert said.exit == exit_code, said
        assert await ask(target, "GET", "other") == left
        if policy != "replace":
            assert (said.result["keys"]["already"], said.result["keys"]["conflicts"]) == (2, 1)


async def test_a_target_that_holds_keys_is_asked_about(tmp_path: Path) -> None:
    """As for a copy: nothing is written without consent."""
    async with running() as source, running() as target:
        await ask(source, "SET", "a", "v")
        await ask(target, "SET", "b", "v")
        path = await saved(source, tmp_path / "dump.rdb")

        assert_failed(await imported(path, target, tmp_path), 2, "E104", "nonempty-target")
        assert size(target.address) == 1


async def test_a_damaged_file_writes_nothing(tmp_path: Path) -> None:
    """A byte altered anywhere, or the end cut off: exit 12 with the offset, before the first key."""
    async with running("redis-7.0") as source, running() as target:
        fill(source.address, 300)
        path = await saved(source, tmp_path / "dump.rdb")
        whole = path.stat().st_size
        bad = tmp_path / "bad.rdb"
        for at in (0, 9, whole // 3, whole // 2, whole - 20, whole - 1):
            said = await imported(altered(path, at, bad), target, tmp_path)
            assert said.exit == 12, (at, said)
            assert "offset" in said.err or "no RDB" in said.err, said.err
        for size_bytes in (0, 5, 100, whole // 2, whole - 9, whole - 8, whole - 1):
            assert (await imported(cut(path, size_bytes, bad), target, tmp_path)).exit == 12, size_bytes

        assert await keys_of(target) == {}


async def test_a_file_that_is_not_there_is_exit_4(tmp_path: Path) -> None:
    """And says which."""
    async with running() as target:
        assert_failed(await imported(tmp_path / "no.rdb", target, tmp_path), 4, "E211", "no.rdb")


@pytest.mark.parametrize("point", ["trail.sent:3", "sink.answered:2", "trail.flushed:3", "trail.restarted:1"])
async def test_an_import_that_was_killed_is_gone_on_with(point: str, tmp_path: Path) -> None:
    """What arrives is what was saved, every key counted once as written."""
    async with running() as source, running() as target:
        fill(source.address, KEYS, value_bytes=1000)
        path = await saved(source, tmp_path / "dump.rdb")
        killed = await imported(path, target, tmp_path, "--batch", "100", TRANSFER_CRASH_AT=point)
        assert killed.exit == -9

        said = await run("resume", "--json", state=tmp_path)

        assert (said.exit, said.result["resumed"], said.result["verified"]) == (0, 1, True), said
        assert said.result["keys"]["written"] == KEYS
        oracle.assert_same(source.address, target.address)


async def test_a_file_that_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    """Positions are offsets of the old one."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        path = await saved(source, tmp_path / "dump.rdb")
        assert (await imported(path, target, tmp_path, "--batch", "100", TRANSFER_CRASH_AT="trail.sent:3")).exit == -9
        await ask(source, "SET", "more", "v")
        await saved(source, path)

        said = await run("resume", "--json", state=tmp_path)

        assert_failed(said, 4, "E213", "the file changed", "--fresh")
        assert not await ask(target, "EXISTS", "more")


async def test_the_same_import_again_after_a_kill_skips_what_is_equal(tmp_path: Path) -> None:
    """--fresh begins anew; what had arrived is found equal."""
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        path = await saved(source, tmp_path / "dump.rdb")
        assert (
            await imported(path, target, tmp_path, "--batch", "100", TRANSFER_CRASH_AT="sink.answered:5")
        ).exit == -9
        assert_failed(await imported(path, target, tmp_path), 2, "E101", "transfer resume")

        said = await imported(path, target, tmp_path, "--fresh", "--on-conflict", "skip")

        assert said.exit == 0, said
        assert 0 < said.result["keys"]["already"] < KEYS
        oracle.assert_same(source.address, target.address)


async def test_empty_collections_are_skipped_and_never_restored(tmp_path: Path) -> None:
    """Nine of them under a valid checksum; servers skip them, too."""
    async with running() as target:
        said = await imported(corpus("valkey/corrupt_empty_keys.rdb"), target, tmp_path)

        assert (said.exit, said.result["keys"]["read"]) == (0, 0), said
        assert any("9 keys are empty collections" in line for line in said.lines[0]["warnings"])
        assert await keys_of(target) == {}


async def test_a_value_that_does_not_hold_is_rejected_and_the_others_arrive(tmp_path: Path) -> None:
    """No server is given it; trailing bytes and a checksum that was not computed are said."""
    async with running("redis-7.0") as target:
        said = await imported(corpus("valkey/corrupt_ziplist.rdb"), target, tmp_path)

        assert (said.exit, said.result["keys"]["written"], said.result["keys"]["rejected"]) == (3, 53, 1), said
        assert "its payload in the file does not hold" in said.out + said.err  # not: the server refused it
        assert "not computed" in str(said.lines[0])


@pytest.mark.parametrize("name", ["redis_50_with_streams", "parser_filters", "integer_keys", "keys_with_expiry"])
async def test_old_files_come_to_the_newest_server(name: str, tmp_path: Path) -> None:
    """RDB versions from 2 on, ziplists, zipmaps and intsets among them."""
    async with running() as target:
        said = await imported(corpus(f"redis-rdb-tools/{name}.rdb"), target, tmp_path)

        keys = said.result["keys"]
        assert (said.exit, keys["written"] + keys["expired"], said.result["verified"]) == (0, keys["read"], True), said


async def test_functions_come_ahead_of_the_keys(tmp_path: Path) -> None:
    """A library of the file is there afterwards; one that is there with other code stays unless replace is said."""
    code = b"#!lua name=mine\nredis.register_function('f', function() return 1 end)"
    async with running("redis-7.0") as source, running() as target, running("redis-6.2") as old:
        await ask(source, "FUNCTION", "LOAD", code)
        await ask(source, "SET", "a", "v")
        path = await saved(source, tmp_path / "dump.rdb")

        said = await imported(path, target, tmp_path)
        lacking = await imported(path, old, tmp_path)

        assert (said.exit, said.result["not_copied"]) == (0, []), said
        assert await ask(target, "FCALL", "f", 0) == 1
        assert lacking.exit == 0, lacking
        assert len(lacking.result["not_copied"]) == 1


async def test_copy_imports_where_the_source_is_a_file(tmp_path: Path) -> None:
    """And a file cannot go into a file."""
    async with running() as source, running() as target:
        await ask(source, "SET", "a", "v")
        path = await saved(source, tmp_path / "dump.rdb")

        said = await run("copy", str(path), target.url, "--json", state=tmp_path)
        both = transfer("copy", str(path), str(tmp_path / "out.rdb"), state=tmp_path)

        assert (said.exit, said.result["command"]) == (0, "import"), said
        assert both.exit == 2


async def test_values_larger_than_the_memory_share_come_too(tmp_path: Path) -> None:
    """A value of a file is held whole, whatever --max-memory allows for many; also with payloads unchecked."""
    path = tmp_path / "dump.rdb"
    async with running() as source, running() as target, running() as other:
        await ask(source, "SET", "large", bytes(range(256)) * (80 << 10))
        await ask(source, "RPUSH", "list", *(b"%d" % number * 100 for number in range(50_000)))
        await saved(source, path)

        said = await imported(path, target, tmp_path, "--max-memory", "8MiB")
        trusted = await imported(path, other, tmp_path, "--allow", "trust-file")

        assert (said.exit, said.result["verified"], said.result["keys"]["written"]) == (0, True, 2), said
        assert trusted.exit == 0, trusted
        assert any("unchecked" in note for note in trusted.lines[0]["notes"])
        assert not oracle.compared(source.address, target.address)
        assert not oracle.compared(source.address, other.address)


async def test_a_dry_run_of_an_import_writes_nothing(tmp_path: Path) -> None:
    """The plan says what the file holds, and its hash can be approved."""
    async with running() as source, running() as target:
        fill(source.address, 100)
        path = await saved(source, tmp_path / "dump.rdb")

        said = await imported(path, target, tmp_path, "--dry-run")
        plan = said.lines[0]
        other = await imported(path, target, tmp_path, "--approved-plan", "sha256:" + "0" * 64)
        approved = await imported(path, target, tmp_path, "--approved-plan", plan["plan"])

        assert (said.exit, plan["keys"], plan["source"]["place"]) == (0, 100, str(path)), said
        assert (other.exit, approved.exit) == (2, 0), (other, approved)


@pytest.mark.parametrize("how", ["another", "cut"])
async def test_a_file_that_changes_meanwhile_is_said_to_have_changed(how: str, tmp_path: Path) -> None:
    """Not that it is damaged; and what was warned of in the plan stands on stderr, too."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        fill(source.address, 1500)
        with oracle.client(source.address) as client:
            for number in range(150):  # more than is read at once
                client.set(f"large:{number}", os.urandom(20_000))
        path = await saved(source, tmp_path / "dump.rdb")
        whole = path.read_bytes()
        path.write_bytes(whole + b"trailing")
        words = (*COMMAND, "import", str(path), target.url, "--rate", "2k/s", "--batch", "50", "-q")
        with _begun(words, tmp_path) as process:
            await until(lambda: 0 < size(target.address) < 1000)
            path.write_bytes(b"REDIS0009" + bytes(len(whole)) if how == "another" else whole[:400])
            _, said = await anyio.to_thread.run_sync(process.communicate)

    assert process.returncode == 4, said
    assert "the file changed since it was looked through" in said
    assert "warning: 8 bytes after the end are not read" in said


def _begun(words: tuple[str, ...], state: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, env=environment_for(state), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )

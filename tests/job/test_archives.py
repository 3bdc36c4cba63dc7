"""Archives made of live servers and brought back: what arrives is what left, and damage is never taken for data."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pyrage
import pytest

from tests import oracle
from tests.cli.running import COMMAND, assert_failed, environment_for, keys_of, run
from tests.endpoint.corpus import fill as fill_all
from tests.job.filling import fill, size
from tests.job.test_exporting import exported
from tests.job.test_importing import ODD, fill_whole, imported
from tests.rdbfiles import IN_2099_MS, saved
from tests.servers import NEWEST, VERSIONS, ask, need, running
from transfer.codec.archive.items import AsOf, Columns, Head, Keys, Manifest
from transfer.codec.archive.reader import ArchiveReader
from transfer.codec.archive.writer import ArchiveWriter

KEYS = 3000


def manifest_of(path: Path) -> Manifest:
    reader = ArchiveReader(deep=True)
    reader.feed(path.read_bytes())
    (found,) = [item for item in reader.take() if isinstance(item, Manifest)]
    reader.finish()
    return found


def blocks_of(path: Path) -> list[Keys]:
    reader = ArchiveReader()
    reader.feed(path.read_bytes())
    return [item for item in reader.take() if isinstance(item, Keys)]


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_exported_is_imported(version: str, tmp_path: Path) -> None:
    """Every type in every size, several databases, deadlines, odd names; out again it is the same archive inside."""
    path, again = tmp_path / "out.xfer", tmp_path / "again.xfer"
    async with running(version) as source, running(version) as target:
        await fill_whole(source)
        await ask(source, "SET", "until", "v", "PXAT" if version != "redis-6.2" else "PX", IN_2099_MS)
        for name in ODD:
            await ask(source, "SET", name, name, db=3)

        out = await exported(source, path, tmp_path)
        back = await imported(path, target, tmp_path)
        await exported(target, again, tmp_path, "--verify", "none")

        assert (out.exit, out.result["verified"], back.exit, back.result["verified"]) == (0, True, 0, True), (out, back)
        assert back.result["keys"]["written"] == back.result["keys"]["read"] == sum((await keys_of(source)).values())
        differences = oracle.compared(source.address, target.address)
        assert not differences, differences.told()
    assert path.stat().st_mode & 0o777 == 0o600
    first, second = manifest_of(path), manifest_of(again)
    assert (first.keys, first.dbs, first.with_deadline) == (second.keys, second.dbs, second.with_deadline)


@pytest.mark.parametrize("ending", ["xfer", "rdb", "jsonl"])
@pytest.mark.parametrize("target_version", ["redis-6.2", "redis-8.2"])
async def test_a_file_crosses_versions_and_families(target_version: str, ending: str, tmp_path: Path) -> None:
    """From the newest down, by RESTORE of payloads stamped or encoded anew: equal by values."""
    async with running("valkey-9.1") as source, running(target_version) as target:
        link = await source.link()
        await fill_all(link)
        await link.close()
        path = tmp_path / f"out.{ending}"
        await exported(source, path, tmp_path, "--verify", "none")

        said = await imported(path, target, tmp_path)

        assert (said.exit, said.result["verified"]) == (0, True), said
        assert said.lines[0]["writing"] == ("raw" if (ending, target_version) == ("jsonl", "redis-8.2") else "restamp")
        differences = oracle.compared(source.address, target.address)
        assert not differences, differences.told()


async def test_a_full_sync_gives_an_archive_of_one_instant(tmp_path: Path) -> None:
    """Of a primary with --allow fork: nothing of it is of another moment, and it says so itself."""
    path = tmp_path / "out.xfer"
    async with running() as source, running() as target:
        await fill_whole(source)
        await ask(source, "SET", "large", os.urandom(12 << 20))
        refused = await exported(source, path, tmp_path, "--route", "psync")
        assert_failed(refused, 2, "E104", "fork")

        said = await exported(source, path, tmp_path, "--route", "psync", "--allow", "fork")
        back = await imported(path, target, tmp_path)

        assert (said.exit, said.result["route"], said.result["verified"]) == (0, "psync", True), said
        assert said.result["as_of"]["kind"] == back.result["as_of"]["kind"] == "instant"
        assert (back.exit, back.result["verified"]) == (0, True), back
        differences = oracle.compared(source.address, target.address)
        assert not differences, differences.told()
    assert manifest_of(path).as_of.kind == "instant"


@pytest.mark.parametrize("ending", ["xfer", "rdb"])
async def test_a_value_that_memory_does_not_hold_is_rejected_by_name(ending: str, tmp_path: Path) -> None:
    """By a full sync as by SCAN; the others are in the file."""
    async with running() as source:
        fill(source.address, 100)
        await ask(source, "SET", "large", os.urandom(12 << 20))
        path = tmp_path / f"out.{ending}"
        routes = (("--route", "scan"), ("--route", "psync", "--allow", "fork,overwrite"))
        for route in routes:
            said = await exported(source, path, tmp_path, "--max-memory", "16MiB", *route)
            assert (said.exit, said.result["keys"]["written"], said.result["keys"]["rejected"]) == (3, 100, 1), said


def _flipped(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes((data[len(data) // 2] ^ 1,)) + data[len(data) // 2 + 1 :]


def _cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


@pytest.mark.parametrize("damaged", [_flipped, _cut], ids=["flipped", "cut"])
async def test_a_damaged_archive_writes_nothing_unless_what_is_whole_is_asked_for(
    damaged: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """Exit 12 with the place; --salvage brings all of whole blocks, says what is missing, and is exit 12 too."""
    path, spoilt = tmp_path / "out.xfer", tmp_path / "spoilt.xfer"
    async with running() as source, running() as target:
        fill(source.address, 20_000, value_bytes=400)
        await exported(source, path, tmp_path, "--verify", "none")
        spoilt.write_bytes(damaged(path.read_bytes()))

        refused = await imported(spoilt, target, tmp_path)
        assert_failed(refused, 12, "E1202" if damaged is _flipped else "E1201")
        assert size(target.address) == 0
        alone = await run("verify", str(spoilt), "--json", state=tmp_path)
        assert alone.exit == 12

        said = await imported(spoilt, target, tmp_path, "--salvage")

        assert (said.exit, len(said.result["damage"])) == (12, 1), said
        blocks, lost = blocks_of(path), said.result["keys"]["written"]
        assert lost == size(target.address) == said.result["verify"]["match"]
        whole = {key for block in blocks if block.frame.end <= len(spoilt.read_bytes()) for key in block.keys}
        hit = {
            key
            for block in blocks
            if block.frame.offset <= path.stat().st_size // 2 < block.frame.end
            for key in block.keys
        }
        assert lost == len(whole - (hit if damaged is _flipped else set())) > 0
        assert not oracle.compared(source.address, target.address).altered
        missing = said.result["missing"]
        gone = None if damaged is _cut else {"0": 20_000 - lost}
        assert (missing["keys_had"], missing["dbs"], missing["blocks"]) == (lost, gone, gone and 1), missing
        words = "how many are missing is not known" if damaged is _cut else f"{20_000 - lost:,} keys in 1 block missing"
        assert words in alone.err, alone
        assert words in said.err, said
        assert (said.result["as_of"]["to"] is None) is (damaged is _cut)
        again = await imported(path, target, tmp_path, "--on-conflict", "skip")
        assert (again.exit, again.result["verified"]) == (0, True), again


async def test_a_file_of_another_kind_is_told_by_name(tmp_path: Path) -> None:
    """An RDB called archive and an archive called RDB: exit 12, and what to do."""
    async with running() as source:
        fill(source.address, 100)
        rdb = await saved(source, tmp_path / "dump.rdb")
        await exported(source, tmp_path / "out.xfer", tmp_path, "--verify", "none")
    rdb.rename(tmp_path / "dump.xfer")
    (tmp_path / "out.xfer").rename(tmp_path / "out.rdb")
    said = await run("verify", str(tmp_path / "dump.xfer"), "--json", state=tmp_path)
    assert_failed(said, 12, "E1200")
    assert ".rdb" in said.result["error"]["hint"]
    assert (await run("verify", str(tmp_path / "out.rdb"), "--json", state=tmp_path)).exit == 12


@pytest.mark.parametrize("point", ["trail.sent:8", "sink.answered:12"])
async def test_an_import_that_was_killed_is_gone_on_with(point: str, tmp_path: Path) -> None:
    """As of any file: where it was, and verified in full."""
    path = tmp_path / "out.xfer"
    async with running() as source, running() as target:
        fill(source.address, KEYS, value_bytes=1000)
        await exported(source, path, tmp_path, "--verify", "none")
        killed = await imported(path, target, tmp_path, "--batch", "100", TRANSFER_CRASH_AT=point)
        assert killed.exit == -signal.SIGKILL, killed

        said = await run("resume", "--json", state=tmp_path)

        assert (said.exit, said.result["verified"]) == (0, True), said
        differences = oracle.compared(source.address, target.address)
        assert not differences, differences.told()


def _piped(first: tuple[str, ...], second: tuple[str, ...], state: Path) -> tuple[int, int, str, str]:
    """`first | second`: exit codes, what the first said on stderr, what the second said on stdout."""
    environment = environment_for(state)
    with subprocess.Popen((*COMMAND, *first), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as left:
        right = subprocess.run(
            (*COMMAND, *second), env=environment, stdin=left.stdout, capture_output=True, text=True, check=False
        )
        assert left.stdout is not None
        left.stdout.close()
        told = left.stderr.read().decode() if left.stderr is not None else ""
        return left.wait(), right.returncode, told, right.stdout + right.stderr


async def test_an_archive_goes_through_a_pipe(tmp_path: Path) -> None:
    """Out of one process into the other: verified there, everything else on stderr, nothing left behind."""
    (tmp_path / "spill").mkdir()
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        out = ("export", source.url, "-", "--json")
        into = ("import", "-", target.url, "--json", "--spill-dir", str(tmp_path / "spill"))

        codes = await anyio.to_thread.run_sync(_piped, out, into, tmp_path)

        assert codes[:2] == (0, 0), codes
        assert '"type":"result"' in codes[2]
        assert '"verified":true' in codes[3]
        differences = oracle.compared(source.address, target.address)
        assert not differences, differences.told()
    assert os.listdir(tmp_path / "spill") == []


async def test_what_came_through_a_pipe_cannot_be_resumed_but_sent_again(tmp_path: Path) -> None:
    """A killed import of standard input holds nobody up, and the next one removes the file that it left."""
    spill, path = tmp_path / "spill", tmp_path / "out.xfer"
    spill.mkdir()
    async with running() as source, running() as target:
        fill(source.address, KEYS, value_bytes=1000)
        await exported(source, path, tmp_path, "--verify", "none")
        words = (*COMMAND, "import", "-", target.url, "--spill-dir", str(spill), "--batch", "100")

        def fed(*more: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
            all_of_it = environment_for(tmp_path, **environment)
            return subprocess.run(
                (*words, *more), env=all_of_it, input=path.read_bytes(), capture_output=True, check=False
            )

        killed = await anyio.to_thread.run_sync(lambda: fed(TRANSFER_CRASH_AT="trail.sent:5"))
        assert (killed.returncode, len(os.listdir(spill))) == (-9, 1), killed
        assert_failed(await run("resume", "--json", state=tmp_path), 2, "E101")

        again = await anyio.to_thread.run_sync(lambda: fed("--on-conflict", "skip"))

        assert (again.returncode, os.listdir(spill)) == (0, []), again
        differences = oracle.compared(source.address, target.address)
        assert not differences, differences.told()


async def test_a_pipe_that_breaks_is_told_on_both_sides(tmp_path: Path) -> None:
    """Who reads goes away: exit 4; what comes is cut: exit 12 and nothing written."""
    async with running() as source, running() as target:
        fill(source.address, 20_000, value_bytes=400)
        whole = tmp_path / "whole.xfer"
        await exported(source, whole, tmp_path, "--verify", "none")

        def cut_off() -> int:
            words = (*COMMAND, "export", source.url, "-")
            with subprocess.Popen(words, env=environment_for(tmp_path), stdout=subprocess.PIPE, stderr=said) as left:
                assert left.stdout is not None
                left.stdout.read(100_000)
                left.stdout.close()
                return left.wait()

        def fed(data: bytes, *words: str) -> subprocess.CompletedProcess[bytes]:
            words = (*COMMAND, *(words or ("import", "-", target.url)))
            return subprocess.run(words, env=environment_for(tmp_path), capture_output=True, input=data, check=False)

        with (tmp_path / "said").open("wb") as said:
            gone = await anyio.to_thread.run_sync(cut_off)
        cut = await anyio.to_thread.run_sync(fed, whole.read_bytes()[:-1000])
        empty = await anyio.to_thread.run_sync(fed, b"")
        looked = [
            await anyio.to_thread.run_sync(fed, data, "verify", "-") for data in (b"", whole.read_bytes()[:-1000])
        ]
        found = await anyio.to_thread.run_sync(fed, whole.read_bytes(), "verify", "-")

        assert (gone, cut.returncode) == (4, 12), (gone, cut)
        assert "gone away" in (tmp_path / "said").read_text()
        assert b"standard input" in cut.stderr
        assert [one.returncode for one in (empty, *looked)] == [12] * 3, (empty, looked)
        assert all(b"nothing came on standard input" in one.stderr for one in (empty, looked[0])), (empty, looked)
        assert b"20,000 keys in " in looked[1].stderr, looked
        assert (found.returncode, found.stdout[:8]) == (0, b"WHOLE  -"), found
        assert size(target.address) == 0


async def test_an_encrypted_archive_opens_for_its_keys_alone(tmp_path: Path) -> None:
    """Read back and verified when it is made, imported with the identity; not without, not with another one."""
    identity, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    key, wrong, path = tmp_path / "key", tmp_path / "wrong", tmp_path / "out.xfer.age"
    key.write_text(str(identity))
    wrong.write_text(str(other))
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        made = await exported(source, path, tmp_path, "--encrypt-to", str(identity.to_public()))
        assert (made.exit, made.result["verified"]) == (0, True), made
        assert pyrage.decrypt(path.read_bytes(), [identity]).startswith(b"\x89XFER")

        assert_failed(await imported(path, target, tmp_path), 2, "E101")
        assert_failed(await imported(path, target, tmp_path, "--identity", str(wrong)), 12, "E1204")
        (tmp_path / "bad.xfer.age").write_bytes(_flipped(path.read_bytes()))
        damaged = await imported(tmp_path / "bad.xfer.age", target, tmp_path, "--identity", str(key))
        assert_failed(damaged, 12, "E1202")
        assert size(target.address) == 0

        said = await imported(path, target, tmp_path, "--identity", str(key))

        assert (said.exit, said.result["verified"]) == (0, True), said
        compared = await run("verify", str(path), target.url, "--identity", str(key), "--json", state=tmp_path)
        assert (compared.exit, compared.result["verify"]["match"]) == (0, KEYS), compared
    assert str(identity) not in made.err + said.err + compared.err


async def test_one_key_is_found_without_reading_the_rest(tmp_path: Path) -> None:
    """Of any database, odd names too; a key that is not there is exit 6."""
    path = tmp_path / "out.xfer"
    async with running() as source:
        fill(source.address, 20_000, value_bytes=400)
        await ask(source, "SET", "ключ", "v", "PXAT", IN_2099_MS, db=3)
        await ask(source, "SET", b"\0\xff\n", "any bytes")
        await exported(source, path, tmp_path, "--verify", "none")

    said = await run("inspect", str(path), "--key", "ключ", "--db", "3", "--json", state=None)
    none = await run("inspect", str(path), "--key", "nobody", "--json", state=None)
    odd = await run("inspect", str(path), "--key-b64", "AP8K", "--json", state=None)
    wrong = await run("inspect", str(path), "--key-b64", "AP8", "--json", state=None)

    found = said.result["data"]
    assert (said.exit, found["type"], found["expire_at_ms"], found["blocks_read"]) == (0, "string", IN_2099_MS, 1), said
    assert '"value":"v"' in found["row"]
    assert (none.exit, none.result["data"]["found"]) == (6, False), none
    assert '"key":{"b64":"AP8K"}' in odd.result["data"]["row"], odd
    assert_failed(wrong, 2, "E101", "--key-b64")


async def test_a_name_that_stands_twice_counts_as_its_last(tmp_path: Path) -> None:
    """As SCAN may give it to a pipe: imported with the later value, counted once, verified."""
    writer = ArchiveWriter()
    parts = [writer.begin(Head("tests", 1, "redis", "7.0.15", AsOf("interval", 1)))]
    parts += [writer.keys(Columns(0, 10, [b"k", b"x"], [b"\0\x03old", b"\0\x03own"]))]
    parts += [writer.keys(Columns(0, 10, [b"y", b"k"], [b"\0\x03own", b"\0\x03new"]))]
    (tmp_path / "twice.xfer").write_bytes(b"".join((*parts, *writer.end(repeated_keys=1))))
    async with running() as target:
        said = await imported(tmp_path / "twice.xfer", target, tmp_path)
        counts = said.result["keys"]

        assert (said.exit, said.result["verified"], said.result["verify"]["match"]) == (0, True, 3), said
        assert (counts["read"], counts["written"], counts["repeated"]) == (4, 3, 1), counts
        assert await ask(target, "GET", "k") == b"new"


@pytest.mark.parametrize("ending", ["xfer", "rdb"])
@pytest.mark.parametrize("route", [(), ("--route", "psync", "--allow", "fork")], ids=["scan", "psync"])
async def test_idle_times_travel_through_a_file(route: tuple[str, ...], ending: str, tmp_path: Path) -> None:
    """Where both policies go by them; a target that goes by use counts is told why not."""
    path = tmp_path / f"out.{ending}"
    async with running() as source, running() as target, running() as other:
        for server, policy in ((source, "allkeys-lru"), (target, "allkeys-lru"), (other, "allkeys-lfu")):
            await ask(server, "CONFIG", "SET", "maxmemory-policy", policy)
            await ask(server, "CONFIG", "SET", "maxmemory", "500mb")
        link = await source.link()
        await link.command("SET", "a", "v")
        dump = await link.command("DUMP", "a")
        await link.command("RESTORE", "old", 0, dump, "IDLETIME", 5000)
        await link.close()

        said = await exported(source, path, tmp_path, "--allow", "touch", *route, "--verify", "none")
        consent = ("--allow", "evicting-target", "--verify", "none")
        back = await imported(path, target, tmp_path, *consent)
        refused = await imported(path, other, tmp_path, "--keep-idle", "on", *consent)

        assert (said.exit, back.exit) == (0, 0), (said, back)
        assert 4990 < await ask(target, "OBJECT", "IDLETIME", "old") < 5100  # type: ignore[operator]
        assert_failed(refused, 5, "E500", "idle")


async def test_lines_of_json_are_lossless(tmp_path: Path) -> None:
    """Every type of the newest server and back, odd names and bytes too; edited by hand it is what it says now."""
    path = tmp_path / "out.jsonl"
    async with running("valkey-9.1") as source, running("valkey-9.1") as target:
        await fill_whole(source)
        await ask(source, "SET", "until", b"\xff", "PXAT", IN_2099_MS)
        for name in ODD:
            await ask(source, "SET", name, name, db=3)

        out = await exported(source, path, tmp_path)
        back = await imported(path, target, tmp_path)

        assert (out.exit, out.result["verified"], back.exit, back.result["verified"]) == (0, True, 0, True), (out, back)
        differences = oracle.compared(source.address, target.address)
        assert not differences, differences.told()

        path.write_bytes(path.read_bytes() + b'{"db":0,"key":"until","type":"string","value":"mine"}\n')
        again = await imported(path, target, tmp_path, "--on-conflict", "replace", "--match", "until")
        assert (again.exit, again.result["keys"]["repeated"]) == (0, 1), again
        assert await ask(target, "GET", "until") == b"mine"
        path.write_bytes(path.read_bytes()[:-5])
        assert_failed(await imported(path, target, tmp_path, "--on-conflict", "skip"), 12, "E1201", "line")


@pytest.mark.parametrize("ending", ["xfer", "rdb"])
async def test_a_backup_is_restored_on_trial(ending: str, tmp_path: Path) -> None:
    """Into a server that is gone afterwards; what came of it is in the notes."""
    need(NEWEST)
    async with running() as source:
        fill(source.address, KEYS)
        said = await exported(source, tmp_path / f"out.{ending}", tmp_path, "--trial-restore")
    assert (said.exit, said.result["verified"]) == (0, True), said
    assert any(f"trial restore: {KEYS:,} of {KEYS:,} keys" in note for note in said.result["notes"]), said
    refused = await run("export", source.url, "-", "--trial-restore", "--json", state=tmp_path)
    assert refused.exit == 2


async def test_a_list_of_names_chooses_among_the_keys_of_a_file(tmp_path: Path) -> None:
    """Imported and compared; names that are not there are nothing."""
    path, names = tmp_path / "out.xfer", tmp_path / "names"
    async with running() as source, running() as target:
        fill(source.address, KEYS)
        await exported(source, path, tmp_path, "--verify", "none")
        names.write_bytes(b"k5\nk77\nnobody\nk2999\n")

        said = await imported(path, target, tmp_path, "--keys-from", str(names))

        assert (said.exit, said.result["verified"], said.result["keys"]["read"]) == (0, True, 3), said
        assert size(target.address) == 3


async def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """Neither what it points to nor the link is touched."""
    (tmp_path / "real.xfer").write_bytes(b"mine")
    (tmp_path / "link.xfer").symlink_to(tmp_path / "real.xfer")
    async with running() as source:
        said = await exported(source, tmp_path / "link.xfer", tmp_path, "--allow", "overwrite")
    assert_failed(said, 2, "E101")
    assert (tmp_path / "real.xfer").read_bytes() == b"mine"
    assert (tmp_path / "link.xfer").is_symlink()

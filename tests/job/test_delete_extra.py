"""--delete-extra: what only the target has goes, inside of mapping and filters, and can be had back."""

from __future__ import annotations

from pathlib import Path

from tests import oracle
from tests.cli.running import Said, transfer
from tests.job.filling import fill
from tests.servers import running
from transfer.endpoint.redis.throwaway import ThrowawayServer


def copy(source: str, target: ThrowawayServer, state: Path, *more: str, crash: str = "") -> Said:
    words = ("copy", source, target.url, "--json", "--pace", "max", "--delete-extra", "--allow", "nonempty-target")
    return transfer(*words, "--state", str(state), *more, TRANSFER_CRASH_AT=crash)


async def test_extra_keys_go_and_an_undo_brings_them_back(tmp_path: Path) -> None:
    """In the databases that are copied, and no others; also where the copy was killed in between."""
    async with running() as source, running() as target:
        fill(source.address, 1000, 1)
        fill(target.address, 2000, 1)
        fill(target.address, 100, 1, db=5)
        before = oracle.snapshot(target.address)

        killed = copy(source.url, target, tmp_path, crash="undo.changed:2")
        done = transfer("resume", "--json", "--state", str(tmp_path))

        assert (killed.exit, done.exit, done.result["verified"]) == (-9, 0, True), done
        left = oracle.snapshot(target.address).keys
        assert {name for db, name in left if db == 0} == {b"k%d" % number for number in range(1000)}
        assert sum(db == 5 for db, _ in left) == 100
        assert transfer("undo", done.result["job"], "--state", str(tmp_path)).exit == 0
        found = oracle.compare(before, oracle.snapshot(target.address))
        assert not found, found.told()


async def test_only_what_the_filters_and_the_renames_mean_is_extra(tmp_path: Path) -> None:
    """Names under other prefixes stay, and so do those of other types, although the source lacks them."""
    async with running() as source, running() as target:
        with oracle.client(source.address) as here, oracle.client(target.address) as there:
            here.mset({"a:1": 1, "a:2": 2, "b:1": 1})
            there.mset({"x:1": "1", "x:9": 9, "x:skip": 1, "a:7": 7, "b:9": 9, "y:1": 1})
            there.sadd("x:set", "m")

            words = ("--rename", "a::x:", "--match", "a:*", "--exclude", "*skip", "--type", "string")
            done = copy(source.url, target, tmp_path, *words)

            assert (done.exit, done.result["data"]) == (0, {"deleted": 1}), done
            assert sorted(there.keys()) == [b"a:7", b"b:9", b"x:1", b"x:2", b"x:set", b"x:skip", b"y:1"]


async def test_an_import_deletes_what_its_file_does_not_hold(tmp_path: Path) -> None:
    """By the index of the file; what is not captured since it was not asked for cannot be undone."""
    async with running() as source, running() as target:
        fill(source.address, 300, 1)
        file = tmp_path / "a.xfer"
        assert transfer("export", source.url, str(file), "--state", str(tmp_path)).exit == 0
        fill(target.address, 500, 1)

        done = copy(str(file), target, tmp_path, "--allow", "no-undo", "--verify", "none")

        assert (done.exit, done.result["data"]) == (0, {"deleted": 200}), done
        assert len(oracle.snapshot(target.address).keys) == 300
        assert transfer("undo", done.result["job"], "--state", str(tmp_path)).exit == 2

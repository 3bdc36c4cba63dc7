"""`transfer clear`: what matches is counted, deleted after it was kept, and can be had back."""

from __future__ import annotations

from pathlib import Path

from tests import oracle
from tests.cli.running import Said, transfer
from tests.job.filling import fill, size
from tests.servers import running
from transfer.endpoint.redis.throwaway import ThrowawayServer

KEYS = 3000


def clear(server: ThrowawayServer, state: Path, *more: str, crash: str = "") -> Said:
    words = ("clear", server.url, "--json", "--state", str(state), *more)
    return transfer(*words, TRANSFER_CRASH_AT=crash)


async def test_a_clear_deletes_what_matches_once_it_is_allowed_and_an_undo_brings_it_back(tmp_path: Path) -> None:
    """Counts in the plan are exact, by database; without consent nothing is deleted."""
    async with running() as server:
        fill(server.address, KEYS, 1)
        fill(server.address, 50, 2, db=3)
        before = oracle.snapshot(server.address)
        strings = ("--match", "k1*", "--exclude", "k10*", "--type", "string", "--type", "set")
        wanted = {
            (db, name)
            for db, name in before.keys
            if name.startswith(b"k1") and not name.startswith(b"k10") and int(name[1:]) % 10 not in (6, 7, 9)
        }

        refused = clear(server, tmp_path, *strings)
        tried = clear(server, tmp_path, *strings, "--dry-run")
        assert (refused.exit, tried.exit, refused.hazards) == (2, 0, ["clear"])
        oracle_same(before, server)
        done = clear(server, tmp_path, *strings, "--allow", "clear")

        assert [(db["target_db"], db["keys"]) for db in done.lines[0]["dbs"]] == [
            (db, sum(at == db for at, _ in wanted)) for db in (0, 3)
        ]
        assert (done.exit, done.result["data"]) == (0, {"deleted": len(wanted), "left": 0}), done
        assert set(before.keys) - set(oracle.snapshot(server.address).keys) == wanted
        assert transfer("undo", done.result["job"], "--state", str(tmp_path)).exit == 0
        oracle_same(before, server)


async def test_a_clear_that_was_killed_goes_on_and_what_is_written_meanwhile_is_named(tmp_path: Path) -> None:
    """Only names of the file; what the killed process deleted can be had back as well."""
    async with running() as server:
        fill(server.address, KEYS, 1)
        before = oracle.snapshot(server.address)
        names = tmp_path / "names"
        names.write_bytes(b"\n".join(b"k%d" % number for number in range(0, KEYS + 100, 2)))

        killed = clear(server, tmp_path, "--keys-from", str(names), "--allow", "clear", crash="undo.changed:3")
        done = transfer("resume", "--json", "--state", str(tmp_path))

        assert (killed.exit, done.exit, done.result["data"]["left"]) == (-9, 0, 0), done
        assert size(server.address) == KEYS // 2
        assert transfer("undo", done.result["job"], "--state", str(tmp_path)).exit == 0
        oracle_same(before, server)


def oracle_same(before: oracle.Snapshot, server: ThrowawayServer) -> None:
    found = oracle.compare(before, oracle.snapshot(server.address))
    assert not found, found.told()

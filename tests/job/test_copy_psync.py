"""Copies by a full sync: of one instant, whole, and harmless to who is beside."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import msgspec
import pytest
import trustme

from tests import oracle
from tests.cli.running import transfer
from tests.endpoint import corpus
from tests.job.copying import copied
from tests.job.filling import beside, fill, until
from tests.job.watching import Watching
from tests.servers import VERSIONS, ask, running, server_context, with_tls
from transfer.endpoint.redis.fullsync import cost
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.endpoint import Secret
from transfer.model.errors import GuardError, LimitError, UsageError
from transfer.model.report import Verdict
from transfer.plan import route
from transfer.wire.replication import FullSync

DISKLESS = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
DISK = ("--repl-diskless-sync", "no")


async def _corpus(server: ThrowawayServer) -> list[bytes]:
    link = await server.link()
    try:
        return await corpus.fill(link)
    finally:
        await link.close()


@pytest.mark.parametrize("framing", [DISKLESS, DISK], ids=["diskless", "disk"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_every_type_arrives_by_one_full_sync(version: str, framing: tuple[str, ...], tmp_path: Path) -> None:
    """Values, deadlines and databases are those of the source, and the report says of which instant."""
    async with running(version, *framing) as source, running(version) as target:
        names = await _corpus(source)
        await ask(source, "SET", "elsewhere", "3", db=3)

        report = await copied(source, target, tmp_path, route="psync")

        assert (report.exit, report.verified, report.route) == (0, True, "psync")
        assert report.keys.written == len(names) + 1
        assert report.as_of is not None
        assert (report.as_of.kind, report.as_of.from_ms) == ("instant", report.as_of.to_ms)
        oracle.assert_same(source.address, target.address, dbs=(0, 3))


async def test_filters_and_names_hold_for_a_full_sync(tmp_path: Path) -> None:
    """What SCAN would not copy a full sync does not, either."""
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        for number in range(50):
            await ask(source, "SET", f"user:{number}", number, db=2)
            await ask(source, "SET", f"short:{number}", number, "PX", 90_000, db=2)
            await ask(source, "HSET", f"user:h{number}", "f", number, db=2)

        report = await copied(
            source,
            target,
            tmp_path,
            route="psync",
            match=(b"user:*", b"short:*"),
            exclude=(b"user:1*",),
            types=("string",),
            renames=((b"user:", b"u/"),),
            dbs=((2, 5),),
            min_ttl_ms=3_600_000,
        )

        expected = {b"u/%d" % n: (b"%d" % n, -1) for n in range(50) if not str(n).startswith("1")}
        assert oracle.contents(target.address, 5) == expected
        assert (report.exit, report.verified, report.route) == (0, True, "psync")


async def test_the_copy_is_of_one_instant_although_others_write(tmp_path: Path) -> None:
    """Two keys that are always written together arrive together; later writes are changes, no findings."""
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        await ask(source, "DEBUG", "POPULATE", 200_000, "k", 100)
        await ask(source, "MSET", "left", 0, "right", 0)
        ended = anyio.Event()

        async def write() -> None:
            link = await source.link()
            for number in range(1, 1 << 30):
                await link.command("MSET", "left", number, "right", number, f"new:{number}", number)
                await link.command("DEL", f"k:{number}")
                if ended.is_set():
                    break
            await link.close()

        async with anyio.create_task_group() as group:
            group.start_soon(write)
            report = await copied(source, target, tmp_path, route="psync")
            ended.set()

        there = oracle.contents(target.address)
        last = max(int(name[4:]) for name in there if name.startswith(b"new:"))
        assert there[b"left"] == there[b"right"] == (b"%d" % last, -1)
        assert sum(name.startswith(b"new:") for name in there) == last  # none before it lacks
        assert not any(b"k:%d" % number in there for number in range(1, last))
        assert (report.route, report.exit) == ("psync", 7)
        assert report.verify is not None
        assert report.verify.differences() == 0
        assert report.verify.changed > 0


@pytest.mark.parametrize("lacks", ["psync", "replconf"])
async def test_a_forbidden_full_sync_becomes_a_scan(lacks: str, tmp_path: Path) -> None:
    """It is said in the plan, and everything arrives."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        fill(source.address, 1000)
        await ask(source, "ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@all", f"-{lacks}")
        reader = msgspec.structs.replace(source.address, username="reader", password=Secret("pw"))
        watching = Watching(consents=True)

        report = await copied(reader, target, tmp_path, watching, route="psync")

        assert watching.plan is not None
        assert any(f"no full sync ({lacks.upper()}: NOPERM" in text for text in watching.plan.warnings)
        assert (report.route, report.exit, report.keys.written) == ("scan", 0, 1000)
        assert report.as_of is not None
        assert report.as_of.kind == "interval"


async def test_a_full_sync_refused_under_way_becomes_a_scan(tmp_path: Path) -> None:
    """Where the plan could not know it, the run finds out and goes on."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        fill(source.address, 1000)
        await ask(source, "ACL", "SETUSER", "reader", "on", ">pw", "~*", "resetchannels", "+@all", "-psync")
        reader = msgspec.structs.replace(source.address, username="reader", password=Secret("pw"))
        watching = Watching(consents=True)

        report = await copied(reader, target, tmp_path, watching, route="psync")

        assert any("PSYNC" in text and "SCAN" in text for text in watching.warnings)
        assert (report.route, report.exit, report.keys.written) == ("scan", 0, 1000)


async def test_a_full_sync_from_a_primary_needs_consent(tmp_path: Path) -> None:
    """Without it nothing is written; with it the plan shows what the fork costs."""
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        fill(source.address, 10)
        watching = Watching(consents=False)

        with pytest.raises(GuardError, match="fork") as refused:
            await copied(source, target, tmp_path, watching, route="psync")

        assert refused.value.exit_code == 2
        assert watching.plan is not None
        assert "resident on a host of" in watching.plan.hazards[0].message
        assert await ask(target, "DBSIZE") == 0
        report = await copied(source, target, tmp_path, route="psync", allow=frozenset({"fork"}))
        assert (report.route, report.exit) == ("psync", 0)


@pytest.mark.parametrize(("allow", "route"), [((), "scan"), (("fork",), "psync")])
async def test_auto_takes_a_full_sync_of_a_primary_only_if_a_fork_is_allowed(
    allow: tuple[str, ...], route: str, tmp_path: Path
) -> None:
    """A fork is never a surprise."""
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        fill(source.address, 10)

        report = await copied(source, target, tmp_path, allow=frozenset(allow))

        assert (report.route, report.exit) == (route, 0)


async def test_auto_takes_a_full_sync_of_a_replica(tmp_path: Path) -> None:
    """The primary is not touched, and the copy is of one instant."""
    async with running("redis-7.0", *DISKLESS) as primary, running("redis-7.0") as target:
        fill(primary.address, 1000)
        async with _replica_of(primary) as replica:
            forks = await _forks(primary)

            report = await copied(replica, target, tmp_path)

            assert (report.route, report.exit, report.keys.written) == ("psync", 0, 1000)
            assert await _forks(primary) == forks


async def test_a_replica_that_takes_over_other_data_is_said_to_have(tmp_path: Path) -> None:
    """The copy is of the data of before: everything differs from what the source holds now, and why is told."""
    async with running("redis-7.0", *DISKLESS) as primary, running("redis-7.0", *DISKLESS) as other:
        fill(primary.address, 2000)
        fill(other.address, 10, 2)
        async with _replica_of(primary) as replica, running("redis-7.0") as target:

            async def follow_other() -> None:
                with oracle.client(target.address) as client:
                    await until(lambda: client.dbsize() > 100)
                await ask(replica, "REPLICAOF", other.address.host, other.address.port)
                with oracle.client(replica.address) as client:
                    await until(lambda: client.dbsize() == 10)

            watching = Watching(consents=True)
            report = await beside(
                lambda: copied(replica, target, tmp_path, watching, rate_keys_per_s=500, batch=50), follow_other
            )

            assert (report.route, report.exit, report.keys.written) == ("psync", 7, 2000)
            assert {finding.verdict for finding in watching.findings} == {Verdict.CHANGED}
            assert any("took over another data set" in note for note in report.notes), report.notes


async def test_we_never_count_as_a_replica(tmp_path: Path) -> None:
    """WAIT of a client beside returns 0 while only we are attached."""
    async with running("redis-7.0", *DISKLESS, "--rdb-key-save-delay", "20") as source, running("redis-7.0") as target:
        await ask(source, "DEBUG", "POPULATE", 50_000, "k", 100)
        seen: list[int] = []
        attached: list[str] = []

        async def look() -> None:
            link = await source.link()
            number = 0
            while len(seen) < 20:
                await link.command("SET", "beside", number := number + 1)
                waited = await link.command("WAIT", 1, 20)
                listed = (await link.command("INFO", "replication")).decode()
                if "slave0:" in listed:
                    seen.append(waited)
                    attached.append(listed)
            await link.close()

        async with anyio.create_task_group() as group:
            with anyio.fail_after(30):
                group.start_soon(look)
                report = await copied(source, target, tmp_path, route="psync", verify="none")

        assert set(seen) == {0}
        assert not any("state=online" in text for text in attached)
        assert report.route == "psync"


async def test_a_source_killed_in_the_middle_is_a_clean_end_or_goes_on(tmp_path: Path) -> None:
    """Restarted with its data, the copy goes on by SCAN; nothing is lost and the report says interval."""
    options = (*DISKLESS, "--rdb-key-save-delay", "20", "--appendonly", "yes", "--appendfsync", "always")
    async with running("redis-7.0", *options) as source, running("redis-7.0") as target:
        fill(source.address, 40_000)
        watching = Watching(consents=True)

        async def kill() -> None:
            while not watching.snapshots or watching.snapshots[-1].keys < 2000:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            await source.kill()
            await source.restart()

        async with anyio.create_task_group() as group:
            group.start_soon(kill)
            report = await copied(source, target, tmp_path, watching, route="psync")

        assert any("broke off" in text for text in watching.warnings)
        assert (report.exit, report.verified, report.route) == (0, True, "scan")
        assert report.as_of is not None
        assert report.as_of.kind == "interval"
        oracle.assert_same(source.address, target.address)


async def test_a_slow_target_does_not_hold_up_the_source(tmp_path: Path) -> None:
    """The source is let go of long before the target has everything, and no file stays."""
    spilled = tmp_path / "spill"
    spilled.mkdir()
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        await ask(source, "DEBUG", "POPULATE", 60_000, "k", 2000)
        shares: list[float | None] = []

        async def watch() -> None:
            while "slave0:" not in (await ask(source, "INFO", "replication")).decode():  # noqa: ASYNC110 - another process
                await anyio.sleep(0.01)
            while "slave0:" in (await ask(source, "INFO", "replication")).decode():  # noqa: ASYNC110 - another process
                await anyio.sleep(0.01)
            shares.append(await ask(target, "DBSIZE"))

        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            report = await copied(
                source, target, tmp_path, route="psync", verify="none", rate_keys_per_s=15_000, max_memory_bytes=4 << 20
            )

        assert report.keys.written == 60_000
        assert shares[0] is not None
        assert shares[0] < 40_000
        assert list(spilled.iterdir()) == []


async def test_a_sync_begun_for_another_replica_is_not_taken(tmp_path: Path) -> None:
    """The server would share a save of an earlier instant, before anybody listened for writes: it is waited out."""
    options = (*DISK, "--rdb-key-save-delay", "100")
    async with running("redis-7.0", *options) as source, running("redis-7.0") as target, running("redis-7.0") as other:
        fill(source.address, 20_000)
        await ask(other, "REPLICAOF", source.address.host, source.address.port)
        with anyio.fail_after(20):
            while "state=wait_bgsave" not in (await ask(source, "INFO", "replication")).decode():  # noqa: ASYNC110
                await anyio.sleep(0.005)
        await ask(source, "MSET", *(word for number in range(0, 20_000, 10) for word in (f"k{number}", "later")))

        report = await copied(source, target, tmp_path, route="psync")

        assert (report.route, report.exit, report.verified) == ("psync", 0, True)
        assert (await ask(target, "GET", "k0")) == b"later"
        oracle.assert_same(source.address, target.address)


async def test_values_too_large_to_be_held_come_from_the_live_source(tmp_path: Path) -> None:
    """And the report says that they are not of the instant."""
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        fill(source.address, 2000)
        await ask(source, "SET", "large", "x" * (1 << 20), "PXAT", 4_070_908_800_000)
        await ask(source, "CONFIG", "SET", "rdbcompression", "no")
        await ask(source, "RPUSH", "list", *("y" * 50_000 for _ in range(40)))
        watching = Watching(consents=True)

        report = await copied(source, target, tmp_path, watching, route="psync", max_memory_bytes=2 << 20)

        assert any("2 values too large" in text for text in watching.warnings)
        assert report.as_of is not None
        assert (report.as_of.kind, report.as_of.exceptions) == ("instant", 2)
        assert (report.route, report.exit, report.keys.written) == ("psync", 0, 2002)
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize(("policy", "word"), [("allkeys-lru", "IDLETIME"), ("allkeys-lfu", "FREQ")])
async def test_use_travels_where_the_stream_tells_it(policy: str, word: str, tmp_path: Path) -> None:
    """Idle times, or use counts, as the RDB has them under such a policy."""
    options = ("--maxmemory-policy", policy)
    async with running("redis-7.0", *DISKLESS, *options) as source, running("redis-7.0", *options) as target:
        await ask(source, "SET", "a", "1")
        dump = await ask(source, "DUMP", "a")
        for number in range(100):
            await ask(source, "RESTORE", f"k{number}", 0, dump, word, 200)

        report = await copied(source, target, tmp_path, route="psync", verify="none", keep_idle="on")

        assert (report.route, report.keys.written) == ("psync", 101)
        uses = [await ask(target, "OBJECT", word, f"k{number}") for number in range(100)]
        assert all(150 <= use <= 260 for use in uses)


async def test_a_full_sync_over_tls(tmp_path: Path) -> None:
    """The same certificate checks, the same data."""
    authority = trustme.CA()
    certificate = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(certificate))
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        fill(source.address, 20_000)
        async with with_tls(source.address, server_context(authority)) as address:
            secured = msgspec.structs.replace(address, cacert=str(certificate))

            report = await copied(secured, target, tmp_path, route="psync")

        assert (report.route, report.exit, report.keys.written) == ("psync", 0, 20_000)
        oracle.assert_same(source.address, target.address)


async def test_a_full_sync_over_a_unix_socket(tmp_path: Path) -> None:
    """No address of ours to announce a port at, and none needed."""
    async with running("redis-7.0", *DISKLESS, unix=True) as source, running("redis-7.0") as target:
        fill(source.address, 5000)

        report = await copied(source, target, tmp_path, route="psync")

        assert (report.route, report.exit, report.keys.written) == ("psync", 0, 5000)


async def test_a_damaged_stream_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One altered byte, found by the checksum at the end: everything is read again, and what was altered is mended."""
    taken = FullSync.receive

    async def altered(self: FullSync) -> bytes:
        data = await taken(self)
        return data.replace(b"precious", b"Precious", 1)

    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        await ask(source, "SET", "k", "a precious value")
        fill(source.address, 3000)
        monkeypatch.setattr(FullSync, "receive", altered)
        watching = Watching(consents=True)

        report = await copied(source, target, tmp_path, watching, route="psync")

        assert any("cannot be read" in text and "checksum" in text for text in watching.warnings)
        assert _noted(tmp_path) == []
        assert (report.route, report.exit, report.verified) == ("scan", 0, True)
        oracle.assert_same(source.address, target.address)


async def test_what_speaks_against_a_full_sync_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too little memory for a fork, no room for the spool, flags it cannot obey: a refusal; auto takes SCAN."""
    names = tmp_path / "names"
    names.write_text("a\n")
    fork = frozenset({"fork"})
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        await ask(source, "SET", "a", "1")
        with pytest.raises(UsageError, match="keys-from"):
            await copied(source, target, tmp_path, route="psync", allow=fork, keys_from=str(names))
        monkeypatch.setattr(route, "free_bytes", lambda folder: 1000)
        with pytest.raises(LimitError, match=r"has 1000 B free \(64.0 MiB stay free\)"):
            await copied(source, target, tmp_path, route="psync", allow=fork)
        looked = Watching(consents=True)
        await copied(source, target, tmp_path, looked, allow=fork, dry_run=True)
        assert looked.plan is not None
        assert looked.plan.route == "scan"
        [warning] = looked.plan.warnings
        assert "read by SCAN" in warning
        assert "has 1000 B free" in warning
        assert "--spill-dir" in warning
        monkeypatch.setattr(cost, "_ROOM", 1e9)
        with pytest.raises(GuardError, match="more than its host has") as refused:
            await copied(source, target, tmp_path, route="psync", allow=fork)

        assert refused.value.exit_code == 2
        assert await ask(target, "DBSIZE") == 0
        report = await copied(source, target, tmp_path, allow=fork)
        assert (report.route, report.exit) == ("scan", 0)


def _killed_in_a_full_sync(
    source: ThrowawayServer, target: ThrowawayServer, state: Path, crash_at: str, *more: str
) -> None:
    """A copy by full sync that is killed at *crash_at*; what it kept lies in `state`/spill."""
    (state / "spill").mkdir()
    words = ("copy", source.url, target.url, "--route", "psync", "--allow", "fork", "--batch", "500", *more)
    places = ("--state", str(state), "--spill-dir", str(state / "spill"))
    assert transfer(*words, *places, TRANSFER_CRASH_AT=crash_at).exit == -9


def _noted(state: Path) -> list[Path]:
    return list(state.glob("*.sync"))


def _kept(state: Path) -> list[Path]:
    return list((state / "spill").iterdir())


@pytest.mark.parametrize("framing", [DISKLESS, DISK], ids=["diskless", "disk"])
async def test_a_killed_copy_goes_on_in_the_full_sync_that_it_kept(framing: tuple[str, ...], tmp_path: Path) -> None:
    """No second fork, the same instant, and hardly a key again; of the file nothing is left."""
    async with running("redis-7.0", *framing) as source, running("redis-7.0") as target:
        fill(source.address, 20_000)
        _killed_in_a_full_sync(source, target, tmp_path, "trail.flushed:72", "--rate", "20000")
        there = await ask(target, "DBSIZE")
        (file,) = _kept(tmp_path)
        assert file.stat().st_mode & 0o777 == 0o600
        await ask(source, "SET", "k0", "changed meanwhile")
        killed_ms = time.time() * 1000

        said = transfer("resume", "--json", "--state", str(tmp_path))

        assert (said.exit, said.result["verified"], said.result["route"]) == (7, True, "psync"), said
        assert (said.result["as_of"]["kind"], await _forks(source)) == ("instant", 1)
        assert said.result["as_of"]["to"] < killed_ms - 500
        keys = said.result["keys"]
        assert there > 16_000
        assert keys["written"] == 20_000
        assert keys["repeated"] <= 4 * 500
        assert _kept(tmp_path) == []
        await ask(source, "COPY", "k1", "k0", "REPLACE")
        await ask(target, "COPY", "k1", "k0", "REPLACE")
        oracle.assert_same(source.address, target.address)


@pytest.mark.parametrize(("crash_at", "forks"), [("sync.begun", 2), ("trail.flushed:1", 1), ("trail.restarted:1", 1)])
async def test_a_killed_copy_ends_equal_wherever_its_full_sync_stood(crash_at: str, forks: int, tmp_path: Path) -> None:
    """Not begun, before it was asked for, or whole before much was acknowledged."""
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        fill(source.address, 6000)
        _killed_in_a_full_sync(source, target, tmp_path, crash_at, "--rate", "6000")

        said = transfer("resume", "--json", "--state", str(tmp_path))

        assert (said.exit, said.result["verified"], said.result["route"]) == (0, True, "psync"), said
        assert said.result["keys"]["written"] + said.result["keys"]["already"] == 6000
        assert await _forks(source) == forks
        assert _kept(tmp_path) == []
        oracle.assert_same(source.address, target.address)


async def test_a_file_that_is_not_what_was_kept_is_not_read(tmp_path: Path) -> None:
    """One bit of it is enough: a new full sync begins, what had arrived is found equal."""
    async with running("redis-7.0", *DISKLESS) as source, running("redis-7.0") as target:
        fill(source.address, 6000)
        _killed_in_a_full_sync(source, target, tmp_path, "trail.flushed:6", "--rate", "6000")
        (file,) = _kept(tmp_path)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)

        said = transfer("resume", "--json", "--state", str(tmp_path))

        assert (said.exit, said.result["verified"], said.result["route"]) == (0, True, "psync"), said
        assert await _forks(source) == 2
        assert said.result["as_of"]["kind"] == "instant"
        keys = said.result["keys"]
        assert keys["written"] + keys["already"] == 6000
        assert keys["conflicts"] == 0
        assert _kept(tmp_path) == []
        oracle.assert_same(source.address, target.address)


async def _forks(server: ThrowawayServer) -> int:
    info = (await ask(server, "INFO", "stats")).decode()
    return int(info.partition("sync_full:")[2].split()[0])


def _replica_of(primary: ThrowawayServer):  # type: ignore[no-untyped-def]
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def replica():  # type: ignore[no-untyped-def]
        async with running("redis-7.0", *DISKLESS) as server:
            await ask(server, "REPLICAOF", primary.address.host, primary.address.port)
            with anyio.fail_after(20):
                while "master_link_status:up" not in (await ask(server, "INFO", "replication")).decode():  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            yield server

    return replica()

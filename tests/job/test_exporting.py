"""Files written from live servers: servers load them and hold the same, and a run that failed leaves none."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from tests import oracle
from tests.cli.running import COMMAND, Said, assert_failed, environment_for, run, transfer
from tests.job.filling import beside, fill, until
from tests.job.test_importing import ODD, fill_whole
from tests.job.watching import Watching
from tests.rdbfiles import IN_2099_MS, started_from
from tests.servers import VERSIONS, ask, running
from transfer.codec.archive.items import AsOf, Facts, Head
from transfer.codec.dump import stamp
from transfer.endpoint.archive.form import ArchiveForm
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.file.newfile import NewFile
from transfer.endpoint.file.sink import FileSink, Form
from transfer.endpoint.rdb.form import RdbForm
from transfer.endpoint.redis.landing import Approach
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.job.exporting import ExportEngine, ExportRun, apart_from_source, run_export
from transfer.model.errors import LinkError
from transfer.model.plan import CopyRequest
from transfer.model.record import Batch, Position, Span
from transfer.model.report import Report, VerifyResult
from transfer.model.selection import Mapping
from transfer.model.tally import Tally
from transfer.pipeline.buckets import BucketStore
from transfer.pipeline.ledger import Ledger
from transfer.plan.files import plan_export
from transfer.wire.url import parse_address

KEYS = 3000


async def exported(source: ThrowawayServer, path: Path, state: Path, *more: str, **environment: str) -> Said:
    return await run("export", source.url, str(path), *more, "--json", state=state, **environment)


def _begun(words: tuple[str, ...], state: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        words, env=environment_for(state), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_server_started_from_the_file_holds_the_same(version: str, tmp_path: Path) -> None:
    """Every type in every size, several databases, deadlines, odd names; mode 0600; read back and compared."""
    path = tmp_path / "out.rdb"
    async with running(version) as source:
        await fill_whole(source)
        await ask(source, "SET", "until", "v", "PX", 100_000_000)
        for name in ODD:
            await ask(source, "SET", name, name, db=3)

        said = await exported(source, path, tmp_path)

        assert (said.exit, said.result["verified"]) == (0, True), said
        assert said.result["keys"]["written"] == said.result["verify"]["match"]
        assert path.stat().st_mode & 0o777 == 0o600
        async with started_from(path, version, tmp_path / "loaded") as loaded:
            differences = oracle.compared(source.address, loaded.address)
            assert not differences, differences.told()


async def test_redis_own_checker_accepts_the_file(tmp_path: Path) -> None:
    """`redis-check-rdb`, with a function library in it."""
    path = tmp_path / "out.rdb"
    async with running("redis-7.0") as source:
        fill(source.address, KEYS)
        code = b"#!lua name=mine\nredis.register_function('f', function() return 1 end)"
        await ask(source, "FUNCTION", "LOAD", code)

        said = await exported(source, path, tmp_path)
        checked = await anyio.run_process(["redis-check-rdb", str(path)], check=False)

        assert said.exit == 0, said
        assert checked.returncode == 0, checked.stdout
        assert b"%d keys read" % KEYS in checked.stdout
        async with started_from(path, "redis-7.0", tmp_path / "loaded") as loaded:
            assert await ask(loaded, "FCALL", "f", 0) == 1


async def test_filters_choose_what_is_in_the_file(tmp_path: Path) -> None:
    """Names, types, databases, renames, deadlines: as for a copy."""
    path = tmp_path / "out.rdb"
    async with running("redis-7.0") as source:
        fill(source.address, KEYS)
        await ask(source, "SET", "other", "v", db=5)
        filters = ("--match", "k1*", "--type", "hash", "--type", "zset")
        moves = ("--db", "0:2", "--rename", "k:moved_", "--ttl", "drop")

        said = await exported(source, path, tmp_path, *filters, *moves)

        wanted = {
            b"moved_" + key[1:]: held.value
            for (_, key), held in oracle.snapshot(source.address, (0,)).keys.items()
            if key.startswith(b"k1") and held.kind in (b"hash", b"zset")
        }
        assert (said.exit, said.result["verified"]) == (0, True), said
        async with started_from(path, "redis-7.0", tmp_path / "loaded") as loaded:
            there = oracle.snapshot(loaded.address).keys
            assert {key: held.value for (_, key), held in there.items()} == wanted
            assert {db for db, _ in there} == {2}
            assert {held.deadline for held in there.values()} == {-1}


async def test_a_source_that_is_written_to_meanwhile_gives_a_whole_file(tmp_path: Path) -> None:
    """What changed is listed as changed (exit 7) or was caught; nothing else differs, and a server loads it."""
    path = tmp_path / "out.rdb"
    async with running() as source:
        fill(source.address, 20_000)
        done = anyio.Event()

        async def work() -> Said:
            try:
                return await exported(source, path, tmp_path, "--pace", "max")
            finally:
                done.set()

        async def write() -> None:
            number = 0
            while not done.is_set():
                number += 1
                await ask(source, "SET", f"k{number % 20_000}", f"new {number}")
                await ask(source, "SET", f"more:{number}", "v")

        said = await beside(work, write)

        assert said.exit in (0, 7), said
        assert said.result["verify"]["missing"] == said.result["verify"]["value"] == 0
        async with started_from(path, "valkey-9.1", tmp_path / "loaded") as loaded:
            assert await ask(loaded, "DBSIZE") >= 20_000  # type: ignore[operator]


async def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    """The hazard is `overwrite`; a failure afterwards leaves the old one."""
    path = tmp_path / "out.rdb"
    path.write_bytes(b"mine")
    async with running() as source:
        await ask(source, "SET", "a", "v")

        assert_failed(await exported(source, path, tmp_path), 2, "E104", "overwrite")
        assert path.read_bytes() == b"mine"
        said = await exported(source, path, tmp_path, "--allow", "overwrite")

        assert said.exit == 0, said
        assert path.read_bytes().startswith(b"VALKEY")


async def test_a_kill_leaves_no_file_that_looks_whole(tmp_path: Path) -> None:
    """kill -9 in the middle: no such file; the next export takes away what was left."""
    path, folder = tmp_path / "out" / "out.rdb", tmp_path / "out"
    folder.mkdir()
    async with running() as source:
        fill(source.address, 20_000)
        words = (*COMMAND, "export", source.url, str(path), "--rate", "2k/s", "--no-input")
        with _begun(words, tmp_path) as process:
            await until(lambda: any(folder.iterdir()))
            process.send_signal(signal.SIGKILL)
        assert not path.exists()
        assert [name.name.startswith(".out.rdb.") for name in folder.iterdir()] == [True]

        said = await exported(source, path, tmp_path)

        assert said.exit == 0, said
        assert [name.name for name in folder.iterdir()] == ["out.rdb"]


async def test_an_interrupt_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    """An export begins anew: there is no resume."""
    folder = tmp_path / "out"
    folder.mkdir()
    async with running() as source:
        fill(source.address, 20_000)
        words = (*COMMAND, "export", source.url, str(folder / "out.rdb"), "--rate", "2k/s", "--no-input")
        with _begun(words, tmp_path) as process:
            await until(lambda: any(folder.iterdir()))
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=20)

        assert process.returncode == 130
        assert "run the same command again" in told
        assert list(folder.iterdir()) == []


async def test_a_folder_that_is_not_there_is_said_before_anything_is_read(tmp_path: Path) -> None:
    """Exit 4 and its name."""
    async with running() as source:
        assert_failed(await exported(source, tmp_path / "no" / "out.rdb", tmp_path), 4, "E211", "no such folder")


async def test_a_file_comes_back_as_it_left(tmp_path: Path) -> None:
    """Export, import into another server, and compare the two; then the file with either."""
    path = tmp_path / "out.rdb"
    async with running("redis-8.2") as source, running("redis-8.2") as target:
        await fill_whole(source)
        assert (await exported(source, path, tmp_path)).exit == 0

        back = await run("import", str(path), target.url, "--json", state=tmp_path)
        same = await run("verify", str(path), target.url, "--json", state=tmp_path)
        other = await run("verify", source.url, str(path), "--json", state=tmp_path)

        assert [back.exit, same.exit, other.exit] == [0, 0, 0], (back, same, other)
        assert not oracle.compared(source.address, target.address)


class _Here:
    """A source that is only a clock."""

    def now_ms(self) -> int:
        return 1


_HEAD = Head("tests", 1, "redis", "7.0.15", AsOf("interval", 1))


@pytest.mark.parametrize(
    "form",
    [
        lambda: RdbForm(10, {b"redis-ver": b"7.0.15"}, []),
        lambda: ArchiveForm(_HEAD, Facts(), 3, lambda: BucketStore(0)),
    ],
    ids=["rdb", "xfer"],
)
async def test_a_key_that_was_read_twice_is_in_the_file_once(form: Callable[[], Form], tmp_path: Path) -> None:
    """SCAN may give a name twice, and a server does not start from a file that holds one twice; the last counts."""
    tally = Tally()
    names, ledger = BucketStore(0), Ledger()
    approach = Approach(Mapping({0: 0, 1: 1}), tally)
    sink = FileSink(
        lambda job: NewFile(tmp_path / "out.file", job),
        "job",
        form(),
        approach=approach,
        folding=None,
        written=ledger,
        names=names,
        tally=tally,
        clock=_Here(),  # type: ignore[arg-type]
    )
    for db, keys, value in ((0, [b"a", b"b"], b"old"), (1, [b"a"], b"own"), (0, [b"c", b"a"], b"new")):
        dumps = [stamp(b"\0\x03" + value, 10) for _ in keys]
        span = Span(Position("p", ""))
        await sink.write(Batch(span, db, keys, dumps, list(map(len, dumps)), [IN_2099_MS] * len(keys)))
    found = await DataFile.open(await sink.finish(AsOf("interval", 1, 2)))
    sink.file.keep()
    found.moved_to(sink.file.path)

    held = {(b.db, key): body for b in found.walk.blocks() for key, body in zip(b.keys, b.bodies, strict=True)}
    assert {key: body[2:] for key, body in held.items()} == {
        (0, b"a"): b"new",
        (0, b"b"): b"old",
        (0, b"c"): b"new",
        (1, b"a"): b"own",
    }
    assert (found.keys, tally.counts.written, tally.counts.repeated) == (4, 4, 1)
    sink.drop()
    assert os.listdir(tmp_path) == ["out.file"]


async def test_copy_exports_where_the_target_is_a_file(tmp_path: Path) -> None:
    """And export wants a file."""
    async with running() as source:
        await ask(source, "SET", "a", "v")

        said = await run("copy", source.url, str(tmp_path / "out.rdb"), "--json", state=tmp_path)

        assert (said.exit, said.result["command"]) == (0, "export"), said
        assert transfer("export", source.url, source.url, state=tmp_path).exit == 2


@pytest.mark.parametrize(("more", "kind"), [((), "interval"), (("--route", "psync", "--allow", "fork"), "instant")])
async def test_an_import_says_of_a_file_what_its_export_did(more: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    """An RDB by SCAN is of no instant; servers and their checker pass over the note that says so."""
    path = tmp_path / "out.rdb"
    async with running("redis-7.0", "--repl-diskless-sync-delay", "0") as source, running("redis-7.0") as target:
        fill(source.address, 100)
        made = await exported(source, path, tmp_path, *more)
        said = await run("import", str(path), target.url, "--json", state=tmp_path)
        oracle.assert_same(source.address, target.address)
        async with started_from(path, "redis-7.0", tmp_path / "loaded") as loaded:
            oracle.assert_same(source.address, loaded.address)

    assert (made.exit, said.exit) == (0, 0), (made, said)
    assert made.result["as_of"]["kind"] == said.result["as_of"]["kind"] == kind
    assert all(made.result["as_of"][end] == said.result["as_of"][end] for end in ("from", "to"))


@pytest.mark.parametrize("ending", ["rdb", "xfer", "jsonl"])
async def test_a_server_that_holds_nothing_gives_a_whole_file_of_nothing(ending: str, tmp_path: Path) -> None:
    """A backup that ran before the first key was written is no failure, and comes back as nothing."""
    path = tmp_path / f"out.{ending}"
    async with running("redis-7.0") as source:
        made = await exported(source, path, tmp_path)
        back = await run("import", str(path), source.url, "--json", state=tmp_path)

    assert (made.exit, made.result["keys"]["written"]) == (0, 0), made
    assert (back.exit, back.result["keys"]["read"]) == (0, 0), back


class _Written(ExportRun):
    """An export whose source is written to before the file is compared with it."""

    async def _compare(self, engine: ExportEngine, source: Server, file: DataFile) -> None:
        await ask(source.address, "SET", "k1", "another")
        await ask(source.address, "SET", "more", "v")
        await super()._compare(engine, source, file)


class _CutOff(ExportRun):
    """An export whose source is gone when the file is to be compared with it."""

    async def _compare(self, engine: ExportEngine, source: Server, file: DataFile) -> None:
        raise LinkError("the source is gone", where=source.where)


async def _kept(source: ThrowawayServer, path: Path, state: Path, kind: type[ExportRun]) -> tuple[Watching, Report]:
    """What an export of *kind* says and reports, failed or not."""
    watching = Watching(consents=True)
    request = CopyRequest(source=source.address, target=parse_address(str(path)), state_dir=str(state))
    with contextlib.suppress(LinkError):
        await run_export(request, watching, plan_export, kind)
    assert watching.report is not None
    return watching, watching.report


@pytest.mark.parametrize(
    ("kind", "exit_code", "why"),
    [
        (_Written, 7, "2 keys changed there since"),
        (_CutOff, 4, "it was not compared with the source to the end"),
    ],
)
async def test_a_file_that_was_not_found_equal_is_said_to_be_there(
    kind: type[ExportRun], exit_code: int, why: str, tmp_path: Path
) -> None:
    """Whole and under its name, with what it differs in, and what to do next."""
    path = tmp_path / "out.xfer"
    async with running() as source:
        fill(source.address, 100)
        watching, report = await _kept(source, path, tmp_path, kind)

    [said] = [text for text in watching.warnings if "is there and whole" in text]
    assert report.exit == exit_code
    assert str(path) in said
    assert why in said
    assert f"transfer verify {source.address} {path}" in said
    assert "--allow overwrite" in said
    assert said in report.notes
    assert transfer("verify", str(path), "--deep", state=tmp_path).exit == 0


def test_how_a_file_differs_is_said_by_kind() -> None:
    """What would be findings, each kind with its number, beside what changed."""
    report = Report(command="export", job="1")
    assert apart_from_source(report) == ""

    report.verify = VerifyResult(missing=1, value=2, changed=1)

    said = "3 keys differ from the source (missing 1, value 2) and 1 key changed there since"
    assert apart_from_source(report) == said

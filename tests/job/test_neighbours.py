"""Two jobs at one target: the second is refused before it writes, unless the first one is dead or writes elsewhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.job.copying import copied
from tests.job.filling import beside, fill, size, until
from tests.job.watching import Watching
from tests.servers import ask, running
from transfer.endpoint.redis.neighbours import connection_name
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.job.identity import process_age_s
from transfer.job.neighbours import refuse_neighbours
from transfer.model.errors import GuardError, LockedError
from transfer.wire.dial import Dialer

OTHER = "20261122-1931-7f3a"
HOST = socket.gethostname()

_HOLDER = """
import os, socket, sys
port, db, host, job = sys.argv[1:]
link = socket.create_connection(("127.0.0.1", int(port)))
name = f"transfer-{job}-{host}-{os.getpid()}-w3"
link.sendall(f"SELECT {db}\\r\\nCLIENT SETNAME {name}\\r\\n".encode())
got = b""
while got.count(b"+OK") < 2: got += link.recv(100)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(server: ThrowawayServer, *, db: int = 0, host: str = HOST, job: str = OTHER) -> Iterator[int]:
    """Another live process that writes under the name of *job*; its pid."""
    command = [sys.executable, "-c", _HOLDER, str(server.address.port), str(db), host, job]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process.pid
        finally:
            process.communicate()


def _dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


@asynccontextmanager
async def dead(server: ThrowawayServer, job: str = OTHER) -> AsyncIterator[None]:
    """A connection whose name is of a process of this machine that is no more."""
    link = await Dialer(server.address, name=connection_name(job, HOST, _dead_pid())).dial(writes=True)
    try:
        yield
    finally:
        await link.close()


@pytest.mark.parametrize("host", [HOST, "another-host-7"])
async def test_a_live_writer_at_the_target_refuses_the_copy(host: str, tmp_path: Path) -> None:
    """Exit 11 before anything is written; the job, its host, process and address are named."""
    async with running() as source, running() as target:
        fill(source.address, 50)
        with held(target, host=host) as pid, pytest.raises(LockedError) as refused:
            await copied(source, target, tmp_path)
        assert size(target.address) == 0

        assert refused.value.exit_code == 11
        facts = refused.value.facts
        assert (facts["other"], facts["host"], facts["pid"]) == (OTHER, host, pid)
        assert str(facts["address"]).startswith("127.0.0.1:")
        assert all(text in refused.value.message for text in (OTHER, host, str(pid), str(facts["address"])))
        assert f"transfer jobs list on {host}" in refused.value.hint

        assert (await copied(source, target, tmp_path)).keys.written == 50


async def test_a_live_writer_is_told_before_consent_is_asked(tmp_path: Path) -> None:
    """What it writes would be asked about as a stranger's. The look leaves nothing there, nor does a refusal."""
    async with running() as source, running() as target:
        fill(source.address, 50)
        fill(target.address, 5)
        watching = Watching(consents=False)
        with held(target), pytest.raises(LockedError):
            await copied(source, target, tmp_path, watching, on_conflict="", allow=frozenset())

        watching = Watching(consents=False)
        with pytest.raises(GuardError, match="nonempty-target"):
            await copied(source, target, tmp_path, watching, on_conflict="", allow=frozenset(), fresh=True)
        assert _writers(target) == 0


async def test_a_writer_in_another_database_is_not_in_the_way(tmp_path: Path) -> None:
    """Two jobs may fill two databases of one server."""
    async with running() as source, running() as target:
        fill(source.address, 50)
        with held(target, db=4):
            report = await copied(source, target, tmp_path)

    assert report.keys.written == 50


async def test_one_that_reads_there_is_not_in_the_way(tmp_path: Path) -> None:
    """A verify of the same target, say."""
    async with running() as source, running() as target:
        fill(source.address, 50)
        link = await Dialer(target.address, name=connection_name(OTHER, "elsewhere", 5)).dial()
        report = await copied(source, target, tmp_path)
        await link.close()

    assert report.keys.written == 50


async def test_what_a_dead_job_of_this_machine_left_is_ended(tmp_path: Path) -> None:
    """The copy goes on, with a warning that names it."""
    async with running() as source, running() as target, dead(target):
        fill(source.address, 50)
        watching = Watching(consents=True)
        report = await copied(source, target, tmp_path, watching)

    assert report.keys.written == 50
    assert [OTHER in text and "dead" in text for text in watching.warnings] == [True]


async def test_a_process_younger_than_its_connection_is_another_one(tmp_path: Path) -> None:
    """A pid is given anew; the process that has it now did not open that connection."""
    async with running() as source, running() as target:
        fill(source.address, 50)
        assert (process_age_s(os.getpid()) or 0) > 0
        link = await Dialer(target.address, name="none").dial()
        assert await link.command("CLIENT", "SETNAME", f"{connection_name(OTHER, HOST, 0)}-w1") is not None
        await until(lambda: _oldest_age_s(target) > 4)
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as young:  # noqa: ASYNC220
            await link.command("CLIENT", "SETNAME", f"{connection_name(OTHER, HOST, young.pid)}-w1")
            watching = Watching(consents=True)
            report = await copied(source, target, tmp_path, watching)
            young.communicate(b"\n")
        await link.close()

    assert report.keys.written == 50
    assert any("dead" in text for text in watching.warnings)


def _oldest_age_s(server: ThrowawayServer) -> int:
    with oracle.client(server.address) as client:
        return max(int(one["age"]) for one in client.client_list())


async def test_a_target_that_lets_nobody_look_is_said_and_copied_to(tmp_path: Path) -> None:
    """A user without CLIENT: a warning, once, and no refusal."""
    async with running() as source, running() as target:
        fill(source.address, 50)
        await ask(target, "ACL", "SETUSER", "default", "-client")
        watching = Watching(consents=True)
        report = await copied(source, target, tmp_path, watching)

    assert report.keys.written == 50
    assert ["could not be looked for other jobs" in text for text in watching.warnings] == [True]


async def test_of_two_real_copies_the_second_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    """Each has a store of its own, as on two machines; once the first has ended the second may."""
    async with running() as source, running() as target:
        fill(source.address, 2_000)
        refused: list[LockedError] = []
        asked: dict[str, Any] = {"allow": frozenset({"busy-target"}), "on_conflict": "skip"}

        async def meanwhile() -> None:
            await until(lambda: size(target.address) > 100)
            with pytest.raises(LockedError) as caught:
                await copied(source, target, tmp_path / "two", **asked)
            refused.append(caught.value)

        first = await beside(lambda: copied(source, target, tmp_path / "one", rate_keys_per_s=400, batch=50), meanwhile)
        second = await copied(source, target, tmp_path / "two", **asked)

    assert refused[0].facts["pid"] == os.getpid()
    assert refused[0].facts["other"] == first.job
    assert (first.keys.written, second.keys.already) == (2_000, 2_000)


async def test_of_two_that_begin_at_once_the_older_one_goes_on(tmp_path: Path) -> None:
    """Both have announced before either looks: one of them leaves, and the other waits for that."""
    jobs = ("20261122-1931-0001", "20261122-1931-0002")
    async with running() as target:
        older, newer = [await Server.open(target.address, name=connection_name(job, "web", 1)) for job in jobs]
        await newer.announce([0])

        async def leave() -> None:
            with pytest.raises(LockedError, match=jobs[0]):
                await refuse_neighbours(newer, jobs[1], {0}, print)

        await beside(lambda: refuse_neighbours(older, jobs[0], {0}, print), lambda: _after_announcing(target, leave))
        assert len(older._announced) == 1
        await older.withdraw()


async def _after_announcing(target: ThrowawayServer, then: Any) -> None:
    await until(lambda: _writers(target) == 2)
    await then()


def _writers(server: ThrowawayServer) -> int:
    with oracle.client(server.address) as client:
        return sum("-w" in one["name"] for one in client.client_list())

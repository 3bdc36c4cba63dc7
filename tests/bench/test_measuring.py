"""The measuring itself: what is measured is what it says."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import NEWEST, ask, binary_of, need, running
from transfer.bench import machine
from transfer.bench.client import percentiles, prepare, watching
from transfer.bench.data import fill
from transfer.bench.delay import delayed
from transfer.bench.judge import SETS, judge, limits_of
from transfer.bench.places import started
from transfer.bench.process import run
from transfer.bench.questions import QUESTIONS, tls
from transfer.bench.rounds import take_turns
from transfer.bench.ways import Row, Way
from transfer.codec.resp import command
from transfer.model.errors import FormatError, GuardError, UsageError, WayError
from transfer.wire.dial import Dialer


async def test_a_childs_resident_set_is_its_own() -> None:
    """On Linux what wait4 says is at least what the parent held; a bare Python takes some 10 MiB."""
    held = bytearray(200 << 20)
    held[:: 4 << 10] = b"x" * len(held[:: 4 << 10])

    ran = await run([sys.executable, "-c", "import time; time.sleep(0.1)"])

    assert ran.exit == 0
    assert 1 < ran.rss_mib < 100


async def test_cpu_and_wall_clock_of_a_child_are_measured() -> None:
    """A child that spins takes CPU, one that sleeps takes none."""
    spins = await run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"])
    sleeps = await run([sys.executable, "-c", "import time; time.sleep(0.3)"])

    assert 0.3 <= spins.cpu_s < 0.6
    assert sleeps.cpu_s < 0.2
    assert sleeps.wall_s >= 0.3


def test_a_busy_machine_is_told() -> None:
    """By what another process takes just before, with its name; by the load average."""
    words = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as spinning:
        assert spinning.stdout is not None
        spinning.stdout.readline()
        found = machine.machine()
        spinning.kill()

    assert found["busy_cores"] > 0.25
    assert any("other processes took" in line for line in machine.warnings(found))
    idle = found | {"load": 0.1, "busy_cores": 0.05}
    assert machine.warnings(idle) == []
    assert "load average 1.20 on 2 cores" in machine.warnings(idle | {"load": 1.2, "cores": 2})[0]


async def test_a_way_of_ours_that_loses_keys_ends_the_benchmark_and_a_peer_is_left_out() -> None:
    """Speed without the keys is no speed."""
    need(NEWEST)

    async def nothing() -> Row:
        return {"seconds": 0.1, "wall_s": 0.1}

    async with started(binary_of(NEWEST)) as pair:  # type: ignore[arg-type]
        await fill(pair.source.address, keys=30)
        await pair.measure()
        taken = await take_turns([Way("lazy peer", nothing)], pair, 2, lambda line: None)
        assert taken.skipped == {"lazy peer": "lazy peer: 0 of 30 keys arrived"}
        assert taken.median == {}
        with pytest.raises(WayError, match="0 of 30 keys"):
            await take_turns([Way("ours", nothing, ours=True)], pair, 1, lambda line: None)


async def test_a_part_of_the_keys_is_scaled_up_and_said_to_be() -> None:
    """A way that moved a third took three times as long for all."""
    need(NEWEST)

    async def third() -> Row:
        return {"seconds": 1.0, "wall_s": 1.5, "engine_cpu_s": 0.5, "keys": 10}

    async with started(binary_of(NEWEST)) as pair:  # type: ignore[arg-type]
        await fill(pair.source.address, keys=30)
        await pair.measure()
        taken = await take_turns([Way("slow", third, arrives=False)], pair, 1, lambda line: None)
        row = taken.median["slow"]
        assert (row["seconds"], row["wall_s"], row["engine_cpu_s"], row["keys_per_s"]) == (3.0, 4.5, 1.5, 10.0)
        assert taken.scaled == {"slow": "10 of 30 keys, scaled up"}


async def test_a_given_server_is_never_emptied() -> None:
    """Not even by a fault of ours."""
    async with running() as server:
        from transfer.bench.places import Side

        await ask(server, "SET", "mine", "1")
        with pytest.raises(GuardError):
            await Side(server.address, ours=False).empty()
        assert await ask(server, "DBSIZE") == 1


async def test_the_proxy_delays_every_answer_by_the_round_trip() -> None:
    """A PING takes the round trip and little more."""
    async with running() as server, delayed(server.address, 40) as far:
        link = await Dialer(far).dial()
        began = time.monotonic()
        assert await link.command("PING") == b"PONG"
        took_s = time.monotonic() - began
        await link.close()
    assert 0.040 <= took_s < 0.120


async def test_the_proxy_holds_many_chunks_at_once() -> None:
    """A delay costs time, not bandwidth: 40 MB in 256 KiB pieces wait beside each other, in order."""
    async with running() as server, delayed(server.address, 100) as far:
        link = await Dialer(far).dial()
        value = bytes(range(256)) * 4_000
        began = time.monotonic()
        await link.ask(b"".join(command("APPEND", "long", value) for _ in range(40)), 40)
        took_s = time.monotonic() - began
        assert await link.command("GETRANGE", "long", 3 * len(value), 4 * len(value) - 1) == value
        await link.close()
    assert took_s < 4.0  # one after the other: 160 chunks of 50 ms, 8 s


async def test_a_stall_is_seen_by_every_request_it_held_up() -> None:
    """200 ms at 1,000 requests a second are 200 slow answers, not one."""
    async with running() as server:
        await prepare(server.address)
        began = time.monotonic()
        async with watching(server.address) as watcher:
            await ask(server, "DEBUG", "SLEEP", "0.2")
        found = percentiles(watcher.samples, began, time.monotonic())
        assert found["max_ms"] > 150
        assert sum(ms > 50 for _, ms in watcher.samples) > 50
        assert await ask(server, "DBSIZE") == 100


def test_percentiles_count_what_lies_in_the_window() -> None:
    """Nothing before the work, nothing after it."""
    samples = [(float(second), float(second)) for second in range(1, 201)]
    found = percentiles(samples, 1, 100)
    assert found == {"p50_ms": 50, "p99_ms": 99, "p999_ms": 100, "max_ms": 100, "requests": 100}
    assert percentiles(samples, 300, 400) == {"requests": 0}


def test_a_named_limit_that_was_not_measured_is_missed() -> None:
    """A peer that is away keeps no promise; limits of a set are of many questions, and wait for theirs."""
    names = QUESTIONS["copy"].ratios
    ratios = {"copy / migrate": 0.5}

    named = judge(ratios, limits_of(("copy / rdb-cli=2", "copy / migrate=0.55"), (), "", names))
    of_set = judge(ratios, limits_of((), (), "reach", names))

    assert {one.name: one.kept for one in named} == {"copy / rdb-cli": False, "copy / migrate": True}
    assert [(one.name, one.limit, one.kept) for one in of_set] == [("copy / migrate", 0.6, True)]


@pytest.mark.parametrize(
    "words", ['{"max": {"copy / migrat": 0.1}}', '{"v": 1}', "{}", '{"copy / migrate": {"max": 0.1}}']
)
def test_a_file_of_limits_that_limits_nothing_is_refused(words: str, tmp_path: Path) -> None:
    """A gate that was spelt wrongly would stand open without a word."""
    file = tmp_path / "limits.json"
    file.write_text(words)
    every = QUESTIONS["copy"].ratios
    with pytest.raises((UsageError, FormatError)):
        limits_of((), (), str(file), every, every)


def test_every_limit_of_this_project_is_of_some_question() -> None:
    """A ratio that is renamed in one place only would never be judged."""
    known = {name for question in QUESTIONS.values() for name in question.ratios}
    assert set(SETS["reach"]) == set(SETS["stretch"])
    assert set(SETS["reach"]) <= known


def test_without_trustme_the_install_line_is_told(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes with the extra."""
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(UsageError) as refused:
        tls.certificates(tmp_path)  # type: ignore[arg-type]
    assert refused.value.hint == "pip install 'keyspace-transfer[bench]'"

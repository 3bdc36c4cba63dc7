"""`copy` as a process: words it refuses, plans it keeps to, odd data it carries, memory it stays within."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
import pytest

from tests import oracle
from tests.cli.running import COMMAND, assert_failed, copy, environment_for, keys_of, run, transfer
from tests.servers import ask, binary_of, running
from transfer.endpoint.redis.throwaway import ThrowawayServer, throwaway

NOBODY = "redis://127.0.0.1:1"
HOUR_MS = 3_600_000
GIANT_BYTES = 300 << 20
SLACK_BYTES = 100 << 20
"""What a run may need beyond --max-memory."""

ODD_NAMES = [
    b"two\r\nlines",
    b"SET a b\r\n",
    b"nul\x00inside",
    b"\x00",
    b"with  spaces ",
    b"{tag}:1",
    b"{}",
    b"{",
    b"}",
    b"",
    b"*",
    b"[a-z]?\\",
    b"\xff\xfe\x80",
    b"\x1b[2Jclear",
    "schl\u00fcssel \u202e".encode(),
    b"n" * 65_536,
    b"x" * 65_535 + b"\r",
]


@pytest.mark.parametrize(
    ("words", "exit_code", "told"),
    [
        (["http://127.0.0.1:1", NOBODY], 2, "unknown scheme http://"),
        ([NOBODY, "rediss+cluster://h"], 2, "is not served yet"),
        ([NOBODY, NOBODY, "--max-rejcts", "1"], 2, "did you mean --max-rejects?"),
        ([NOBODY, NOBODY, "--transform"], 2, "unknown option --transform: it is not in this release"),
        ([NOBODY, NOBODY, "--max-rejects", "-1"], 2, "--max-rejects"),
        ([NOBODY, NOBODY, "--rate", "50k/h"], 2, "--rate"),
        ([NOBODY, NOBODY, "--rate", "-5/s"], 2, "--rate: '-5/s' is below zero"),
        ([NOBODY, NOBODY, "--sample", "101%"], 2, "--sample"),
        ([NOBODY, NOBODY, "--ttl", "cap=soon"], 2, "--ttl"),
        ([NOBODY, NOBODY, "--max-memory", "many"], 2, "--max-memory"),
        ([NOBODY, NOBODY, "--workers", "two"], 2, "--workers"),
        ([NOBODY, NOBODY, "--on-full", "hope"], 2, "--on-full"),
        ([NOBODY], 2, "TARGET"),
        ([NOBODY, NOBODY, "--keys-from", "/nowhere/keys"], 4, "where: /nowhere/keys"),
    ],
)
def test_words_that_cannot_be_meant_begin_nothing(words: list[str], exit_code: int, told: str, tmp_path: Path) -> None:
    """Error form, result line, exit code; nobody was dialled and no job was made."""
    said = transfer("copy", *words, "--json", state=tmp_path)

    assert_failed(said, exit_code, said.result["error"]["code"], told)
    assert said.result["job"] is None
    assert len(said.lines) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_word_in_the_environment_is_refused_as_on_the_command_line(tmp_path: Path) -> None:
    """TRANSFER_RATE is --rate."""
    said = transfer("copy", NOBODY, NOBODY, "--json", state=tmp_path, TRANSFER_RATE="fast")

    assert_failed(said, 2, "E101", "--rate")


async def test_a_state_directory_that_cannot_be_written_is_told_before_anything_is_done(tmp_path: Path) -> None:
    """A run that could not be remembered is not begun; a file in the way is the same on every machine."""
    (tmp_path / "file").write_text("")
    async with running() as source, running() as target:
        await ask(source, "SET", "k", "v")
        said = await copy(source.url, target.url, "--state", str(tmp_path / "file" / "state"), state=tmp_path)
        assert await keys_of(target) == {}

    assert_failed(said, 2, "E101", str(tmp_path / "file" / "state"), "--state DIR")
    assert said.result["job"] is None


async def test_a_dry_run_makes_no_key_and_sends_no_write_but_the_probe(tmp_path: Path) -> None:
    """As MONITOR sees it on both sides: RESTORE carries a type that no server has, or what expired in 1970."""
    async with running() as source, running() as target:
        for number in range(20):
            await ask(source, "SET", f"user:{number}", "v", "PX", HOUR_MS)
        monitors = [await server.link() for server in (source, target)]
        for monitor in monitors:
            assert await monitor.command("MONITOR") == b"OK"
        said = await copy(source.url, target.url, "-n", "--rename", "user::person:", state=tmp_path)
        seen: list[list[str]] = []
        for server, monitor in zip((source, target), monitors, strict=True):
            await ask(server, "ECHO", "that-was-it")
            lines: list[str] = []
            while not (lines and "that-was-it" in lines[-1]):
                lines.append(bytes(await monitor.next_push()).decode().split("] ", 1)[1])
            await monitor.close()
            seen.append(lines)
            for words in lines:
                name = words.split()[0].strip('"').upper()
                told = await ask(server, "COMMAND", "INFO", name)
                assert name == "RESTORE" or not {b"write", "write"}.intersection(told[0][2]), words
        assert (await keys_of(source), await keys_of(target)) == ({0: 20}, {})

    probes = [words for words in seen[1] if words.upper().startswith('"RESTORE"')]
    assert probes
    assert all(r'"0" "\b' in words or ('"transfer:probe:' in words and '"ABSTTL"' in words) for words in probes)
    assert (said.exit, said.result["dry_run"], said.result["keys"]["read"]) == (0, True, 0), said
    assert said.result["plan"] == said.lines[0]["plan"]


async def test_an_approved_plan_is_carried_out_and_no_other(tmp_path: Path) -> None:
    """The hash of a dry run is accepted; with one choice changed, or the wrong hash, exit 2 and nothing is written."""
    async with running() as source, running() as target:
        await ask(source, "SET", "k", "v")
        approved = (await copy(source.url, target.url, "-n", state=tmp_path)).result["plan"]
        for words in (("--approved-plan", "sha256:" + "0" * 64), ("--approved-plan", approved, "--ttl", "drop")):
            said = await copy(source.url, target.url, *words, state=tmp_path)
            assert_failed(said, 2, "E104", "not the approved", "transfer copy -n")
        assert await keys_of(target) == {}
        await ask(source, "SET", "k2", "v")  # another moment is no other plan
        said = await copy(source.url, target.url, "--approved-plan", approved, state=tmp_path)
        assert (said.exit, await keys_of(target)) == (0, {0: 2}), said


async def test_a_reader_that_goes_away_does_not_end_the_copy(tmp_path: Path) -> None:
    """`transfer copy ... | head -1`: one line, no traceback, every key arrives, exit 0."""
    async with running() as source, running() as target:
        for number in range(3_000):
            await ask(source, "SET", f"k{number}", "v" * 50)
        for words, first in (((), "copy "), (("--json",), '{"v":1,"type":"plan"')):
            await ask(target, "FLUSHALL")
            command = [*COMMAND, "copy", source.url, target.url, *words]
            script = '"$@" | head -n 1; echo "exit ${PIPESTATUS[0]}"'
            done = await anyio.to_thread.run_sync(
                lambda command=command, script=script: subprocess.run(  # type: ignore[misc]
                    ["/bin/bash", "-c", script, "-", *command],
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                    env=environment_for(tmp_path),
                )
            )
            lines = done.stdout.splitlines()
            assert (len(lines), lines[1]) == (2, "exit 0"), done
            assert lines[0].startswith(first)
            assert "Traceback" not in done.stderr
            assert "BrokenPipe" not in done.stderr
            assert await keys_of(target) == {0: 3_000}


@pytest.mark.parametrize("form", ["raw", "logical"])
async def test_names_of_any_bytes_arrive_as_they_are(form: str, tmp_path: Path) -> None:
    """Line ends, NUL, blanks, braces, nothing at all, 64 KiB: bytes are bytes, in both ways of writing."""
    async with running() as source, running() as target:
        link = await source.link()
        for number, name in enumerate(ODD_NAMES):
            await link.command("SET", name, b"v%d" % number, *(("PX", HOUR_MS) if number % 2 else ()))
        await link.close()
        said = await copy(source.url, target.url, "--format", form, state=tmp_path)
        assert (said.exit, said.result["verified"], said.result["verify"]["match"]) == (0, True, len(ODD_NAMES)), said
        assert oracle.values(target.address) == oracle.values(source.address)
        assert set(oracle.values(target.address)) == set(ODD_NAMES)


async def test_odd_names_are_told_whole_to_programs_and_harmless_to_people(tmp_path: Path) -> None:
    """As conflicts they are listed: base64 in JSON, escaped and cut in text, one line each."""
    async with running() as source, running() as target:
        for name in ODD_NAMES:
            await ask(source, "SET", name, "new")
            await ask(target, "SET", name, "old")
        words = ("copy", source.url, target.url, "--allow", "nonempty-target", "--verify", "none")
        told = await run(*words, "--json", state=tmp_path)
        text = await run(*words, state=tmp_path)
        assert set(oracle.values(target.address).values()) == {b"old"}

    assert (told.exit, told.result["keys"]["conflicts"], told.result["keys"]["written"]) == (3, len(ODD_NAMES), 0)
    listed = [line["key_b64"] for line in told.of("error")]
    assert sorted(listed) == sorted(b64encode(name).decode() for name in ODD_NAMES)
    assert told.err.startswith("error[E204] ")
    assert text.exit == 3
    assert all(line.isprintable() for line in text.out.splitlines())
    assert len([line for line in text.out.splitlines() if line.startswith("E301")]) == len(ODD_NAMES)
    assert max(map(len, text.out.splitlines())) < 600


async def test_a_source_without_keys_is_copied_and_verified(tmp_path: Path) -> None:
    """Nothing to do is no failure: zeros, a table, exit 0."""
    async with running() as source, running() as target:
        said = await copy(source.url, target.url, state=tmp_path)
        text = await run("copy", source.url, target.url, state=tmp_path)

    assert (said.exit, said.result["ok"], said.result["verified"]) == (0, True, True), said
    assert set(said.result["keys"].values()) == {0}
    assert [row["keys"] for row in said.result["dbs"]] == [[0, 0]]
    assert "read 0 = written 0" in text.out


async def test_one_huge_value_is_carried_within_the_stated_memory(tmp_path: Path) -> None:
    """300 MiB that do not pack, with 64 MiB allowed: it arrives in pieces, and so do its neighbours."""
    async with running("redis-7.0", "--rdbcompression", "no") as source, running("redis-7.0") as target:
        await ask(source, "SETRANGE", "giant", GIANT_BYTES - 1, "x")
        for number in range(100):
            await ask(source, "SET", f"k{number}", number)
        for words in ((), ("--big-key", "1GiB", "--on-conflict", "replace")):
            carried = await copy(source.url, target.url, "--max-memory", "64MiB", *words, state=tmp_path)

            assert (carried.exit, carried.result["verified"]) == (0, True), carried
            assert await ask(target, "STRLEN", "giant") == GIANT_BYTES
            counts = carried.result["keys"]
            assert (counts["written"] + counts["already"], counts["written"] > 0) == (101, True)
            assert carried.result["peak_rss_bytes"] <= (64 << 20) + SLACK_BYTES


async def test_large_values_that_are_carried_stay_within_the_stated_memory(tmp_path: Path) -> None:
    """Values just below what is too large for the default budget: peak RSS <= 256 MiB + 100 MiB all the same."""
    async with running("redis-7.0", "--rdbcompression", "no") as source, running("redis-7.0") as target:
        for number in range(6):
            await ask(source, "SETRANGE", f"large:{number}", (50 << 20) - 1, "x")
        words = ("--format", "logical", "--verify", "none", "--on-conflict", "replace")
        said = await copy(source.url, target.url, *words, state=tmp_path)

    assert (said.exit, said.result["keys"]["written"]) == (0, 6), said
    assert said.result["peak_rss_bytes"] <= (256 << 20) + SLACK_BYTES


def _faketime() -> Path | None:
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    named = ctypes.util.find_library("faketime")
    return found[0] if found else Path(named) if named else None


@asynccontextmanager
async def in_another_time(offset: str, folder: Path, options: Sequence[str] = ()) -> AsyncIterator[ThrowawayServer]:
    """A server whose wall clock is *offset* off ours; its monotonic clock is not touched."""
    library, binary = _faketime(), binary_of("valkey-9.1")  # Debian's Redis asks the time before it can be faked
    if library is None:
        pytest.skip("libfaketime is not installed: apt-get install libfaketime")
    if binary is None:
        pytest.skip("valkey-9.1 is not installed")
    program = folder / f"valkey-server{offset}"
    settings = f"LD_PRELOAD={library} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1"
    program.write_text(f'#!/bin/sh\n{settings} exec {binary} "$@"\n')
    os.chmod(program, 0o700)
    async with throwaway(program, options=options) as server:
        yield server


async def left_ms(server: ThrowawayServer, key: str) -> int:
    """What remains of a key by the server's own clock."""
    return int(await ask(server, "PTTL", key))


async def due_ms(server: ThrowawayServer, key: str) -> int:
    return int(await ask(server, "PEXPIRETIME", key))


@pytest.mark.parametrize("ahead", ["source", "target"])
async def test_clocks_an_hour_apart_are_refused_and_treated_as_told(ahead: str, tmp_path: Path) -> None:
    """rebase: what remained remains, by each server's own clock. --allow: the moment stays, whatever remains of it."""
    async with in_another_time("+1h", tmp_path) as future, running() as present:
        source, target = (future, present) if ahead == "source" else (present, future)
        seconds, _ = await ask(future, "TIME")
        assert abs(int(seconds) - time.time() - 3_600) < 60
        for key, lives_ms in (("short", HOUR_MS // 2), ("long", 10 * HOUR_MS)):
            await ask(source, "SET", key, "v", "PX", lives_ms)
        await ask(source, "SET", "stays", "v")

        state = tmp_path / "state"
        said = await copy(source.url, target.url, state=state)
        assert_failed(
            said,
            2,
            "E104",
            "clock-skew",
            "ahead of" if ahead == "target" else "behind",
            "--max-skew 1.0s",
            "--ttl rebase",
        )
        assert (said.hazards, await keys_of(target)) == (["clock-skew"], {})

        said = await copy(source.url, target.url, "--ttl", "rebase", state=state)
        assert (said.exit, said.result["verified"], said.result["keys"]["written"]) == (0, True, 3), said
        for key in ("short", "long", "stays"):
            assert abs(await left_ms(target, key) - await left_ms(source, key)) < 2_000

        await ask(target, "FLUSHALL")
        said = await copy(source.url, target.url, "--allow", "clock-skew", state=state)
        there = 3 if ahead == "source" else 2  # half an hour has passed where it is an hour later
        assert (said.exit, said.result["verified"]) == (0, True), said
        assert (await keys_of(target), said.result["keys"]["expired"]) == ({0: there}, 3 - there)
        assert await due_ms(target, "long") == await due_ms(source, "long")
        assert await left_ms(target, "stays") == -1

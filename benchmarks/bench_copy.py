"""How long does `transfer copy` take beside MIGRATE ... COPY KEYS, on the same two servers in the same run?

    fill the source once -> rounds of: MIGRATE | copy --verify none | copy, verified in full; an empty target each time

MIGRATE runs as one would script it: one connection to the source, SCAN COUNT 1000, the names it gave in one
MIGRATE ... COPY KEYS, until the cursor is 0. Its SCAN is timed apart; "migrate" has it, since a copy has to find its
names too, and "migrate, names known" leaves it out. The copy is the real command in a process of its own; "wall" has
the start of the interpreter and preflight in it, "seconds" is what its result line says.

Rule 1: the ways take turns within a round, so that a slow minute of the machine meets all of them.
Rule 2: medians of the rounds are compared, never the best of one with the worst of another.
Rule 3: a round in which a way did not bring every key across ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import hiredis

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.generate_data import DEFAULT_KEYS, fill  # noqa: E402
from transfer.codec.resp import command  # noqa: E402
from transfer.endpoint.redis.throwaway import ThrowawayServer, bundled_binary, throwaway  # noqa: E402
from transfer.wire.link import Link  # noqa: E402

BATCH = 1_000
_MIGRATE_TIMEOUT_MS = 120_000

Row = dict[str, float]
"""What one way took in one round, by measure."""


async def measure(binary: Path, keys: int, rounds: int, seed: int, values: str) -> dict[str, Any]:
    """Everything that is printed and written."""
    machine = _machine()
    async with throwaway(binary) as source, throwaway(binary) as target:
        fill_s = await fill(source.address, keys, seed, values)
        ways: dict[str, Callable[[], Awaitable[Row]]] = {
            "migrate": lambda: _migrate(source, target),
            "copy": lambda: _copy(source, target, "none"),
            "copy + verify": lambda: _copy(source, target, "full"),
        }
        took: dict[str, list[Row]] = {name: [] for name in ways}
        for number in range(rounds):
            for name, way in ways.items():
                took[name].append(await _one(way, source, target, keys))
                print(f"round {number + 1}: {name}: {took[name][-1]['wall_s']:.2f} s", file=sys.stderr, flush=True)
        sizes = await _sizes(source)
    medians = {name: _median(rows) for name, rows in took.items()}
    return {
        "question": (__doc__ or "").splitlines()[0],
        "machine": machine,
        "server": sizes.pop("server"),
        "data": {"keys": keys, "values": values, "seed": seed, "fill_s": round(fill_s, 2), **sizes},
        "rounds": rounds,
        "median": medians,
        "ratios": _ratios(medians),
        "all": took,
    }


async def _one(way: Callable[[], Awaitable[Row]], source: ThrowawayServer, target: ThrowawayServer, keys: int) -> Row:
    """One way in one round: an empty target before, all keys in it afterwards."""
    link = await target.link()
    await link.ask(command("FLUSHALL", "SYNC"), 1, patience=120)
    before = [await _cpu_s(server) for server in (source, target)]
    row = await way()
    after = [await _cpu_s(server) for server in (source, target)]
    arrived = await link.command("DBSIZE")
    await link.close()
    if arrived != keys:
        raise SystemExit(f"{arrived:,} of {keys:,} keys arrived")
    return {**row, "source_cpu_s": after[0] - before[0], "target_cpu_s": after[1] - before[1]}


async def _migrate(source: ThrowawayServer, target: ThrowawayServer) -> Row:
    link = await source.link()
    scan_s = move_s = 0.0
    cursor = b"0"
    cpu = time.process_time()
    while True:
        began = time.monotonic()
        cursor, names = await link.command("SCAN", cursor, "COUNT", BATCH)
        scanned = time.monotonic()
        scan_s += scanned - began
        if names:
            await _migrate_batch(link, target, names)
        move_s += time.monotonic() - scanned
        if cursor == b"0":
            break
    await link.close()
    return {
        "wall_s": scan_s + move_s,
        "seconds": scan_s + move_s,
        "names_known_s": move_s,
        "engine_cpu_s": time.process_time() - cpu,
    }


async def _migrate_batch(link: Link, target: ThrowawayServer, names: list[bytes]) -> None:
    """A name that SCAN gave twice is BUSYKEY the second time; the others of its batch are moved all the same."""
    there = target.address
    request = command("MIGRATE", there.host, there.port, "", 0, _MIGRATE_TIMEOUT_MS, "COPY", "KEYS", *names)
    (answer,) = await link.ask(request, 1, patience=_MIGRATE_TIMEOUT_MS / 1000)
    if isinstance(answer, hiredis.ReplyError) and "BUSYKEY" not in str(answer):
        raise SystemExit(f"MIGRATE was refused: {answer}")


async def _copy(source: ThrowawayServer, target: ThrowawayServer, verify: str) -> Row:
    with tempfile.TemporaryDirectory() as state:
        words = ["copy", source.url, target.url, "--json", "--verify", verify, "--yes", "--state", state]
        result, row = await anyio.to_thread.run_sync(_run, [sys.executable, "-m", "transfer", *words])
    row |= {"seconds": result["seconds"], "rss_mib": result["peak_rss_bytes"] / 2**20}
    if verify == "full":
        row["verify_s"] = result["verify"]["seconds"]
    return row


def _run(words: list[str]) -> tuple[dict[str, Any], Row]:
    """The last line it printed; its wall clock, and CPU seconds as the kernel counted them for it alone."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        process = subprocess.Popen(words, stdout=said, stderr=complained, cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        lines = said.read().splitlines()
        if process.returncode or not lines:
            raise SystemExit(f"the copy ended with {process.returncode}: {complained.read().decode()[-2_000:]}")
    return json.loads(lines[-1]), {"wall_s": wall_s, "engine_cpu_s": used.ru_utime + used.ru_stime}


async def _cpu_s(server: ThrowawayServer) -> float:
    info = await _info(server, "cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def _info(server: ThrowawayServer, section: str) -> dict[str, str]:
    link = await server.link()
    text: bytes = await link.command("INFO", section)
    await link.close()
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


async def _sizes(source: ThrowawayServer) -> dict[str, Any]:
    about, memory = await _info(source, "server"), await _info(source, "memory")
    valkey = about.get("valkey_version")
    return {
        "server": f"Valkey {valkey}" if valkey else f"Redis {about['redis_version']}",
        "used_memory_mib": round(int(memory["used_memory"]) / 2**20, 1),
    }


def _median(rows: list[Row]) -> Row:
    return {measure: round(statistics.median(row[measure] for row in rows), 3) for measure in rows[0]}


def _ratios(medians: dict[str, Row]) -> dict[str, float]:
    copy, verified, migrate = medians["copy"], medians["copy + verify"], medians["migrate"]
    ratios = {
        "copy wall / migrate": copy["wall_s"] / migrate["wall_s"],
        "copy seconds / migrate": copy["seconds"] / migrate["wall_s"],
        "copy wall / migrate, names known": copy["wall_s"] / migrate["names_known_s"],
        "verify / copy (seconds)": verified["verify_s"] / verified["seconds"] if verified["seconds"] else 0.0,
    }
    return {name: round(ratio, 3) for name, ratio in ratios.items()}


def _machine() -> dict[str, Any]:
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "hiredis": hiredis.__version__,
    }


_COLUMNS = (
    ("wall s", "wall_s"), ("seconds", "seconds"), ("engine CPU s", "engine_cpu_s"), ("source CPU s", "source_cpu_s"),
    ("target CPU s", "target_cpu_s"), ("verify s", "verify_s"), ("peak RSS MiB", "rss_mib"),
)  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The medians for people."""
    keys = found["data"]["keys"]
    machine, data = found["machine"], found["data"]
    lines = [
        found["question"],
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, load {machine['load']} before; "
        f"{machine['system']}, Python {machine['python']}",
        f"{found['server']} to {found['server']}, {keys:,} keys ({data['values']}, {data['used_memory_mib']:.0f} MiB "
        f"in memory), medians of {found['rounds']}",
        "",
        f"{'':<22}" + "".join(f"{title:>14}" for title, _ in _COLUMNS) + f"{'keys/s':>12}",
    ]
    rows = [("migrate, names known", {"wall_s": found["median"]["migrate"]["names_known_s"]}), *found["median"].items()]
    for name, row in rows:
        cells = "".join(f"{row[column]:>14.2f}" if column in row else f"{'':>14}" for _, column in _COLUMNS)
        lines.append(f"{name:<22}{cells}{keys / row.get('seconds', row['wall_s']):>12,.0f}")
    lines += ["", *(f"{name}: {ratio:.2f}" for name, ratio in found["ratios"].items())]
    return "\n".join(lines)


def binary_of(server: str) -> Path:
    """The program behind `redis-7.0`, `valkey-9.1`, a path, or "" for the first of these two that is here."""
    from tests.servers import VERSIONS
    from tests.servers import binary_of as known

    if not server:
        return known("redis-7.0") or bundled_binary()
    found = known(server) if server in VERSIONS else Path(server)
    if found is None or not found.exists():
        raise SystemExit(f"there is no {server} here; known names: {', '.join(VERSIONS)}")
    return found


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keys", type=int, default=DEFAULT_KEYS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--values", choices=("mixed", "small"), default="mixed")
    parser.add_argument("--server", default="", help="redis-7.0, valkey-9.1, ... or the path of a server program")
    parser.add_argument("--out", type=Path, help="write all rounds as JSON")
    asked = parser.parse_args(argv)
    found = anyio.run(measure, binary_of(asked.server), asked.keys, asked.rounds, asked.seed, asked.values)
    print(table(found))
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n")
    return found


if __name__ == "__main__":
    main()

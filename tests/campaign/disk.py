"""T rows: the state directory has no room, the disk fails, files run out."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.campaign.bench import Bench, defaults, need
from tests.campaign.cases import case
from tests.campaign.child import Run
from tests.campaign.kills import go, plain, settle
from tests.campaign.skips import Skip

KEYS = 2000


@case("T1", "the state directory is a tiny tmpfs that runs full at any write; then it has room again: resume", 200)
def no_room(bench: Bench) -> None:
    bench.state = bench.folder / "small"
    bench.state.mkdir()
    room = bench.chance.randrange(8, 700, 4)
    _mount(bench, f"size={room}k")
    scene = plain(bench)
    run = go(bench, scene, "full")
    bench.facts |= {"room_kib": room, "exit": run.exit, "fired": int(run.exit != 0)}
    if run.exit:
        need(run.exit in (1, 4, 8), "exit:", run.told())
        need(run.err.startswith(("error[", "warning")) or "error[" in run.err, "no error form:", run.told())
    _mount(bench, "remount,size=64m")
    settle(bench, scene, run)


def _mount(bench: Bench, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(bench.state)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skip(f"tmpfs cannot be mounted: {done.stderr.strip()}")
    if "remount" not in options:
        bench.closing.callback(subprocess.run, ["umount", "-l", str(bench.state)], capture_output=True, check=False)


@case("T2", "the n-th fsync fails with EIO (strace): never a success after it; then resume", 60, slow=True)
def failing_sync(bench: Bench) -> None:
    scene = plain(bench)
    number = 1 + bench.seed % 12
    run, injected = _under_strace(bench, scene.words, bench.urls(scene.source, scene.target), number)
    bench.facts |= {"at": number, "exit": run.exit, "fired": int(injected)}
    # SQLite itself overlooks a failed fsync of the directory
    need(not injected or run.exit, "a success after a failed fsync:", run.told(), bench.facts["calls"])
    bench.no_secret(run)
    settle(bench, scene, run)


def _under_strace(bench: Bench, words: Sequence[str], urls: Sequence[str], number: int) -> tuple[Run, bool]:
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    folder = bench.folder / "traced"
    folder.mkdir()
    trace, calls = folder / "trace", "fsync,fdatasync"
    inject = ["strace", "-f", "-qq", "-y", "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO:when={number}"]
    words = defaults((*words, "--rate", "1500/s"))
    argv = ["copy", *urls, *words, "--state", str(bench.state), "--json"]
    began = time.monotonic()
    environment = {name: text for name, text in os.environ.items() if not name.startswith("TRANSFER_")}
    done = subprocess.run(
        [*inject, "-o", str(trace), sys.executable, "-m", "transfer", *argv],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=90,
        env=environment,
        check=False,
    )
    said = trace.read_text(errors="replace") if trace.exists() else ""
    if re.search("PTRACE|not permitted", done.stderr):
        raise Skip("strace may not trace here")
    run = Run(argv, done.returncode, 0, done.stdout, done.stderr, time.monotonic() - began, folder=Path(folder))
    calls = [line for line in said.splitlines() if "INJECTED" in line]
    bench.facts["calls"] = calls
    return run, any(f"<{bench.state}>" not in call for call in calls)


@case("T6", "so few files may be open that connections or the store fail; then without a limit", 60)
def no_files(bench: Bench) -> None:
    scene = plain(bench)
    limit = len(os.listdir("/proc/self/fd")) + bench.chance.randrange(1, 40)

    def narrow() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    run = go(bench, scene, "narrow", patch=narrow)
    bench.facts |= {"limit": limit, "exit": run.exit, "fired": int(run.exit != 0)}
    need(run.exit == 0 or "error[" in run.err, "no error form:", run.told())
    settle(bench, scene, run)

"""A program, run once and measured: wall clock, CPU as the kernel counted it for it alone, largest resident set.

Rule 1: resident sets are read from /proc while the program runs: what wait4 says holds the parent's too, since on
        Linux it survives exec. Where there is no /proc, wait4 has to do.
Rule 2: passwords reach a program by its environment or its input, never by argv.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import anyio
import anyio.to_thread

import transfer

_LOOK_S = 0.02
_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1 << 10


class Ran(NamedTuple):
    """How a program ended, and what it took. `began` and `ended` are of the monotonic clock."""

    exit: int
    out: bytes
    err: bytes
    began: float
    ended: float
    cpu_s: float
    rss_mib: float

    @property
    def wall_s(self) -> float:
        return self.ended - self.began

    @property
    def complaint(self) -> str:
        """The end of what it said, in one line."""
        said = (self.err or self.out).decode(errors="replace").split()
        return f"exit {self.exit}: " + " ".join(said)[-400:]


def python_environment(**more: str) -> dict[str, str]:
    """Ours less TRANSFER_..., so that `-m transfer` is the code that runs now, and takes no flags from outside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRANSFER_")}
    roots = [str(Path(transfer.__file__).parent.parent), kept.get("PYTHONPATH", "")]
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, roots)), **more}


async def run(
    words: Sequence[str],
    *,
    stdin: bytes | Path = b"",
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    until: Callable[[], Awaitable[bool]] | None = None,
) -> Ran:
    """Run *words* to their end, or end them once *until* is true. Never raises for an exit code."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _input(stdin) as given:
        began = time.monotonic()
        process = subprocess.Popen(  # noqa: ASYNC220 - returns when exec is done
            words, stdin=given, stdout=out, stderr=err, env=environment or python_environment(), cwd=folder
        )
        seen = _Seen(process)
        async with anyio.create_task_group() as group:
            group.start_soon(seen.watch, until)
            _, status, used = await anyio.to_thread.run_sync(os.wait4, process.pid, 0)
            ended = time.monotonic()
            process.returncode = os.waitstatus_to_exitcode(status)
            group.cancel_scope.cancel()
        said, complained = _content(out), _content(err)
    rss_bytes = seen.peak_bytes or used.ru_maxrss * _RSS_UNIT_BYTES
    cpu_s = used.ru_utime + used.ru_stime
    return Ran(process.returncode, said, complained, began, ended, cpu_s, rss_bytes / 2**20)


class _Seen:
    """The largest resident set of a process so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.peak_bytes = 0
        self._process = process
        self._status = Path(f"/proc/{process.pid}/status")

    async def watch(self, until: Callable[[], Awaitable[bool]] | None) -> None:
        try:
            while True:
                self._look()
                if until is not None and await until():
                    self._process.terminate()
                    until = None
                await anyio.sleep(_LOOK_S)
        finally:
            if self._process.returncode is None:  # cancelled from outside: what was started here ends with us
                self._process.terminate()

    def _look(self) -> None:
        try:
            text = self._status.read_text()
        except OSError:
            return
        for line in text.splitlines():
            if line.startswith("VmHWM:"):
                self.peak_bytes = max(self.peak_bytes, int(line.split()[1]) << 10)


def _input(given: bytes | Path) -> IO[bytes]:
    if isinstance(given, Path):
        return given.open("rb")
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(given)
    file.seek(0)
    return file


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()

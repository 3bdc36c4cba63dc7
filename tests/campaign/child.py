"""The engine in a forked child of a warm process: argv in, exit code, output and open files out.

    worker (everything imported) -> fork -> child: arm, patch, `main(argv)` -> exit code | signal
                |<---- plan made ---- pipe ----'  the child waits until the worker has said "go on"

Rule 1: the child runs the command's own entry; only where it is told to die or what is broken on purpose differs.
Rule 2: a child that outlives its time limit is killed, and that is a failure.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import sys
import time
import traceback
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import transfer.cli.commands.copy
import transfer.cli.commands.jobs
import transfer.cli.commands.resume
import transfer.cli.commands.verify
import transfer.cli.conduct
import transfer.cli.exits
import transfer.cli.render.plan
import transfer.job.copy
import transfer.job.verify
import transfer.plan.comparison
import transfer.plan.preflight
import transfer.verify.march  # noqa: F401 - a warm engine has imported everything
from tests.campaign.places import die_with
from transfer.cli.app import main
from transfer.cli.render.json import JsonObserver
from transfer.model import crash

Act = Callable[[], None]


@dataclass
class Run:
    """How one command ended."""

    argv: list[str]
    exit: int
    signal: int
    out: str
    err: str
    seconds: float
    left_open: list[str] = field(default_factory=list)
    late: bool = False
    folder: Path = Path()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Whole JSON lines of stdout; a killed process may leave half of one."""
        found = []
        for line in self.out.splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    @property
    def result(self) -> dict[str, Any]:
        """The last line, {} where the process was killed."""
        lines = self.lines
        return lines[-1] if lines and lines[-1].get("type") == "result" else {}

    @property
    def job(self) -> str:
        lines = self.lines
        return str(lines[0].get("job") or "") if lines else ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("type") == kind]

    def told(self) -> str:
        """Short, for a failure."""
        error = self.result.get("error") or {}
        told = f"{error.get('code', '')} {error.get('message', '')}"
        return f"exit {self.exit} signal {self.signal} {told} {self.err[-300:]}"


def names_of(run: Run, kind: str) -> set[tuple[int, bytes]]:
    """(db, key) of every line of one type."""
    return {(line["db"], b64decode(line["key_b64"])) for line in run.of(kind) if "key_b64" in line}


@dataclass
class Begun:
    """A child that runs."""

    argv: list[str]
    pid: int
    folder: Path
    planned: int
    go_on: int
    began: float

    def ended(self) -> int | None:
        """Its wait status, None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return status if pid else None


def begin(
    argv: Sequence[str],
    folder: Path,
    *,
    armed: str = "",
    patch: Act | None = None,
    counts: Path | None = None,
    stops_at_plan: bool = False,
    seed: int = 0,
    environment: dict[str, str] | None = None,
) -> Begun:
    """Fork a child that runs `transfer ARGV`, output in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    planned, tell = os.pipe()
    wait, go_on = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    parent, began = os.getpid(), time.monotonic()
    pid = os.fork()
    if not pid:
        code = 99
        try:
            die_with(parent)
            os.close(planned)
            os.close(go_on)
            _redirect(folder)
            os.environ.update(environment or {})
            random.seed(seed)
            if stops_at_plan:
                _stop_at_plan(tell, wait)
            else:
                os.close(tell)
                os.close(wait)
            if counts is not None:
                _count_points(counts)
            crash.arm(armed)
            if patch is not None:
                patch()
            code = _call(list(argv), folder)
            if counts is not None:
                counts.write_text(json.dumps(_passed))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(tell)
    os.close(wait)
    return Begun(list(argv), pid, folder, planned, go_on, began)


def finish(begun: Begun, *, on_plan: Act | None = None, step: Act | None = None, limit_s: float = 60.0) -> Run:
    """Wait for its end: *on_plan* once its plan is made, *step* again and again meanwhile."""
    limit, late, status = begun.began + limit_s, False, None
    try:
        while (status := begun.ended()) is None:
            if time.monotonic() > limit and not late:
                late = True
                os.kill(begun.pid, signal.SIGKILL)
            if on_plan is not None and select.select([begun.planned], [], [], 0)[0]:
                os.read(begun.planned, 1)
                on_plan()
                on_plan = None
                os.write(begun.go_on, b"g")
            elif step is not None and on_plan is None:
                step()
            else:
                time.sleep(0.002)
    except BaseException:
        if status is None:
            os.kill(begun.pid, signal.SIGKILL)
            os.waitpid(begun.pid, 0)
        raise
    finally:
        os.close(begun.planned)
        os.close(begun.go_on)
    out, err = ((begun.folder / name).read_text(errors="replace") for name in ("out", "err"))
    left = begun.folder / "left_open"
    return Run(
        begun.argv,
        os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else -1,
        os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        out,
        err,
        time.monotonic() - begun.began,
        json.loads(left.read_text()) if left.exists() else [],
        late,
        begun.folder,
    )


def _redirect(folder: Path) -> None:
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115 - until the end
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for name in [name for name in os.environ if name.startswith("TRANSFER_")]:
        del os.environ[name]


def _call(argv: list[str], folder: Path) -> int:
    before = _open_files()
    try:
        main(argv)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    if code:
        gc.collect()  # what the traceback of a failure holds
    left = sorted(_open_files() - before)
    (folder / "left_open").write_text(json.dumps(left))
    return code


def _open_files() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue  # the listing itself
    return found


def _stop_at_plan(tell: int, wait: int) -> None:
    planned = JsonObserver.planned

    def stopping(self: JsonObserver, plan: Any) -> None:
        planned(self, plan)
        os.write(tell, b"p")
        os.read(wait, 1)

    JsonObserver.planned = stopping  # type: ignore[method-assign]


_passed: Counter[str] = Counter()


class _Counting(str):
    """Stands where the wanted point's name stands: equal to none, and counts who asked."""

    def __eq__(self, other: object) -> bool:
        _passed[str(other)] += 1
        return False

    __hash__ = str.__hash__


def _count_points(path: Path) -> None:
    def arm(text: str) -> None:
        crash._wanted = _Counting("counting")

    crash.arm = arm

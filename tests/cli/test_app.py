"""The command as a shell sees it: words in, exit code out, secrets nowhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.canaries import CANARIES, assert_no_canary
from tests.cli.running import transfer
from transfer import __version__
from transfer.cli.app import NOT_YET, build_app

NOBODY = "redis://127.0.0.1:1"
SECRET = CANARIES["url password"]
QUOTED = quote(SECRET, safe="")


def test_help_and_version_load_no_engine() -> None:
    """They must feel immediate: neither clients nor progress bars nor any command module is imported."""
    heavy = ("redis", "hiredis", "rich.progress", "structlog", "anyio", "sqlite3", "transfer.job", "transfer.wire")
    code = (
        "import sys; from transfer.cli.app import main\n"
        "try: main([sys.argv[1]])\n"
        "except SystemExit as end: assert not end.code\n"
        "print('|'.join(sys.modules))"
    )
    for word in ("--help", "--version"):
        done = subprocess.run(
            [sys.executable, "-c", code, word], capture_output=True, text=True, check=True, timeout=30
        )
        loaded = done.stdout.splitlines()[-1].split("|")
        assert [name for name in loaded if name in heavy or name.startswith("transfer.cli.commands.")] == []


def test_version_is_one_word() -> None:
    """For scripts."""
    assert transfer("--version").out == f"{__version__}\n"


def test_help_names_every_command_and_how_to_set_flags_elsewhere() -> None:
    """The first thing a person reads."""
    said = transfer("--help")

    assert said.exit == 0
    for name in ("copy", "verify", "inspect", "doctor", "jobs", "demo", "explain", "completion"):
        assert f" {name} " in said.out
    assert "TRANSFER_<FLAG>" in said.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["copi", "a", "b"], "did you mean copy?"),
        (["jobs", "lst"], "did you mean list?"),
        (["copy", NOBODY, NOBODY, "--mtach", "x"], "did you mean --match?"),
        (["copy", "--mtach", "x", NOBODY, NOBODY], "did you mean --match?"),
        (["copy", "--mtach=x", NOBODY, NOBODY], "did you mean --match?"),
        (["copy", NOBODY, NOBODY, "--allow", "clok-skew"], "did you mean clock-skew?"),
        (["copy", NOBODY, NOBODY, "--on-conflict", "replce"], "replace"),
        (["copy", NOBODY, NOBODY, "--type", "hsh"], "did you mean hash?"),
        (["copy", NOBODY, "rdis://h"], "did you mean redis://"),
        (["explain", "E20"], "did you mean E2"),
    ],
)
def test_a_misspelt_word_names_the_nearest_one(words: list[str], told: str) -> None:
    """Exit 2, and nothing was begun."""
    said = transfer(*words)

    assert said.exit == 2
    assert said.out == ""
    assert said.err.startswith("error[E10")
    assert told in said.err


@pytest.mark.parametrize("flag", sorted(word for word in NOT_YET if word.startswith("--")))
def test_a_flag_of_a_later_release_is_refused(flag: str) -> None:
    """Never ignored: a script that relies on it must not run without it."""
    app = build_app()["copy"]
    known = {name for argument in app.assemble_argument_collection() for name in argument.names}

    assert flag not in known


def test_a_flag_of_a_later_release_is_said_to_be_unknown() -> None:
    """And that it is not a misspelling."""
    said = transfer("copy", NOBODY, NOBODY, "--transform", "x.py")

    assert said.exit == 2
    assert "unknown option --transform: it is not in this release" in said.err


def test_flags_have_no_opposite_that_nobody_wrote_down() -> None:
    """`--no-json` is not a flag of the contract; `--no-input` is."""
    assert "unknown option --no-json" in transfer("copy", NOBODY, NOBODY, "--no-json").err


def test_every_flag_is_also_in_the_environment(tmp_path: Path) -> None:
    """The command line wins over it; lists are split at blanks."""
    app = build_app()["copy"]
    for argument in app.assemble_argument_collection():
        for name in argument.names[:1]:
            if name.startswith("--") and name not in ("--help", "--version"):
                assert argument.parameter.env_var == ("TRANSFER_" + name[2:].replace("-", "_").upper(),)

    wrong = transfer("copy", NOBODY, NOBODY, TRANSFER_ALLOW="clock-skew nonsense", state=tmp_path)
    right = transfer("copy", NOBODY, NOBODY, "--allow", "lossy", TRANSFER_ALLOW="nonsense", state=tmp_path)
    assert "'nonsense'" in wrong.err
    assert right.exit == 4


def test_a_bare_hyphen_is_a_place() -> None:
    """Not an option: what it means is for the place to say."""
    said = transfer("copy", "-", NOBODY)

    assert "standard input" in said.err
    assert "unknown option" not in said.err


def test_the_error_form_says_what_where_and_what_next(tmp_path: Path) -> None:
    """Nobody answers at port 1: exit 4, with the place, the job and the next command."""
    said = transfer("copy", NOBODY, NOBODY, "--connect-timeout", "1s", state=tmp_path)
    first, where, hint = said.err.splitlines()

    assert said.exit == 4
    assert first.startswith("error[E201] ")
    assert where.startswith("  where: redis://127.0.0.1:1   job: 20")
    assert hint.startswith("  hint:  ")
    assert hint.endswith("; transfer explain E201")


def test_the_job_is_named_first_and_last_and_kept(tmp_path: Path) -> None:
    """A run that failed is in the list as well."""
    said = transfer("copy", NOBODY, NOBODY, "--connect-timeout", "1s", state=tmp_path)
    job = transfer("jobs", "list", "--json", state=tmp_path).result["data"][0]

    assert (job["command"], job["state"], job["exit"]) == ("copy", "failed", 4)
    assert said.out.splitlines()[0].startswith(f"copy {job['job']}  ")
    assert said.out.splitlines()[-1] == f"copy {job['job']}  failed (exit 4)"


def test_with_json_the_last_line_is_a_result_however_it_ends(tmp_path: Path) -> None:
    """Wrong words, wrong values and nobody there: the exit code is in the line and is the exit code."""
    for words in (["--mtach", "x"], ["--rate", "fast"], ["--connect-timeout", "1s"]):
        said = transfer("copy", NOBODY, NOBODY, "--json", *words, state=tmp_path)
        assert said.exit in (2, 4)
        assert (said.result["type"], said.result["ok"], said.result["exit"]) == ("result", False, said.exit)
        assert set(said.result["error"]) == {"code", "message", "hint", "where"}
        assert said.err.startswith(f"error[{said.result['error']['code']}] ")


def test_with_json_the_first_line_is_the_plan_with_the_job(tmp_path: Path) -> None:
    """Also where the run failed before there was one."""
    said = transfer("copy", NOBODY, NOBODY, "--json", "--connect-timeout", "1s", state=tmp_path)

    assert [line["type"] for line in said.lines] == ["plan", "error", "result"]
    assert (
        said.lines[0]["job"]
        == said.result["job"]
        == transfer("jobs", "list", "--json", state=tmp_path).result["data"][0]["job"]
    )


def test_names_that_are_no_utf8_come_through_as_bytes(tmp_path: Path) -> None:
    """A glob of any bytes is accepted, and shown in the store as it is."""
    said = transfer(b"copy", NOBODY, NOBODY, b"--match", b"\xff\xfe*", "--connect-timeout", "1s", state=tmp_path)
    shown = transfer("jobs", "show", said.out.split()[1], "--json", state=tmp_path)

    assert said.exit == 4
    assert shown.result["data"]["request"]["match"] == ["\\xff\\xfe*"]


@pytest.mark.parametrize(
    "words",
    [
        ["copy", f"redis://u:{QUOTED}@127.0.0.1:1", NOBODY, "--connect-timeout", "1s", "--debug"],
        ["verify", f"redis://u:{QUOTED}@127.0.0.1:1", NOBODY, "--connect-timeout", "1s", "--log-format", "json", "-v"],
        ["copy", f"redis://u:{SECRET}@127.0.0.1:1", NOBODY, "--connect-timeout", "1s", "--debug"],
        ["copy", f"redis://u:{SECRET}@127.0.0.1:1", NOBODY, "--connect-timeout", "1s", "--json", "-v"],
        ["copy", f"redis://u:{SECRET}@127.0.0.1:1", NOBODY, "one", "more", "--json"],
        [f"redis://u:{SECRET}@127.0.0.1:1", NOBODY],
        ["copy", f"rdis://u:{SECRET}@127.0.0.1:1", NOBODY, "--json"],
        ["copy", NOBODY, NOBODY, f"--password={SECRET}"],
        ["inspect", f"redis://u:{QUOTED}@127.0.0.1:1", "--connect-timeout", "1s", "--debug"],
    ],
)
def test_a_planted_password_turns_up_nowhere(words: list[str], tmp_path: Path) -> None:
    """Not on a screen, not in a log, not in the store, not in a traceback."""
    said = transfer(
        *words,
        state=tmp_path,
        TRANSFER_TARGET_PASSWORD=CANARIES["env target password"],
        TRANSFER_SOURCE_PASSWORD=CANARIES["env source password"],
    )

    assert said.exit in (2, 4)
    assert_no_canary(said.out, said.err, folder=tmp_path)


def test_a_bug_is_one_clear_line_and_its_traceback_a_file(tmp_path: Path) -> None:
    """Without local variables, and redacted; with --debug it is on stderr too."""
    code = (
        "import sys, transfer.job.copy as copy\n"
        "async def broken(*_): secret = sys.argv[1]; raise KeyError('redis://u:' + secret + '@h')\n"
        "copy.run_copy = broken\n"
        "from transfer.cli.app import main; main(['copy', 'redis://a', 'redis://b', *sys.argv[2:]])"
    )
    for more in ([], ["--debug"], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-c", code, SECRET, "--state", str(tmp_path), *more],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert "error[E100] unexpected KeyError" in done.stderr
        assert ("Traceback" in done.stderr) == (more == ["--debug"])
        assert_no_canary(done.stdout, done.stderr, folder=tmp_path)
    crashes = list(tmp_path.glob("crash-*.txt"))
    assert crashes
    assert "broken" in crashes[0].read_text()
    assert crashes[0].stat().st_mode & 0o777 == 0o600


def test_too_few_files_is_a_limit_wherever_it_is_met(tmp_path: Path) -> None:
    """A module that cannot be read any more is no bug: exit 8, and how many files there may be."""
    code = (
        "import errno, transfer.job.copy as copy\n"
        "async def broken(*_): raise OSError(errno.EMFILE, 'Too many open files', '/lib/module.py')\n"
        "copy.run_copy = broken\n"
        "from transfer.cli.app import main; main(['copy', 'redis://a', 'redis://b'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "TRANSFER_STATE": str(tmp_path)},
    )

    assert done.returncode == 8
    assert "Too many open files" in done.stderr
    assert "ulimit -n 1024" in done.stderr
    assert not list(tmp_path.glob("crash-*"))


_SIGNALS = pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def _a_copy_that(*does: str) -> list[str]:
    """The words of a process in which `copy` is these statements; its arguments are the state directory, and more."""
    code = [
        "import os, sys, signal, threading, anyio, transfer.job.copy as copy",
        "def get(): signal.pthread_kill(threading.get_ident(), int(sys.argv[2]))",
        "async def waiting(request, observer, planner, job):",
        *(f"    {statement}" for statement in does),
        "copy.run_copy = waiting",
        "from transfer.cli.app import main; main(['copy', 'redis://a', 'redis://b', '--json', '--state', sys.argv[1]])",
    ]
    return [sys.executable, "-c", "\n".join(code)]


@_SIGNALS
def test_a_signal_ends_the_command_with_its_exit_code(number: signal.Signals, exit_code: int, tmp_path: Path) -> None:
    """Also while it is still connecting; the last JSON line is a result."""
    words = _a_copy_that(
        "observer.job_started('20261122-1931-7f3a', 'copy'); print('ready', file=sys.stderr, flush=True)",
        "await anyio.sleep(30)",
    )
    running = subprocess.Popen([*words, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    assert running.stderr.readline() == "ready\n"
    os.kill(running.pid, number)
    out, err = running.communicate(timeout=30)

    assert running.returncode == exit_code
    assert '"type":"result"' in out.splitlines()[-1]
    assert f'"exit":{exit_code}' in out.splitlines()[-1]
    assert "error[E1300]" in err


@_SIGNALS
def test_a_signal_is_heard_while_the_loop_waits(number: signal.Signals, exit_code: int, tmp_path: Path) -> None:
    """Also one that does not interrupt the wait itself: here because another thread got it."""
    words = _a_copy_that("threading.Timer(0.2, get).start()", "await anyio.sleep(40)")

    done = subprocess.run(
        [*words, str(tmp_path), str(int(number))], capture_output=True, text=True, timeout=20, check=False
    )

    assert done.returncode == exit_code
    assert f'"exit":{exit_code}' in done.stdout.splitlines()[-1]


@_SIGNALS
def test_a_signal_while_a_worker_starts_leaves_no_process_behind(
    number: signal.Signals, exit_code: int, tmp_path: Path
) -> None:
    """The worry of a handler that raises: a thread that nobody ends keeps the process for ever."""
    words = _a_copy_that(
        "start = threading.Thread.start",
        "def hit(thread): start(thread); os.kill(os.getpid(), int(sys.argv[2]))",
        "threading.Thread.start = hit",
        "await anyio.to_thread.run_sync(int)",
        "await anyio.sleep(40)",
    )

    done = subprocess.run(
        [*words, str(tmp_path), str(int(number))], capture_output=True, text=True, timeout=20, check=False
    )

    assert done.returncode == exit_code


def test_a_reader_that_goes_away_is_no_failure() -> None:
    """`transfer explain | :` ends before anything is written: no traceback, no complaint of the interpreter."""
    words = ["/bin/sh", "-c", f"{sys.executable} -m transfer explain | :"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)

    assert done.stderr == ""


def test_help_is_quick() -> None:
    """Best of five, as a machine that does other things too would have it."""
    took_s = []
    for _ in range(5):
        began = time.perf_counter()
        transfer("--help")
        took_s.append(time.perf_counter() - began)

    assert min(took_s) < 0.5

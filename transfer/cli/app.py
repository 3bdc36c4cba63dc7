"""The command `transfer`: words in, exit code out.

    argv -> main -> cyclopts -> one command module, imported only now -> exit code
               `-> wrong words: error[E101], exit 2, the nearest match named

Rule 1: --help and --version import no engine: commands are named here by strings.
Rule 2: whatever is raised ends as one error form on stderr, and with --json as a `result` line on stdout.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from transfer import __version__

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

    from transfer.model.errors import TransferError, UsageError

_HELP = """Copies Redis and Valkey data between live servers and proves that what arrived is what left.

transfer copy redis://a:6379 redis://b:6379"""

_EPILOGUE = (
    "Each flag is also TRANSFER_<FLAG> in the environment. Passwords: in the URL, or in TRANSFER_SOURCE_PASSWORD and"
    " TRANSFER_TARGET_PASSWORD (or ..._FILE)."
)

_COPY = """Move every key that passes the filters, with its deadline; then verify.

A place is a URL: redis://[user[:password]@]host[:6379][/db], rediss:// with TLS, valkey://, valkeys://, \
unix:///path/to.sock?db=0. Without /db all logical databases are meant. What will be done is printed first, and is \
all there is to --dry-run. A copy that was interrupted goes on with transfer resume."""

_IMPORT = """Bring the keys of a file to a live server, without a stop of it; then verify.

The file is read to its end before anything is written: a damaged one is refused (exit 12), or with --salvage all of \
it that is whole is imported. All filters apply. \
An import that was interrupted goes on with transfer resume."""

_EXPORT = """Write the keys of a live server into a file: an archive, an RDB, lines of JSON; then verify.

The file has a temporary name until it is whole and was read back: a run that was killed leaves none. All filters \
apply. There is no resume: an export begins anew."""

_UNDO = """Put back what a job changed at its target, where nobody changed it since.

A copy or import with --on-conflict replace keeps what it writes over; so does a clear, and an undo itself. Keys that \
others changed since stay, and are listed (exit 7). An undo that was interrupted goes on with transfer resume."""

_CLEAR = """Delete the keys of a server that pass the filters; without any, all of them.

They are counted first, and nothing is deleted without --allow clear, or an answer on a terminal. What they held is \
kept: transfer undo JOB puts it back."""

_VERIFY = """Do these two places hold the same data? One alone: is it whole, can every key be read?

Nothing is written on either side. Every key of A is compared with B (type, value, deadline), and every key of B is \
accounted for. Exit 0: the same. 6: differences, each a finding. 7: only keys that changed meanwhile."""

_BENCH = """How fast, at what cost, beside the peers, on throw-away servers or given ones.

All ways take turns on the same two servers in one run; medians are told, and ratios by name. On given servers (copy \
and verify only) one way is run once, into a target that must be empty, and nothing of theirs is deleted. Exit 6: a \
limit was missed. What the rows and figures mean: docs/benchmarks.md."""

_COMMANDS = (
    ("copy", "copy:copy", _COPY),
    ("verify", "verify:verify", _VERIFY),
    ("import", "files:import_", _IMPORT),
    ("export", "files:export", _EXPORT),
    ("resume", "resume:resume", "Go on with an interrupted copy; default: the last one."),
    ("undo", "undo:undo", _UNDO),
    ("clear", "clear:clear", _CLEAR),
    ("inspect", "places:inspect", "What is there: versions, keys, types, deadlines, sizes."),
    ("doctor", "places:doctor", "Reachability and rights; with two servers, what will travel how."),
    ("jobs", "jobs:app", "Every run is kept: list them, show, pause, resume or cancel one, forget old ones."),
    ("rejects", "rejects:app", "Keys that a run could not copy: show them, copy just those again."),
    ("demo", "demos:app", "Throw-away servers, real data, copy, verify: under a minute."),
    ("bench", "bench:bench", _BENCH),
    ("explain", "explain:explain", "What an error code means and what to do."),
    ("completion", "completion:completion", "Print a completion script for bash, zsh or fish."),
)
"""Name, where it is, what --help says of it (told here, so that --help imports none of them)."""

_NOT_YET = """sync schema run report config
--transform
--count-all --report --metrics --confirm --profile --config"""
NOT_YET = frozenset(_NOT_YET.split())
"""Words of the contract that come with later releases: unknown like any other, and said to be missing."""
_OF_THE_FIRST = frozenset({"--fresh"})
"""Options that `resume` is asked for, and has not."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        print(__version__)
        sys.exit(0)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the shell closed it (>&-): what is said goes nowhere, the work goes on
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open until the end of the process
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(_run(words))


def build_app() -> App:
    """The command line; no command module is imported."""
    from cyclopts import App, Parameter

    app = App(
        name="transfer",
        help=_HELP,
        help_epilogue=_EPILOGUE,
        help_format="plaintext",
        version=__version__,
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for rank, (name, where, text) in enumerate(_COMMANDS):
        app.command(f"transfer.cli.commands.{where}", name=name, help=text, sort_key=rank)
    return app


def _run(words: list[str]) -> int:
    from cyclopts import CycloptsError

    from transfer.cli.signals import listen_for_sigterm
    from transfer.cli.told import state_given

    listen_for_sigterm()
    state_given.set(_state_of(words))
    debug = "--debug" in words or _on(os.environ.get("TRANSFER_DEBUG"))
    try:
        code = build_app()(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _tell(usage_error(error, words), words)
    except SystemExit as end:
        if type(end) is SystemExit:
            return end.code if isinstance(end.code, int) else 0
        return _fail(end, words, debug)
    except BaseException as raised:
        return _fail(raised, words, debug)
    return code if isinstance(code, int) else 0


def _fail(raised: BaseException, words: list[str], debug: bool) -> int:
    from transfer.cli.exits import failure_of

    return _tell(failure_of(raised, state=_state(words), debug=debug), words)


def _tell(error: TransferError, words: list[str]) -> int:
    """The error form; as a result line too where a program listens."""
    from transfer.cli.exits import error_lines
    from transfer.cli.render.json import failed_result
    from transfer.cli.render.out import Out

    err = Out(sys.stderr)
    if "--json" in words or _on(os.environ.get("TRANSFER_JSON")):
        Out(sys.stdout).say(failed_result(next((word for word in words if not word.startswith("-")), None), error))
    first, *rest = error_lines(error)
    err.say(err.paint(first, "red"), *rest)
    return error.exit_code


def usage_error(error: CycloptsError, words: list[str]) -> UsageError:
    """What cyclopts refused, in our words. Values are not repeated where they may be a place with a password."""
    from cyclopts import MissingArgumentError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

    from transfer.model.errors import UsageError

    error.verbose = False
    command = " ".join(error.command_chain or ())
    hint = f"transfer {command} --help" if command else "transfer --help"
    if isinstance(error, UnknownOptionError):
        return _unknown(error.token.keyword or error.token.value, str(error), hint)
    if isinstance(error, UnusedCliTokensError):
        unused = error.unused_tokens or []
        strange = [word for word in words if word.startswith("--") and not _known(word, error)]
        if strange:
            return _unknown(strange[0], _near_option(strange[0], error), hint)
        return UsageError(f"{command or 'transfer'}: {len(unused)} arguments too many", hint=hint)
    if isinstance(error, UnknownCommandError):
        return _unknown_command(error, command, hint)
    if isinstance(error, MissingArgumentError) and (negative := _negative(words)):
        flag, value = negative
        return UsageError(f"{flag}: {value!r} is below zero", hint=hint)
    return UsageError(str(error).replace(' parameter "', ' "'), hint=hint)


def _negative(words: list[str]) -> tuple[str, str] | None:
    """A flag whose value begins like a flag, and is a number below zero."""
    pairs = itertools.pairwise(words)
    return next((pair for pair in pairs if pair[0][:2] == "--" and pair[1][:1] == "-" and pair[1][1:2].isdigit()), None)


def _unknown_command(error: CycloptsError, command: str, hint: str) -> UsageError:
    from transfer.cli.request import nearest
    from transfer.model.errors import UsageError

    word = (error.unused_tokens or [""])[0]
    if "://" in word:
        return UsageError("a command comes first, then its places", hint="transfer copy SRC DST")
    if word in NOT_YET and not command:
        return UsageError(f"unknown command {word}: it is not in this release", hint=hint)
    app = build_app()
    for name in command.split():
        app = app[name]
    near = nearest(word, [name for name in app if not name.startswith("-")])
    return UsageError(f"unknown command {word}" + (f": {near}" if near else ""), hint=hint)


def _unknown(word: str, said: str, hint: str) -> UsageError:
    from transfer.model.errors import UsageError

    name = word.partition("=")[0]
    if name in NOT_YET:
        return UsageError(f"unknown option {name}: it is not in this release", hint=hint)
    if name in _OF_THE_FIRST:
        said = f"{name} is for the command that a job began with, which begins anew then"
        return UsageError(said, hint="transfer jobs list; transfer copy SRC DST --fresh")
    near = said.partition("Did you mean ")[2]
    return UsageError(f"unknown option {name}" + (f": did you mean {near}" if near else ""), hint=hint)


def _known(word: str, error: CycloptsError) -> bool:
    return word == "--" or word.partition("=")[0] in _options_of(error)


def _near_option(word: str, error: CycloptsError) -> str:
    from transfer.cli.request import nearest

    return nearest(word.partition("=")[0], _options_of(error)).replace("did you", "Did you")


def _options_of(error: CycloptsError) -> list[str]:
    """Every option of the command at hand."""
    app = build_app()
    for name in error.command_chain or ():
        app = app[name]
    names = [name for argument in app.assemble_argument_collection() for name in argument.names]
    return [*(name for name in names if name.startswith("-")), "--help", "--version"]


def _on(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true", "yes", "on", "y", "t")


def _state(words: list[str]) -> str:
    """The state directory as far as it can be told before the words are understood."""
    return _state_of(words) or os.environ.get("TRANSFER_STATE", "")


def _state_of(words: list[str]) -> str:
    given = [after for word, after in itertools.pairwise(words) if word == "--state"]
    given += [word.partition("=")[2] for word in words if word.startswith("--state=")]
    return given[0] if given else ""

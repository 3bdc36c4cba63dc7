"""What was raised, as one TransferError with its exit code, and how it reads.

    any exception (a group, Ctrl-C, SIGTERM, a bug) -> failure_of -> TransferError -> error_lines -> stderr

Rule 1: of several failures the one that ranks first in the contract is told (`EXIT_ORDER`).
Rule 2: a bug is one clear line; its traceback goes to a file of the user alone, to stderr only with --debug.
        Tracebacks hold no local variables, and pass the same redaction as logs.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from transfer.cli.signals import SIGTERM_EXIT, Terminated
from transfer.cli.told import with_state
from transfer.model.errors import (
    AGAIN,
    RESUME,
    FormatError,
    InterruptedRunError,
    LimitError,
    RefusedError,
    TransferError,
)
from transfer.model.report import EXIT_ORDER, Report
from transfer.model.units import some
from transfer.report.log import redacted
from transfer.report.names import printable, without_quoted

_CAUSES_TOLD = 3
_TOO_FEW_FILES = (errno.EMFILE, errno.ENFILE)


def failure_of(raised: BaseException, *, state: str = "", debug: bool = False) -> TransferError:
    """*raised* as an error to show. *state* is the directory for the traceback of a bug."""
    leaves = list(_leaves(raised))
    # a run that moves keys listens to signals itself: what ends by one here had not begun, or had ended
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return InterruptedRunError("interrupted", hint=AGAIN)
    if any(isinstance(leaf, Terminated) for leaf in leaves):
        error = InterruptedRunError("ended by SIGTERM", hint=AGAIN)
        error.exit_code = SIGTERM_EXIT
        return error
    known = sorted((leaf for leaf in leaves if isinstance(leaf, TransferError)), key=_rank)
    if debug:
        print(_traceback(raised), file=sys.stderr, end="")
    if known:
        return known[0]
    few = next((leaf for leaf in leaves if isinstance(leaf, OSError) and leaf.errno in _TOO_FEW_FILES), None)
    return _too_few_files(few) if few is not None else _bug(raised, leaves[0], state)


def error_lines(error: TransferError, job: str = "") -> list[str]:
    """The error form of the contract, one line each; safe to print."""
    message = printable(redacted(error.message), keep="\n").splitlines() or [""]
    lines = [f"error[{error.code}] {message[0]}", *(f"  {line}" for line in message[1:])]
    where = [f"where: {printable(redacted(error.where))}"] if error.where else []
    where += [f"job: {job}"] if job else []
    if where:
        lines.append("  " + "   ".join(where))
    return [*lines, f"  hint:  {hint_of(error, job)}; transfer explain {error.code}"]


def hint_of(error: TransferError, job: str = "") -> str:
    """What to do next; the id of the job takes the place of ID, and without a job there is nothing to resume."""
    hint = re.sub(r"\b(show|clean|resume|retry) ID\b", rf"\1 {job}", error.hint) if job else error.hint
    hint = with_state(hint.replace(RESUME, AGAIN))
    return printable(redacted(hint))


def refused(report: Report | None, *, hash_keys: bool = False) -> TransferError | None:
    """What a run that ended by itself with exit 3 failed at, with its causes; or with 12, a damaged file."""
    if report is not None and report.damage and report.exit == FormatError.exit_code:
        said = f"{some(len(report.damage), 'place')} of the file could not be used: " + "\n".join(report.damage[:10])
        said += f"\n{report.missing}" if report.missing else ""
        return FormatError(said, hint="all that is whole is at the target; the rest needs another copy of it")
    if report is None or report.exit != RefusedError.exit_code:
        return None
    keys = report.keys
    if not keys.rejected:
        said = f"{some(keys.conflicts, 'key', 'was', 'were')} there already with another value, and stayed"
        return RefusedError(said, hint="--on-conflict skip|replace says what to do with them")
    return RefusedError(_causes_told(report, hash_keys=hash_keys))


def _causes_told(report: Report, *, hash_keys: bool) -> str:
    """How many keys were refused, with the one cause, or a line for each of the commonest."""
    counts = Counter[str]()
    for cause, count in report.causes.items():
        counts[without_quoted(cause) if hash_keys else cause] += count
    rejected = report.keys.rejected
    said = f"{some(rejected, 'key', 'was', 'were')} refused"
    told = counts.most_common(_CAUSES_TOLD)
    if told and told[0][1] >= rejected:
        return f"{said}: {told[0][0]}"
    lines = [f"{some(count, 'key')}: {cause}" for cause, count in told]
    others = rejected - sum(count for _, count in told)
    if lines and others > 0:
        lines.append(f"{some(others, 'key')}: other causes")
    return "\n".join([said, *lines])


def _leaves(raised: BaseException) -> Iterator[BaseException]:
    if isinstance(raised, BaseExceptionGroup):
        for inner in raised.exceptions:
            yield from _leaves(inner)
    else:
        yield raised


def _rank(error: TransferError) -> int:
    return EXIT_ORDER.index(error.exit_code) if error.exit_code in EXIT_ORDER else -1


def _traceback(raised: BaseException) -> str:
    return redacted("".join(traceback.format_exception(raised)))


def _too_few_files(error: OSError) -> TransferError:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"no file can be opened: {error.strerror}; this process may have {most} open at once"
    return LimitError(text, where=str(error.filename or ""), hint=f"ulimit -n 1024, then {AGAIN}")


def _bug(raised: BaseException, leaf: BaseException, state: str) -> TransferError:
    said = f": {leaf}" if str(leaf) else ""
    hint = "run again with --debug to see the traceback"
    path = _kept_traceback(raised, state)
    if path is not None:
        hint = f"the traceback is in {path}"
    return TransferError(f"unexpected {type(leaf).__name__}{said}", hint=hint)


def _kept_traceback(raised: BaseException, state: str) -> Path | None:
    from transfer.job.database import state_dir

    name = f"crash-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}.txt"
    path = state_dir(state) / name
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", errors="replace") as file:
            file.write(_traceback(raised))
    except OSError:
        return None
    return path

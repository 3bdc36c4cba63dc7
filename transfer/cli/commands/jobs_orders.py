"""`transfer jobs pause ID`, `cancel ID`: end a run from another shell, and tell how it ended.

words -> job/orders.give -> the run drains -> its row in the store -> one line | `data` of a result line
"""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from transfer.cli.options import Store, Talk
from transfer.cli.render.json import simple_result
from transfer.cli.render.out import Out
from transfer.cli.told import with_state
from transfer.job.orders import ENDS_WITHIN_S, Word, give, runs, wait_end
from transfer.job.rows import Job
from transfer.job.store import JobStore
from transfer.model.units import some

_JOB = Annotated[str, Parameter(show_default=False)]
_NOT_YET_EXIT = 1
_OBEYED = {"pause": "interrupted", "cancel": "cancelled"}


def pause(job: _JOB, /, *, store: Store = Store(), talk: Talk = Talk()) -> int:  # noqa: B008 - frozen
    """Stop a copy that runs, so that it can be gone on with: what is in flight is written, its place is kept.

    Waits until it has ended, 10 s at most.

    Parameters
    ----------
    job
        Its id, or a part of it that only one has: the beginning, or the last four.
    """
    return _order("pause", job, store.state, talk)


def cancel(job: _JOB, /, *, store: Store = Store(), talk: Talk = Talk()) -> int:  # noqa: B008 - frozen
    """End a run for good: what is in flight is written, what was written stays, it is never gone on with.

    Waits until it has ended, 10 s at most.

    Parameters
    ----------
    job
        Its id, or a part of it that only one has: the beginning, or the last four.
    """
    return _order("cancel", job, store.state, talk)


def _order(word: Word, job: str, state: str, talk: Talk) -> int:
    with JobStore.open(state) as kept:
        found = kept.get(job)
        give(kept, found, word)
        ended = wait_end(kept, found.job)
    out = Out(sys.stdout)
    code = _NOT_YET_EXIT if runs(ended) else 0
    if talk.json:
        out.say(simple_result("jobs", _data(word, ended), code))
    else:
        out.say(f"{ended.job}  {with_state(_told(word, ended))}")
    return code


def _data(word: Word, job: Job) -> dict[str, object]:
    return {
        "job": job.job,
        "obeyed": job.state == _OBEYED[word],
        "state": job.state,
        "exit": job.exit,
        "written": job.report.keys.written if job.report else None,
    }


def _told(word: Word, job: Job) -> str:
    written = f", {some(job.report.keys.written, 'key')} written" if job.report else ""
    if runs(job):
        return f"has not ended within {ENDS_WITHIN_S:g} s; transfer jobs show {job.job} tells when it has"
    if job.state != _OBEYED[word]:
        return f"had ended by itself: {job.state}{written}"
    if word == "cancel":
        return f"cancelled{written}, they stay there"
    return f"paused{written}; go on with: transfer resume {job.job}"

"""`transfer rejects show JOB`, `retry JOB`: keys that a run could not copy, and copying just those again.

JobStore -> Reject rows -> lines for people | data rows, names whole as base64
`retry`  -> names by database in a file of their own -> a copy of those, a job like any other -> how many arrived
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from transfer.cli.options import Consent, Store, Talk
from transfer.cli.render.json import key_fields, simple_result
from transfer.cli.render.out import Out
from transfer.cli.render.summary import reject_lines
from transfer.job.rejects import of_names, rejected_keys
from transfer.job.store import JobStore
from transfer.model.errors import UsageError
from transfer.model.plan import CopyRequest
from transfer.model.ports import Observer
from transfer.model.report import Report

app = App(
    name="rejects", default_parameter=Parameter(negative=()), help_format="plaintext", result_action="return_value"
)


@app.command(name="show")
def show(
    job: Annotated[str, Parameter(show_default=False)],
    /,
    *,
    store: Store = Store(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
) -> int:
    """Every rejected key of one run: code, database, name (bytes escaped), cause.

    Parameters
    ----------
    job
        Its id, or a part of it that only one has: the beginning, or the last four.
    """
    with JobStore.open(store.state) as kept:
        found = kept.get(job)
        rejects = kept.rejects(found.job)
    out = Out(sys.stdout)
    if talk.json:
        rows = [{"db": one.db, **key_fields(one.key, False), "code": one.code, "cause": one.cause} for one in rejects]
        out.say(simple_result("rejects", {"job": found.job, "rejects": rows}))
    else:
        lines = reject_lines(rejects, len(rejects), out.paint, False, found.job)
        out.say(*(lines or [f"{found.job} rejected no key"]))
    return 0


@app.command(name="retry")
def retry(
    job: Annotated[str, Parameter(show_default=False)],
    /,
    *,
    on_conflict: Annotated[
        Literal["fail", "skip", "replace"] | None,
        Parameter(help="Where the target has another value (default: as the run was asked)."),
    ] = None,
    store: Store = Store(),  # noqa: B008
    talk: Talk = Talk(),  # noqa: B008
    consent: Consent = Consent(),  # noqa: B008
) -> int:
    """Copy the rejected keys of one run again, and no others: same places, same mapping, a job of its own.

    Parameters
    ----------
    job
        Its id, or a part of it that only one has: the beginning, or the last four.
    """
    from transfer.cli.conduct import conduct
    from transfer.cli.request import allowed_hazards
    from transfer.cli.secrets import with_passwords
    from transfer.endpoint.redis.keyfile import write_names
    from transfer.job.claim import restored
    from transfer.job.database import store_path

    with JobStore.open(store.state) as kept:
        found = kept.get(job)
        names = rejected_keys(kept, found)
    if not names:
        raise UsageError(f"{found.job} rejected no key: there is nothing to copy again", hint="transfer jobs list")
    path = store_path(store.state).with_name(f"{found.job}.retry")
    request = of_names(with_passwords(restored(found.whole), no_input=consent.no_input), names, str(path))
    write_names(str(path), names)
    request = msgspec.structs.replace(
        request,
        on_conflict=on_conflict or request.on_conflict,
        allow=request.allow | allowed_hazards(consent.allow) | {"nonempty-target"},
        state_dir=store.state,
    )
    return conduct(_Retry(sum(map(len, names.values()))), request, talk, no_input=consent.no_input)


class _Retry:
    """The copy, and afterwards the sentence that counts."""

    def __init__(self, asked: int) -> None:
        self._asked = asked

    async def __call__(self, request: CopyRequest, observer: Observer) -> Report:
        from transfer.job.copy import run_copy
        from transfer.plan.preflight import plan_copy

        report = await run_copy(request, observer, plan_copy)
        keys = report.keys
        arrived = keys.written + keys.already
        report.notes.append(f"{arrived:,} of {self._asked:,} rejected keys arrived this time")
        return report

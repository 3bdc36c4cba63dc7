"""`transfer jobs list`, `show ID`: what the job store remembers; `pace ID`: how fast a run is to go on; and the rest.

JobStore -> Job rows -> lines for people | `data` of a result line
`pace` -> a row in the store -> the run looks there twice a second -> its pace as it is then, in the same row
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter

from transfer.cli.commands.jobs_keeping import clean, prune
from transfer.cli.commands.jobs_orders import cancel, pause
from transfer.cli.commands.resume import resume
from transfer.cli.options import Store, Talk
from transfer.cli.render.json import key_fields, simple_result
from transfer.cli.render.out import Out
from transfer.cli.render.pace import pace_text
from transfer.cli.render.summary import Paint, outcome, reject_lines, summary_lines
from transfer.cli.request import pace_changes
from transfer.job.database import store_path
from transfer.job.rows import Job
from transfer.job.store import JobStore
from transfer.model.errors import UsageError
from transfer.model.report import Reject
from transfer.model.units import show_count, show_ms
from transfer.report.names import printable

app = App(name="jobs", default_parameter=Parameter(negative=()), help_format="plaintext", result_action="return_value")

_SHOWN_REJECTS = 1_000
_ANSWER_S = 3.0
_STYLES = {"finished": "green", "running": "cyan", "planned": "cyan", "interrupted": "yellow", "cancelled": "yellow"}


app.command(pause, name="pause")
app.command(cancel, name="cancel")
app.command(prune, name="prune")
app.command(clean, name="clean")


@app.command(name="list")
def list_jobs(*, store: Store = Store(), talk: Talk = Talk()) -> int:  # noqa: B008 - frozen
    """Every run, newest first. Times are UTC."""
    jobs = _listed(store.state)
    out = Out(sys.stdout)
    if talk.json:
        out.say(simple_result("jobs", [_short(job) for job in jobs]))
    else:
        out.say(*(_rows(jobs, out.paint) if jobs else ["no jobs yet: transfer copy SRC DST"]))
    return 0


@app.command(name="show")
def show(
    job: Annotated[str, Parameter(show_default=False)],
    /,
    *,
    store: Store = Store(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
) -> int:
    """One run: what was asked, its counts, what was proved, its rejected keys.

    Parameters
    ----------
    job
        Its id, or a part of it that only one has: the beginning, or the last four.
    """
    with JobStore.open(store.state) as kept:
        found = kept.get(job)
        rejects = kept.rejects(found.job)
        pace = _present_pace(kept, found)
    out = Out(sys.stdout)
    if talk.json:
        out.say(simple_result("jobs", _whole(found, rejects) | {"pace": pace}))
    else:
        out.say(*_card(found, rejects, pace, out.paint))
    return 0


app.command(resume, name="resume")


@app.command(name="pace")
def change_pace(
    job: Annotated[str, Parameter(show_default=False)],
    /,
    *,
    pace: Annotated[
        Literal["polite", "max"] | None,
        Parameter(help="Spare the source's other clients, or nobody.", show_default=False, show_choices=False),
    ] = None,
    max_source_latency: Annotated[
        str, Parameter(help="Polite: so much above its idle latency.", show_default=False)
    ] = "",
    rate: Annotated[
        str, Parameter(help="At most so many keys a second (50k/s); none: no limit.", show_default=False)
    ] = "",
    bwlimit: Annotated[
        str, Parameter(help="At most so many bytes a second (100MiB/s); none: no limit.", show_default=False)
    ] = "",
    store: Store = Store(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
) -> int:
    """Change the pace of a copy that runs, from another shell; without a flag, show it. What is not named stays.

    Parameters
    ----------
    job
        Its id, or a part of it that only one has: the beginning, or the last four.
    """
    changes = pace_changes(pace, max_source_latency, rate, bwlimit)
    with JobStore.open(store.state) as kept:
        found = kept.get(job)
        if found.state != "running" or found.command == "verify":
            what = f"a {found.command}" if found.command == "verify" else found.state
            raise UsageError(f"job {found.job} is {what}: only a copy that runs has a pace", hint="transfer jobs list")
        obeyed = not changes or _obeyed(kept, found.job, kept.ask_pace(found.job, changes))
        present = _present_pace(kept, found)
    if not obeyed:
        sys.stderr.write("warning: the run has not answered yet; it will be told when it looks\n")
    out = Out(sys.stdout)
    if talk.json:
        out.say(simple_result("jobs", {"job": found.job, "obeyed": obeyed, "pace": present}))
    else:
        out.say(f"{found.job}  {pace_text(present)}")
    return 0


def _obeyed(kept: JobStore, job: str, number: int) -> bool:
    """Whether the run says, within `_ANSWER_S`, that it goes by request *number*."""
    until_s = time.monotonic() + _ANSWER_S
    while kept.present_pace(job)[0] < number:
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


def _present_pace(kept: JobStore, job: Job) -> dict[str, Any] | None:
    """The pace of a run that runs, None of any other."""
    text = kept.present_pace(job.job)[1] if job.state == "running" else ""
    return dict(msgspec.json.decode(text)) if text else None


def _listed(state: str) -> list[Job]:
    """Looking makes no store where there is none."""
    if not store_path(state).exists():
        return []
    with JobStore.open(state) as store:
        return store.list_jobs()


def _rows(jobs: list[Job], paint: Paint) -> list[str]:
    """Job, command, state, when, how long, keys, places."""
    head = f"{'job':<18}  {'command':<8}  {'state':<11}  {'exit':>4}  {'started':<16}  {'took':>8}  {'keys':>7}  places"
    lines = [paint(head, "bold")]
    for job in jobs:
        state = paint(f"{job.state:<11}", _STYLES.get(job.state, "red"))
        exit_code = "" if job.exit is None else str(job.exit)
        keys = show_count(_keys(job)) if job.report else ""
        marks = [job.label] if job.label else []
        marks += ["dry run"] if _asked(job).get("dry_run") else []
        places = printable(f"{job.source} {job.target}".rstrip() + "".join(f"  [{mark}]" for mark in marks))
        when = _moment(job.started_ms)[:16].replace("T", " ")
        first = f"{job.job:<18}  {job.command:<8}  {state}  {exit_code:>4}"
        lines.append(f"{first}  {when:<16}  {_took(job):>8}  {keys:>7}  {places}")
    return lines


def _card(job: Job, rejects: list[Reject], pace: dict[str, Any] | None, paint: Paint) -> list[str]:
    """One job in full."""
    state = paint(job.state, _STYLES.get(job.state, "red"))
    ending = f" (exit {job.exit}: {outcome(job.exit)})" if job.exit is not None else ""
    lines = [f"{paint(f'{job.command} {job.job}', 'bold')}  {state}{ending}"]
    facts = {
        "source": job.source,
        "target": job.target,
        "label": job.label,
        "started": f"{_moment(job.started_ms)}, took {_took(job) or 'unknown'}",
        "by": f"transfer {job.version}, process {job.pid} on {job.host}",
        "asked": job.request if job.request != "{}" else "",
        "pace": pace_text(pace) if pace else "",
    }
    lines += [f"  {name:<8} {printable(text)}" for name, text in facts.items() if text]
    if job.error:
        lines.append("  " + paint(printable(f"error[{job.error.code}] {job.error.message}"), "red"))
    if job.report:
        lines += summary_lines(job.report, paint)
    shown = reject_lines(rejects[:_SHOWN_REJECTS], len(rejects), paint, False, f"{job.job} --json")
    return [*lines, "", *shown] if shown else lines


def _short(job: Job) -> dict[str, Any]:
    """One entry of the list."""
    return {
        "job": job.job,
        "command": job.command,
        "state": job.state,
        "started": _moment(job.started_ms),
        "ended": _moment(job.ended_ms) if job.ended_ms is not None else None,
        "exit": job.exit,
        "source": job.source,
        "target": job.target,
        "label": job.label,
        "keys": msgspec.to_builtins(job.report.keys) if job.report else None,
        "rejects": job.rejected,
        "verified": job.report.verified if job.report else False,
        "pid": job.pid,
        "host": job.host,
        "version": job.version,
    }


_REPORTED = ("seconds", "as_of", "verify", "dbs", "restarts", "lossy", "not_copied", "notes")
"""Fields of a report that `jobs show` tells."""


def _whole(job: Job, rejects: list[Reject]) -> dict[str, Any]:
    """Everything about one job."""
    report = msgspec.to_builtins(job.report) if job.report else {}
    return {
        **_short(job),
        "request": _asked(job),
        "plan": msgspec.json.decode(job.plan) if job.plan else None,
        **{name: report.get(name) for name in _REPORTED},
        "error": msgspec.to_builtins(job.error) if job.error else None,
        "rejects": [
            {"db": item.db, **key_fields(item.key, False), "code": item.code, "cause": item.cause} for item in rejects
        ],
    }


def _asked(job: Job) -> dict[str, Any]:
    """The words of the request that were not the usual ones."""
    try:
        return dict(msgspec.json.decode(job.request))
    except (msgspec.DecodeError, TypeError, ValueError):
        return {}


def _keys(job: Job) -> int:
    report = job.report
    assert report is not None
    return report.keys.read if report.command != "verify" else report.verify.checked if report.verify else 0


def _moment(ms: int) -> str:
    """`2026-11-22T19:31:05Z`"""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _took(job: Job) -> str:
    return show_ms(job.ended_ms - job.started_ms) if job.ended_ms is not None else ""

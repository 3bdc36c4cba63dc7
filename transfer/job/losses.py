"""What the servers lost by themselves while a copy ran: said by name, never left to be guessed from verdicts.

evictions, expiries and deletions at the target; a source that came back empty, or took over other data
"""

from __future__ import annotations

from transfer.endpoint.file.file import DataFile
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.server import Server
from transfer.model.errors import TransferError
from transfer.model.plan import CopyRequest, narrows
from transfer.model.report import Report
from transfer.model.units import some

Gone = tuple[int, int]
"""Keys that a server evicted, and keys that expired there, since it started."""


async def gone_at(target: Server) -> Gone | None:
    """What the target says of itself; None where it does not tell."""
    try:
        async with target.link(db=0) as link:
            return await probe.evicted_and_expired(link)
    except TransferError:
        return None


async def taken_over(source: Server | DataFile) -> str:
    """A sentence, or "" if *source* is no replica, or still has the history that it had when it was opened."""
    if isinstance(source, DataFile) or source.identity.role == "master":
        return ""
    try:
        now = await source.asked(probe.identify)
    except TransferError:
        return ""
    if not now.syncing and now.continues(source.identity):
        return ""
    return "the source, a replica, took over another data set meanwhile: what was copied is of the one before"


def _meanwhile(before: Gone | None, after: Gone | None) -> Gone:
    """How many went between two looks; none where one of them tells nothing."""
    return (0, 0) if before is None or after is None else (after[0] - before[0], after[1] - before[1])


def evicted(before: Gone | None, after: Gone | None) -> str:
    """A sentence, or "" if nothing is known to have been evicted."""
    count, _ = _meanwhile(before, after)
    if count <= 0:
        return ""
    keys = some(count, "key")
    return f"the target evicted {keys} meanwhile: its memory is too small, and its policy lets it"


def expired(before: Gone | None, after: Gone | None) -> str:
    """A sentence, or "" if nothing is known to have expired; that is no loss, and explains missing keys."""
    _, count = _meanwhile(before, after)
    if count <= 0:
        return ""
    said = some(count, "key", "reached its deadline", "reached their deadlines")
    return f"{said} at the target meanwhile and {'is' if count == 1 else 'are'} gone there"


def deleted(report: Report, before: Gone | None, after: Gone | None) -> str:
    """A sentence if keys that the target had acknowledged are not there, though it evicted none of them; else ""."""
    evicted_keys, expired_keys = _meanwhile(before, after)
    if report.verify is not None:
        lost = report.verify.missing - evicted_keys
    elif report.resumed or report.restarts:
        return ""  # what expired before is not known
    else:
        counts, held = report.keys, sum(row.keys[1] for row in report.dbs)
        lost = counts.written + counts.already - held - evicted_keys - expired_keys
    if lost <= 0:
        return ""
    said = some(lost, "key", "is", "are")
    return (
        f"{said} not at the target, though it had acknowledged {'it' if lost == 1 else 'them'}: somebody deleted keys "
        "there, or flushed it, while the copy ran"
    )


def nothing_passed(report: Report, request: CopyRequest, planned: int) -> str:
    """A sentence if filters let no key pass where there are some; else ""."""
    if report.keys.read or not planned or not narrows(request):
        return ""
    return f"no key passed the filters: none of {some(planned, 'key')} was copied, and nothing was compared"


def remedy(report: Report) -> str:
    """The next command where keys of a copy were found wanting, or "" if none was."""
    found = report.verify
    if found is None or not found.differences():
        return ""
    if found.missing == found.differences():
        return "the same copy again with --allow nonempty-target brings what is missing; what is equal is skipped"
    return (
        "others may have written to these keys at the target since: look at them first (`transfer verify` lists them "
        "again); the same copy with --on-conflict replace brings what is missing and writes over what differs, whoever "
        "wrote it"
    )


def emptied(report: Report, planned: int) -> str:
    """A sentence if most of what was read at the source is not there any more, though it was not to expire; else ""."""
    result, read = report.verify, report.keys.read
    held = sum(row.keys[0] for row in report.dbs)
    if result is None or result.mode != "full" or held * 2 >= read or result.changed * 2 < read:
        return ""
    return (
        f"the source was emptied, or came back without its data: {read:,} keys were read there (the plan counted "
        f"{planned:,}), {held:,} are there now; what was copied cannot be proved against it"
    )

"""What the servers lost by themselves while a copy ran: said by name, never left to be guessed from verdicts."""

from __future__ import annotations

from transfer.endpoint.redis import probe
from transfer.endpoint.redis.server import Server
from transfer.model.errors import TransferError
from transfer.model.report import Report


async def evictions(target: Server) -> int | None:
    """Keys that the target has evicted since it started; None where it does not tell."""
    try:
        async with target.link(db=0) as link:
            return (await probe.evicted_and_expired(link))[0]
    except TransferError:
        return None


def evicted(before: int | None, after: int | None) -> str:
    """A sentence, or "" if nothing is known to have been evicted."""
    if before is None or after is None or after <= before:
        return ""
    return f"the target evicted {after - before:,} keys meanwhile: its memory is too small, and its policy lets it"


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

"""The requests that write, and what their answers say of every record.

    Batch of payloads -> RESTORE each                               -> OK each
    Batch of strings  -> MSETNX of many, SET NX PXAT of those with a deadline -> 1 each group, OK each
    landings          -> one command each, large payloads in pieces

Rule 1: what holds no deadline is sent first; answers are in the order of `Delivery.unfold`.
Rule 2: MSETNX writes all of its group or none: where it wrote none its records are UNDECIDED, and are sent one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress

from transfer.codec import resp
from transfer.endpoint.redis.captured import CapturedWriter
from transfer.endpoint.redis.landing import Delivery
from transfer.endpoint.redis.looking import MOVED, Change
from transfer.model.record import NO_DEADLINE, Batch, UsedRecord
from transfer.wire.link import ErrorReply, Link, Reply

LARGE_BYTES = 256 << 10
"""Payloads above this are sent as the bytes objects they are."""
UNDECIDED = object()
Columns = tuple[list[bytes], list[bytes], list[int]]
"""Names, payloads and the sizes of these."""
Row = tuple[bytes, bytes, int]
"""Name, payload, deadline."""
_BUSY = ErrorReply("BUSYKEY Target key name already exists.")
_DONE = b"OK"
_OK, _ONE = b"+OK\r\n", b":1\r\n"
_GROUP_BYTES = 256 << 10
"""Values of one MSETNX, roughly: it is one command, and nobody else is served meanwhile."""


async def send_batch(link: Link, batch: Batch, *, replace: bool, together: int) -> list[Reply] | None:
    """Write *batch* as it is; None if all of it was written.

    Args:
        together: so many keys one command may write.
    """
    lasting, expiring = _by_deadline(batch)
    if batch.strings:
        return await _send_strings(link, lasting, expiring, replace=replace, together=together)
    parts = [resp.restore_all(*lasting, replace=replace)] if lasting[0] else []
    parts += [resp.restore(*it, replace=replace) for it in expiring]
    return await link.ask_acknowledged([b"".join(parts)], _OK * len(batch.keys))


async def _send_strings(
    link: Link, lasting: Columns, expiring: list[Row], *, replace: bool, together: int
) -> list[Reply] | None:
    groups = list(_groups(lasting, together))
    parts = [resp.set_all(*group, replace=replace) for group in groups]
    parts += [piece for it in expiring for piece in resp.set_parts(*it, replace=replace)]
    expected = (_OK if replace else _ONE) * len(groups) + _OK * len(expiring)
    answers = await link.ask_acknowledged([b"".join(parts)], expected)
    if answers is None:
        return None
    of_groups = zip(groups, answers[: len(groups)], strict=True)
    each = [verdict for (keys, _, _), answer in of_groups for verdict in _each(answer, len(keys))]
    return each + list(map(_verdict, answers[len(groups) :]))


async def send_landings(
    link: Link, delivery: Delivery, payloads: list[bytes], *, replace: bool, use: str = ""
) -> list[Reply] | None:
    """Write the fresh landings of *delivery*, *payloads* for them, with their *use*; None if all were written."""
    fresh, ours = delivery.fresh, delivery.ours
    in_parts = resp.set_parts if delivery.strings else resp.restore_parts
    parts: list[bytes] = []
    for it, payload in zip(fresh, payloads, strict=True):
        piece = in_parts(it.name, payload, it.expire_at_ms, replace=replace or it.name in ours)
        parts += resp.with_use(piece, use, it.record.use) if isinstance(it.record, UsedRecord) else piece
    answers = await link.ask_acknowledged(resp.joined(parts, 4 * LARGE_BYTES), _OK * len(fresh))
    return list(map(_verdict, answers)) if answers is not None else None


async def send_captured(
    link: Link, delivery: Delivery, payloads: list[bytes], captured: CapturedWriter, *, use: str = ""
) -> list[Reply] | None:
    """As `send_landings`, over whatever is there, once that is captured; ALREADY for what is there as it is to be."""
    changes = []
    for it, payload in zip(delivery.fresh, payloads, strict=True):
        piece: tuple[bytes, ...] = ()
        if isinstance(it.record, UsedRecord):
            parts = resp.restore_parts(it.name, payload, it.expire_at_ms, replace=True)
            piece = resp.with_use(parts, use, it.record.use)
        elif len(payload) < LARGE_BYTES:
            piece = (resp.restore(it.name, payload, it.expire_at_ms, replace=True),)
        else:
            piece = resp.restore_parts(it.name, payload, it.expire_at_ms, replace=True)
        spares_equal = not isinstance(it.record, UsedRecord)  # its use is to be carried all the same
        intended = captured.intended(payload, it.expire_at_ms)
        changes.append(Change(it.name, piece, intended, payload, spares_equal=spares_equal))
    answers = await captured.write(link, delivery.db, changes)
    if answers.count(_DONE) == len(answers):
        return None
    return [UNDECIDED if answer is MOVED else answer for answer in answers]


def _by_deadline(batch: Batch) -> tuple[Columns, list[Row]]:
    """What lasts, in columns; the rest, row by row."""
    if max(batch.deadlines) == NO_DEADLINE:
        return (batch.keys, batch.dumps, batch.sizes), []
    lasts = [deadline == NO_DEADLINE for deadline in batch.deadlines]
    lasting = (
        list(compress(batch.keys, lasts)),
        list(compress(batch.dumps, lasts)),
        list(compress(batch.sizes, lasts)),
    )
    rows = zip(batch.keys, batch.dumps, batch.deadlines, strict=True)
    return lasting, [row for row in rows if row[2] != NO_DEADLINE]


def _groups(columns: Columns, together: int) -> Iterator[Columns]:
    """Pieces of *columns*, small enough for one command each."""
    keys, values, sizes = columns
    together = max(1, min(together, _GROUP_BYTES // max(1, *sizes))) if keys else 1
    for at in range(0, len(keys), together):
        yield keys[at : at + together], values[at : at + together], sizes[at : at + together]


def _each(answer: Reply, keys: int) -> list[Reply]:
    """What the answer to one MSETNX or MSET says of each of its keys."""
    return [UNDECIDED if answer == 0 else answer] * keys


def _verdict(answer: Reply) -> Reply:
    """SET NX answers nothing where it found a key; RESTORE says so."""
    return _BUSY if answer is None else answer

"""Spread work over links: batches of sample items, each in its database.

items -> cut into batches of one family -> whichever link is free -> SELECT where needed -> work
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from itertools import groupby
from typing import TypeVar

import anyio

from transfer.endpoint.redis.sample.families import DBS, Item, items
from transfer.endpoint.redis.sample.requests import read
from transfer.model.errors import DatabasesError, TransferError
from transfer.wire.dial import Dialer, refuse
from transfer.wire.link import ErrorReply, Link, Reply

_ITEMS_PER_READ = 400
_LINKS = 2  # one waits for the server while values for the other are made

_ABOUT_THE_KEY = ("WRONGTYPE", "ERR no such key")  # the latter is XINFO's

T = TypeVar("T")


async def share_out(
    dialer: Dialer, queue: Iterator[tuple[int, T]], work: Callable[[Link, int, T], Awaitable[None]]
) -> None:
    """Do *work* on every batch of *queue*, on whichever link is free, in the batch's database."""

    async def worker() -> None:
        link, at = await dialer.dial(), dialer.address.db or 0
        try:
            for db, batch in queue:
                if db != at:
                    await select(link, db)
                    at = db
                await work(link, db, batch)
        finally:
            await link.close()

    try:
        async with anyio.create_task_group() as group:
            for _ in range(_LINKS):
                group.start_soon(worker)
    except ExceptionGroup as failed:
        raise _first(failed) from None


def _first(failed: BaseException) -> BaseException:
    """Of failures side by side the first one of ours: the others follow from it, or from the same cause."""
    while isinstance(failed, BaseExceptionGroup):
        known = failed.subgroup(TransferError)
        failed = (known or failed).exceptions[0]
    return failed


def batches(dialer: Dialer, seed: int, keys: int) -> Iterator[tuple[int, list[Item]]]:
    """All items in batches of one family, the big ones apart from the rest."""
    for (db, _), found in groupby(items(seed, keys), key=lambda item: (lies_in(dialer, item.db), item.family)):
        yield from ((db, batch) for batch in cut(found, _ITEMS_PER_READ))


def cut(found: Iterator[T], size: int) -> Iterator[list[T]]:
    batch: list[T] = []
    for one in found:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


async def read_all(link: Link, first: bytes, found: list[Item]) -> list[Reply]:
    """The reply to *first*, then per item the list of its replies; a key of another type or none may answer an error.

    Raises:
        ServerRefusedError: any other error, since it says nothing about the key.
    """
    asked = [read(item) for item in found]
    replies = await link.ask(
        first + b"".join(commands.data for commands in asked), 1 + sum(commands.replies for commands in asked)
    )
    for reply in replies:
        if isinstance(reply, ErrorReply) and not str(reply).startswith(_ABOUT_THE_KEY):
            refuse(reply, link.where)
    grouped: list[Reply] = [replies[0]]
    at = 1
    for commands in asked:
        grouped.append(replies[at : at + commands.replies])
        at += commands.replies
    return grouped


async def select(link: Link, db: int) -> None:
    answer = await link.command("SELECT", db)
    if isinstance(answer, ErrorReply) and "DB index" in str(answer):
        raise DatabasesError(
            f"the demo data lies in databases {', '.join(map(str, DBS))}; the server has no database {db}",
            where=link.where, hint="name one database for all of it: redis://host/0", db=db,
        )  # fmt: skip
    refuse(answer, link.where)


def accept(replies: list[Reply], link: Link) -> None:
    """Raise the first error among *replies*, also inside the answer of an EXEC."""
    for reply in replies:
        refuse(reply, link.where)
        if isinstance(reply, list):
            accept(reply, link)


def lies_in(dialer: Dialer, db: int) -> int:
    """Where data of *db* lies: a database in the address takes all of it."""
    return db if dialer.address.db is None else dialer.address.db

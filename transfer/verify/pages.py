"""The selected names of a database, page by page, to several workers at once.

Keyspace.pages -> names selected -> worker x N
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from transfer.model.errors import TransferError
from transfer.model.selection import Selection
from transfer.verify.sides import Keyspace

Work = Callable[[list[bytes]], Awaitable[object]]


async def each_page(place: Keyspace, db: int, selection: Selection, workers: int, work: Work) -> None:
    """Have *work* done with the names of *db* that *selection* takes, a page at a time, *workers* at once."""
    types = selection.types
    kind = types[0] if len(types) == 1 else None
    send, receive = anyio.create_memory_object_stream[list[bytes]](workers)
    async with anyio.create_task_group() as group:
        for _ in range(workers):
            group.start_soon(_work_off, receive.clone(), work)
        receive.close()
        async with send:
            async for page in place.pages(db, selection.pushed_match(), kind):
                if names := selection.names(page):
                    await send.send(names)


async def _work_off(pages: MemoryObjectReceiveStream[list[bytes]], work: Work) -> None:
    async with pages:
        async for names in pages:
            await work(names)


def telling(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that was first: one of ours, not a queue that broke because of it."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if isinstance(leaf, TransferError)), leaves[0])

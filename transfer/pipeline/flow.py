"""Batches from a source through a bounded queue into a sink.

    source.read -> emit -> queue -> writer x N -> sink.write -> acknowledged

Rule 1: a batch holds its bytes of the budget from before it is read until it is acknowledged.
Rule 2: `stop` lets what was read be written, then ends: that is a drain.
Rule 3: the first failure ends the flow; everything in flight is then unacknowledged and is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from transfer.model.ports import Sink, Source
from transfer.model.record import Batch, Position
from transfer.pipeline.budget import ByteBudget
from transfer.pipeline.pace import Pace


class Flow:
    """One run of batches from *source* to *sink* by *writers* tasks."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        *,
        budget: ByteBudget,
        pace: Pace,
        writers: int,
        acknowledged: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._budget = budget
        self._pace = pace
        self._writers = writers
        self._acknowledged = acknowledged

    async def run(self, after: Mapping[str, Position]) -> None:
        """Move everything; returns when all of it is acknowledged.

        Raises:
            TransferError: the first failure of either side, without its siblings.
        """
        send, receive = anyio.create_memory_object_stream[Batch](self._writers)
        with ungrouped():
            async with anyio.create_task_group() as group:
                for _ in range(self._writers):
                    group.start_soon(self._write_all, receive.clone())
                receive.close()
                async with send:
                    await self._source.read(send.send, after)

    async def _write_all(self, batches: MemoryObjectReceiveStream[Batch]) -> None:
        async with batches:
            async for batch in batches:
                await self._pace.wait(len(batch.records), batch.size_bytes)
                await self._sink.write(batch)
                self._budget.release(batch.size_bytes)
                self._acknowledged(batch)


@contextmanager
def ungrouped() -> Iterator[None]:
    """Task groups inside raise the one failure that tells most, as if there were no groups."""
    try:
        yield
    except BaseExceptionGroup as failures:
        raise first_failure(failures) from None


def first_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that tells most: not a queue that broke because another task had failed."""
    leaves: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop(0)
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        else:
            leaves.append(error)
    telling = [leaf for leaf in leaves if not isinstance(leaf, (anyio.BrokenResourceError, anyio.ClosedResourceError))]
    return (telling or leaves)[0]

"""Batches from a source through a bounded queue into a sink.

    source.read -> emit -> queue -> writer x N -> sink.write -> acknowledged

Rule 1: a batch holds its bytes of the budget from before it is read until it is acknowledged.
Rule 2: after `stop` what is being written is finished and what still waits is dropped: that is a drain. What was
        dropped was never counted.
Rule 3: the first failure ends the flow, once the other writers have finished what they had begun (or `_GRACE_S`
        passed): so what arrived is also counted. The rest is unacknowledged and is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from transfer.model.errors import UnsettledError
from transfer.model.ports import Sink, Source
from transfer.model.record import Batch
from transfer.model.units import some
from transfer.pipeline.budget import ByteBudget
from transfer.pipeline.pace import Pace

_GRACE_S = 5.0


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
        unsettled: Callable[[], int] = lambda: 0,
        stop: anyio.Event | None = None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._budget = budget
        self._pace = pace
        self._writers = writers
        self._acknowledged = acknowledged
        self._unsettled = unsettled
        self._stop = stop or anyio.Event()
        self._failed = False
        self._busy = 0
        self._idle = anyio.Event()

    async def run(self, after: Mapping[str, str]) -> None:
        """Move everything; returns when all of it is acknowledged, or drained after the stop.

        Raises:
            UnsettledError: everything went well, and yet a key that was read has no fate.
            TransferError: the first failure of either side, without its siblings.
        """
        send, receive = anyio.create_memory_object_stream[Batch](self._writers)
        with ungrouped():
            async with anyio.create_task_group() as group:
                for _ in range(self._writers):
                    group.start_soon(self._write_all, receive.clone())
                receive.close()
                async with send:
                    try:
                        await self._source.read(send.send, after)
                    except Exception:
                        await self._let_finish()
                        raise
        if (keys := self._unsettled()) and not self._stop.is_set():
            raise UnsettledError(f"what became of {some(keys, 'key')} that were read is not known", keys=keys)

    async def _write_all(self, batches: MemoryObjectReceiveStream[Batch]) -> None:
        async with batches:
            async for batch in batches:
                await self._pace.wait(len(batch.keys), batch.size_bytes)
                if not self._failed and not self._stop.is_set():
                    await self._write(batch)
                self._budget.release(batch.size_bytes)

    async def _write(self, batch: Batch) -> None:
        self._busy += 1
        try:
            await self._sink.write(batch)
        except Exception:
            self._leave()
            await self._let_finish()
            raise
        self._leave()
        self._acknowledged(batch)

    def _leave(self) -> None:
        self._busy -= 1
        if not self._busy:
            self._idle.set()
            self._idle = anyio.Event()

    async def _let_finish(self) -> None:
        """Something failed: begin nothing more, and wait a while for writers that are in the middle of a batch."""
        self._failed = True
        with anyio.move_on_after(_GRACE_S):
            while self._busy:
                await self._idle.wait()


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

"""Changes to keys of one server, group by group, by several links at once: for acts that bring nothing from elsewhere.

    groups -> workers: recheck -> CapturedWriter -> settled | somebody wrote between, "not now": the same again

Rule 1: every change has one fate, told to *settle*, but for those that a stop leaves.
Rule 2: a broken link, or a refusal that passes, costs a repetition.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from transfer.endpoint.redis.landing import ends_run
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.looking import MOVED, Change, Looker
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.server import Server
from transfer.model.errors import LinkError
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.replies import waits

_WORKERS = 4
_MOST_ROUNDS = 200
_RESTLESS = ErrorReply("others kept writing this key while it was to be changed")

Group = tuple[int, list[Change]]
"""Database, and changes in it."""
AsyncGroups = AsyncGenerator[Group, None]
Settle = Callable[[int, Change, Reply], None]


class Changing:
    """Carries out groups of changes.

    Args:
        writer: makes them; None makes each without keeping what it is about.
        settle: told of every change with its answer.
        recheck: which of a group are still to be made, asked right before.
        stop: what is not begun when it is set is left.
    """

    def __init__(
        self,
        target: Server,
        writer: Looker | None,
        patience: Patience,
        settle: Settle,
        stop: anyio.Event,
        *,
        cap_bytes: int,
        recheck: Callable[[int, list[Change]], Awaitable[list[Change]]] | None = None,
    ) -> None:
        self._target, self._writer, self._patience = target, writer, patience
        self._settle, self._stop, self._recheck = settle, stop, recheck
        self._links = Links(target, cap_bytes=cap_bytes, writes=True)

    async def run(self, groups: AsyncGroups) -> None:
        """Make all of *groups*, as they are found.

        Raises:
            ReplacedError, GaveUpError, StateFullError: what ended it; what was made stays.
        """
        send, receive = anyio.create_memory_object_stream[Group](_WORKERS)
        try:
            async with anyio.create_task_group() as tasks, aclosing(groups):
                for _ in range(_WORKERS):
                    tasks.start_soon(self._work, receive.clone())
                receive.close()
                async with send:
                    async for group in groups:
                        if self._stop.is_set():
                            break
                        await send.send(group)
        finally:
            with anyio.CancelScope(shield=True):
                await self._links.close()

    async def _work(self, groups: MemoryObjectReceiveStream[Group]) -> None:
        async with groups:
            async for db, changes in groups:
                if not self._stop.is_set():
                    await self._make(db, changes)

    async def _make(self, db: int, changes: list[Change]) -> None:
        left = changes
        for _ in range(_MOST_ROUNDS):
            if self._recheck is not None:
                left = await self._recheck(db, left)
            if not left:
                return
            try:
                async with self._links.lease(db) as link:
                    answers = await self._asked(link, db, left)
            except LinkError as error:
                if not error.retryable:
                    raise
                await self._patience.broken(error)
                continue
            held, again = "", list[Change]()
            for change, answer in zip(left, answers, strict=True):
                if isinstance(answer, ErrorReply) and (failure := ends_run(str(answer), self._target.where)):
                    raise failure
                if answer is MOVED:
                    again.append(change)
                elif isinstance(answer, ErrorReply) and waits(str(answer)):
                    again.append(change)
                    held = str(answer)
                else:
                    self._settle(db, change, answer)
            left = again
            if held:
                await self._patience.held(held)
            else:
                self._patience.progressed()
        for change in left:
            self._settle(db, change, _RESTLESS)

    async def _asked(self, link: Link, db: int, changes: list[Change]) -> list[Reply]:
        if self._writer is not None:
            return await self._writer.write(link, db, changes)
        parts = [piece for change in changes for piece in change.command]
        return await link.ask_parts(parts, len(changes))

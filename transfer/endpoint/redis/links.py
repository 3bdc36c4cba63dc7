"""Links to one server, kept per logical database and lent for one request at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from transfer.codec import resp
from transfer.endpoint.redis.server import Server
from transfer.wire.link import Link


class Links:
    """A pool without a size: as many links as there are borrowers at once.

    A link that failed is closed and forgotten. Every new one is asked who answers (Server.redial). Those of a pool that
    *writes* say so by their names, and its end is the end of what the server announced.

    What a failed link had sent may still lie in a network, or in the server's buffers, and would come over what is sent
    anew: so a link that writes is ended at the server too (CLIENT KILL ID), before any other of its pool is lent.
    """

    def __init__(
        self,
        server: Server,
        *,
        cap_bytes: int = 64 << 20,
        prepare: Callable[[Link], Awaitable[None]] | None = None,
        writes: bool = False,
    ) -> None:
        self.server = server
        self._cap_bytes = cap_bytes
        self._prepare = prepare
        self._writes = writes
        self._idle: dict[int, list[Link]] = defaultdict(list)
        self._ids: dict[Link, int] = {}
        self._broken: set[int] = set()
        self._ending = anyio.Lock()

    @asynccontextmanager
    async def lease(self, db: int) -> AsyncIterator[Link]:
        """Borrow a link to *db*.

        Raises:
            ReplacedError, GaveUpError: as `Server.redial`.
        """
        link = self._idle[db].pop() if self._idle[db] else await self._dial(db)
        try:
            if self._broken:
                await self._end_broken(link)
            yield link
        finally:
            if not link.closed:
                self._idle[db].append(link)
            elif link in self._ids:
                self._broken.add(self._ids.pop(link))

    async def _end_broken(self, link: Link) -> None:
        """Return once the server has let go of every link that failed. *link* is to the same process as they were."""
        async with self._ending:
            if ids := list(self._broken):
                await link.ask(b"".join(resp.command("CLIENT", "KILL", "ID", number) for number in ids), len(ids))
                self._broken.difference_update(ids)  # refused or unknown: there is no more that could be done

    async def _dial(self, db: int) -> Link:
        link = await self.server.redial(db, cap_bytes=self._cap_bytes, writes=self._writes)
        if self._prepare is not None:
            await self._prepare(link)
        if self._writes and isinstance(number := await link.command("CLIENT", "ID"), int):
            self._ids[link] = number
        return link

    async def close(self) -> None:
        for links in self._idle.values():
            while links:
                await links.pop().close()
        if self._writes:
            await self.server.withdraw()

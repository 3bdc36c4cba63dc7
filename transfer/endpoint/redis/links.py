"""Links to one server, kept per logical database and lent for one request at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from transfer.endpoint.redis.server import Server
from transfer.wire.link import Link


class Links:
    """A pool without a size: as many links as there are borrowers at once.

    A link that failed is closed and forgotten. Every new one is asked who answers (Server.redial). Those of a pool that
    *writes* say so by their names, and its end is the end of what the server announced.
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

    @asynccontextmanager
    async def lease(self, db: int) -> AsyncIterator[Link]:
        """Borrow a link to *db*.

        Raises:
            ReplacedError, GaveUpError: as `Server.redial`.
        """
        link = self._idle[db].pop() if self._idle[db] else await self._dial(db)
        try:
            yield link
        finally:
            if not link.closed:
                self._idle[db].append(link)

    async def _dial(self, db: int) -> Link:
        link = await self.server.redial(db, cap_bytes=self._cap_bytes, writes=self._writes)
        if self._prepare is not None:
            await self._prepare(link)
        return link

    async def close(self) -> None:
        for links in self._idle.values():
            while links:
                await links.pop().close()
        if self._writes:
            await self.server.withdraw()

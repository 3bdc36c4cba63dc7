"""Names of a logical database, page by page, by SCAN.

    SCAN cursor COUNT n [MATCH glob] [TYPE t] -> names, next cursor ... until the cursor is 0

Every key that lives through the whole scan is named at least once; some may be named twice (redis-doc
scan.md). A cursor holds only for the process that gave it: Links refuses to go on with another, and an answer
LOADING says that the data it led through is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.passing import LOADING, replaced_data
from transfer.endpoint.redis.patience import Patience
from transfer.model.errors import LinkError, PermissionDeniedError, ServerRefusedError
from transfer.wire.link import ErrorReply
from transfer.wire.replies import ReplyClass, classify

_PAGE_BYTES = 1 << 20
"""Names of one page, roughly: they lie in the server's output buffer until read."""
_LEAST_COUNT = 10


class Page(msgspec.Struct, frozen=True):
    """Some names, and the cursor after them ("0": that was the last page)."""

    names: list[bytes]
    cursor: bytes


class Scanner:
    """Scans one logical database.

    Args:
        count: COUNT to begin with; halved while pages of names are larger than 1 MiB, and grown back.
        match, kind: filtered by the server itself (SCAN MATCH, TYPE), None: everything.
    """

    def __init__(
        self,
        links: Links,
        db: int,
        patience: Patience,
        *,
        count: int = 500,
        match: bytes | None = None,
        kind: str | None = None,
    ) -> None:
        self._links = links
        self._db = db
        self._patience = patience
        self._most = count
        self._count = count
        self._tail: tuple[bytes | str, ...] = ("MATCH", match) if match is not None else ()
        self._tail += ("TYPE", kind) if kind is not None else ()
        self.cursor = b"0"
        self.finished = False

    async def pages(self) -> AsyncIterator[Page]:
        """Yield every page; empty pages too, for their cursor."""
        while not self.finished:
            page = await self._page()
            self.cursor, self.finished = page.cursor, page.cursor == b"0"
            size_bytes = sum(map(len, page.names))
            if size_bytes > _PAGE_BYTES:
                self._count = max(_LEAST_COUNT, self._count // 2)
            elif size_bytes * 4 < _PAGE_BYTES:
                self._count = min(self._most, self._count * 2)
            yield page

    async def _page(self) -> Page:
        while True:
            try:
                async with self._links.lease(self._db) as link:
                    answer = await link.command("SCAN", self.cursor, "COUNT", self._count, *self._tail)
            except LinkError as error:
                if not error.retryable:
                    raise
                await self._patience.broken(error)
                continue
            if not isinstance(answer, ErrorReply):
                self._patience.progressed()
                return Page(answer[1], answer[0])
            await self._refused(str(answer))

    async def _refused(self, text: str) -> None:
        if text.startswith(LOADING):
            raise replaced_data(text, self._links.server.where)
        kind = classify(text)
        if kind is not ReplyClass.WAIT:
            failure = PermissionDeniedError if kind is ReplyClass.DENIED else ServerRefusedError
            raise failure(f"the server refused SCAN: {text}", where=self._links.server.where)
        await self._patience.held(text)

    def share_done(self) -> float:
        """How much of the hash space the cursor has passed: SCAN walks it in bit-reversed order."""
        if self.finished:
            return 1.0
        return int(f"{int(self.cursor):064b}"[::-1], 2) / 2**64

"""Links beside which somebody else writes at a chosen moment, so that races happen every time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from transfer.codec.resp import EXEC, command
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.wire.link import Link, Reply

Write = tuple[str | bytes | int, ...]


@asynccontextmanager
async def linked(server: ThrowawayServer, db: int = 0) -> AsyncIterator[Link]:
    """A link for the length of the block."""
    link = await server.link(db)
    try:
        yield link
    finally:
        await link.close()


class Meddler(Link):
    """A link where, just before a request is served, *other* writes what *meddle* says of that request."""

    def __init__(self, link: Link, other: Link, meddle: Callable[[bytes], list[Write]]) -> None:
        self.__dict__ = dict(link.__dict__)
        self._other = other
        self._meddle = meddle
        self.requests: list[bytes] = []

    async def ask_parts(
        self, parts: tuple[bytes, ...] | list[bytes], replies: int, *, patience: float | None = None
    ) -> list[Reply]:
        request = b"".join(parts)
        self.requests.append(request)
        writes = [command(*words) for words in self._meddle(request)]
        if writes:
            await self._other.ask_parts(writes, len(writes))
        return await super().ask_parts(parts, replies, patience=patience)


class Halting(Link):
    """A link whose request halts before its last *mark*, while *other* does something."""

    def __init__(self, link: Link, mark: bytes, other: Link, *words: str | int) -> None:
        self.__dict__ = dict(link.__dict__)
        self._halt = mark, other, words
        self.transactions = 0

    async def ask_parts(
        self, parts: tuple[bytes, ...] | list[bytes], replies: int, *, patience: float | None = None
    ) -> list[Reply]:
        request = b"".join(parts)
        mark, other, words = self._halt
        self.transactions += request.endswith(EXEC)
        if mark not in request or not request.endswith(EXEC):
            return await super().ask_parts(parts, replies, patience=patience)
        head, tail = request[: request.rindex(mark)], request[request.rindex(mark) :]
        sent = head.count(b"*")
        first = await super().ask_parts([head], sent, patience=patience)
        await other.command(*words)
        return first + await super().ask_parts([tail], replies - sent, patience=patience)

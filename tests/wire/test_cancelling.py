"""A link whose pipeline was cancelled is dropped: no reply of one question is ever taken for another's (N8)."""

from __future__ import annotations

import random

import anyio
import pytest

from tests.servers import ask, running
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.server import Server
from transfer.model.errors import LinkError

CANCELS = 1000


async def test_a_thousand_cancelled_pipelines_never_cross_talk() -> None:
    """Cancelled anywhere, by a deadline of chance: each answer that comes belongs to its own question."""
    chance = random.Random(8)
    async with running() as process:
        await ask(process, "SET", "big", "x" * 200_000)
        server = await Server.open(process.address)
        links = Links(server)
        cut = asked = 0
        try:
            for _ in range(CANCELS):
                with anyio.move_on_after(chance.random() * 0.002) as scope:
                    async with links.lease(0) as link:
                        words = [b"%d" % chance.randrange(1 << 60) for _ in range(chance.randint(1, 30))]
                        parts = [b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (len(word), word) for word in words]
                        parts.insert(chance.randrange(len(parts)), b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n")
                        answers = await link.ask_parts(parts, len(parts))
                        asked += 1
                        assert [answer for answer in answers if len(answer) < 100] == words
                if scope.cancelled_caught:
                    cut += 1
            async with links.lease(0) as link:
                assert await link.command("ECHO", "end") == b"end"
        finally:
            await links.close()

        assert cut > CANCELS // 10
        assert asked > CANCELS // 20


async def test_a_link_that_was_cancelled_says_that_it_is_closed() -> None:
    """Whoever held on to it cannot read a late reply."""
    async with running() as process:
        link = await process.link()
        with anyio.move_on_after(0.05):
            await link.command("BLPOP", "nothing", 0)
        await ask(process, "RPUSH", "nothing", "late")

        assert link.closed
        with pytest.raises(LinkError, match="closed"):
            await link.command("PING")

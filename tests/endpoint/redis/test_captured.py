"""What stands under names of a target is watched, then read, before any of them is changed."""

from __future__ import annotations

import pytest

from tests.servers import running
from transfer.codec import resp
from transfer.codec.fingerprint import Intended
from transfer.endpoint.redis.captured import CapturedWriter
from transfer.endpoint.redis.looking import MOVED, Change
from transfer.endpoint.redis.server import Server
from transfer.wire.link import Link, Reply

LIMIT_BYTES = 1 << 20
OLD_AND_NEW = ["redis-6.2", "redis-7.0", "valkey-9.1"]
CHANGE = Change(b"held", (resp.command(b"SET", b"held", b"new"),), Intended(b"r" + bytes(16)))


@pytest.mark.parametrize("version", OLD_AND_NEW)
async def test_names_are_watched_and_read_in_one_request(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch comes first in it, so that no write falls between it and the reads."""
    real, asked = Link.ask, list[bytes]()

    async def noted(link: Link, request: bytes, replies: int) -> list[Reply]:
        asked.append(request)
        return await real(link, request, replies)

    async with running(version) as process:
        server = await Server.open(process.address)
        async with server.link() as link:
            writer = CapturedWriter(server, None, limit_bytes=LIMIT_BYTES, exact=True)
            monkeypatch.setattr(Link, "ask", noted)
            await writer.write(link, 0, [CHANGE])
            monkeypatch.undo()
            assert await link.command("GET", "held") == b"new"

    (request,) = [one for one in asked if b"DUMP" in one]
    assert request.startswith(resp.command(b"WATCH", b"held"))


@pytest.mark.parametrize("version", OLD_AND_NEW)
async def test_what_others_wrote_after_the_reads_stays(version: str) -> None:
    """The transaction is refused: what was read is no longer what stands there."""
    async with running(version) as process:
        server = await Server.open(process.address)
        async with server.link() as link, server.link() as other:
            writer = CapturedWriter(server, None, limit_bytes=LIMIT_BYTES, exact=True)

            async def act(places: list[int]) -> list[Reply] | None:
                await other.command("SET", "held", "theirs")
                replies = await link.ask(b"".join((resp.MULTI, *CHANGE.command, resp.EXEC)), 3)
                done: list[Reply] | None = replies[-1]
                return done

            assert await writer.around(link, 0, [CHANGE], act) == [MOVED]
            assert await other.command("GET", "held") == b"theirs"

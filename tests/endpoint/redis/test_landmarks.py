"""Keys that servers are recognised by: what is asked about them, as a user who may not see all."""

from __future__ import annotations

from tests.servers import ask, running
from transfer.endpoint.redis.landmarks import any_there, longest_life_ms

_NAMES = {(0, b"mine"), (0, b"theirs"), (0, b"lasting"), (3, b"mine")}


async def test_names_that_may_not_be_asked_about_tell_nothing() -> None:
    """A user of some keys is no failure here: what he lacks is told by who reads the keys."""
    async with running("redis-7.0") as server:
        await ask(server, "SET", "mine", 1, "PX", 50_000)
        await ask(server, "SET", "theirs", 1, "PX", 90_000)
        await ask(server, "SET", "lasting", 1)
        await ask(server, "ACL", "SETUSER", "some", "on", ">pw", "~mine", "&*", "+@all")
        link = await server.link()
        try:
            whole = await longest_life_ms(link, _NAMES)
            await link.command("AUTH", "some", "pw")
            seen = await longest_life_ms(link, _NAMES)

            assert 50_000 < whole <= 90_000
            assert 40_000 < seen <= 50_000
            assert await any_there(link, _NAMES)
            assert not await any_there(link, {(0, b"theirs"), (3, b"mine")})
        finally:
            await link.close()

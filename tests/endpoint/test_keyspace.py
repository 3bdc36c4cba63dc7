"""A live server as one side of a comparison."""

from __future__ import annotations

import random

from tests.servers import ask, running
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.server import Server

_LIMIT_BYTES = 1000


async def test_a_payload_above_the_limit_that_came_unforeseen_is_named_and_let_go() -> None:
    """Sizes are not asked for where all were small; what is compared in pieces then costs no memory as a whole."""
    small, large = [b"k%d" % number for number in range(20)], random.Random(1).randbytes(5 * _LIMIT_BYTES)
    async with running() as place:
        for name in small:
            await ask(place, "SET", name, "v")
        server = await Server.open(place.address)
        keyspace = LiveKeyspace(server, limit_bytes=_LIMIT_BYTES)
        await keyspace.dumps(0, small)
        await ask(place, "SET", "large", large)
        moment = await keyspace.dumps(0, [*small, b"large"])
        value = await keyspace.large(0, b"large")
        await keyspace.close()

    assert moment.payloads[-1] is None
    assert moment.too_large.keys() == {b"large"}
    assert all(moment.payloads[:-1])
    assert (value.kind, value.size_bytes) == ("string", len(large))

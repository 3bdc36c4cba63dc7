"""A value that would kill a server of the other family is told from all others."""

from __future__ import annotations

import pytest

from tests.endpoint.meddling import linked
from tests.servers import running
from transfer.codec.dump import FOOTER_BYTES, stamp
from transfer.codec.rdb.backward import differs_by_family
from transfer.codec.rdb.transcode import transcode
from transfer.model.errors import LinkError

_CRITICAL_BYTES = 16_378


@pytest.mark.parametrize("text", [b"x" * _CRITICAL_BYTES, bytes(range(256)) * 63 + b"y" * 250], ids=["packed", "plain"])
@pytest.mark.parametrize("version", ["redis-8.2", "valkey-9.1"])
async def test_a_stream_with_a_text_of_the_critical_size_is_told(version: str, text: bytes) -> None:
    """One byte more or less and it is like any other."""
    async with running(version) as server, linked(server) as link:
        for by in (-1, 0, 1):
            await link.command("XADD", f"s{by}", "1-1", "f", (text + b"z")[: _CRITICAL_BYTES + by], "g", "tail")
            dump = await link.command("DUMP", f"s{by}")
            assert differs_by_family(dump[:-FOOTER_BYTES]) is (by == 0)


async def test_the_danger_is_real() -> None:
    """Redis takes such a stream of Valkey 9.1 with another footer, and dies when it is read."""
    async with running("valkey-9.1") as server, linked(server) as link:
        await link.command("XADD", "s", "1-1", "f", b"x" * _CRITICAL_BYTES, "g", "tail")
        body = (await link.command("DUMP", "s"))[:-FOOTER_BYTES]

    async with running("redis-8.2") as server, linked(server) as link:
        assert await link.command("RESTORE", "s", 0, stamp(body, 12)) in ("OK", b"OK")
        with pytest.raises(LinkError):
            await link.command("XRANGE", "s", "-", "+")


async def test_written_anew_it_is_harmless() -> None:
    """Transcoding to a server of the other family takes such a stream apart."""
    async with running("valkey-9.1") as server, linked(server) as link:
        await link.command("XADD", "s", "1-1", "f", b"x" * _CRITICAL_BYTES, "g", "tail")
        body = (await link.command("DUMP", "s"))[:-FOOTER_BYTES]
        entries = await link.command("XRANGE", "s", "-", "+")

    for version, types in (("redis-8.2", {15, 19, 21}), ("redis-6.2", {15})):
        async with running(version) as server, linked(server) as link:
            dump = stamp(transcode(body, 80, types, 9), 9)
            assert await link.command("RESTORE", "s", 0, dump) in ("OK", b"OK")
            assert await link.command("XRANGE", "s", "-", "+") == entries


async def test_other_values_are_not_told() -> None:
    """Lists, hashes and sets of usual sizes, large single items, strings."""
    async with running("redis-8.2") as server, linked(server) as link:
        await link.command("RPUSH", "list", b"x" * _CRITICAL_BYTES, "a", "b")  # a plain node: no listpack
        await link.command("HSET", "hash", "f", "v", "g", b"x" * 60)
        await link.command("HPEXPIRE", "hash", 10_000_000, "FIELDS", 1, "f")
        await link.command("SADD", "set", "a", "b")
        await link.command("SET", "string", b"x" * _CRITICAL_BYTES)
        for key in ("list", "hash", "set", "string"):
            assert not differs_by_family((await link.command("DUMP", key))[:-FOOTER_BYTES])

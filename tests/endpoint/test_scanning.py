"""A table scanned in parts at once: every name is there, few come twice."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers import VERSIONS, ask, running
from transfer.codec import resp
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.scanning import Part, Scanner, parts
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.throwaway import ThrowawayServer

KEYS = 20_000


async def fill(server: ThrowawayServer, start: int, stop: int) -> None:
    link = await server.link()
    await link.ask(b"".join(resp.command("SET", f"k{n}", "v") for n in range(start, stop)), stop - start)
    await link.close()


async def scanned(server: ThrowawayServer, bits: int, count: int, grow: bool = False) -> Counter[bytes]:
    """Every name that the parts gave, page by page in turn."""
    opened = await Server.open(server.address)
    links = Links(opened)
    patience = Patience(5, stop_when_full=False, where="", on_warning=lambda text: None)
    found: Counter[bytes] = Counter()
    scans = [Scanner(links, 0, patience, count=count, part=Part(n, bits)).pages() for n in range(1 << bits)]
    turn = 0
    while scans:
        for scan in list(scans):
            try:
                found.update((await anext(scan)).names)
            except StopAsyncIteration:
                scans.remove(scan)
        turn += 1
        if grow and turn == 2:
            await fill(server, KEYS, 4 * KEYS)
    await links.close()
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bits", [0, 1, 3, 4])
async def test_the_parts_together_name_every_key(version: str, bits: int) -> None:
    """And few of them twice: a part aims at its end, and misses it by less than a page."""
    async with running(version) as server:
        await fill(server, 0, KEYS)

        found = await scanned(server, bits, count=100)

        assert len(found) == KEYS
        assert found.total() - KEYS <= 100 << bits


async def test_a_table_that_grows_meanwhile_loses_no_name() -> None:
    """Rehashed twice while eight parts are being scanned."""
    async with running("redis-7.0") as server:
        await fill(server, 0, KEYS)

        found = await scanned(server, 3, count=100, grow=True)

        assert all(b"k%d" % number in found for number in range(KEYS))


async def test_a_table_smaller_than_its_parts_is_named_whole() -> None:
    """Sixteen parts of five keys."""
    async with running() as server:
        await fill(server, 0, 5)

        assert len(await scanned(server, 4, count=100)) == 5
        assert int(await ask(server, "DBSIZE")) == 5


@given(st.floats(0, 1), st.integers(1, 5000), st.integers(0, 10**8))
def test_there_are_as_many_parts_as_the_round_trip_asks_for(round_trip_s: float, count: int, keys: int) -> None:
    """A near server and a small table are scanned whole; the parts share the table equally."""
    made = parts(round_trip_s, count, keys)

    assert len(made) in (1, 2, 4, 8, 16)
    assert len(made) == 1 or (len(made) * 16 * count <= keys and round_trip_s * 300_000 > count)
    assert [part.number for part in made] == list(range(len(made)))


@given(st.integers(0, 4), st.integers(0, 2**64 - 1))
def test_a_cursor_lies_in_one_part(bits: int, cursor: int) -> None:
    """Before it a part is not begun, behind it is done."""
    words = b"%d" % cursor
    shares = [Part(number, bits).share_before(words) for number in range(1 << bits)]

    assert all(left >= right for left, right in itertools.pairwise(shares))
    assert sum(0 < share < 1 for share in shares) <= 1

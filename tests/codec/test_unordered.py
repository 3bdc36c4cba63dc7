"""Sets and hashes of real servers, brought into one order."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers import running
from transfer.codec import resp
from transfer.codec.unordered import in_order, same_items
from transfer.wire.dial import Dialer
from transfer.wire.link import Link

Items = dict[bytes, bytes]


def random_items(random: Random) -> Items:
    """Few or many, short, long, integers of every width, text that looks like one and is none."""
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: (
            b"%d" % random.randrange(-(1 << random.choice((7, 12, 15, 23, 31, 40, 62))), 1 << random.choice((7, 63)))
        ),
        lambda: random.randbytes(random.randrange(40)),
        lambda: random.randbytes(random.choice((64, 65, 300, 4096))),
        lambda: random.choice((b"", b"-0", b"007", b"+1", b"1 ", b"127", b"128", b"-129", b"65536", b"99999999999")),
        lambda: b"tag:%04d" % random.randrange(10_000),
    )
    some = random.sample(kinds, random.randrange(1, 4))
    return {random.choice(some)(): random.choice(some)() for _ in range(random.choice((1, 3, 20, 100, 700)))}


async def bodies(link: Link, items: list[Items], *, hashes: bool) -> list[bytes]:
    await link.command("FLUSHALL")
    for number, some in enumerate(items):
        flat = [word for pair in some.items() for word in pair] if hashes else list(some)
        await link.command("HSET" if hashes else "SADD", f"k{number}", *flat)
    return [
        dump[:-10] for dump in await link.ask(resp.each(b"DUMP", [b"k%d" % n for n in range(len(items))]), len(items))
    ]


@pytest.mark.parametrize("hashes", [False, True], ids=["sets", "hashes"])
@pytest.mark.parametrize("other", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"])
async def test_equal_items_are_known_to_be_equal_and_others_never(other: str, hashes: bool) -> None:
    """Inserted in another order into another server; then with one item changed."""
    random = Random(7)
    items = [random_items(random) for _ in range(150)]
    shuffled = [dict(random.sample(list(some.items()), len(some))) for some in items]
    changed = [{**some, random.choice(list(some)): random.randbytes(9), b"new": b"x"} for some in items]
    async with running("redis-7.0") as one, running(other) as two:
        first, second = await Dialer(one.address).dial(), await Dialer(two.address).dial()
        left = await bodies(first, items, hashes=hashes)
        right = await bodies(second, shuffled, hashes=hashes)
        wrong = await bodies(second, changed, hashes=hashes)
        await first.close()
        await second.close()

    known = [same_items(a, b) is not None for a, b in zip(left, right, strict=True)]
    assert sum(known) > (60 if other != "redis-6.2" else 10)
    assert not any(same_items(a, b) for a, b in zip(left, wrong, strict=True))


def test_a_set_is_never_a_hash() -> None:
    """The same strings in a set and in a hash are two different values."""
    assert same_items(b"\x02\x02\x01a\x01b", b"\x04\x01\x01a\x01b") is None
    assert same_items(b"\x02\x02\x01a\x01b", b"\x02\x02\x01b\x01a") == b"S\x01a\x01b"


@given(body=st.binary(max_size=60))
def test_what_cannot_be_read_is_not_known(body: bytes) -> None:
    """No bytes make it fail, and what it returns holds all the items there are."""
    for kind in (2, 4, 11, 16, 20):
        items = in_order(bytes((kind,)) + body)
        assert items is None or len(b"".join(items)) >= len(items)


@given(parts=st.lists(st.binary(max_size=20), min_size=1, max_size=12), cut=st.integers(1, 30))
def test_a_body_that_is_cut_or_too_long_is_not_known(parts: list[bytes], cut: int) -> None:
    """Everything must be accounted for."""
    body = bytes((2, len(parts))) + b"".join(bytes((len(part),)) + part for part in parts)

    assert in_order(body) == [b"S", *sorted(bytes((len(part),)) + part for part in parts)]
    assert in_order(body[:-cut]) is None
    assert in_order(body + b"x") is None

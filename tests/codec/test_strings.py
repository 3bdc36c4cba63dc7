"""Strings out of the payloads of real servers, and requests that write strings."""

from __future__ import annotations

from random import Random

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers import VERSIONS, running
from transfer.codec import resp
from transfer.codec.dump import stamp
from transfer.codec.strings import string_of, unpack
from transfer.wire.dial import Dialer

columns = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=60)), min_size=1, max_size=9)


def some_strings(random: Random) -> list[bytes]:
    """Empty, integers of every width, what looks like one, random bytes, and text that packs well."""
    integers = [
        b"%d" % (sign * (1 << bits) + off)
        for bits in (7, 8, 15, 16, 31, 32, 63)
        for sign in (1, -1)
        for off in (-1, 0, 1)
    ]
    odd = [b"", b"0", b"-0", b"007", b"+1", b" 1", b"1.0", b"-", b"12345678901234567890"]
    packing = [random.choice((b"ab", b"x", b"abcdefgh", b"\x00")) * random.randrange(1, 20_000) for _ in range(60)]
    text = [b" ".join(random.choices((b"alpha", b"beta", b"gamma", b"\r\n", b"$1"), k=n)) for n in (5, 50, 500, 5000)]
    return [
        *integers,
        *odd,
        *packing,
        *text,
        *(random.randbytes(n) for n in (1, 20, 21, 63, 64, 16_383, 16_384, 99_999)),
    ]


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_string_of_a_payload_is_what_was_set(version: str) -> None:
    """Plain, as an integer, or packed by LZF: whatever the server chose."""
    values = some_strings(Random(3))
    async with running(version) as server:
        link = await Dialer(server.address).dial()
        names = [b"k%d" % number for number in range(len(values))]
        await link.command("MSET", *(word for pair in zip(names, values, strict=True) for word in pair))
        await link.command("RPUSH", "list", "a")
        dumps = await link.ask(resp.each(b"DUMP", [*names, b"list"]), len(names) + 1)
        await link.close()

    assert list(map(string_of, dumps[:-1])) == values
    assert string_of(dumps[-1]) is None


@given(st.binary(max_size=80))
def test_what_is_no_string_payload_is_none_and_never_a_crash(body: bytes) -> None:
    """Any bytes behind the type byte of a string, cut and bent."""
    found = string_of(stamp(b"\x00" + body, 10))
    assert found is None or isinstance(found, bytes)


@pytest.mark.parametrize("packed", [b"\x20\x00", b"\x00a\xe0", b"\x1f", b"\xff\xff\xff"])
def test_bent_lzf_is_refused(packed: bytes) -> None:
    """References before the beginning, runs that end too soon."""
    with pytest.raises((ValueError, IndexError)):
        unpack(packed, 9)


@given(columns, st.booleans())
def test_many_strings_are_one_well_formed_command(rows: list[tuple[bytes, bytes]], replace: bool) -> None:
    """As hiredis packs it."""
    keys, values = [key for key, _ in rows], [value for _, value in rows]
    words = [word for row in rows for word in row]
    expected = hiredis.pack_command((b"MSET" if replace else b"MSETNX", *words))

    assert resp.set_all(keys, values, list(map(len, values)), replace=replace) == expected


@given(st.binary(max_size=40), st.binary(max_size=60), st.sampled_from([-1, 1, 1_790_000_000_000]), st.booleans())
def test_one_string_is_set_with_its_deadline(key: bytes, value: bytes, deadline: int, replace: bool) -> None:
    """As hiredis packs it; only of a new key unless it is to replace."""
    tail = ([] if replace else [b"NX"]) + ([] if deadline < 0 else [b"PXAT", deadline])

    assert b"".join(resp.set_parts(key, value, deadline, replace=replace)) == hiredis.pack_command(
        (b"SET", key, value, *tail)
    )


@given(columns, st.booleans())
def test_many_payloads_are_restored_as_one_by_one(rows: list[tuple[bytes, bytes]], replace: bool) -> None:
    """The ready pieces say what `restore` says; also for a name and a payload longer than any of them."""
    rows = [*rows, (b"n" * 3000, b"p" * 3000)] if len(rows) % 2 else rows
    keys, dumps = [key for key, _ in rows], [dump for _, dump in rows]
    one_by_one = b"".join(resp.restore(key, dump, -1, replace=replace) for key, dump in rows)

    assert resp.restore_all(keys, dumps, list(map(len, dumps)), replace=replace) == one_by_one

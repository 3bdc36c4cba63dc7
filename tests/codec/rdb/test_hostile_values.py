"""Payloads made to do harm: whatever the bytes are, decoding gives a value or a FormatError, soon, in little memory."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Iterator

import pytest

from tests.codec.rdb.test_decode import BROKEN_STREAMS, REFUSED, bodies_by_hand
from tests.codec.rdb.test_decode import shapes as shape_commands
from tests.endpoint.corpus import fill
from tests.endpoint.meddling import linked
from tests.servers import VERSIONS, running
from transfer.codec.dump import FOOTER_BYTES
from transfer.codec.rdb.decode import decode
from transfer.codec.rdb.glance import surely_sound
from transfer.codec.resp import command
from transfer.model.errors import FormatError

_MUTANTS = int(os.environ.get("HOSTILE_PAYLOADS", "20000"))
_LARGEST_BYTES = 4_000
_LENGTHS = (b"\x00", b"\x3f", b"\x7f\xff", b"\x80\xff\xff\xff\xff", b"\x81" + b"\xff" * 8, b"\x81" + bytes(8))
_LENGTHS += (b"\xff" * 4, bytes(4), b"\xf0\xff\xff\xff\xff", b"\xc3\x05\x81" + b"\xff" * 8, b"\xfe\xff\xff\xff\x7f")
_MOST_MEMORY_BYTES = 300 * (1 << 20)


async def _bodies(version: str) -> list[bytes]:
    """Bodies of every type that a real server writes, and that have gone out of use."""
    async with running(version) as server, linked(server) as link:
        await fill(link)
        commands = [command(*words) for words in shape_commands()]
        await link.ask_parts(commands, len(commands))
        dumps = [await link.command("DUMP", key) for key in sorted(await link.command("KEYS", "*"))]
    return [dump[:-FOOTER_BYTES] for dump in dumps if len(dump) < _LARGEST_BYTES]


def _known() -> list[bytes]:
    return [*(body for body, _ in bodies_by_hand().values()), *REFUSED.values(), *BROKEN_STREAMS.values()]


def _mutants(bodies: list[bytes], seed: int, count: int) -> Iterator[bytes]:
    """Bits flipped, lengths put in, parts of other bodies put in, ends cut off, several of it at once."""
    rng = random.Random(seed)
    for _ in range(count):
        body = bytearray(rng.choice(bodies))
        for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
            at = rng.randrange(len(body) + 1)
            if (way := rng.randrange(6)) == 0:
                body[at : at + 1] = rng.randbytes(1)
            elif way == 1 and at < len(body):
                body[at] ^= 1 << rng.randrange(8)
            elif way == 2:
                length = rng.choice(_LENGTHS)
                body[at : at + rng.choice((0, 1, len(length)))] = length
            elif way == 3:
                other = rng.choice(bodies)
                start = rng.randrange(len(other) + 1)
                body[at : at + rng.randrange(9)] = other[start : start + rng.randrange(40)]
            elif way == 4:
                del body[at : at + rng.randrange(1, 9)]
            else:
                body[:1] = bytes((rng.randrange(32),))
        yield bytes(body)


def _refused(body: bytes, version: int) -> bool:
    """Whether it is a FormatError; any other exception comes out."""
    sound = surely_sound(body)
    try:
        decode(body, version)
    except FormatError as error:
        assert not sound
        return error.facts["offset"] is not None
    return False


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_mutated_payload_gives_a_value_or_a_format_error(version: str) -> None:
    """Nothing else is raised, nothing hangs, memory stays within what the bytes can stand for.

    And what was sound at a glance is decoded."""
    bodies = [body for body in [*await _bodies(version), *_known()] if body]
    tracemalloc.start()
    refused = sum(
        _refused(body, rdb_version)
        for at, body in enumerate(_mutants(bodies, 6, _MUTANTS // len(VERSIONS)))
        for rdb_version in ((12, 80)[at & 1],)
    )
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert refused > _MUTANTS // len(VERSIONS) // 2
    assert peak_bytes < _MOST_MEMORY_BYTES


@pytest.mark.parametrize("version", ["redis-6.2", "redis-8.2"])
async def test_a_payload_cut_anywhere_is_refused(version: str) -> None:
    """Every byte of a value is needed."""
    for body in await _bodies(version):
        if len(body) < 1_500:
            assert all(_refused(body[:size], 12) for size in range(len(body)))

"""Bytes that somebody made to do harm, or that a disk has changed: a typed error or keys, soon, in bounded memory."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.codec.rdb.reading import read
from tests.codec.rdb.test_corpus import ROWS
from tests.codec.rdb.test_reader import BODIES, rdb
from transfer.codec.rdb.items import End
from transfer.codec.rdb.skip import after_value
from transfer.model.errors import CutError, FormatError, UnknownFormError

MUTANTS = 20_000
_LENGTHS = b"\x80\xff\xff\xff\xff", b"\x81" + b"\xff" * 8, b"\x7f\xff", b"\x81\x00\x00\x00\x01\x00\x00\x00\x00", b"\xc3"
_SMALL_BYTES = 4_000


def seeds() -> list[bytes]:
    """Small real files where they are to be had, and one with a value of every form."""
    ours = [rdb([(0, name.encode(), body, 5, 7)], use="freq") for name, body in BODIES.items()]
    return [*ours, *(row.path.read_bytes() for row in ROWS if row.size_bytes < _SMALL_BYTES)]


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Flipped bits, spliced lengths, cut ends, parts of one file in another."""
    rng, files = random.Random(seed), seeds()
    for _ in range(count):
        data = bytearray(rng.choice(files))
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randrange(len(data) or 1)
            data = data or bytearray(1)
            choice = rng.randrange(5)
            if choice == 0:
                data[at] ^= 1 << rng.randrange(8)
            elif choice == 1:
                data[at] = rng.randrange(256)
            elif choice == 2:
                data[at : at + rng.choice((0, 1, 2))] = rng.choice(_LENGTHS)
            elif choice == 3:
                other = rng.choice(files)
                start = rng.randrange(len(other))
                data[at : at + rng.randrange(40)] = other[start : start + rng.randrange(40)]
            else:
                del data[at + 1 :]
        yield bytes(data)


def try_all(count: int, seed: int) -> tuple[int, int]:
    """Read mutants: (read to their end, refused). Anything but a FormatError comes out."""
    ended = refused = 0
    rng = random.Random(seed)
    for data in mutants(count, seed):
        found = read(data, rng.choice((1 << 20, 13)), large_bytes=rng.choice((50, 1 << 20)))
        assert found.error is not None or isinstance(found.end, End)
        ended, refused = ended + (found.error is None), refused + (found.error is not None)
    return ended, refused


def test_mutants_are_read_or_refused_by_name() -> None:
    """No other exception, no hang, no memory for what is only claimed."""
    tracemalloc.start()
    began = time.monotonic()
    ended, refused = try_all(MUTANTS, seed=6)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert ended
    assert refused
    assert most < 64 << 20
    assert time.monotonic() - began < 300


@pytest.mark.parametrize("path", [pytest.param(row.path, id=row.path.name) for row in ROWS if row.size_bytes < 300])
def test_small_files_cut_at_every_byte_give_their_first_keys(path: Path) -> None:
    """Those that are whole, and `CutError`."""
    data = path.read_bytes()
    whole = read(data)
    assert whole.end is not None
    for size in range(whole.end.offset):
        found = read(data[:size])
        assert isinstance(found.error, CutError)
        assert found.entries == whole.entries[: len(found.entries)]


@pytest.mark.parametrize("name", BODIES)
def test_a_value_cut_anywhere_is_cut_and_a_whole_one_ends_where_it_does(name: str) -> None:
    """Whatever stands behind it."""
    body = BODIES[name]
    assert after_value(body[0], b"before" + body[1:] + b"behind", 6, 12) == 6 + len(body) - 1
    for size in range(len(body)):
        with pytest.raises(CutError):
            after_value(body[0], body[1:size], 0, 12)


@pytest.mark.parametrize("kind", [6, 8, 26, 28, 33, 64, 199])
def test_types_without_a_known_form_are_named(kind: int) -> None:
    """With where they were met."""
    with pytest.raises(UnknownFormError, match=f"value type {kind} of Redis") as caught:
        after_value(kind, bytes(90), 5, 12)
    assert caught.value.facts["offset"] == 5


@pytest.mark.parametrize("kind", sorted({body[0] for body in BODIES.values()}))
def test_what_only_claims_to_be_large_costs_nothing(kind: int) -> None:
    """A count or length of eight bytes, all ones, is cut or refused at once."""
    with pytest.raises(FormatError):
        after_value(kind, b"\x81" + b"\xff" * 8 + b"\x81" + b"\xff" * 8 + bytes(100), 0, 12)

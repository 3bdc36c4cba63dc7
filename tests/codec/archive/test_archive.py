"""Archives written and read: the same keys, however the bytes are cut, and one of them found without the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codec.archive.making import (
    FACTS,
    GONE,
    HEAD,
    LARGE,
    NOTE,
    PIECES,
    any_columns,
    columns,
    made,
    read,
)
from transfer.codec.archive.frames import RawFrame
from transfer.codec.archive.gathering import Gatherer
from transfer.codec.archive.items import AsOf, Columns, End, Keys, LargeEnd, Manifest, Piece
from transfer.codec.archive.keymap import Index, KeyMap
from transfer.codec.archive.payloads import unseal
from transfer.codec.archive.reader import ArchiveReader
from transfer.codec.archive.writer import ArchiveWriter, seal
from transfer.model.errors import FormatError, TooLargeError
from transfer.pipeline.buckets import BucketStore


def _as_columns(item: Keys) -> Columns:
    return Columns(item.db, item.version, item.keys, item.bodies, item.deadlines, item.uses, item.use)


@settings(deadline=None)
@given(blocks=st.lists(any_columns(), max_size=5), size=st.integers(1, 400), level=st.sampled_from([0, 1, 3]))
def test_any_cut_of_the_bytes_gives_back_what_was_written(blocks: list[Columns], size: int, level: int) -> None:
    """Names, bodies, deadlines and uses of any bytes; in blocks as they were sealed."""
    items = read(b"".join(made(blocks, level=level, everything=False)), size=size)

    assert [_as_columns(item) for item in items if isinstance(item, Keys)] == blocks


def test_everything_that_is_no_block_of_keys_comes_back_too() -> None:
    """Head, facts with libraries, tombstones, notes, a large value, index, manifest and end."""
    items = read(b"".join(made([columns(), columns(7, 4)])))

    large_end = next(item for item in items if isinstance(item, LargeEnd))
    assert [HEAD, FACTS, GONE, NOTE, LARGE, *map(Piece, PIECES), large_end] == items[:8]
    assert [Keys, Keys, KeyMap, Index, Manifest, End] == list(map(type, items[8:]))
    manifest = items[-2]
    assert isinstance(manifest, Manifest)
    assert (manifest.keys, manifest.with_deadline, manifest.as_of) == (14, 6, AsOf("interval", 1, 2))
    assert manifest.dbs == {0: {"string": 9}, 2: {"hash": 1}, 7: {"string": 4}}


def test_the_same_keys_in_another_order_have_the_same_sums() -> None:
    """Blocks and archives may differ; a changed deadline shows."""

    def sums(*blocks: Columns) -> bytes:
        writer = ArchiveWriter(marks=BucketStore(0))
        writer.begin(HEAD)
        for block in blocks:
            writer.keys(block)
        return writer.books.tally.joined_sums()

    both, turned = columns(size=20), columns(size=20)
    for column in (turned.keys, turned.bodies, turned.deadlines):
        column.reverse()
    other = columns(size=20)
    other.deadlines[3] += 1

    assert sums(both) == sums(turned) == sums(columns(size=11), columns(size=9, first=11))
    assert sums(both) != sums(other)


@settings(deadline=None)
@given(batches=st.lists(any_columns(), max_size=8), block_bytes=st.integers(1, 300), keys=st.integers(1, 9))
def test_gathered_blocks_hold_all_keys_in_their_order(batches: list[Columns], block_bytes: int, keys: int) -> None:
    """Nothing is lost between batches; blocks are of one database, version and use, and no larger than asked."""

    def rows(blocks: list[Columns]) -> list[tuple[object, ...]]:
        return [
            (b.db, b.version, b.use, *row)
            for b in blocks
            for row in zip(
                b.keys, b.bodies, b.deadlines or [-1] * len(b.keys), b.uses or [-1] * len(b.keys), strict=True
            )
        ]

    gatherer = Gatherer(block_bytes, keys)
    blocks = [block for batch in batches for block in gatherer.add(batch)]
    blocks += gatherer.flush()
    assert rows(blocks) == rows(batches)
    for block in blocks:
        assert len(block.keys) == 1 or sum(map(len, block.keys + block.bodies)) <= block_bytes
        assert len(block.keys) <= 2 * keys


def test_frames_may_be_unsealed_elsewhere() -> None:
    """In worker threads, and entered in the books in their order."""
    data = b"".join(made([columns(size=50, first=50 * n) for n in range(20)]))
    reader = ArchiveReader(deep=True)
    reader.feed(data)
    frames = list(reader.frames())
    with ThreadPoolExecutor(3) as threads:
        items = [reader.accept(raw, item) for raw, item in zip(frames, threads.map(unseal, frames), strict=True)]
    reader.finish()
    assert items == read(data)

    reader = ArchiveReader()
    reader.feed(data[:-200] + bytes(200))
    whole: list[RawFrame] = []
    with pytest.raises(FormatError):
        for raw in reader.frames():
            whole.append(raw)  # noqa: PERF402  # what came before the error is kept
    assert [reader.accept(raw, unseal(raw)) for raw in whole] == items[: len(whole)]
    assert len(whole) > 20


def test_what_no_frame_holds_is_refused_before_it_is_written() -> None:
    """Too many keys, too many bytes; a large value goes in pieces."""
    for wrong in (Columns(0, 10, [b"k"] * 262_145, [b"\x00"] * 262_145), Columns(0, 10, [b"k"], [bytes(64 << 20)])):
        with pytest.raises(TooLargeError):
            seal(wrong, 0)

"""Archives written and read: the same keys, however the bytes are cut, and one of them found without the others."""

from __future__ import annotations

from hypothesis import given
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
from transfer.codec.archive.items import AsOf, Columns, End, Keys, LargeEnd, Manifest, Piece
from transfer.codec.archive.keymap import Index, KeyMap, MarksInMemory
from transfer.codec.archive.writer import ArchiveWriter


def _as_columns(item: Keys) -> Columns:
    return Columns(item.db, item.version, item.keys, item.bodies, item.deadlines, item.uses, item.use)


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
        writer = ArchiveWriter(marks=MarksInMemory())
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

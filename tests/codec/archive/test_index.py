"""One key among many is found through the key map: few bytes a key, few blocks that are read in vain."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codec.archive.making import HEAD, columns, made, read
from transfer.codec.archive.frames import read_frame
from transfer.codec.archive.items import End, Keys
from transfer.codec.archive.keymap import Block, Index, KeyMap, bits_for, key_maps, mark_of, marks_of
from transfer.codec.archive.payloads import unseal
from transfer.codec.archive.tally import name_hashes
from transfer.codec.archive.writer import END_BYTES, ArchiveWriter
from transfer.model.errors import FormatError
from transfer.pipeline.buckets import BucketStore


def opened(data: bytes) -> Index:
    """The index of an archive, found from its end."""
    at = len(data) - END_BYTES
    end = unseal(read_frame(data[at:], at))
    assert isinstance(end, End)
    index = unseal(read_frame(data[end.index_offset :], end.index_offset))
    assert isinstance(index, Index)
    return index


def blocks_for(data: bytes, index: Index, db: int, name: bytes) -> list[Block]:
    """The blocks that may hold a name."""
    mark = mark_of(db, name)
    place = index.segment_of(mark)
    assert place is not None
    offset, size = place
    segment = unseal(read_frame(data[offset : offset + size], offset))
    assert isinstance(segment, KeyMap)
    return index.find(segment, mark)


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 60), max_size=6), db=st.integers(0, 40))
def test_every_key_is_found_in_its_block(sizes: list[int], db: int) -> None:
    """By its own database only; the table tells where the block stands and what it holds."""
    blocks = [columns(db, size, 100 * n) for n, size in enumerate(sizes)]
    data = b"".join(made(blocks, everything=False))
    index = opened(data)
    assert [block.keys for block in index.blocks()] == sizes
    for number, columns_of_it in enumerate(blocks):
        for name in columns_of_it.keys:
            found = [block.number for block in blocks_for(data, index, db, name)]
            assert number in found
            block = index.block(number)
            item = unseal(read_frame(data[block.offset : block.end], block.offset))
            assert isinstance(item, Keys)
            assert name in item.keys
            assert item.frame.checksum == block.checksum
    with pytest.raises(FormatError):
        index.block(len(sizes))


def test_of_a_name_that_stands_there_twice_the_last_comes_first() -> None:
    """And all of its blocks are told."""
    data = b"".join(made([columns(), columns(size=3), columns(5, 3)], everything=False))
    assert [block.number for block in blocks_for(data, opened(data), 0, b"k:1")] == [1, 0]


def test_a_large_map_is_in_segments_and_costs_little() -> None:
    """300,000 names in 300 blocks: below 2.7 bytes each; of absent ones less than 1 in 100 meets a block."""
    store = BucketStore(0, memory_bytes=1 << 20)
    for block in range(300):
        store.add_joined(marks_of(name_hashes(0, [b"%d:%d" % (block, n) for n in range(1_000)]), block), b"")
    slot_bits, segment_bits = bits_for(300_000)
    segments = list(key_maps(store, slot_bits, segment_bits))
    store.close()
    assert (slot_bits, segment_bits, len(segments)) == (18, 2, 4)

    def find(name: bytes) -> list[int]:
        mark = mark_of(0, name)
        slot = (mark >> 64 - slot_bits) & (1 << slot_bits - segment_bits) - 1
        return segments[mark >> 64 - segment_bits].find(slot, mark)

    assert all(n % 300 in find(b"%d:%d" % (n % 300, n)) for n in range(0, 1_000, 7))
    assert sum(len(find(b"absent:%d" % n)) for n in range(2_000)) < 20


def test_as_many_equal_names_as_there_can_be_are_found_too() -> None:
    """A slot with more than 255 keys, and more than 255 blocks: the columns grow by a plane."""
    marks = BucketStore(0)
    for block in range(300):
        marks.add_joined(marks_of(name_hashes(0, [b"same"]), block), b"")
    (segment,) = key_maps(marks, 8, 0)
    assert (len(segment.counts), len(segment.blocks)) == (2, 2)
    mark = mark_of(0, b"same")
    assert segment.find(mark >> 56, mark) == list(range(300))


def test_without_marks_there_is_no_map() -> None:
    """Every block may hold any name then."""
    writer = ArchiveWriter()
    data = writer.begin(HEAD) + writer.keys(columns()) + b"".join(writer.end())
    assert opened(data).segment_of(mark_of(0, b"k:1")) is None
    assert len(read(data)) == 5

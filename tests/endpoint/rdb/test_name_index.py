"""Where in a file a name is."""

from __future__ import annotations

import pytest

from transfer.endpoint.file.index import WIDTH_BYTES, NameIndex
from transfer.pipeline.buckets import BucketStore


@pytest.mark.parametrize("offsets", [[7, 7, 7], [7, 8, 9], [7, 7, 9], []])
def test_each_name_has_the_place_it_was_added_with(offsets: list[int]) -> None:
    """Names of one block of an archive share a place, those of other files have one each."""
    names = [b"k%d" % number for number in range(len(offsets))]
    index = NameIndex(BucketStore(WIDTH_BYTES))
    index.add(3, names, offsets)

    assert index.find(3, names) == sorted(zip(offsets, names, strict=True))
    index.close()

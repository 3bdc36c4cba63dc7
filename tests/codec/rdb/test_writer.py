"""RDB files written: whatever way keys are given, the file is the same."""

from __future__ import annotations

import pytest

from tests.codec.rdb.reading import read
from tests.codec.rdb.test_reader import BODIES, rdb
from transfer.codec.rdb.items import End, Item, Keys, LargeKey, Piece
from transfer.codec.rdb.reader import RdbReader
from transfer.codec.rdb.writer import RdbWriter, oldest_version

_ENTRIES = [(0, name.encode(), body, 7_000, 3) for name, body in BODIES.items()]


def _copied(data: bytes, step: int, large_bytes: int) -> bytes:
    """What is read written again, item by item."""
    reader, writer = RdbReader(large_bytes=large_bytes), RdbWriter(12)
    parts = [writer.header(), writer.select_db(0)]
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        parts += [_again(writer, item) for item in reader.take()]
    return b"".join(parts)


def _again(writer: RdbWriter, item: Item) -> bytes:
    match item:
        case Keys():
            return writer.keys(item)
        case LargeKey():
            return writer.large_key(item)
        case Piece():
            return writer.piece(item.data)
        case End():
            return writer.end()
        case _:
            return b""


@pytest.mark.parametrize("large_bytes", [1, 20, 1 << 20])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_columns_and_pieces_make_the_file_they_came_from(step: int, large_bytes: int) -> None:
    """Bodies, deadlines, uses and the checksum, with values in pieces or whole."""
    found = read(_copied(rdb(_ENTRIES, use="idletime"), step, large_bytes))

    assert found.entries == _ENTRIES
    assert found.end is not None
    assert found.end.checksum == "right"


def test_an_old_version_has_no_hints_and_no_functions() -> None:
    """Notes, sizes and uses are left out; a library is refused, since it would be lost."""
    writer = RdbWriter(6)
    data = writer.header() + writer.aux(b"a", b"b") + writer.resize_db(1, 0) + writer.select_db(0)
    data += writer.key(b"k", b"\x00\x01v", 5, 60, "idletime") + writer.end()

    assert data[:-8] == b"REDIS0006\xfe\x00\xfc" + (5).to_bytes(8, "little") + b"\x00\x01k\x01v\xff"
    with pytest.raises(ValueError, match="no functions"):
        writer.function(b"#!lua name=x\n")


@pytest.mark.parametrize(
    ("kinds", "options", "version"),
    [({0, 4}, {}, 6), ({14}, {}, 7), ({5}, {}, 8), ({15}, {}, 9), ({18, 0}, {}, 10), ({21}, {}, 11), ({24}, {}, 12),
     ({22}, {"valkey": True}, 80), ({0}, {"functions": True}, 10)],
)  # fmt: skip
def test_the_oldest_version_that_knows_the_types(kinds: set[int], options: dict[str, bool], version: int) -> None:
    """Each release brought some."""
    assert oldest_version(kinds, **options) == version

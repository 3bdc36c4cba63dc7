"""RDB files read: any cut gives the same, large values in pieces, errors with their place."""

from __future__ import annotations

from typing import Literal

import lzf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.rdb.reading import Entry, read
from transfer.codec.rdb.atoms import put_length, put_string
from transfer.codec.rdb.items import Aux, DbSizes, End, Function, Header, Keys, Skipped
from transfer.codec.rdb.reader import RdbReader
from transfer.codec.rdb.writer import RdbWriter
from transfer.model.errors import ChecksumError, CutError, FormatError, UnknownFormError

_DAY_MS = 1_900_000_000_000


def _rows(size: int, *extra: bytes) -> bytes:
    return put_length(size) + b"".join(put_string(b"%d" % n * 5) + b"".join(extra) for n in range(size))


_PEL = b"\x02" + b"".join(bytes(16) + bytes(8) + b"\x01" for _ in range(2))
_CONSUMER = put_string(b"c") + bytes(8) + bytes(8) + b"\x01" + bytes(16)
_STREAM_3 = (
    b"\x15\x01" + put_string(bytes(16)) + put_string(b"listpack") + b"\x01" * 8 + b"\x01"
    + put_string(b"group") + b"\x01\x01\x01" + _PEL + b"\x01" + _CONSUMER
)  # fmt: skip
_MODULE = b"\x07\x81" + bytes(8) + b"\x01\x05\x02\x07\x03" + bytes(4) + b"\x04" + bytes(8) + b"\x05\x03abc\x00"
BODIES = {
    "string": b"\x00" + put_string(b"value"),
    "number": b"\x00\xc1\x39\x30",
    "packed": b"\x00\xc3\x08\x40\x64" + bytes(8),
    "list": b"\x01" + _rows(3),
    "set": b"\x02" + _rows(70),
    "old sorted set": b"\x03\x03\x01a\x031.5\x01b\xfe\x00\xff",
    "hash": b"\x04\x02" + put_string(b"f") * 4,
    "sorted set": b"\x05" + _rows(4, bytes(8)),
    "module": _MODULE,
    "ziplist": b"\x0a" + put_string(bytes(300)),
    "quicklist": b"\x0e" + _rows(2),
    "quicklist 2": b"\x12\x02\x01" + put_string(b"plain") + b"\x02" + put_string(b"node"),
    "one node": b"\x12\x01\x02" + put_string(b"node" * 40),
    "stream": _STREAM_3,
    "listpack": b"\x10" + put_string(b"listpack"),
    "field deadlines": b"\x18" + bytes(8) + b"\x02\x00\x01a\x01b\x40\x50\x01c\x01d",
    "field deadlines, listpack": b"\x19" + bytes(8) + put_string(b"listpack"),
}  # fmt: skip


def rdb(entries: list[Entry], version: int = 12, use: Literal["", "idletime", "freq"] = "") -> bytes:
    """A file that holds *entries*, with a note, sizes and a library."""
    writer, db = RdbWriter(version), -1
    parts = [writer.header(), writer.aux(b"redis-ver", b"7.4.0"), writer.function(b"#!lua name=x\n")]
    for entry in entries:
        if entry[0] != db:
            db = entry[0]
            parts += [writer.select_db(db), writer.resize_db(len(entries), 1)]
        parts.append(writer.key(*entry[1:], use=use))
    return b"".join((*parts, writer.end()))


_entries = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.binary(max_size=80),
        st.sampled_from(list(BODIES.values())),
        st.sampled_from([-1, 1, _DAY_MS]),
        st.sampled_from([-1, 0, 255]),
    ),
    max_size=12,
)


@given(entries=_entries, step=st.integers(1, 40), large=st.sampled_from([3, 60, 1 << 20]), few=st.integers(1, 5))
def test_any_cut_gives_what_was_written(entries: list[Entry], step: int, large: int, few: int) -> None:
    """Keys, bodies, deadlines and uses in their order, in batches small and large, and the checksum right."""
    data = rdb(entries, use="freq")

    found = read(data, step, large_bytes=large, most_keys=few)

    assert found.entries == entries
    assert found.large == [key for _, key, body, _, _ in entries if len(body) - 1 > large]
    assert found.end == End("right", len(data))
    assert found.seen() == read(data, large_bytes=large).seen()


@pytest.mark.parametrize("use", ["idletime", "freq"])
def test_every_kind_of_item_comes_in_its_order(use: Literal["idletime", "freq"]) -> None:
    """With the file's offset after the keys, up to the end."""
    data = rdb([(3, b"k", BODIES["string"], _DAY_MS, 9)], use=use)
    reader = RdbReader()
    reader.feed(data)

    items = list(reader.take())

    assert items == [
        Header("redis", 12), Aux(b"redis-ver", b"7.4.0"), Function(b"#!lua name=x\n"), DbSizes(3, 1, 1),
        Keys(3, [b"k"], [BODIES["string"]], [_DAY_MS], [9], use, len(data) - 9), End("right", len(data)),
    ]  # fmt: skip


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_files_before_checksums_end_at_their_mark(version: int) -> None:
    """What follows is counted, and is no checksum."""
    found = read(b"REDIS%04d\xfe\x00\xfd\x01\x00\x00\x00\x00\x01k\x01v\xffjunk" % version, 5)

    assert found.entries == [(0, b"k", b"\x00\x01v", 1000, -1)]
    assert (found.end, found.trailing) == (End("none", 22), 4)


def test_a_checksum_of_zero_was_not_computed() -> None:
    """And is said to be so."""
    assert read(rdb([])[:-8] + bytes(8)).end == End("zero", len(rdb([])))


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_a_wrong_checksum_is_an_error_after_all_keys(step: int) -> None:
    """With what stands there and what the bytes have."""
    entries = [(0, b"k%d" % n, BODIES["string"], -1, -1) for n in range(20)]
    data = rdb(entries)

    found = read(data.replace(b"value", b"valve", 1), step)

    assert len(found.entries) == 20
    assert isinstance(found.error, ChecksumError)
    assert found.error.facts["stands"] == int.from_bytes(data[-8:], "little")


@pytest.mark.parametrize(
    ("bad", "word"),
    [(b"\xd0", "opcode 208"), (b"\xf2", "opcode 242"), (b"\xf3", "opcode 243"), (b"\x06\x01k", "value type 6"),
     (b"\x08\x01k", "value type 8"), (b"\x40\x01k", "value type 64"), (b"\x21\x01k", "value type 33")],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_what_is_not_known_is_named_after_the_keys_before_it(bad: bytes, word: str, step: int) -> None:
    """By its number and its offset in the file, now and at every later call."""
    entries = [(0, b"k%d" % n, BODIES["set"], -1, -1) for n in range(5)]
    data = rdb(entries)[:-9]

    found = read(data + bad + bytes(30), step, most_keys=2)

    assert found.entries == entries
    assert isinstance(found.error, UnknownFormError)
    assert word in str(found.error)
    assert found.error.facts["offset"] == len(data)
    assert f"offset {len(data)}" in str(found.error)


def test_an_error_stays() -> None:
    """Whoever goes on after it meets it again."""
    reader = RdbReader()
    reader.feed(b"not an RDB")
    for _ in range(2):
        with pytest.raises(FormatError, match="magic"):
            list(reader.take())
    with pytest.raises(FormatError, match="magic"):
        reader.finish()


@pytest.mark.parametrize("magic", [b"REDIS0000", b"REDIS0017", b"REDIS0080", b"VALKEY079", b"VALKEY999"])
def test_versions_that_are_not_known_are_refused(magic: bytes) -> None:
    """Their opcodes may mean anything."""
    assert isinstance(read(magic + b"\xff" + bytes(8)).error, UnknownFormError)


def test_valkey_has_its_own_numbers() -> None:
    """22 is a hash with deadlines behind its values there; 243 a slot import that is passed over."""
    body = b"\x16\x01\x01f\x01v" + _DAY_MS.to_bytes(8, "little")
    writer = RdbWriter(80)
    head, key = writer.header(), writer.key(b"k", body)
    slots = b"\xf3" + put_string(b"job") + b"\x01\x00\x40\x64"
    for step in (1, 99):
        found = read(head + slots + key + b"\xff" + bytes(8), step)

        assert found.header == Header("valkey", 80)
        assert found.entries == [(0, b"k", body, -1, -1)]
        assert found.others == [Skipped("state of a slot import", 9, len(slots))]


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_data_of_modules_is_passed_over_and_named(step: int) -> None:
    """Also slot sizes and functions of release candidates; the keys behind them come."""
    aux = b"\xf7\x81" + (0x7A98_4F21_3B2C_1400).to_bytes(8, "big") + b"\x02\x02" + b"\x05\x03abc\x02\x07\x00"
    sizes = b"\xf4\x40\x64\x05\x00"
    old = b"\xf6" + put_string(b"lib") + put_string(b"LUA") + b"\x01" + put_string(b"words") + put_string(b"code")
    data = b"REDIS0012" + aux + old + sizes + b"\x00\x01k\x01v\xff" + bytes(8)

    found = read(data, step)

    assert [(type(item), item.offset, item.size_bytes) for item in found.others if isinstance(item, Skipped)] == [
        (Skipped, 9, len(aux)), (Skipped, 9 + len(aux), len(old)),
    ]  # fmt: skip
    assert found.entries == [(0, b"k", b"\x00\x01v", -1, -1)]


def test_keys_may_be_numbers_or_packed() -> None:
    """As servers before 2.4 and servers with compression write them."""
    name = b"a" * 200
    packed = lzf.compress(name)
    keys = b"\xc0\x7d", b"\xc1\xab\xab", b"\xc3" + put_length(len(packed)) + put_length(200) + packed
    data = b"REDIS0003" + b"".join(b"\x00" + key + b"\x01v" for key in keys) + b"\xff"
    for step in (1, 300):
        assert [key for _, key, *_ in read(data, step).entries] == [b"125", b"-21589", name]


def test_a_large_value_comes_in_pieces_while_its_bytes_come() -> None:
    """What is held stays small: every piece leaves before more is fed; the first begins with the type byte."""
    body = b"\x02" + _rows(200_000)
    data, reader, given, most = rdb([(0, b"big", body, _DAY_MS, -1)]), RdbReader(large_bytes=10_000), 0, 0
    for start in range(0, len(data), 4096):
        reader.feed(data[start : start + 4096])
        for item in reader.take():
            given += len(getattr(item, "data", b""))
        most = max(most, start - given)

    assert reader.ended
    assert given == len(body)
    assert most < 20_000
    assert read(data, 4096, large_bytes=10_000).entries == [(0, b"big", body, _DAY_MS, -1)]


def test_a_long_name_is_not_joined_again_and_again() -> None:
    """And one that claims more than the cap is refused before it is held."""
    name = b"n" * 3_000_000
    data = rdb([(0, name, BODIES["string"], -1, -1)])
    assert read(data, 1000).entries == [(0, name, BODIES["string"], -1, -1)]

    refused = read(data, 1000, cap_bytes=1_000_000)
    assert isinstance(refused.error, FormatError)
    assert "above 1,000,000" in str(refused.error)


@pytest.mark.parametrize("bad", [b"\x00\x01k\x82", b"\x00\x01k\xc4", b"\x02\x01k\x02\x01a\xd0", b"\x07\x01k\x00\x06"])
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_damage_is_told_with_its_place(bad: bytes, step: int) -> None:
    """The offset is that of the byte in the file that cannot be."""
    before = rdb([(0, b"before", BODIES["hash"], -1, -1)])[:-9]

    found = read(before + bad + bytes(40), step)

    assert [key for _, key, *_ in found.entries] == [b"before"]
    assert type(found.error) is FormatError
    assert found.error.facts["offset"] == len(before) + len(bad) - 1


def test_a_file_cut_anywhere_gives_its_keys_and_says_so() -> None:
    """Every key that is whole, in order; `CutError` names the size."""
    entries = [(0, name.encode(), body, _DAY_MS, -1) for name, body in BODIES.items()]
    data = rdb(entries)
    for size in range(9, len(data)):
        found = read(data[:size])
        assert isinstance(found.error, CutError)
        assert found.error.facts["offset"] == size
        assert found.entries == entries[: len(found.entries)]


def test_bytes_behind_the_end_are_counted_and_the_first_of_them_kept() -> None:
    """A replica finds the primary's next words there."""
    reader = RdbReader()
    reader.feed(rdb([]) + b"mark")
    assert isinstance(list(reader.take())[-1], End)
    reader.feed(b"more")

    assert list(reader.take()) == []
    assert (reader.rest, reader.trailing_bytes) == (b"mark", 8)

"""Listpacks, ziplists, intsets and zipmaps: every form of an item is read, anything else is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.rdb import packing
from tests.codec.rdb.packing import LISTPACK_FORMS, ZIPLIST_FORMS, Item
from transfer.codec.rdb import intset, listpack, ziplist, zipmap
from transfer.model.errors import FormatError

_LONGEST = {"s6": 63, "s12": 4095, "s14": 16_383, "s32": 70_000}


def _items(forms: tuple[str, ...]) -> st.SearchStrategy[list[Item]]:
    return st.lists(st.sampled_from(forms).flatmap(_item), max_size=12)


def _item(form: str) -> st.SearchStrategy[Item]:
    if form in packing.BITS:
        return st.integers(*packing.span(form)).map(lambda number: (form, b"%d" % number))
    longer = st.integers(0, _LONGEST[form]).map(lambda size: (form, b"x" * size))
    return st.binary(max_size=20).map(lambda text: (form, text)) | longer


@given(items=_items(LISTPACK_FORMS))
def test_a_listpack_is_read_whatever_form_its_elements_have(items: list[Item]) -> None:
    """Numbers as their digits, or as numbers where they have to be told apart; counted or not."""
    for count in (None, 65_535):
        data = packing.listpack(items, count=count)
        assert listpack.texts(data) == [text for _, text in items]
        assert listpack.elements(data) == [int(text) if form in packing.BITS else text for form, text in items]


@given(items=_items(ZIPLIST_FORMS), long_backs=st.booleans())
def test_a_ziplist_is_read_whatever_form_its_entries_have(items: list[Item], *, long_backs: bool) -> None:
    """With backward lengths of either size; counted or not."""
    for count in (None, 65_535):
        data = packing.ziplist(items, count=count, long_backs=long_backs)
        assert ziplist.texts(data) == [text for _, text in items]


@given(width=st.sampled_from([2, 4, 8]), data=st.data())
def test_an_intset_is_read_in_every_width(width: int, data: st.DataObject) -> None:
    """Numbers as their digits, in order."""
    bits = 8 * width - 1
    numbers = sorted(data.draw(st.sets(st.integers(-(1 << bits), (1 << bits) - 1), max_size=20)))
    assert intset.texts(packing.intset(numbers, width)) == [b"%d" % number for number in numbers]


@given(
    pairs=st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=8),
    free=st.integers(0, 9),
    counted=st.booleans(),
)
def test_a_zipmap_is_read_with_its_unused_bytes(pairs: list[tuple[bytes, bytes]], free: int, *, counted: bool) -> None:
    """They are no part of the value."""
    data = packing.zipmap(pairs, free=free, counted=counted)
    assert zipmap.texts(data) == [text for pair in pairs for text in pair]


_READERS = {
    "listpack": (listpack.texts, packing.listpack([("s6", b"ab"), ("u7", b"5"), ("i64", b"-9"), ("s12", b"c" * 200)])),
    "ziplist": (ziplist.texts, packing.ziplist([("s6", b"ab"), ("imm", b"5"), ("i64", b"-9"), ("s14", b"c" * 300)])),
    "intset": (intset.texts, packing.intset([1, 2, 3], 4)),
    "zipmap": (zipmap.texts, packing.zipmap([(b"a", b"b"), (b"c" * 260, b"")])),
}


@pytest.mark.parametrize("form", list(_READERS))
def test_a_packed_form_that_is_cut_or_longer_is_refused(form: str) -> None:
    """At every byte, and with more bytes after it."""
    read, data = _READERS[form]
    assert read(data)
    for wrong in [data[:size] for size in range(len(data))] + [data + b"\xff", data + b"\x00"]:
        with pytest.raises(FormatError):
            read(wrong)


@pytest.mark.parametrize("form", ["listpack", "ziplist"])
def test_every_byte_that_is_not_of_an_item_is_checked(form: str) -> None:
    """Sizes, counts, heads, backward lengths, the end: changing any of them is seen, or changes what is read."""
    read, data = _READERS[form]
    right = read(data)
    for at in range(len(data)):
        for byte in {0, 1, 127, 128, 253, 254, 255} - {data[at]}:
            changed = data[:at] + bytes((byte,)) + data[at + 1 :]
            with contextlib.suppress(FormatError):
                assert read(changed) != right


@pytest.mark.parametrize("size", [16_382, 16_383, 16_384, 2_097_150, 2_097_151, 2_097_152])
def test_both_ways_to_write_a_backward_length_at_its_limit_are_read(size: int) -> None:
    """Valkey 9.1 writes one byte less than all others for elements of just these sizes."""
    text = b"x" * (size - 5)
    usual = packing.listpack([("s32", text), ("u7", b"1")])
    assert listpack.texts(usual) == [text, b"1"]

    if size in (16_383, 2_097_151):
        start = 6 + 5 + len(text)
        width = 3 if size == 16_383 else 4
        shorter = (len(usual) - 1).to_bytes(4, "little") + usual[4:start] + b"\x7f" + usual[start + 2 :]
        assert usual[start : start + width] == b"\x00" + b"\xff" * (width - 1)
        assert listpack.texts(shorter) == [text, b"1"]
        with pytest.raises(FormatError):
            listpack.texts(shorter[:start] + b"\x7e" + shorter[start + 1 :])

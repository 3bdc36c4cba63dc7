"""A glance at a packed collection: what it calls sound is so, and it knows what servers write."""

from __future__ import annotations

from itertools import permutations

import lzf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.codec.rdb import packing
from tests.codec.rdb.packing import LISTPACK_FORMS, Item, best
from tests.codec.rdb.test_decode import REFUSED
from transfer.codec.rdb.atoms import put_string
from transfer.codec.rdb.decode import decode
from transfer.codec.rdb.glance import surely_sound
from transfer.model.errors import FormatError

_HASH, _SORTED_SET, _LIST, _SET = 16, 17, 18, 20
_FEW = [b"", b"a", b"b", b"5", b"-5", b"05", b"1.5", b"-0.25", b"1e+25", b"inf", b"nan", b"1.5.5", b"x" * 70, b"7" * 20]
_EDGES = [number + by for number in (0, 127, 4095, 1 << 15, 1 << 23, 1 << 31) for by in (-1, 0, 1)]


def _number(form: str) -> st.SearchStrategy[Item]:
    low, high = packing.span(form)
    near = [number for edge in _EDGES for number in (edge, -edge) if low <= number <= high]
    return st.sampled_from([low, high, *near]).map(lambda number: (form, b"%d" % number))


_text = st.sampled_from(_FEW) | st.binary(max_size=130)
_item = (
    st.sampled_from(LISTPACK_FORMS)
    .flatmap(
        lambda form: (
            _number(form) if form in packing.BITS else _text.map(lambda text: ("s6" if len(text) < 64 else form, text))
        )
    )
    .map(lambda item: ("s12", item[1]) if item[0] == "s6" and len(item[1]) > 63 else item)
)


def _body(kind: int, *packs: bytes, squeezed: bool = False) -> bytes:
    strings = [_squeezed(pack) if squeezed else put_string(pack) for pack in packs]
    if kind == _LIST:
        return bytes((kind, len(packs))) + b"".join(b"\x02" + string for string in strings)
    return bytes((kind,)) + strings[0]


def _squeezed(data: bytes) -> bytes:
    """As LZF where that is shorter, with lengths of two bytes."""
    packed = lzf.compress(data, len(data)) if len(data) < 1 << 14 else None
    if not packed:
        return put_string(data)
    return b"\xc3" + (0x4000 | len(packed)).to_bytes(2, "big") + (0x4000 | len(data)).to_bytes(2, "big") + packed


def _taken(body: bytes) -> bool:
    try:
        decode(body, 12)
    except FormatError:
        return False
    return True


@given(
    kind=st.sampled_from([_HASH, _SORTED_SET, _LIST, _SET]),
    items=st.lists(_item, max_size=12),
    count=st.sampled_from([None] * 6 + [1, 2, 65_535]),
    spoilt=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=2), st.integers(0, 2)), max_size=2),
    squeezed=st.booleans(),
)
def test_what_is_sound_at_a_glance_can_be_decoded(
    kind: int, items: list[Item], count: int | None, spoilt: list[tuple[int, bytes, int]], *, squeezed: bool
) -> None:
    """Elements of any form, numbers beside their texts, twice, wrong counts; then bytes put in, changed and cut out."""
    pack = bytearray(packing.listpack(items, count=count))
    for at, new, old in spoilt:
        pack[at : at + old] = new
    pack[:4] = len(pack).to_bytes(4, "little")
    body = _body(kind, *[bytes(pack)] * (1 + (kind == _LIST)), squeezed=squeezed)

    assert not surely_sound(body) or _taken(body)
    assert not surely_sound(body[:-1])
    assert not surely_sound(body + b"\0")


@pytest.mark.parametrize("number", [sign * edge for edge in _EDGES for sign in (1, -1)])
def test_a_number_twice_in_two_encodings_is_not_sound_at_a_glance(number: int) -> None:
    """As bytes they differ."""
    text = b"%d" % number
    forms = [form for form in packing.BITS if form in LISTPACK_FORMS and packing.span(form)[0] <= number]
    fitting = [(form, text) for form in forms if number <= packing.span(form)[1]] + [("s6", text)]

    for one, other in permutations(fitting, 2):
        assert not surely_sound(_body(_SET, packing.listpack([one, other])))
        assert not surely_sound(_body(_SORTED_SET, packing.listpack([one, one, other, one])))


def test_bytes_between_elements_are_noticed() -> None:
    """They would be passed over, were elements only searched for."""
    pack = packing.listpack([("s6", b"a"), ("s6", b"b")])
    for at in range(6, len(pack)):
        spoilt = (len(pack) + 1).to_bytes(4, "little") + pack[4:at] + b"\xfe" + pack[at:]
        assert not surely_sound(_body(_SET, spoilt))
        assert not surely_sound(_body(_LIST, spoilt))


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_no_server_would_load_is_not_sound_at_a_glance(name: str) -> None:
    """A member twice, a score that is no number, nothing in it."""
    assert not surely_sound(REFUSED[name])


@pytest.mark.parametrize("number", [0, 127, 128, 4095, 4096, 32_767, 32_768, (1 << 23) - 1, 1 << 23, 1 << 31, 1 << 40])
@pytest.mark.parametrize("text", [b"", b"name:17", b"-", b"x" * 63, b"x" * 64, b"x" * 125])
def test_what_servers_write_is_known_at_a_glance(number: int, text: bytes) -> None:
    """Numbers and texts up to 125 bytes in the shortest encoding, packed or not; it would be slow otherwise."""
    items, score = [best(b"%d" % number), best(text)], best(b"10.5")
    for kind, some in (
        (_LIST, items),
        (_SET, items),
        (_HASH, [items[0], items[1], items[1], items[0]]),
        (_SORTED_SET, [items[1], items[0], items[0], score]),
    ):
        for squeezed in (False, True):
            body = _body(kind, packing.listpack(some), squeezed=squeezed)
            assert surely_sound(body), (kind, squeezed)


@pytest.mark.parametrize("score", [b"0.5", b"-1.25", b"1e+25", b"1.7976931348623157e+308", b"5e-324", b"-0"])
def test_scores_are_known_at_a_glance(score: bytes) -> None:
    """As servers write them, %.17g; infinities and what is rarer are decoded."""
    assert surely_sound(_body(_SORTED_SET, packing.listpack([("s6", b"m"), ("s6", score)])))

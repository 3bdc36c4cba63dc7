"""Two values compare as data: equal whatever way they came, different wherever one thing changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer.model.record import NO_DEADLINE, deadlines_match
from transfer.model.report import Verdict
from transfer.model.value import (
    HashValue,
    ListValue,
    Pending,
    SetValue,
    SortedSetValue,
    StreamGroup,
    StreamValue,
    StringValue,
    Value,
)
from transfer.verify.checks import compare, value_digest

_replace: Callable[..., Any] = msgspec.structs.replace

_blobs = st.binary(max_size=12)
_ids = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
_scores = st.sampled_from([0.0, -0.0]) | st.floats(allow_nan=False)
_pending = st.builds(
    Pending, id=_ids, consumer=_blobs, delivered_ms=st.integers(0, 2**50), deliveries=st.integers(0, 2**40)
)
_groups = st.builds(
    StreamGroup,
    name=_blobs,
    last_id=_ids,
    entries_read=st.none() | st.integers(0, 2**40),
    consumers=st.frozensets(_blobs, max_size=3),
    pending=st.lists(_pending, max_size=3, unique_by=lambda pending: pending.id),
)
_entries = st.dictionaries(_ids, st.lists(_blobs, min_size=2, max_size=2), max_size=4)
_streams = st.builds(
    StreamValue,
    entries=_entries.map(lambda entries: sorted(entries.items())),
    last_id=_ids,
    entries_added=st.none() | st.integers(0, 2**40),
    max_deleted_id=st.none() | _ids,
    groups=st.lists(_groups, max_size=2, unique_by=lambda group: group.name),
)
_hashes = st.dictionaries(_blobs, _blobs, min_size=1, max_size=5).flatmap(
    lambda fields: st.builds(
        HashValue, st.just(fields), st.dictionaries(st.sampled_from(sorted(fields)), st.integers(1, 2**50), max_size=2)
    )
)
_values: st.SearchStrategy[Value] = st.one_of(
    st.builds(StringValue, _blobs),
    st.builds(ListValue, st.lists(_blobs, max_size=5)),
    st.builds(SetValue, st.frozensets(_blobs, max_size=5)),
    st.builds(SortedSetValue, st.dictionaries(_blobs, _scores, max_size=5)),
    _hashes,
    _streams,
)


def _shuffled(value: Value) -> Value:
    """The same data met in another order, with other texts behind its numbers."""
    match value:
        case SortedSetValue(scores=scores):
            return SortedSetValue({m: -0.0 if s == 0 else s for m, s in reversed(scores.items())})
        case HashValue(fields=fields, deadlines=deadlines):
            return HashValue(dict(reversed(fields.items())), dict(reversed(deadlines.items())))
        case StreamValue(groups=groups):
            turned = [_replace(g, pending=g.pending[::-1], entries_read=None) for g in reversed(groups)]
            return _replace(value, groups=turned, entries_added=None, max_deleted_id=None)  # type: ignore[no-any-return]
    return msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=type(value))


@given(value=_values)
def test_equal_values_match_and_have_one_digest(value: Value) -> None:
    """Order of sets and hashes, -0.0 and counters an old server lacks make no difference."""
    other = _shuffled(value)

    assert compare(value, other) == (Verdict.MATCH, "")
    assert compare(other, value) == (Verdict.MATCH, "")
    assert value_digest(value) == value_digest(other)


@given(left=_values, right=_values)
def test_digest_and_verdict_agree(left: Value, right: Value) -> None:
    """Where values match their digests are equal; digests differ unless only counters do."""
    verdict, detail = compare(left, right)

    assert (verdict is Verdict.MATCH) == (detail == "")
    assert (verdict is Verdict.TYPE) == (type(left) is not type(right))
    assert (value_digest(left) == value_digest(right)) == (compare(_bare(left), _bare(right))[0] is Verdict.MATCH)


def _bare(value: Value) -> Value:
    if not isinstance(value, StreamValue):
        return value
    groups = [_replace(group, entries_read=None) for group in value.groups]
    return _replace(value, groups=groups, entries_added=None, max_deleted_id=None)  # type: ignore[no-any-return]


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@given(data=st.binary(min_size=1, max_size=200), draw=st.data())
def test_one_changed_bit_of_a_string_is_a_difference(data: bytes, draw: st.DataObject) -> None:
    """The detail says at which byte."""
    at = draw.draw(st.integers(0, len(data) - 1))

    _differ(StringValue(data), StringValue(_flip(data, at)), f"first at byte {at}:")


@pytest.mark.parametrize("at", [0, 65_535, 65_536, 65_537, 199_999])
def test_a_long_string_is_searched_to_its_end(at: int) -> None:
    """A difference on either side of a page is found at its place."""
    data = bytes(200_000)

    _differ(StringValue(data), StringValue(_flip(data, at)), f"first at byte {at}:")
    _differ(StringValue(data), StringValue(data[:at]), f"first at byte {at}:")


@given(items=st.lists(_blobs, min_size=1, max_size=6), draw=st.data())
def test_any_changed_missing_or_swapped_item_of_a_list_is_a_difference(items: list[bytes], draw: st.DataObject) -> None:
    """The detail says at which index."""
    at = draw.draw(st.integers(0, len(items) - 1))

    _differ(ListValue(items), ListValue([*items[:at], items[at] + b"!", *items[at + 1 :]]), f"first at index {at}:")
    _differ(ListValue(items), ListValue(items[:at] + items[at + 1 :]), "index")
    _differ(ListValue(items), ListValue([*items, b"more"]), f"first at index {len(items)}: nothing / 'more'")
    if items != items[::-1]:
        _differ(ListValue(items), ListValue(items[::-1]), "items differ")


@given(members=st.frozensets(_blobs, min_size=1, max_size=6))
def test_any_missing_or_other_member_of_a_set_is_a_difference(members: frozenset[bytes]) -> None:
    """The detail says on which side the first of them stands alone."""
    first = min(members)

    _differ(SetValue(members), SetValue(members - {first}), "(left)")
    _differ(SetValue(members), SetValue(members | {b"none of those before"}), "0 only left, 1 only right")


@given(scores=st.dictionaries(_blobs, _scores, min_size=1, max_size=6))
def test_the_smallest_step_of_a_score_is_a_difference(scores: dict[bytes, float]) -> None:
    """Scores are doubles: the next one up or down is another score."""
    first = min(scores)
    for towards in (math.inf, -math.inf):
        nudged = math.nextafter(scores[first], towards)
        if nudged != scores[first]:
            _differ(SortedSetValue(scores), SortedSetValue(scores | {first: nudged}), "1 members differ")


@given(fields=st.dictionaries(_blobs, _blobs, min_size=1, max_size=6))
def test_any_changed_field_or_field_deadline_of_a_hash_is_a_difference(fields: dict[bytes, bytes]) -> None:
    """A field's deadline is part of its value."""
    first = min(fields)

    _differ(HashValue(fields), HashValue(fields | {first: fields[first] + b"!"}), "1 fields differ")
    _differ(HashValue(fields), HashValue(fields | {b"one field more here": b""}), "nothing / ''")
    _differ(HashValue(fields), HashValue(fields, {first: 5}), "field deadlines differ")
    _differ(HashValue(fields, {first: 6}), HashValue(fields, {first: 5}), "6 / 5")


_STREAM = StreamValue(
    entries=[((1, 0), [b"f", b"v"]), ((2, 5), [b"f", b"w", b"g", b"x"])],
    last_id=(2, 6),
    entries_added=3,
    max_deleted_id=(2, 6),
    groups=[
        StreamGroup(
            name=b"g",
            last_id=(2, 5),
            entries_read=2,
            consumers=frozenset({b"c", b"idle"}),
            pending=[Pending(id=(1, 0), consumer=b"c", delivered_ms=1000, deliveries=1)],
        )
    ],
)


def _group(**changes: Any) -> StreamValue:
    return _replace(_STREAM, groups=[_replace(_STREAM.groups[0], **changes)])  # type: ignore[no-any-return]


def _pended(**changes: Any) -> StreamValue:
    return _group(pending=[_replace(_STREAM.groups[0].pending[0], **changes)])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (_replace(_STREAM, entries=_STREAM.entries[:1]), "entries differ (2 / 1 entries)"),
        (_replace(_STREAM, entries=[((1, 0), [b"f", b"!"]), _STREAM.entries[1]]), "first '1-0'"),
        (_replace(_STREAM, entries=[((1, 1), [b"f", b"v"]), _STREAM.entries[1]]), "2 entries differ"),
        (_replace(_STREAM, last_id=(2, 7)), "last id 2-6 / 2-7"),
        (_replace(_STREAM, groups=[]), "groups: 1 only left"),
        (_group(last_id=(2, 6)), "last id 2-5 / 2-6"),
        (_group(consumers=frozenset({b"c"})), "consumers: 1 only left"),
        (_group(pending=[]), "pending entries differ"),
        (_pended(consumer=b"idle"), "'c' 1 deliveries"),
        (_pended(deliveries=2), "2 deliveries"),
        (_pended(delivered_ms=1001), "1001 ms"),
        (_pended(id=(2, 5)), "2 pending entries differ"),
    ],
)
def test_every_part_of_a_stream_counts(other: StreamValue, said: str) -> None:
    """Entries, last id, groups, consumers and what is pending."""
    _differ(_STREAM, other, said)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (_replace(_STREAM, entries_added=4), "entries added 3 / 4"),
        (_replace(_STREAM, max_deleted_id=(0, 0)), "max deleted id 2-6 / 0-0"),
        (_group(entries_read=1), "entries read 2 / 1"),
    ],
)
def test_counters_count_only_where_both_sides_have_them(other: StreamValue, said: str) -> None:
    """A server before 7.0 keeps none: that is no difference, and no part of the digest."""
    verdict, detail = compare(_STREAM, other)

    assert verdict is Verdict.VALUE
    assert said in detail
    assert compare(_bare(_STREAM), other)[0] is Verdict.MATCH
    assert value_digest(_STREAM) == value_digest(other)


def test_another_type_is_named_on_both_sides() -> None:
    """The detail says what is where."""
    assert compare(ListValue([b"a"]), SetValue(frozenset([b"a"]))) == (Verdict.TYPE, "list / set")
    assert value_digest(ListValue([b"a"])) != value_digest(SetValue(frozenset([b"a"])))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (StringValue(b"A" * 500), StringValue(b"B" * 500)),
        (ListValue([b"A" * 500]), ListValue([b"B" * 500])),
        (SetValue(frozenset([b"A" * 500])), SetValue(frozenset([b"B" * 500]))),
        (HashValue({b"F" * 500: b"A" * 500}), HashValue({b"F" * 500: b"B" * 500})),
    ],
)
def test_a_detail_shows_little_of_the_data(left: Value, right: Value) -> None:
    """At most 80 bytes of names and values leave the servers in a finding."""
    _, detail = compare(left, right)

    assert sum(detail.count(letter) for letter in "ABF") <= 80
    assert len(detail) < 200


def test_bytes_are_shown_escaped() -> None:
    """A detail is one line of plain text whatever the data holds."""
    _, detail = compare(StringValue(b"\r\n\x00\xff"), StringValue(b"\r\n\x1b[31m"))

    assert detail == r"4 / 7 bytes, first at byte 2: '\x00\xff' / '\x1b[31m'"


@given(moment=st.integers(601, 2**50), shift=st.integers(-600, 600))  # both are deadlines: above 0
def test_deadlines_match_within_the_tolerance(moment: int, shift: int) -> None:
    """The tolerance itself still matches."""
    assert deadlines_match(moment, moment + shift, 500) == (abs(shift) <= 500)


@given(moment=st.integers(1, 2**50))
def test_a_deadline_never_matches_none(moment: int) -> None:
    """Whatever the tolerance."""
    assert not deadlines_match(moment, NO_DEADLINE, 2**60)
    assert not deadlines_match(NO_DEADLINE, moment, 2**60)
    assert deadlines_match(NO_DEADLINE, NO_DEADLINE, 0)


def _differ(left: Value, right: Value, said: str) -> None:
    """Both ways round the values differ, in digest too, and the detail holds *said*."""
    verdict, detail = compare(left, right)
    assert verdict is Verdict.VALUE
    assert said in detail
    assert compare(right, left)[0] is Verdict.VALUE
    assert value_digest(left) != value_digest(right)

"""Values of every type, drawn by hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

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

TEXT = st.binary(max_size=90)
SCORES = st.floats(allow_nan=False)
MOMENTS = st.integers(1, (1 << 47))
_IDS = st.tuples(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1)).filter(any)


@st.composite
def hashes(draw: st.DrawFn, *, deadlines: bool) -> HashValue:
    fields = draw(st.dictionaries(TEXT, TEXT, min_size=1, max_size=8))
    some = draw(st.lists(st.sampled_from(sorted(fields)), unique=True, min_size=1)) if deadlines else []
    return HashValue(fields, {field: draw(MOMENTS) for field in some})


@st.composite
def groups(draw: st.DrawFn, name: bytes, *, counters: bool) -> StreamGroup:
    consumers = draw(st.frozensets(TEXT, max_size=3))
    ids = draw(st.lists(_IDS, unique=True, max_size=4)) if consumers else []
    pending = [
        Pending(found, draw(st.sampled_from(sorted(consumers))), draw(MOMENTS), draw(st.integers(1, 99)))
        for found in sorted(ids)
    ]
    read = draw(st.none() | st.integers(0, 1 << 40)) if counters else None
    return StreamGroup(name, draw(_IDS), read, consumers, pending)


@st.composite
def streams(draw: st.DrawFn, *, counters: bool = True) -> StreamValue:
    ids = sorted(draw(st.lists(_IDS, unique=True, max_size=6)))
    pair = st.tuples(st.sampled_from([b"a", b"b", b""]) | TEXT, TEXT)
    entries = [(one, [x for p in draw(st.lists(pair, min_size=1, max_size=3)) for x in p]) for one in ids]
    last = max([draw(_IDS), *ids])
    names = draw(st.lists(TEXT, unique=True, max_size=2))
    added = draw(st.integers(len(ids), 1 << 40)) if counters else None
    deleted = draw(_IDS | st.just((0, 0))) if counters else None
    return StreamValue(entries, last, added, deleted, [draw(groups(name, counters=counters)) for name in names])


PLAIN: st.SearchStrategy[Value] = (
    st.builds(StringValue, st.binary(max_size=400))
    | st.builds(ListValue, st.lists(TEXT, min_size=1, max_size=9))
    | st.builds(SetValue, st.frozensets(TEXT, min_size=1, max_size=9))
    | st.builds(SortedSetValue, st.dictionaries(TEXT, SCORES, min_size=1, max_size=9))
    | hashes(deadlines=False)
)
VALUES: st.SearchStrategy[Value] = PLAIN | hashes(deadlines=True) | streams()

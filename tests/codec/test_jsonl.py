"""Keys as lines of JSON: every value and name comes back, and what no server would load is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codec.values import MOMENTS, VALUES
from transfer.codec.jsonl import JsonlReader, Row, put_head, put_row, read_row
from transfer.model.errors import CutError, FormatError, UnknownFormError
from transfer.model.value import (
    HashValue,
    ListValue,
    SetValue,
    SortedSetValue,
    StreamValue,
    StringValue,
    Value,
)

NAMES: dict[type[Value], str] = {
    StringValue: "string",
    ListValue: "list",
    SetValue: "set",
    SortedSetValue: "zset",
    HashValue: "hash",
    StreamValue: "stream",
}
TEXTS = st.binary(max_size=40) | st.text(max_size=20).map(str.encode)
ROWS = st.builds(
    lambda db, key, value, until: Row(db, key, NAMES[type(value)], value, until),
    st.integers(0, 99), TEXTS, VALUES, st.just(-1) | MOMENTS,
) | st.builds(
    lambda key, body, version: Row(1, key, "module", None, -1, body, version),
    TEXTS, st.binary(min_size=1, max_size=40), st.integers(1, 99),
)  # fmt: skip


@settings(deadline=None)
@given(rows=st.lists(ROWS, max_size=4), size=st.integers(1, 500))
def test_every_row_comes_back(rows: list[Row], size: int) -> None:
    """Every type, with groups, pending entries, counters, deadlines of fields; any bytes, however they are cut."""
    data = put_head() + b"".join(map(put_row, rows))
    reader, found = JsonlReader(), list[Row]()
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        found += reader.take()
    reader.finish()
    assert found == rows
    for line in data.splitlines():
        json.loads(line)


def test_rows_read_well() -> None:
    """Text is text, other bytes are base64, and scores that JSON has no words for are strings."""
    row = Row(0, b"user:1", "hash", HashValue({b"name": b"Ann", b"raw": b"\xff"}, {b"name": 5}), 1_900_000_000_000)
    assert put_row(row) == (
        b'{"db":0,"key":"user:1","type":"hash","expire_at_ms":1900000000000,'
        b'"value":{"name":"Ann","raw":{"b64":"/w=="}},"field_expire_at_ms":{"name":5}}\n'
    )
    scores = Row(0, b"\xff", "zset", SortedSetValue({b"a": 1.5, b"b": float("-inf")}))
    assert put_row(scores) == b'{"db":0,"key":{"b64":"/w=="},"type":"zset","value":{"a":1.5,"b":"-inf"}}\n'


_STREAM = '{"entries":%s,"last_id":"2-0","entries_added":1,"max_deleted_id":null,"groups":%s}'
_TURNED = '[["2-0",["a","b"]],["1-0",["a","b"]]]'
WRONG = {
    "no JSON": "{",
    "no object": "[]",
    "deep": '{"db":0,"key":"a","type":"list","value":' + "[" * 1_000_000,
    "deep and closed": '{"db":0,"key":"a","type":"list","value":' + "[" * 100_000 + "]" * 100_000 + "}",
    "no key": '{"db":0,"type":"string","value":"a"}',
    "unknown field": '{"db":0,"key":"a","type":"string","value":"a","tll":5}',
    "unknown type": '{"db":0,"key":"a","type":"tree","value":"a"}',
    "another type": '{"db":0,"key":"a","type":"string","value":["a"]}',
    "negative db": '{"db":-1,"key":"a","type":"string","value":"a"}',
    "base64": '{"db":0,"key":{"b64":"?"},"type":"string","value":"a"}',
    "half a character": '{"db":0,"key":"\\ud800","type":"string","value":"a"}',
    "neither": '{"db":0,"key":"a","type":"string"}',
    "empty list": '{"db":0,"key":"a","type":"list","value":[]}',
    "member twice": '{"db":0,"key":"a","type":"set","value":["a",{"b64":"YQ=="}]}',
    "field twice": '{"db":0,"key":"a","type":"hash","value":[["a","b"],["a","c"]]}',
    "no score": '{"db":0,"key":"a","type":"zset","value":{"a":"nan"}}',
    "deadline of no field": '{"db":0,"key":"a","type":"hash","value":{"a":"b"},"field_expire_at_ms":{"c":5}}',
    "no stream id": '{"db":0,"key":"a","type":"stream","value":' + _STREAM % ('[["x",["a","b"]]]', "[]") + "}",
    "out of order": '{"db":0,"key":"a","type":"stream","value":' + _STREAM % (_TURNED, "[]") + "}",
    "no value": '{"db":0,"key":"a","type":"stream","value":' + _STREAM % ('[["2-0",["a"]]]', "[]") + "}",
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_key_is_refused_with_its_place(what: str) -> None:
    """The line and its offset are named."""
    reader = JsonlReader()
    reader.feed(put_head() + WRONG[what].encode() + b"\n")
    with pytest.raises(FormatError) as caught:
        list(reader.take())
    assert caught.value.facts == {"line": 2, "offset": len(put_head())}


def test_files_of_others_and_cut_ones_are_refused() -> None:
    """Another first line, a later version, an end inside a line, a line without end."""
    for head, expected in ((b'{"db":0}\n', FormatError), (put_head().replace(b"1}", b"2}"), UnknownFormError)):
        reader = JsonlReader()
        reader.feed(head)
        with pytest.raises(expected):
            list(reader.take())
    data = put_head() + put_row(Row(0, b"a", "string", StringValue(b"b")))
    for size in {*range(len(data))} - {len(put_head())}:
        reader = JsonlReader(cap_bytes=100)
        reader.feed(data[:size])
        list(reader.take())
        with pytest.raises(CutError):
            reader.finish()
    reader.feed(bytes(200))
    with pytest.raises(FormatError, match="longer"):
        list(reader.take())
    assert read_row(data[len(put_head()) :]).key == b"a"

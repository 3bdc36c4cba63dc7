"""Values out of the bytes of a DUMP payload or an RDB file.

    body (type byte, value) -> reader of that type -> lists of bytes -> Value, checked to be one

Rule 1: the type number and the family decide: from 22 on, Valkey (RDB version 80 and up) counts on its own.
Rule 2: what a server would not load is refused: nothing in a collection, an item twice, a score that is no number,
        ids out of order, bytes left over. So decoding serves as the check of a payload from elsewhere.
Rule 3: what is not known is `UnknownFormError` with its number; everything else that is wrong is FormatError.
Rule 4: memory is taken for bytes that are there, never for what a length claims.

Source: redis/src/rdb.c `rdbLoadObject`; numbers of types redis/src/rdb.h, valkey/src/rdb.h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from transfer.codec.dump import FOOTER_BYTES, is_whole, version_of
from transfer.codec.rdb import intset, listpack, plain, ziplist, zipmap
from transfer.codec.rdb.atoms import cut, read_length, read_string
from transfer.codec.rdb.streams import ACTIVE, COUNTED, PLAIN, read_stream
from transfer.model.errors import ChecksumError, FormatError, UnknownFormError
from transfer.model.value import HashValue, ListValue, SetValue, SortedSetValue, StringValue, Value

FIRST_VALKEY_VERSION = 80
"""RDB versions from here on are Valkey's."""
_DECODED_BYTES = 256 << 10
"""A larger payload is not decoded beside others, which would wait for it."""
_PLAIN_NODE, _PACKED_NODE = 1, 2
_NO_DEADLINE = b"0"

_Reader = Callable[[bytes, int], tuple[Value, int]]
_Texts = Callable[[bytes], list[bytes]]


def decode_dump(dump: bytes) -> Value:
    """The value of a DUMP payload.

    Raises:
        ChecksumError: its checksum does not hold.
        UnknownFormError: its type is not known.
        FormatError: it is no payload, or does not hold a value.
    """
    version_of(dump)  # which refuses what is too short to have one
    if not is_whole(dump):
        raise ChecksumError("the checksum of the payload does not hold", offset=len(dump) - 8, size=len(dump))
    return decode_payload(dump)


def decode_payload(dump: bytes) -> Value:
    """The value of a DUMP payload whose checksum is somebody else's concern. Raises as `decode_dump`, but for that."""
    return decode(dump[:-FOOTER_BYTES], version_of(dump))


def decode_both(ours: bytes, theirs: bytes) -> tuple[Value, Value] | None:
    """The values of two payloads; None where one cannot be decoded, or it would take long: it is to be read then."""
    if max(len(ours), len(theirs)) > _DECODED_BYTES:
        return None
    try:
        return decode_payload(ours), decode_payload(theirs)
    except FormatError:
        return None


def decode(body: bytes, version: int) -> Value:
    """The value of *body*: the type byte and all that follows it; *version* is that of its payload or file.

    Raises:
        UnknownFormError: its type is not known.
        FormatError: it does not hold a value; CutError where bytes are missing.
    """
    if not body:
        raise cut(body, 1)
    kind = body[0]
    reader = (_READERS if kind <= _LAST_SHARED else _OWN[version >= FIRST_VALKEY_VERSION]).get(kind)
    if reader is None:
        raise UnknownFormError(f"type {kind} of RDB version {version} is not known", offset=0, type=kind)
    value, end = reader(body, 1)
    if end != len(body):
        raise FormatError(f"{len(body) - end} bytes are left over at offset {end}", offset=end)
    return value


def _string(body: bytes, at: int) -> tuple[Value, int]:
    data, end = read_string(body, at)
    return StringValue(data), end


def _list(items: list[bytes], at: int) -> ListValue:
    if not items:
        raise _empty(at)
    return ListValue(items)


def _set(items: list[bytes], at: int) -> SetValue:
    members = frozenset(items)
    if len(members) != len(items) or not items:
        raise _twice(at) if items else _empty(at)
    return SetValue(members)


def _hash(items: list[bytes], at: int) -> HashValue:
    fields = dict(zip(items[::2], items[1::2], strict=False))
    if 2 * len(fields) != len(items) or not items:
        raise _odd(items, 2, at)
    return HashValue(fields)


def _sorted_set(members: list[bytes], scores: Sequence[float], at: int) -> SortedSetValue:
    found = dict(zip(members, scores, strict=True))
    if len(found) != len(members) or not members:
        raise _twice(at) if members else _empty(at)
    if any(score != score for score in scores):
        raise FormatError(f"a score is no number, at offset {at}", offset=at)
    return SortedSetValue(found)


def _scored(items: list[bytes], at: int) -> SortedSetValue:
    if len(items) % 2:
        raise _odd(items, 2, at)
    return _sorted_set(items[::2], plain.numbers(items[1::2], at), at)


def _plain_list(body: bytes, at: int) -> tuple[Value, int]:
    items, end = plain.strings(body, at)
    return _list(items, at), end


def _plain_set(body: bytes, at: int) -> tuple[Value, int]:
    items, end = plain.strings(body, at)
    return _set(items, at), end


def _plain_hash(body: bytes, at: int) -> tuple[Value, int]:
    items, end = plain.strings(body, at, each=2)
    return _hash(items, at), end


def _text_scores(body: bytes, at: int) -> tuple[Value, int]:
    members, scores, end = plain.text_scores(body, at)
    return _sorted_set(members, scores, at), end


def _binary_scores(body: bytes, at: int) -> tuple[Value, int]:
    members, scores, end = plain.binary_scores(body, at)
    return _sorted_set(members, scores, at), end


def _packed(texts: _Texts, build: Callable[[list[bytes], int], Value], body: bytes, at: int) -> tuple[Value, int]:
    """A collection that is one string."""
    data, end = read_string(body, at)
    return build(texts(data), at), end


def _nodes_of_ziplists(body: bytes, at: int) -> tuple[Value, int]:
    count, end = read_length(body, at)
    items: list[bytes] = []
    for _ in range(count):
        data, end = read_string(body, end)
        items += ziplist.texts(data)
    return _list(items, at), end


def _nodes(body: bytes, at: int) -> tuple[Value, int]:
    """Nodes that are one large item each, or listpacks."""
    count, end = read_length(body, at)
    items: list[bytes] = []
    for _ in range(count):
        start = end
        container, end = read_length(body, start)
        data, end = read_string(body, end)
        if container == _PACKED_NODE:
            items += listpack.texts(data)
        elif container == _PLAIN_NODE and data:
            items.append(data)
        else:
            raise FormatError(f"{container} is no node of a list, at offset {start}", offset=start)
    return _list(items, at), end


def _stream(kind: int, body: bytes, at: int) -> tuple[Value, int]:
    return read_stream(body, at, kind)


def _redis_deadlines(body: bytes, at: int) -> tuple[Value, int]:
    pairs, deadlines, end = plain.redis_deadlines(body, at)
    return _expiring(pairs, deadlines, at), end


def _valkey_deadlines(body: bytes, at: int) -> tuple[Value, int]:
    pairs, deadlines, end = plain.valkey_deadlines(body, at)
    return _expiring(pairs, deadlines, at), end


def _expiring(pairs: plain.Pairs, deadlines: plain.Deadlines, at: int) -> HashValue:
    fields = dict(pairs)
    if len(fields) != len(pairs) or not pairs:
        raise _twice(at) if pairs else _empty(at)
    return HashValue(fields, deadlines)


def _packed_deadlines(body: bytes, at: int) -> tuple[Value, int]:
    """Type 25: the earliest deadline, then a listpack of field, value and deadline (0: none)."""
    _, start = plain.moment(body, at)
    data, end = read_string(body, start)
    items = listpack.texts(data)
    if len(items) % 3:
        raise _odd(items, 3, start)
    fields, moments = items[::3], items[2::3]
    if not b"".join(moments).isdigit() and items:
        raise FormatError(f"a deadline is no number, at offset {start}", offset=start)
    until = zip(fields, moments, strict=True)
    deadlines = {field: plain.deadline_ms(int(text), start) for field, text in until if text != _NO_DEADLINE}
    return _expiring(list(zip(fields, items[1::3], strict=True)), deadlines, start), end


def _empty(at: int) -> FormatError:
    return FormatError(f"nothing is in the collection at offset {at}, which no server takes", offset=at)


def _twice(at: int) -> FormatError:
    return FormatError(f"an item is twice in the collection at offset {at}", offset=at)


def _odd(items: list[bytes], each: int, at: int) -> FormatError:
    if not items:
        return _empty(at)
    if len(items) % each:
        return FormatError(f"{len(items)} strings at offset {at} do not go by {each}", offset=at, size=len(items))
    return _twice(at)


_LAST_SHARED = 21
"""Type numbers up to here mean the same everywhere."""
_READERS: dict[int, _Reader] = {
    0: _string,
    1: _plain_list,
    2: _plain_set,
    3: _text_scores,
    4: _plain_hash,
    5: _binary_scores,
    9: partial(_packed, zipmap.texts, _hash),
    10: partial(_packed, ziplist.texts, _list),
    11: partial(_packed, intset.texts, _set),
    12: partial(_packed, ziplist.texts, _scored),
    13: partial(_packed, ziplist.texts, _hash),
    14: _nodes_of_ziplists,
    15: partial(_stream, PLAIN),
    16: partial(_packed, listpack.texts, _hash),
    17: partial(_packed, listpack.texts, _scored),
    18: _nodes,
    19: partial(_stream, COUNTED),
    20: partial(_packed, listpack.texts, _set),
    21: partial(_stream, ACTIVE),
}
_OWN: tuple[dict[int, _Reader], dict[int, _Reader]] = (
    {24: _redis_deadlines, 25: _packed_deadlines},
    {22: _valkey_deadlines},
)
"""Those of Redis, those of Valkey."""

"""What a value is made of, by its type byte: just enough to find where it ends.

    form := atom ...                    atom := STRING | LENGTH | SCORE | MODULE | a number of raw bytes | Group
    Group: a length that counts, then so many rows of atoms

Numbers from 22 on mean one thing in Redis and another in Valkey, whose RDB versions begin at 80.

Source: `rdbLoadObject` of redis/src/rdb.c (7.4 for 22-25) and valkey/src/rdb.c (9.1 for 22).
"""

from __future__ import annotations

import msgspec

from transfer.model.errors import UnknownFormError

VALKEY = 80
"""The first RDB version of Valkey's own numbering."""
STRING, LENGTH, SCORE, MODULE = -1, -2, -3, -4
"""SCORE is a double as text; MODULE is the list of marked parts behind a module's id, up to its end mark."""


class Group(msgspec.Struct, frozen=True):
    """Rows of `shape`; the length in front of them counts them, or every `times` of them. `flat`: no group inside."""

    shape: tuple[int | Group, ...]
    times: int = 1
    flat: bool = True


Form = tuple[int | Group, ...]


def _stream(generation: int) -> Form:
    """A stream: listpacks, counters, consumer groups with their pending entries."""
    since_7_0, since_7_2 = generation >= 2, generation >= 3
    consumer: Form = (STRING, 8, *((8,) if since_7_2 else ()), Group((16,)))
    group: Form = (STRING, LENGTH, LENGTH, *((LENGTH,) if since_7_0 else ()))
    group = (*group, Group((16, 8, LENGTH)), Group(consumer, flat=False))
    counters = (LENGTH,) * (8 if since_7_0 else 3)
    return Group((STRING,), times=2), *counters, Group(group, flat=False)


ONE_STRING = frozenset({0, 9, 10, 11, 12, 13, 16, 17, 20})
"""Plain strings, and every encoding that packs a value into one."""
_SHARED: dict[int, Form] = dict.fromkeys(ONE_STRING, (STRING,)) | {
    1: (Group((STRING,)),),
    2: (Group((STRING,)),),
    3: (Group((STRING, SCORE)),),
    4: (Group((STRING,), times=2),),
    5: (Group((STRING, 8)),),
    7: (LENGTH, MODULE),
    14: (Group((STRING,)),),
    15: _stream(1),
    18: (Group((LENGTH, STRING)),),
    19: _stream(2),
    21: _stream(3),
}
_REDIS = _SHARED | {
    22: (Group((LENGTH, STRING, STRING)),),
    23: (STRING,),
    24: (8, Group((LENGTH, STRING, STRING))),
    25: (8, STRING),
}
_VALKEY = _SHARED | {22: (Group((STRING, STRING, 8)),)}


def form_of(kind: int, version: int, at: int) -> Form:
    """What a value of type *kind* is made of.

    Raises:
        UnknownFormError: this program knows no such type; *at* is where it was met.
    """
    form = (_VALKEY if version >= VALKEY else _REDIS).get(kind)
    if form is None:
        family = "Valkey" if version >= VALKEY else "Redis"
        message = f"value type {kind} of {family} (RDB version {version}) at offset {at} is not known"
        raise UnknownFormError(message, offset=at, type=kind, version=version)
    return form

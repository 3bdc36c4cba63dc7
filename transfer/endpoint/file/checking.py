"""Payloads from files are checked before a server is given them: a crafted one can end it.

    bodies -> plain forms (lengths and strings, which the walk over the file has proved) -> taken
           -> packed forms -> in order at a glance -> taken
                           -> else decoded -> what does not hold: its reason | taken

A module's value, and a type that only its server knows, cannot be looked into: the target decides about it.
"""

from __future__ import annotations

from transfer.codec.dump import MODULE_TYPES
from transfer.codec.rdb.decode import decode
from transfer.codec.rdb.glance import surely_sound
from transfer.model.errors import FormatError, UnknownFormError

PLAIN = frozenset({0, 1, 2, 3, 4, 5})
"""Types that are lengths and strings only; servers refuse what else may be wrong with them (a member twice)."""
TAKEN = PLAIN | MODULE_TYPES
"""Types that `fault` has nothing to say about."""
DAMAGED_CODE = "E1200"

_ZIPLIST, _LISTPACK = b"\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff", b"\x07\x07\0\0\0\0\0\xff"
_PACKED_EMPTY = {
    10: _ZIPLIST,
    12: _ZIPLIST,
    13: _ZIPLIST,
    16: _LISTPACK,
    17: _LISTPACK,
    20: _LISTPACK,
    9: b"\x02\0\xff",
}
_EMPTY = frozenset(
    {bytes((kind, 0)) for kind in (1, 2, 3, 4, 5, 14, 18)}
    | {bytes((kind,)) + packed for kind, packed in _PACKED_EMPTY.items()}
    | {b"\x0b\x08" + width.to_bytes(4, "little") + b"\0\0\0\0" for width in (2, 4, 8)}
    | {b"\x0e\x01" + _ZIPLIST, b"\x12\x01\x02" + _LISTPACK}
)
_MOST_EMPTY = max(map(len, _EMPTY))


def empties(bodies: list[bytes]) -> list[int]:
    """Where in *bodies* a collection without items stands, in the forms that servers write; they skip those."""
    if min(map(len, bodies), default=0) > _MOST_EMPTY:
        return []
    return [at for at, body in enumerate(bodies) if len(body) <= _MOST_EMPTY and body in _EMPTY]


def fault(body: bytes, version: int) -> str | None:
    """Why *body* must not be sent to a server; None if it is sound."""
    if body[0] in TAKEN or surely_sound(body):
        return None
    try:
        decode(body, version)
    except UnknownFormError:
        return None  # the target knows it or refuses it
    except FormatError as error:
        return error.message or "it does not hold"
    return None

"""hiredis readers that refuse a list which declares too many elements, wherever it stands in what they are fed.

    new_reader(most) -> hiredis.Reader; a header `*`, `%`, `~`, `>` or `|` above *most* -> hiredis.ProtocolError

hiredis reserves room for a list as its header comes. It has a limit for that (`redisReader.maxelements`, 2^32 - 1),
which hiredis-py does not offer: a header of 1,000,000,000 costs 6 s when it is let go, one of a push takes memory at
once. To look for such headers in all that comes costs a tenth of the engine's time (measured); this costs nothing.

Rule 1: the limit is set only where it was found: at its place, with its known value, beside a buffer size that hiredis
        itself was told. Anything else (another system, another hiredis) leaves readers as they come.
Rule 2: the place is looked for through /proc/self/mem, where a wrong address is an error and no crash.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from typing import Any

import hiredis

TOO_MANY = "Multi-bulk length out of range"
"""What hiredis says of a list above its limit."""
_WORD = struct.Struct("P")
_FIELDS = struct.Struct("@i128s P N N N q")
"""hiredis/read.h `redisReader`: err, errstr, buf, pos, len, maxbuf, maxelements."""
_UNLIMITED = (1 << 32) - 1
_TOLD_BYTES = 54_321


def new_reader(most_elements: int, **options: Any) -> hiredis.Reader:
    """A reader that takes lists of up to *most_elements*, where that can be said."""
    reader = hiredis.Reader(**options)
    if limit_is_known():
        ctypes.c_longlong.from_address(
            _limit_address(_word_at(id(reader) + object.__basicsize__))
        ).value = most_elements
    return reader


@functools.cache
def limit_is_known() -> bool:
    """Whether the limit was found where this hiredis is thought to have it."""
    reader = hiredis.Reader()
    reader.setmaxbuf(_TOLD_BYTES)
    try:
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(id(reader) + object.__basicsize__)
            (inner,) = _WORD.unpack(memory.read(_WORD.size))
            memory.seek(inner)
            _, _, _, at, held, most_bytes, most_elements = _FIELDS.unpack(memory.read(_FIELDS.size))
    except (OSError, OverflowError, ValueError, struct.error):
        return False
    return (at, held, most_bytes, most_elements) == (0, 0, _TOLD_BYTES, _UNLIMITED)


def _word_at(address: int) -> int:
    return int(ctypes.c_size_t.from_address(address).value)


def _limit_address(inner: int) -> int:
    return inner + _FIELDS.size - struct.calcsize("q")

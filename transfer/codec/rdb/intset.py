"""Intsets: small sets of nothing but numbers.

    intset := bytes of each number (u32 LE: 2, 4 or 8)  numbers (u32 LE)  number*, in ascending order

Source: redis/src/intset.c `intsetValidateIntegrity`.
"""

from __future__ import annotations

import struct
from operator import lt

from transfer.model.errors import FormatError

_HEAD_BYTES = 8
_LETTERS = {2: "h", 4: "i", 8: "q"}


def texts(data: bytes) -> list[bytes]:
    """Every number as its digits.

    Raises:
        FormatError: this is no whole intset, or its numbers are not in order.
    """
    width, count = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")
    letter = _LETTERS.get(width)
    if letter is None or len(data) != _HEAD_BYTES + count * width:
        raise FormatError(
            f"no intset: {len(data):,} bytes are not {count:,} numbers of {width:,} bytes", offset=0, size=len(data)
        )
    numbers = struct.unpack_from(f"<{count}{letter}", data, _HEAD_BYTES)
    if not all(map(lt, numbers, numbers[1:])):
        raise FormatError("no intset: its numbers are not in order", offset=_HEAD_BYTES)
    return list(map(b"%d".__mod__, numbers))

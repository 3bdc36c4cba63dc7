"""The string in a DUMP payload, whichever way the server packed it.

    0x00 | length, bytes | -> the bytes        0x00 | 0xC0..0xC2, integer | -> its digits
    0x00 | 0xC3, packed length, length, LZF | -> unpacked

Formats: redis/src/rdb.c `rdbSaveRawString`, redis/src/lzf_d.c.
"""

from __future__ import annotations

from transfer.codec.dump import FOOTER_BYTES
from transfer.codec.unordered import read_length

_STRING = 0
_INTEGER_BYTES = {0xC0: 1, 0xC1: 2, 0xC2: 4}
_LZF = 0xC3
_LITERALS_BELOW = 32
_LONG = 7


def string_of(dump: bytes) -> bytes | None:
    """The string that the payload holds; None where it holds another type or cannot be read."""
    if len(dump) <= FOOTER_BYTES + 1 or dump[0] != _STRING:
        return None
    body = dump[:-FOOTER_BYTES]
    try:
        return _string(body)
    except (IndexError, ValueError):
        return None


def _string(body: bytes) -> bytes | None:
    head = body[1]
    if width := _INTEGER_BYTES.get(head):
        return b"%d" % int.from_bytes(body[2:], "little", signed=True) if len(body) == 2 + width else None
    if head == _LZF:
        packed_bytes, at = read_length(body, 2)
        size_bytes, at = read_length(body, at)
        return unpack(body[at:], size_bytes) if at + packed_bytes == len(body) else None
    size_bytes, at = read_length(body, 1)
    return body[at:] if at + size_bytes == len(body) else None


def unpack(packed: bytes, size_bytes: int) -> bytes:
    """LZF -> the *size_bytes* it was.

    Raises:
        ValueError, IndexError: it is not LZF, or of another size.
    """
    out = bytearray()
    at = 0
    while at < len(packed):
        control = packed[at]
        at += 1
        if control < _LITERALS_BELOW:
            out += packed[at : at + control + 1]
            at += control + 1
            continue
        count = control >> 5
        if count == _LONG:
            count += packed[at]
            at += 1
        start = len(out) - ((control & 0x1F) << 8 | packed[at]) - 1
        at += 1
        _repeat(out, start, count + 2)
        if len(out) > size_bytes:
            raise ValueError("more than announced")
    if len(out) != size_bytes:
        raise ValueError("not as long as announced")
    return bytes(out)


def _repeat(out: bytearray, start: int, count: int) -> None:
    """Append *count* bytes from *start* on, which may run into what is being appended."""
    if start < 0:
        raise ValueError("before the beginning")
    span = bytes(out[start : start + count])
    if not span:
        raise ValueError("nothing to repeat")
    whole, rest = divmod(count, len(span))
    out += span * whole + span[:rest]

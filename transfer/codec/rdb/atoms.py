"""Lengths and strings, of which everything in an RDB is made.

    length := 00nnnnnn | 01nnnnnn b | 10000000 u32 BE | 10000001 u64 BE
    string := length bytes | 11000000 i8 | 11000001 i16 LE | 11000010 i32 LE | 11000011 length length LZF

Rule 1: each function takes the bytes and where to begin, and gives what it found and where it ended.
Rule 2: bytes that end too soon are `CutError`, with more of them the answer may come; FormatError is final.
Rule 3: a length is believed only as far as bytes are there; what LZF unpacks to is capped.

Source: redis/src/rdb.c `rdbLoadLenByRef`, `rdbGenericLoadStringObject`.
"""

from __future__ import annotations

import lzf

from transfer.model.errors import CutError, FormatError

CAP_BYTES = 1 << 30
"""No string of a value is longer: twice the server's own limit (proto-max-bulk-len, 512 MiB)."""
_U32, _U64, _INTEGER, _LZF = 0x80, 0x81, 0xC0, 0xC3
_SMALL, _MIDDLE = 1 << 6, 1 << 14
_ANY_DB = 1 << 31
"""Servers number their databases with an int."""
_MOST_DIGITS = len(b"-2147483648")
_MOST_PER_BYTE = 264
"""What one byte of LZF stands for, at most: three bytes are a run of up to 264, so this is generous."""


def cut(data: bytes, at: int) -> CutError:
    return CutError(f"cut: the bytes end at offset {len(data)}, {at} needed", offset=len(data), needed=at)


def read_length(data: bytes, at: int) -> tuple[int, int]:
    """The length at *at*, and the offset after it.

    Raises:
        CutError: it is not all there.
        FormatError: this is no length.
    """
    if at >= len(data):
        raise cut(data, at + 1)
    first = data[at]
    if first < _SMALL:
        return first, at + 1
    size = 2 if first < _U32 else {_U32: 5, _U64: 9}.get(first, 0)
    if not size:
        raise FormatError(f"byte {first:#04x} at offset {at} begins no length", offset=at)
    if at + size > len(data):
        raise cut(data, at + size)
    if size == 2:
        return (first & 63) << 8 | data[at + 1], at + 2
    return int.from_bytes(data[at + 1 : at + size], "big"), at + size


def read_string(data: bytes, at: int) -> tuple[bytes, int]:
    """The string at *at*, unpacked, and the offset after it.

    Raises:
        CutError: it is not all there.
        FormatError: this is no string, or its packed form does not hold.
    """
    if at >= len(data):
        raise cut(data, at + 1)
    first = data[at]
    if first < _SMALL and at + first < len(data):  # most strings; what is left over here comes to the same below
        end = at + 1 + first
        return bytes(data[at + 1 : end]), end
    if first < _INTEGER:
        size, start = read_length(data, at)
        return _bytes(data, start, size), start + size
    if first < _LZF:
        width = 1 << (first & 3)
        return b"%d" % int.from_bytes(_bytes(data, at + 1, width), "little", signed=True), at + 1 + width
    if first != _LZF:
        raise FormatError(f"byte {first:#04x} at offset {at} begins no string", offset=at)
    packed, start = read_length(data, at + 1)
    size, start = read_length(data, start)
    return _unpacked(_bytes(data, start, packed), size, at), start + packed


def read_database(data: bytes, at: int) -> tuple[int, int]:
    """The number of a logical database at *at*, and the offset after it.

    Raises:
        CutError: it is not all there.
        FormatError: no server can have such a database.
    """
    number, end = read_length(data, at)
    if number >= _ANY_DB:
        message = f"database {number} at offset {at} cannot be: servers have none above {_ANY_DB - 1}"
        raise FormatError(message, offset=at, db=number)
    return number, end


def string_span(data: bytes, at: int) -> tuple[int, int]:
    """How many bytes the string at *at* has, unpacked (a number: at most), and the offset after it.

    What it holds is not looked at, nor whether it is all there. Raises as `read_length`.
    """
    first = data[at] if at < len(data) else _U32
    if _INTEGER <= first < _LZF:
        width = 1 << (first & 3)
        return _MOST_DIGITS, at + 1 + width
    if first != _LZF:
        size, start = read_length(data, at)
        return size, start + size
    packed, start = read_length(data, at + 1)
    size, start = read_length(data, start)
    return size, start + packed


def _bytes(data: bytes, at: int, size: int) -> bytes:
    if size > CAP_BYTES:
        raise FormatError(f"a string of {size:,} bytes at offset {at} is above {CAP_BYTES:,}", offset=at, size=size)
    if at + size > len(data):
        raise cut(data, at + size)
    return bytes(data[at : at + size])


def _unpacked(packed: bytes, size: int, at: int) -> bytes:
    if size > min(CAP_BYTES, len(packed) * _MOST_PER_BYTE):
        raise FormatError(f"{len(packed):,} bytes of LZF at offset {at} cannot hold {size:,}", offset=at, size=size)
    try:
        data = lzf.decompress(packed, size) if size else b""
    except ValueError:
        data = None
    if data is None or len(data) != size:
        raise FormatError(f"the LZF string at offset {at} does not unpack to {size:,} bytes", offset=at, size=size)
    return bytes(data)


def put_length(number: int) -> bytes:
    """*number* as the shortest length."""
    if number < _SMALL:
        return bytes((number,))
    if number < _MIDDLE:
        return (number | _MIDDLE).to_bytes(2, "big")
    if number < 1 << 32:
        return b"\x80" + number.to_bytes(4, "big")
    return b"\x81" + number.to_bytes(8, "big")


def put_string(data: bytes) -> bytes:
    """*data* as a plain string: neither packed nor a number, since every server reads those."""
    return put_length(len(data)) + data

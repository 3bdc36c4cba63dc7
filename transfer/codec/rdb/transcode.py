"""Bodies in one type, for a server that takes others: as little as possible is taken apart.

    type taken, and it means the same there -> the same bytes
    stream 21, 19 -> 19, 15                 -> nodes and what is pending as they are, counters and times left out
    everything else                         -> decode -> encode

Rule 1: numbers up to 21 mean the same everywhere, later ones within one family.
Rule 2: a listpack that the other family cannot walk (backward.py) is written anew.
Rule 3: a stream of a server without counters (15) goes as it is; the server that loads it makes them.
"""

from __future__ import annotations

from collections.abc import Collection

from transfer.codec.rdb.atoms import read_length
from transfer.codec.rdb.backward import differs_by_family
from transfer.codec.rdb.decode import FIRST_VALKEY_VERSION, decode
from transfer.codec.rdb.encode import UnencodableError, encode
from transfer.codec.rdb.skip import after_string
from transfer.codec.rdb.streams import ACTIVE, COUNTED
from transfer.codec.rdb.streams_out import STREAM_TYPES
from transfer.model.errors import FormatError, UnknownFormError

LAST_SHARED_TYPE = 21
_ID_BYTES, _MOMENT_BYTES = 16, 8
_PENDING_BYTES = _ID_BYTES + _MOMENT_BYTES


def transcode(body: bytes, from_version: int, types: Collection[int], to_version: int) -> bytes:
    """*body* (type byte and value) in one of *types*, as a payload of RDB version *to_version* has it.

    Raises:
        UnencodableError: none of *types* holds the value, or its type is not known here.
        FormatError: *body* does not hold a value.
    """
    kind = body[0]
    same_family = (from_version >= FIRST_VALKEY_VERSION) == (to_version >= FIRST_VALKEY_VERSION)
    as_it_is = same_family or not differs_by_family(body)
    if as_it_is and kind in types and (kind <= LAST_SHARED_TYPE or same_family):
        return body
    if (
        as_it_is
        and kind in STREAM_TYPES
        and (older := max((one for one in STREAM_TYPES if one in types and one < kind), default=0))
    ):
        return bytes((older,)) + _older_stream(body, kind, older)
    try:
        value = decode(body, from_version)
    except UnknownFormError as error:
        raise UnencodableError(error.message) from None
    return encode(value, types, to_version)


class _Cutter:
    """Walks over a stream, keeping what is wanted of it."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = self._kept_from = 1
        self._parts: list[bytes] = []

    def length(self) -> int:
        number, self._at = read_length(self._body, self._at)
        return number

    def string(self) -> None:
        self._at = after_string(self._body, self._at)

    def skip(self, size: int) -> None:
        self._at += size

    def keep(self) -> None:
        """Everything since the last drop is kept."""
        self._parts.append(self._body[self._kept_from : self._at])
        self._kept_from = self._at

    def drop(self) -> None:
        """Everything since the last keep is left out."""
        self._kept_from = self._at

    def joined(self) -> bytes:
        """What was kept, if the body ends here."""
        if self._at != len(self._body):
            raise FormatError(f"no stream: it ends at {self._at} of {len(self._body)} bytes", offset=self._at)
        return b"".join(self._parts)


def _older_stream(body: bytes, kind: int, older: int) -> bytes:
    cutter = _Cutter(body)
    for _ in range(cutter.length()):
        cutter.string()
        cutter.string()
    cutter.length()
    _lengths(cutter, 2)
    cutter.keep()
    if kind >= COUNTED:
        _lengths(cutter, 5)
        _keep_or_drop(cutter, keep=older >= COUNTED)
    groups = cutter.length()
    cutter.keep()
    for _ in range(groups):
        _group(cutter, kind, older)
    return cutter.joined()


def _group(cutter: _Cutter, kind: int, older: int) -> None:
    cutter.string()
    _lengths(cutter, 2)
    cutter.keep()
    if kind >= COUNTED:
        cutter.length()
        _keep_or_drop(cutter, keep=older >= COUNTED)
    for _ in range(cutter.length()):
        cutter.skip(_PENDING_BYTES)
        cutter.length()
    for _ in range(cutter.length()):
        cutter.string()
        cutter.skip(_MOMENT_BYTES)
        cutter.keep()
        if kind >= ACTIVE:
            cutter.skip(_MOMENT_BYTES)
            cutter.drop()
        cutter.skip(_ID_BYTES * cutter.length())
    cutter.keep()


def _lengths(cutter: _Cutter, count: int) -> None:
    for _ in range(count):
        cutter.length()


def _keep_or_drop(cutter: _Cutter, *, keep: bool) -> None:
    if keep:
        cutter.keep()
    else:
        cutter.drop()

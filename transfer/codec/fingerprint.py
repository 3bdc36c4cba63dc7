"""A short digest of a value by which a server is found to hold still what was written to it.

    body (type byte, value) -> exact settings: large sets and hashes 'u' items in one order, others 'r' as they are
                            -> otherwise:      'c' canonical, of the decoded value; what cannot be decoded: 'r'
    a value too large to be held                                'l' as it is read in pieces (endpoint/redis/large.py)

Rule 1: a server that loads a body and gives it back has the order of its own hash tables: those are put in order.
Rule 2: whether it compresses, and packs small values alike, is a matter of its settings: only where they are known to
        be those of the server that made the body is the body itself compared. To decode each costs 10 us more.
Rule 3: the form stands before the digest, so that what is there later is looked at in the same one.
"""

from __future__ import annotations

import msgspec
import xxhash

from transfer.codec import canonical
from transfer.codec.dump import FOOTER_BYTES, version_of
from transfer.codec.rdb.decode import decode_payload
from transfer.codec.unordered import in_order, same_items
from transfer.model.errors import FormatError
from transfer.model.record import NO_DEADLINE, deadlines_match
from transfer.model.value import Value

DIGEST_BYTES = 17
ABSENT = b"-" + bytes(16)
_AS_IS, _ITEMS, _CANONICAL, _PIECES = b"r", b"u", b"c", b"l"
_HASH_TABLES = (2, 4)
"""Types of bodies whose order is that of a hash table: of sets, of hashes."""
_COUNTED = (48, 97, 101, 255)
"""Bytes that are common in values: to count them costs less than to put items in order."""


class Intended(msgspec.Struct, frozen=True, gc=False):
    """What is to stand under a name: the digest of it, and its deadline in Unix ms."""

    digest: bytes
    expire_at_ms: int = NO_DEADLINE


NOTHING = Intended(ABSENT)


def fingerprint(dump: bytes, *, exact: bool) -> bytes:
    """The digest of a DUMP payload. *exact*: whoever gives it back has the settings of who made it."""
    if exact and dump[0] not in _HASH_TABLES:
        return _AS_IS + xxhash.xxh3_128_digest(memoryview(dump)[:-FOOTER_BYTES])
    return _as(_ITEMS if exact else _CANONICAL, dump)


def fingerprints(dumps: list[bytes]) -> bytes:
    """`fingerprint` of each of *dumps*, in one, where whoever gives them back has the settings of who made them."""
    digest = xxhash.xxh3_128_digest
    return b"".join(
        [
            fingerprint(dump, exact=True) if dump[0] in _HASH_TABLES else _AS_IS + digest(dump[:-FOOTER_BYTES])
            for dump in dumps
        ]
    )


def reordered(left: list[bytes | None], right: list[bytes]) -> bool:
    """Whether one of *left* may be the one of *right* beside it but for the order of a hash table."""
    return any(
        ours is not None and ours[0] in _HASH_TABLES and len(ours) == len(theirs) and alike(ours, 0, theirs, 0, 0)
        for ours, theirs in zip(left, right, strict=True)
    )


def of_value(value: Value) -> bytes:
    """The digest of a value."""
    return _CANONICAL + canonical.digest(value)


def of_pieces(digest: bytes) -> bytes:
    """The digest of a value that was read piece by piece, from what that came to."""
    return _PIECES + digest


def of_body(digest: bytes) -> bytes:
    """The digest of a payload that was hashed as it came, from the xxh3-128 of its body."""
    return _AS_IS + digest


def by_pieces(wanted: Intended) -> bool:
    """Whether what is there must be read piece by piece to be compared."""
    return wanted.digest[:1] == _PIECES


def matches(
    dump: bytes | None,
    expire_at_ms: int,
    wanted: Intended,
    now_ms: int,
    tolerance_ms: int = 0,
    found_digest: bytes = b"",
) -> bool:
    """Whether a name that holds *dump* (None: nothing) until *expire_at_ms* holds what was *wanted*.

    *found_digest*: of a value that was read piece by piece; then *dump* may be empty. What has reached its deadline is
    gone as it should be.
    """
    if dump is None:
        return wanted.digest == ABSENT or NO_DEADLINE < wanted.expire_at_ms <= now_ms
    if wanted.digest == ABSENT or not deadlines_match(expire_at_ms, wanted.expire_at_ms, tolerance_ms):
        return False
    if by_pieces(wanted) or not dump:
        return found_digest == wanted.digest
    return _as(wanted.digest[:1], dump) == wanted.digest


def alike(left: bytes, left_ms: int, right: bytes, right_ms: int, tolerance_ms: int) -> bool:
    """Whether two payloads, with deadlines, are the same but for the order of items: nothing is decoded."""
    if not deadlines_match(left_ms, right_ms, tolerance_ms):
        return False
    ours, theirs = left[:-FOOTER_BYTES], right[:-FOOTER_BYTES]
    if ours == theirs:
        return True
    if len(ours) != len(theirs) or any(ours.count(byte) != theirs.count(byte) for byte in _COUNTED):
        return False  # other bytes: no order of items makes them the same
    return same_items(ours, theirs) is not None


def same_value(left: bytes, right: bytes) -> bool:
    """Whether two payloads hold one value, however they are packed."""
    return left == right or _as(_CANONICAL, left) == _as(_CANONICAL, right)


def _as(form: bytes, dump: bytes) -> bytes:
    body = memoryview(dump)[:-FOOTER_BYTES]
    if form == _ITEMS and (items := in_order(bytes(body))) is not None:
        return _ITEMS + xxhash.xxh3_128_digest(b"".join(items))
    if form == _CANONICAL:
        try:
            version_of(dump)
            return of_value(decode_payload(dump))
        except FormatError:
            pass  # a module's, or a type of later servers
    return _AS_IS + xxhash.xxh3_128_digest(body)

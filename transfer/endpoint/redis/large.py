"""A string too large to be taken whole, hashed piece by piece.

    TYPE, STRLEN, deadline -> GETRANGE 4 MiB ... -> xxh3-128 of it all

The pieces are of different moments: a writer in between shows as a difference, never as equality by accident
of the same bytes. Other types are not read in pieces: SSCAN and its like may repeat items.
"""

from __future__ import annotations

import msgspec
import xxhash

from transfer.codec import resp
from transfer.model.endpoint import Features
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import Link

_PIECE_BYTES = 4 << 20


class LargeValue(msgspec.Struct, frozen=True):
    """What a large key holds: its type, hash and length of its bytes if that is `string`, and until when.

    `kind` is `none` where there is no such key.
    """

    kind: str
    digest: bytes
    size_bytes: int
    expire_at_ms: int


async def read_large(link: Link, key: bytes, features: Features) -> LargeValue:
    """Hash the string at *key*; of another type, only its name is hashed."""
    answer = await link.command("TYPE", key)
    kind = answer.decode("ascii", "backslashreplace") if isinstance(answer, bytes) else str(answer)
    size = await link.command("STRLEN", key) if kind == "string" else 0
    deadline = await _deadline(link, key, features)
    digest = xxhash.xxh3_128(kind.encode())
    for start in range(0, size if isinstance(size, int) else 0, _PIECE_BYTES):
        piece = await link.command("GETRANGE", key, start, start + _PIECE_BYTES - 1)
        digest.update(piece if isinstance(piece, bytes) else b"")
    return LargeValue(kind, digest.digest(), size, deadline)


async def _deadline(link: Link, key: bytes, features: Features) -> int:
    """Absolute, in ms; before 7.0 within the few microseconds between TIME and PTTL."""
    if features.pexpiretime:
        return max(NO_DEADLINE, int(await link.command("PEXPIRETIME", key)))
    (seconds, micros), ttl = await link.ask(resp.TIME + resp.command("PTTL", key), 2)
    return int(seconds) * 1000 + int(micros) // 1000 + ttl if ttl >= 0 else NO_DEADLINE

"""What an archive gives, in the order it stands there.

Head (Facts | Keys | Tombstones | Note | LargeKey Piece ... LargeEnd)* KeyMap* Index Manifest End
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from transfer.codec.archive.frames import Frame
from transfer.codec.rdb import items as rdb
from transfer.codec.rdb.items import LargeEnd, Piece, Use

_FEW = msgspec.Meta(max_length=1 << 16)


class AsOf(msgspec.Struct, frozen=True):
    """Whose data it is, Unix ms: of one `instant`, or read key by key from then `to` then (None: not known)."""

    kind: Literal["instant", "interval"]
    from_ms: int
    to_ms: int | None = None


class Head(msgspec.Struct, frozen=True):
    """Who made it, of what; nothing secret. `filters` are words for people, `purpose` is `export` or `undo`."""

    made_by: str
    created_ms: int
    vendor: str
    server_version: str
    as_of: AsOf
    filters: list[str] = msgspec.field(default_factory=list)
    purpose: str = "export"
    extra: dict[str, str] = msgspec.field(default_factory=dict)


class Facts(msgspec.Struct, frozen=True):
    """What is known of the server, by name, and the sources of its function libraries as FUNCTION LOAD takes them."""

    server: Annotated[dict[str, str], _FEW] = msgspec.field(default_factory=dict)
    functions: Annotated[list[bytes], _FEW] = msgspec.field(default_factory=list)


class Columns(msgspec.Struct):
    """Keys of one database, column by column.

    `version` is the RDB version of the bodies, which are type byte and value: to RESTORE only a footer lacks.
    `deadlines` are Unix times in ms, -1: none; no items at all where no key has one (a reader fills them in).
    `uses` are seconds since the last use (`use` is idletime) or how often (freq), -1 where unknown; empty: none told.
    """

    db: int
    version: int
    keys: list[bytes]
    bodies: list[bytes]
    deadlines: list[int] = msgspec.field(default_factory=list)
    uses: list[int] = msgspec.field(default_factory=list)
    use: Use = ""


class Keys(Columns, kw_only=True):
    """Columns as read, with the frame they came in; `deadlines` has an item for every key."""

    frame: Frame


class LargeKey(rdb.LargeKey, frozen=True, kw_only=True):
    """A key whose body follows in pieces, up to `LargeEnd`; `version` is the RDB version of it."""

    version: int


class Tombstones(msgspec.Struct, frozen=True):
    """Names that are known not to exist in database `db`."""

    db: int
    keys: list[bytes]


class Note(msgspec.Struct, frozen=True):
    """Something a program left for itself; others pass it over."""

    name: str
    data: bytes


class Manifest(msgspec.Struct, frozen=True):
    """What all of it is, told at the end.

    `dbs`: database -> type name -> keys. `plain_bytes` and `stored_bytes` are those of the frames of keys.
    `sums`: 256 x 16 bytes, see tally.py. `sha256` is of every byte before the manifest's frame, of which `frames` are
    there. `repeated_keys`: names that stand in it more than once, None if nobody counted. `digests`: others, by name.
    """

    as_of: AsOf
    keys: int
    with_deadline: int
    tombstones: int
    dbs: dict[int, dict[str, int]]
    plain_bytes: int
    stored_bytes: int
    frames: int
    sums: bytes
    sha256: bytes
    repeated_keys: int | None = None
    digests: dict[str, str] = msgspec.field(default_factory=dict)


class End(msgspec.Struct, frozen=True):
    """The last frame, of fixed size: offsets of the index, the manifest and itself, and the number of keys."""

    index_offset: int
    manifest_offset: int
    end_offset: int
    keys: int


class Unknown(msgspec.Struct, frozen=True):
    """A frame of a later version that may be passed over."""

    frame: Frame


__all__ = [
    "AsOf", "Columns", "End", "Facts", "Head", "Keys", "LargeEnd", "LargeKey", "Manifest", "Note", "Piece",
    "Tombstones", "Unknown", "Use",
]  # fmt: skip

"""What an RDB file gives, in the order it stands there.

Header (Aux | Function | Skipped | DbSizes | Keys | LargeKey Piece ... LargeEnd) ... End
"""

from __future__ import annotations

from typing import Literal

import msgspec

Use = Literal["", "idletime", "freq"]
"""How a server counts the use of keys; "" where none is told."""


class Header(msgspec.Struct, frozen=True):
    """The first nine bytes: `family` is redis or valkey, `version` the RDB version of every value."""

    family: Literal["redis", "valkey"]
    version: int


class Aux(msgspec.Struct, frozen=True):
    """A note of the server that wrote the file: redis-ver, ctime, repl-id, lua ..."""

    name: bytes
    value: bytes


class Function(msgspec.Struct, frozen=True):
    """The source of one library, as FUNCTION LOAD takes it."""

    code: bytes


class Skipped(msgspec.Struct, frozen=True):
    """What is no key and was passed over: `what` in words, where it began, and its size."""

    what: str
    offset: int
    size_bytes: int


class DbSizes(msgspec.Struct, frozen=True):
    """How many keys, and keys with a deadline, the database that follows is said to hold."""

    db: int
    keys: int
    volatile: int


class Keys(msgspec.Struct):
    """Keys of one database in the order of the file, column by column.

    `bodies` are type byte and value, to which only a footer lacks for RESTORE. `deadlines` are Unix times in ms, -1:
    none. `uses` are seconds since the last use (`use` is idletime) or how often (freq), -1 where unknown; no items at
    all where the file tells none. `offset` is the file's offset after the last of them. `starts`, if they were asked
    for, are the offsets before each, from which a reader can go on.
    """

    db: int
    keys: list[bytes]
    bodies: list[bytes]
    deadlines: list[int]
    uses: list[int]
    use: Use
    offset: int
    starts: list[int] = msgspec.field(default_factory=list)


class LargeKey(msgspec.Struct, frozen=True):
    """A key whose value is above the limit: its body follows in `Piece`s, up to `LargeEnd`.

    `kind` is the type byte; `use_value` is as in `Keys.uses`, -1 for none.
    """

    db: int
    key: bytes
    kind: int
    deadline: int
    use_value: int
    use: Use


class Piece(msgspec.Struct, frozen=True):
    """The next bytes of the body; the first piece begins with the type byte."""

    data: bytes


class LargeEnd(msgspec.Struct, frozen=True):
    """The body is whole: so many bytes, and the file's offset after it."""

    size_bytes: int
    offset: int


class End(msgspec.Struct, frozen=True):
    """The end mark, and what its checksum says: right, `zero` (not computed by who wrote it), or none (version < 5).

    A wrong one is a ChecksumError instead. `offset` is the size of the RDB.
    """

    checksum: Literal["right", "zero", "none"]
    offset: int


Item = Header | Aux | Function | Skipped | DbSizes | Keys | LargeKey | Piece | LargeEnd | End

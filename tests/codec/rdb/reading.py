"""What a reader gives for some bytes, in a shape that tests can compare."""

from __future__ import annotations

from typing import Any

import msgspec

from transfer.codec.rdb.items import End, Header, Item, Keys, LargeEnd, LargeKey, Piece
from transfer.codec.rdb.reader import RdbReader
from transfer.model.errors import FormatError

Entry = tuple[int, bytes, bytes, int, int]
"""(db, key, body, deadline, use)"""


class Read(msgspec.Struct):
    """All of one file; large values are joined and marked by their place in `large`."""

    header: Header | None = None
    entries: list[Entry] = []
    large: list[bytes] = []
    others: list[Item] = []
    end: End | None = None
    error: FormatError | None = None
    trailing: int = 0
    most_held: int = 0

    def seen(self) -> tuple[Any, ...]:
        """Everything that must not depend on how the bytes were cut."""
        error = (type(self.error), str(self.error), self.error.facts) if self.error else None
        return self.header, self.entries, self.large, self.others, self.end, error, self.trailing


def read(data: bytes, step: int = 1 << 20, **limits: int) -> Read:
    """Feed *data* in pieces of *step* bytes and gather what comes."""
    reader, found = RdbReader(**limits), Read()
    begun: LargeKey | None = None
    pieces: list[bytes] = []
    try:
        for start in range(0, len(data), step):
            reader.feed(data[start : start + step])
            for item in reader.take():
                if isinstance(item, Keys):
                    assert len(item.keys) == len(item.bodies) == len(item.deadlines)
                    uses = item.uses or [-1] * len(item.keys)
                    found.entries += zip(
                        [item.db] * len(uses), item.keys, item.bodies, item.deadlines, uses, strict=True
                    )
                elif isinstance(item, LargeKey):
                    begun, pieces = item, []
                elif isinstance(item, Piece):
                    pieces.append(item.data)
                    found.most_held = max(found.most_held, len(item.data))
                elif isinstance(item, LargeEnd):
                    assert begun is not None
                    body = b"".join(pieces)
                    assert item.size_bytes == len(body)
                    assert body[0] == begun.kind
                    found.entries.append((begun.db, begun.key, body, begun.deadline, begun.use_value))
                    found.large.append(begun.key)
                elif isinstance(item, Header):
                    found.header = item
                elif isinstance(item, End):
                    found.end = item
                else:
                    found.others.append(item)
        reader.finish()
    except FormatError as error:
        found.error = error
    found.trailing = reader.trailing_bytes
    return found

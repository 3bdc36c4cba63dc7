"""Is every value of a file sound? Its structure and checksum are looked at by opening it; here each value is decoded.

DataFile.open -> every block -> decode each body -> Unsound: which key, where it begins, what does not hold
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat

import msgspec

from transfer.codec.dump import MODULE_TYPES
from transfer.codec.rdb.decode import decode
from transfer.endpoint.file.block import Block, Walk
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.file.index import NameIndex
from transfer.model.errors import FormatError, UnknownFormError
from transfer.model.value import Value

_LISTED = 1000
OnValues = Callable[[Block, Iterator[Value | None]], None]
"""Takes the values of a block, one by one; None for one that cannot be decoded."""


class Unsound(msgspec.Struct, frozen=True):
    """One key whose value does not hold. `offset` is where its entry begins in the file."""

    db: int
    key: bytes
    offset: int
    cause: str


class Soundness(msgspec.Struct):
    """What came of it: values decoded, values that only a module or a newer program could read, and those unsound."""

    decoded: int = 0
    opaque: int = 0
    unsound: int = 0
    first: list[Unsound] = msgspec.field(default_factory=list)
    on_values: OnValues | None = None

    def add(self, block: Block) -> None:
        """Decode all values of *block*."""
        values = map(self._value, repeat(block), range(len(block.keys)))
        if self.on_values is not None:
            self.on_values(block, values)
        for _ in values:  # those that nobody took
            pass

    def _value(self, block: Block, at: int) -> Value | None:
        body = block.bodies[at]
        if body[0] in MODULE_TYPES:
            self.opaque += 1
            return None
        try:
            value = decode(body, block.version)
        except UnknownFormError:
            self.opaque += 1
        except FormatError as error:
            self.unsound += 1
            if len(self.first) < _LISTED:
                self.first.append(Unsound(block.db, block.keys[at], block.starts[at], error.message))
        else:
            self.decoded += 1
            return value
        return None


async def check_values(
    walk: Walk, index: NameIndex | None = None, on_values: OnValues | None = None
) -> tuple[DataFile, Soundness]:
    """The file, looked through, and what its values are; *on_values* is given them. Raises as `DataFile.open`."""
    found = Soundness(on_values=on_values)
    file = await DataFile.open(walk, index=index, starts=True, on_block=found.add)
    return file, found

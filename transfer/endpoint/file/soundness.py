"""Is every value of a file sound? Its structure and checksum are looked at by opening it; here each value is decoded.

DataFile.open -> every block -> decode each body -> Unsound: which key, where it begins, what does not hold
"""

from __future__ import annotations

import msgspec

from transfer.codec.dump import MODULE_TYPES
from transfer.codec.rdb.decode import decode
from transfer.endpoint.file.block import Block, Walk
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.file.index import NameIndex
from transfer.model.errors import FormatError, UnknownFormError

_LISTED = 1000


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

    def add(self, block: Block) -> None:
        """Decode all values of *block*."""
        for at, body in enumerate(block.bodies):
            if body[0] in MODULE_TYPES:
                self.opaque += 1
                continue
            try:
                decode(body, block.version)
                self.decoded += 1
            except UnknownFormError:
                self.opaque += 1
            except FormatError as error:
                self.unsound += 1
                if len(self.first) < _LISTED:
                    self.first.append(Unsound(block.db, block.keys[at], block.starts[at], error.message))


async def check_values(walk: Walk, index: NameIndex | None = None) -> tuple[DataFile, Soundness]:
    """The file, looked through, and what its values are. Raises as `DataFile.open`."""
    found = Soundness()
    file = await DataFile.open(walk, index=index, starts=True, on_block=found.add)
    return file, found

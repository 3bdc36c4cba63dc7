"""How an RDB file is written: header, AUX, functions, then databases with their keys, end and checksum."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from transfer.codec.archive.items import AsOf, Columns
from transfer.codec.rdb.items import Keys
from transfer.codec.rdb.writer import RdbWriter
from transfer.endpoint.rdb.walk import AS_OF, RdbWalk


class RdbForm:
    """As `file.sink.Form`. One *version* for all keys: that of the source's payloads."""

    def __init__(self, version: int, aux: dict[bytes, bytes], functions: list[bytes]) -> None:
        self._head = (version, aux, functions)
        self._writer = RdbWriter(version)
        self._db: int | None = None

    def begin(self) -> bytes:
        _, aux, functions = self._head
        parts = [self._writer.header()]
        parts += [self._writer.aux(name, value) for name, value in aux.items()]
        parts += [self._writer.function(code) for code in functions]
        return b"".join(parts)

    async def keys(self, columns: Columns) -> bytes:
        selected = b""
        if columns.db != self._db:
            selected, self._db = self._writer.select_db(columns.db), columns.db
        names, bodies, deadlines = columns.keys, columns.bodies, columns.deadlines
        return selected + self._writer.keys(Keys(columns.db, names, bodies, deadlines, columns.uses, columns.use, 0))

    async def end(self, as_of: AsOf | None, repeated: int) -> AsyncIterator[bytes]:
        if as_of is not None:
            yield self._writer.aux(AS_OF, f"{as_of.kind} {as_of.from_ms} {as_of.to_ms or as_of.from_ms}".encode())
        yield self._writer.end()

    def anew(self) -> RdbForm:
        return RdbForm(*self._head)

    def walk(self, path: Path) -> RdbWalk:
        return RdbWalk(path)

    def close(self) -> None:
        """There is nothing to let go of."""

"""How lines of JSON are written: each key decoded, a line for it. Idle times and functions are not in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from transfer.codec.archive.items import AsOf, Columns
from transfer.codec.archive.tally import type_of
from transfer.codec.jsonl import Row, put_head, put_row
from transfer.codec.rdb.decode import decode
from transfer.endpoint.jsonl.walk import JsonlWalk
from transfer.model.errors import FormatError
from transfer.model.value import Value


class JsonlForm:
    """As `file.sink.Form`."""

    def begin(self) -> bytes:
        return put_head()

    async def keys(self, columns: Columns) -> bytes:
        rows = zip(columns.keys, columns.bodies, columns.deadlines, strict=True)
        return b"".join([put_row(_row(columns, *row)) for row in rows])

    async def end(self, as_of: AsOf | None, repeated: int) -> AsyncIterator[bytes]:
        for data in tuple[bytes, ...]():
            yield data

    def anew(self) -> JsonlForm:
        return JsonlForm()

    def walk(self, path: Path) -> JsonlWalk:
        return JsonlWalk(path)

    def close(self) -> None:
        """There is nothing to let go of."""


def _row(columns: Columns, key: bytes, body: bytes, deadline: int) -> Row:
    """What cannot be decoded here, a module's value or a newer type, goes as its bytes."""
    value: Value | None
    try:
        value = decode(body, columns.version)
    except FormatError:
        value = None
    return Row(columns.db, key, type_of(body[0], columns.version), value, deadline, body, columns.version)

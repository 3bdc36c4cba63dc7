"""Keys as lines of JSON, `name.jsonl`: for people and other programs, and back without loss.

    {"format":"transfer-jsonl","version":1}
    {"db":0,"key":"user:1","type":"hash","expire_at_ms":1900000000000,"value":{"name":"Ann","raw":{"b64":"/w=="}}}

    TEXT: a string where the bytes are UTF-8, else {"b64": ...}            ID: "milliseconds-sequence"
    string  TEXT            list, set  [TEXT, ...]
    hash    {"field": TEXT, ...}, or [[TEXT, TEXT], ...] if a field is no UTF-8; zset likewise with scores,
            of which the infinite ones are "inf" and "-inf"; "field_expire_at_ms" beside "value", likewise
    stream  {"entries": [[ID, [TEXT, ...]], ...], "last_id": ID, "entries_added": n, "max_deleted_id": ID, "groups":
            [{"name": TEXT, "last_id": ID, "entries_read": n, "consumers": [TEXT],
              "pending": [[ID, TEXT, ms, n], ...]}]}
    else    no "value", but "body" (TEXT: type byte and value) and "rdb_version"

Rule 1: `expire_at_ms` is left out where the key has no deadline; counters that are not known are null.
Rule 2: reading is by type: what has another shape, is there twice or would not load into a server is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
from msgspec.json import Decoder, Encoder

from transfer.codec.json_values import Moments, Text, bytes_of, mapping, plain, text_of, value_of, with_deadlines
from transfer.model.errors import CutError, FormatError, UnknownFormError
from transfer.model.record import NO_DEADLINE
from transfer.model.value import HashValue, Value

FORMAT, VERSION = "transfer-jsonl", 1
MOST_LINE_BYTES = 1 << 30


class Row(msgspec.Struct, frozen=True):
    """One key. `value` is None where its type is not known; then `body`, of RDB version `version`, is what it holds."""

    db: int
    key: bytes
    type: str
    value: Value | None
    expire_at_ms: int = NO_DEADLINE
    body: bytes = b""
    version: int = 0


class _Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    db: int
    key: Text
    type: str
    expire_at_ms: int | None = None
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    field_expire_at_ms: Moments | None = None
    body: Text | None = None
    rdb_version: int | None = None


class _Head(msgspec.Struct):
    format: str
    version: int


_encode = Encoder().encode
_line, _head = Decoder(_Line), Decoder(_Head)


def put_head() -> bytes:
    """The first line."""
    return _encode(_Head(FORMAT, VERSION)) + b"\n"


def check_head(line: bytes) -> None:
    """Raises FormatError: *line* is not the first of such a file; UnknownFormError: it is of a later version."""
    try:
        head = _head.decode(line)
    except (msgspec.MsgspecError, RecursionError):
        head = _Head("", 0)
    if head.format != FORMAT:
        raise FormatError(f'line 1 is not {{"format":"{FORMAT}","version":{VERSION}}}', line=1, offset=0)
    if head.version != VERSION:
        raise UnknownFormError(f"version {head.version} of {FORMAT} (line 1) is not known", line=1, offset=0)


def put_row(row: Row) -> bytes:
    """Its line."""
    line = _Line(row.db, text_of(row.key), row.type)
    if row.expire_at_ms != NO_DEADLINE:
        line.expire_at_ms = row.expire_at_ms
    if row.value is None:
        line.body, line.rdb_version = text_of(row.body), row.version
    else:
        line.value = msgspec.Raw(_encode(plain(row.value)))
        if isinstance(row.value, HashValue) and row.value.deadlines:
            line.field_expire_at_ms = mapping(row.value.deadlines)
    return _encode(line) + b"\n"


def read_row(line: bytes, number: int = 0, offset: int = 0) -> Row:
    """The key of *line*, which is the *number*th of its file and begins at *offset*. Raises FormatError."""
    try:
        return _row(_line.decode(line))
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise FormatError(f"line {number} (offset {offset}) is no key: {error}", line=number, offset=offset) from None


class JsonlReader:
    """Cuts such a file into rows; any cut of the bytes gives the same.

    *passes_over*: told of a line that is no key, which ends the reading otherwise.

    Attributes:
        offset: where the line of the row given last begins; once all is taken, where the next one does.
        line: its number.
    """

    def __init__(
        self, *, cap_bytes: int = MOST_LINE_BYTES, passes_over: Callable[[FormatError], None] | None = None
    ) -> None:
        self.offset, self.line = 0, 0
        self._passes_over = passes_over
        self._fed: list[bytes] = []
        self._waiting, self._cap = 0, cap_bytes

    def going_on(self, offset: int) -> JsonlReader:
        """The same reader for bytes from *offset* on, where a line begins that is not the first."""
        self.offset, self.line = offset, 1
        return self

    def feed(self, data: bytes) -> None:
        """Add received bytes; checks nothing."""
        if data:
            self._fed.append(bytes(data))
            self._waiting += len(data)

    def take(self) -> Iterator[Row]:
        """Yield the row of every whole line. Raises FormatError: with number and offset of the line."""
        if self._fed and b"\n" in self._fed[-1]:
            *lines, rest = b"".join(self._fed).split(b"\n")
            self._fed, self._waiting = [rest] if rest else [], len(rest)
            for line in lines:
                yield from self._read(line)
        if self._waiting > self._cap:
            message = f"line {self.line + 1} (offset {self.offset}) is longer than {self._cap:,} bytes"
            raise FormatError(message, line=self.line + 1, offset=self.offset)

    def finish(self) -> None:
        """No more bytes come. Raises CutError: they ended inside a line, or before the first."""
        if self._waiting or not self.line:
            size = self.offset + self._waiting
            message = f"cut: the file ends at offset {size:,}, inside line {self.line + 1}"
            raise CutError(message, offset=size, line=self.line + 1)

    def _read(self, line: bytes) -> Iterator[Row]:
        self.line += 1
        if self.line == 1:
            check_head(line)
        elif line.strip():
            yield from self._row(line)
        self.offset += len(line) + 1

    def _row(self, line: bytes) -> Iterator[Row]:
        try:
            row = read_row(line, self.line, self.offset)
        except FormatError as error:
            if self._passes_over is None:
                raise
            self._passes_over(error)
        else:
            yield row


def _row(line: _Line) -> Row:
    until = NO_DEADLINE if line.expire_at_ms is None else line.expire_at_ms
    if not 0 <= line.db < 1 << 31 or not -(1 << 63) <= until < 1 << 63:
        raise ValueError("db or expire_at_ms is out of range")
    key = bytes_of(line.key)
    if line.value is msgspec.UNSET:
        if line.body is None or line.rdb_version is None or not 0 < line.rdb_version < 1 << 16 or not line.body:
            raise ValueError("there is neither a value nor a body with its RDB version")
        return Row(line.db, key, line.type, None, until, bytes_of(line.body), line.rdb_version)
    if line.body is not None or line.rdb_version is not None:
        raise ValueError("there is a body beside the value")
    value = value_of(line.type, line.value)
    if line.field_expire_at_ms is not None:
        value = with_deadlines(value, line.field_expire_at_ms)
    return Row(line.db, key, line.type, value, until)

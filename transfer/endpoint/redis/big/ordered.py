"""Rows in order, however many: sorted a part at a time, beyond that on disk, merged when they are read.

    rows -> held -> sorted -> run in a nameless file ... -> merge -> each row once, in order

Rule 1: a row is two byte strings; rows are in the order of the first, equal ones are given once.
Rule 2: the file is mode 0600, has no name, and is gone with the process.
"""

from __future__ import annotations

import heapq
import struct
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

from transfer.model.errors import LimitError

Row = tuple[bytes, bytes]
_lengths = struct.Struct(">II")
_READ_BYTES = 1 << 16
_ROW_BYTES = 150
"""What a row takes as Python objects beside its bytes."""


class OrderedRows:
    """Takes rows, then gives them in order, once. *most_bytes* are held in memory.

    Raises, everywhere: LimitError: there is no room in *spill_dir* ("": the system's folder).
    """

    def __init__(self, spill_dir: str, most_bytes: int) -> None:
        self._spill_dir, self._most_bytes = spill_dir or None, most_bytes
        self._held: list[Row] = []
        self._held_bytes = 0
        self._file: IO[bytes] | None = None
        self._ends: list[int] = []

    def add(self, rows: Iterable[Row]) -> None:
        """Take *rows*."""
        for row in rows:
            self._held.append(row)
            self._held_bytes += len(row[0]) + len(row[1]) + _ROW_BYTES
        if self._held_bytes > self._most_bytes:
            self._spill()

    def rows(self) -> Iterator[Row]:
        """All of them, in order; equal ones once."""
        self._held.sort()
        runs = zip([0, *self._ends], self._ends, strict=False)
        last: Row | None = None
        for row in heapq.merge(self._held, *(self._run(start, end) for start, end in runs)):
            if row != last:
                yield row
            last = row

    def close(self) -> None:
        """Let go of memory and file."""
        self._held = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def _spill(self) -> None:
        self._held.sort()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._spill_dir, buffering=1 << 20)  # noqa: SIM115 - `close`
            file = self._file
            for first, second in self._held:
                file.write(_lengths.pack(len(first), len(second)) + first + second)
            self._ends.append(file.tell())
        except OSError as error:
            text = f"items of a large value cannot be put in order: {error.strerror}"
            raise LimitError(text, where=self._spill_dir or tempfile.gettempdir(), hint="--spill-dir DIR") from None
        self._held, self._held_bytes = [], 0

    def _run(self, start: int, end: int) -> Iterator[Row]:
        rest = b""
        while start < end:
            data = rest + self._read(start, min(end, start + max(_READ_BYTES, 2 * len(rest))))
            start += len(data) - len(rest)
            at = 0
            while len(data) - at >= _lengths.size:
                first, second = _lengths.unpack_from(data, at)
                middle = at + _lengths.size + first
                if middle + second > len(data):
                    break
                yield data[at + _lengths.size : middle], data[middle : middle + second]
                at = middle + second
            rest = data[at:]

    def _read(self, start: int, end: int) -> bytes:
        assert self._file is not None
        self._file.seek(start)
        return self._file.read(end - start)

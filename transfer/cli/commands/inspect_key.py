"""One key of an archive: `inspect FILE --key NAME`, out of the block that holds it.

ArchiveLookup -> FoundKey -> type, deadline, size, digest -> lines, data
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transfer.cli.outcome import Outcome
from transfer.codec.archive.tally import type_of
from transfer.codec.canonical import digest
from transfer.codec.jsonl import Row, put_row
from transfer.codec.rdb.decode import decode
from transfer.endpoint.archive.lookup import ArchiveLookup, FoundKey
from transfer.endpoint.file.file import failures_of
from transfer.model.errors import FormatError
from transfer.model.record import NO_DEADLINE
from transfer.model.units import show_bytes, show_moment, show_ms
from transfer.model.value import Value
from transfer.report.names import printable, shown_name

NOT_THERE = 6


async def run_inspect_key(path: str, key: bytes, db: int) -> Outcome:
    """Lines, data and exit code: 6 where there is no such key.

    Raises:
        FormatError: what was read of the file is damaged, or it has no end.
        FileMissingError: it cannot be read.
    """
    began = time.monotonic()
    with failures_of(Path(path)):
        found = ArchiveLookup(Path(path)).find(db, key)
    seconds = round(time.monotonic() - began, 4)
    if found is None:
        return [f"there is no key {shown_name(key)} in db {db} of {printable(path)}"], {"found": False}, NOT_THERE
    value, problem = _value(found)
    return _lines(path, found, value, problem), {**_data(found, value, problem), "seconds": seconds}, 0


def _value(found: FoundKey) -> tuple[Value | None, str]:
    try:
        return decode(found.body, found.version), ""
    except FormatError as error:
        return None, error.message


def _lines(path: str, found: FoundKey, value: Value | None, problem: str) -> list[str]:
    left = found.deadline_ms - int(time.time() * 1000)
    until = "no deadline"
    if found.deadline_ms != NO_DEADLINE:
        until = f"until {show_moment(found.deadline_ms)}, " + (
            f"in {show_ms(left)}" if left > 0 else "which has passed"
        )
    used = f"; {found.use} {found.use_value}" if found.use else ""
    lines = [
        f"{shown_name(found.key)}  db {found.db} of {printable(path)}",
        f"  {type_of(found.body[0], found.version)}, {until}{used}",
        f"  {show_bytes(len(found.body))} of RDB version {found.version}, type {found.body[0]}; in the block at offset "
        f"{found.offset:,}, {found.blocks_read} read",
    ]
    return [*lines, f"  canonical digest {digest(value).hex()}" if value is not None else f"  not decoded: {problem}"]


def _data(found: FoundKey, value: Value | None, problem: str) -> dict[str, Any]:
    kind = type_of(found.body[0], found.version)
    row = Row(found.db, found.key, kind, value, found.deadline_ms, found.body, found.version)
    return {
        "found": True,
        "row": put_row(row).decode().strip(),
        "type": kind,
        "rdb_version": found.version,
        "rdb_type": found.body[0],
        "payload_bytes": len(found.body),
        "expire_at_ms": found.deadline_ms if found.deadline_ms != NO_DEADLINE else None,
        "digest": digest(value).hex() if value is not None else None,
        "problem": problem,
        "block_offset": found.offset,
        "blocks_read": found.blocks_read,
    }

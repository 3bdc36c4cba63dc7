"""Is a file whole? `verify FILE`.

file, read to its end -> structure, checksums, names, values -> lines for people, data for programs
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from transfer.cli.commands.inspect_file import file_data
from transfer.cli.outcome import Outcome
from transfer.cli.render.summary import canonical_line, table_lines
from transfer.codec.canonical import CANONICAL
from transfer.endpoint.archive.missing import what_is_missing
from transfer.endpoint.archive.walk import ArchiveWalk
from transfer.endpoint.file.block import Block
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.file.index import WIDTH_BYTES, NameIndex
from transfer.endpoint.file.instream import name_stdin, received
from transfer.endpoint.file.kinds import walk_of
from transfer.endpoint.file.soundness import Soundness, Unsound, check_values
from transfer.endpoint.jsonl.walk import JsonlWalk
from transfer.model.errors import FormatError
from transfer.model.report import DbTable
from transfer.model.units import show_ms, some
from transfer.model.value import Value
from transfer.pipeline.buckets import BucketStore
from transfer.plan.files import file_side, file_warnings, may_repeat, repeats_text
from transfer.report.names import hashed_name, printable, shown_name
from transfer.verify.values import ValueDigests

_USUAL_DATABASES = 16


async def run_verify_stdin(
    identity: str, spill_dir: str, *, deep: bool, canonical: bool = False, hash_keys: bool = False
) -> Outcome:
    """As `run_verify_file`, of what comes on standard input, which is kept aside that long.

    Raises:
        CutError: nothing comes.
    """
    async with received(spill_dir) as path:
        try:
            return await run_verify_file(
                str(path), identity, spill_dir, deep=deep, canonical=canonical, hash_keys=hash_keys, named="-"
            )
        except FormatError as error:
            name_stdin(error, "send it again; transfer import - URL --salvage takes what is whole")
            raise


async def run_verify_file(
    path: str,
    identity: str = "",
    spill_dir: str = "",
    *,
    deep: bool,
    canonical: bool = False,
    hash_keys: bool = False,
    named: str = "",
) -> Outcome:
    """Lines, data and exit code: structure, checksums, names; with *deep*, and in files that are no archives, values.

    *canonical*: every value, too, and a digest of each database; *named*: what it is called, where that is not
    its path.

    Raises:
        FormatError: the file is damaged, or a value in it does not hold: the first is named, with its offset.
    """
    walk = walk_of(Path(path), identity=identity, deep=deep)
    values = deep or canonical or not isinstance(walk, ArchiveWalk)
    with _Stores(spill_dir) as stores:
        try:
            if values:
                file, found = await check_values(walk, stores.index, stores.add if canonical else None)
            else:
                file, found = await DataFile.open(walk), Soundness()
        except FormatError as error:
            if missing := await what_is_missing(walk_of(Path(path), identity=identity, salvage=True)):
                error.message += f"\n{missing}"
            raise
        tables = stores.digests.tables() if canonical else _counts(file)
    file.named = named
    if found.unsound:
        raise _unsound(file, found, hash_keys=hash_keys)
    _refuse_repeats(file, hash_keys=hash_keys)
    lines, data = _told(file, found, values=values, hash_keys=hash_keys)
    if canonical:
        lines += ["", *table_lines(tables, lambda text, style: text), canonical_line(CANONICAL)]
        data["digest"] = CANONICAL
    return lines, data | {"dbs": msgspec.to_builtins(tables)}, 0


class _Stores:
    """What is remembered of names and values while a file is looked through."""

    def __init__(self, spill_dir: str) -> None:
        self.index = NameIndex(BucketStore(WIDTH_BYTES, spill_dir=spill_dir))
        self.digests = ValueDigests(lambda value_bytes: BucketStore(value_bytes, spill_dir=spill_dir))

    def __enter__(self) -> _Stores:
        return self

    def __exit__(self, *failure: object) -> None:
        self.index.close()
        self.digests.close()

    def add(self, block: Block, values: Iterator[Value | None]) -> None:
        """Count in the values of *block*."""
        self.digests.add(block.db, block.keys, block.bodies, values, block.deadlines)


def _counts(file: DataFile) -> list[DbTable]:
    """What each database holds, without digests."""
    return [DbTable(db, (keys,), (deadlines,), ("",)) for db, (keys, deadlines) in file.counts().items()]


def _told(file: DataFile, found: Soundness, *, values: bool, hash_keys: bool) -> tuple[list[str], dict[str, Any]]:
    """What is said of a file that is whole: lines, and data."""
    warnings = [*file_warnings(file, hash_keys=hash_keys), *_many_databases(file)]
    checked = _values_text(found) if values else "every block, their chain, index and manifest"
    lines = [
        f"WHOLE  {printable(file.where)}: {some(file.keys, 'key')}, {checked}, in {show_ms(file.seconds * 1000)}",
        f"  {file_side(file).about}",
    ]
    if found.opaque:
        which = "value is" if found.opaque == 1 else "values are"
        lines.append(f"  {found.opaque:,} {which} a module's, or of a newer type: the structure alone was checked")
    repeated = file.repeats.count if file.repeats else _repeated(file)
    if repeated and may_repeat(file):
        said = repeats_text(file, hash_keys=hash_keys) or f"{some(repeated, 'key', 'comes', 'come')} again in it"
        lines.append(f"  {said}, as its manifest says: of each the last one holds")
    lines += [f"warning: {text}" for text in warnings]
    data = {"decoded": found.decoded, "opaque": found.opaque, "unsound": 0, "warnings": warnings}
    return lines, {**file_data(file), "repeated": repeated, **data}


def _repeated(file: DataFile) -> int:
    """How many names come again by the manifest of an archive: whoever wrote it has counted them."""
    walk = file.walk
    manifest = walk.manifest if isinstance(walk, ArchiveWalk) else None
    return (manifest.repeated_keys or 0) if manifest is not None else 0


def _refuse_repeats(file: DataFile, *, hash_keys: bool) -> None:
    """
    Raises:
        FormatError: a name stands in it more than once, where whoever made the file cannot have meant that.
    """
    said = repeats_text(file, hash_keys=hash_keys)
    if not said or may_repeat(file) or isinstance(file.walk, JsonlWalk):
        return
    why = "its manifest says that none does" if isinstance(file.walk, ArchiveWalk) else "no server loads such a file"
    hint = f"transfer import {file.where} URL takes the last one of each"
    raise FormatError(f"{said}: {why}", where=file.where, hint=hint)


def _many_databases(file: DataFile) -> list[str]:
    """What a server must be set to that shall take all of them."""
    last = max(file.counts(), default=0)
    if last < _USUAL_DATABASES:
        return []
    text = f"its keys are in databases up to {last}: a server takes them with `databases {last + 1}` or more"
    return [f"{text} ({_USUAL_DATABASES} where nobody set it), or another number by --db {last}:M"]


def _values_text(found: Soundness) -> str:
    """How many values were decoded."""
    if not found.opaque:
        return "every value decoded"
    return f"{found.decoded:,} of {found.decoded + found.opaque:,} values decoded"


def _unsound(file: DataFile, found: Soundness, *, hash_keys: bool) -> FormatError:
    first = found.first[0]
    others = [f"also {_named(it, hash_keys=hash_keys)}" for it in found.first[1:10]]
    more = found.unsound - 1 - len(others)
    lines = [_named(first, hash_keys=hash_keys), *others, *([f"and {more:,} others"] if more > 0 else [])]
    text = f"{found.unsound:,} of {some(file.keys, 'key')} hold no value: " + "\n".join(lines)
    return FormatError(
        text,
        where=file.where,
        hint=f"transfer import {file.where} URL leaves those keys out and lists them",
        offset=first.offset,
        db=first.db,
        unsound=found.unsound,
    )


def _named(one: Unsound, *, hash_keys: bool) -> str:
    name = (hashed_name if hash_keys else shown_name)(one.key)
    return f"db {one.db} key {name} at offset {one.offset:,}: {one.cause}"

"""What is in a file: `inspect FILE`.

file, read to its end -> lines for people, data for programs
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from transfer.cli.commands.inspect import big_data, biggest_lines, span_text
from transfer.cli.outcome import Outcome
from transfer.cli.render.plan import table
from transfer.endpoint.archive.walk import ArchiveWalk
from transfer.endpoint.file.census import PASSED, FileCensus, take_file_census
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.file.kinds import walk_of
from transfer.endpoint.redis.census import SPANS, BigKey
from transfer.model.units import show_bytes, show_ms, some
from transfer.plan.files import checksum_text, file_side, file_warnings
from transfer.report.names import printable, shown_name

_SPAN_ORDER = (PASSED, *(name for name, _ in SPANS), "more", "none")
_AUX_SHOWN_BYTES = 64
_PREFIXES = 10


async def run_inspect_file(path: str, identity: str = "", *, hash_keys: bool = False) -> Outcome:
    """Lines, data and exit code.

    Raises:
        FormatError: the file is damaged.
    """
    file, censuses = await take_file_census(walk_of(Path(path), identity=identity))
    prefixes = _prefixes(censuses, hash_keys=hash_keys)
    biggest = sorted((big for census in censuses for big in census.big_keys(file.vendor)), reverse=True)[:10]
    lines = _head(file)
    for census in censuses:
        lines += ["", *_census_lines(census, file)]
    if biggest:
        lines += ["", *biggest_lines(biggest, "biggest of all keys, by payload", hash_keys=hash_keys)]
    if prefixes:
        rows = [(name, f"{count:,}", f"{count / file.keys:.1%}") for name, count in prefixes.items()]
        lines += ["", "commonest beginnings of names", *table(("prefix", "keys", "share"), rows, left=1)]
    return lines, {**_data(file, censuses, biggest, hash_keys=hash_keys), "prefixes": prefixes}, 0


def _prefixes(censuses: list[FileCensus], *, hash_keys: bool) -> dict[str, int]:
    """The commonest of all databases; none with --hash-keys, since they are parts of names."""
    both = sum((census.prefixes for census in censuses), Counter[bytes]())
    return {} if hash_keys else {f"{shown_name(name)}:": count for name, count in both.most_common(_PREFIXES)}


def _head(file: DataFile) -> list[str]:
    lines = [f"{printable(file.where)}: {len(file.counts())} logical databases, {some(file.keys, 'key')}"]
    lines.append(f"  {file_side(file).about}")
    if file.used_memory_bytes:
        lines.append(f"  the server used {show_bytes(file.used_memory_bytes)} of memory")
    lines += _archive_lines(file)
    if file.walk.functions:
        count = len(file.walk.functions)
        lines.append(f"  {count} function librar{'y' if count == 1 else 'ies'}")
    lines += [f"warning: {text}" for text in file_warnings(file)]
    rows = [
        (str(db), f"{keys:,}", f"{deadlines:,}", f"{deadlines / keys:.1%}")
        for db, (keys, deadlines) in file.counts().items()
    ]
    return [*lines, "", *table(("db", "keys", "with deadline", "share"), rows)] if rows else [*lines, "  no keys"]


def _archive_lines(file: DataFile) -> list[str]:
    """What an archive says of itself."""
    walk = file.walk
    if not isinstance(walk, ArchiveWalk) or walk.head is None or walk.manifest is None:
        return []
    head, manifest = walk.head, walk.manifest
    as_of, ratio = manifest.as_of, manifest.plain_bytes / max(1, file.size_bytes)
    span = show_ms(as_of.to_ms - as_of.from_ms) if as_of.to_ms is not None else "unknown length"
    when = "of one instant" if as_of.kind == "instant" else f"of an interval of {span}"
    lines = [
        f"  made by {printable(head.made_by)}, {when}; {show_bytes(manifest.plain_bytes)} uncompressed, "
        f"{ratio:.1f} times its size",
        f"  {manifest.frames + 2:,} frames; SHA-256 of all before the manifest {manifest.sha256.hex()[:16]}...",
    ]
    return lines + [f"  made with {printable(text)}" for text in head.filters]


def _archive_data(file: DataFile) -> dict[str, Any]:
    walk = file.walk
    if not isinstance(walk, ArchiveWalk) or walk.head is None or walk.manifest is None:
        return {}
    said = msgspec.to_builtins({"head": walk.head, "manifest": walk.manifest})
    said["manifest"] |= {"sha256": walk.manifest.sha256.hex(), "sums": walk.manifest.sums.hex()}
    return {"archive": said}


def _census_lines(census: FileCensus, file: DataFile) -> list[str]:
    kinds, sizes = census.by_type(file.vendor)
    total = sum(kinds.values())
    rows = [
        (
            printable(kind),
            f"{count:,}",
            f"{count / total:.1%}",
            show_bytes(sizes[kind]),
            show_bytes(sizes[kind] / count),
        )
        for kind, count in kinds.most_common()
    ]
    shares = [f"{_span(name)} {census.spans[name] / total:.1%}" for name in _SPAN_ORDER if census.spans[name]]
    return [
        f"database {census.db}, all {some(total, 'key')}",
        *table(("type", "keys", "share", "payload", "each"), rows, left=1),
        f"  time to live: {', '.join(shares)}",
    ]


def _span(name: str) -> str:
    return "deadline passed" if name == PASSED else span_text(name)


def file_data(file: DataFile) -> dict[str, Any]:
    """What a file says of itself, for programs."""
    walk = file.walk
    return {
        "place": file.where,
        "rdb_version": walk.version,
        "vendor": file.vendor,
        "server": file.server,
        "saved_ms": file.saved_ms or None,
        "size_bytes": file.size_bytes,
        "used_memory_bytes": file.used_memory_bytes,
        "checksum": walk.checksum,
        "checksum_said": checksum_text(file),
        "trailing_bytes": walk.trailing_bytes,
        "skipped": file.skipped,
        "functions": len(walk.functions),
        "aux": {_text(name): _text(value[:_AUX_SHOWN_BYTES]) for name, value in walk.aux.items()},
        "keys": file.keys,
        "seconds": round(file.seconds, 3),
        **_archive_data(file),
        "warnings": file_warnings(file),
    }


def _data(file: DataFile, censuses: list[FileCensus], biggest: list[BigKey], *, hash_keys: bool) -> dict[str, Any]:
    dbs = []
    for census in censuses:
        kinds, sizes = census.by_type(file.vendor)
        keys, deadlines = file.counts().get(census.db, (0, 0))
        types = {kind: {"keys": count, "bytes": sizes[kind]} for kind, count in kinds.most_common()}
        spans = {name: census.spans[name] for name in _SPAN_ORDER if census.spans[name]}
        dbs.append({"db": census.db, "keys": keys, "with_deadline": deadlines, "types": types, "time_to_live": spans})
    return {**file_data(file), "dbs": dbs, "biggest": [big_data(big, hash_keys=hash_keys) for big in biggest]}


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")

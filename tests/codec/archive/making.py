"""Small archives for tests, made of everything that one can hold."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from transfer.codec.archive.items import AsOf, Columns, Facts, Head, LargeKey, Note, Tombstones
from transfer.codec.archive.payloads import Item
from transfer.codec.archive.reader import ArchiveReader
from transfer.codec.archive.writer import ArchiveWriter
from transfer.pipeline.buckets import BucketStore

ID = b"an archive's own"
HEAD = Head("tests 1", 1_700_000_000_000, "redis", "7.0.15", AsOf("instant", 1_700_000_000_123), ["--match a*"])
FACTS = Facts({"maxmemory_policy": "noeviction"}, [b"#!lua name=mine\n\xff"])
GONE, NOTE = Tombstones(3, [b"gone", b"\xff"]), Note("program", b"\x00\x01")
LARGE = LargeKey(2, b"large", 4, 1_800_000_000_000, 9, "freq", version=10)
PIECES = [b"\x04" + bytes(range(200)), b"more of it" * 30]


def columns(db: int = 0, size: int = 9, first: int = 0, fill: bytes = b"v") -> Columns:
    """*size* keys, every third with a deadline."""
    numbers = range(first, first + size)
    deadlines = [1_900_000_000_000 + n if n % 3 == 0 else -1 for n in numbers]
    return Columns(db, 10, [b"k:%d" % n for n in numbers], [b"\x00\x05" + fill * (n % 7) for n in numbers], deadlines)


def made(blocks: Iterable[Columns], *, level: int = 3, archive_id: bytes = ID, everything: bool = True) -> list[bytes]:
    """The frames of an archive (the first with the prefix), which has an end."""
    writer = ArchiveWriter(level, marks=BucketStore(0), archive_id=archive_id)
    frames = [writer.begin(HEAD)]
    if everything:
        frames += [writer.facts(FACTS), writer.tombstones(GONE), writer.note(NOTE), writer.large(LARGE)]
        frames += [*map(writer.piece, PIECES), writer.large_end()]
    frames += map(writer.keys, blocks)
    return [*frames, *writer.end(AsOf("interval", 1, 2), repeated_keys=0, digests={"canonical": "0a"})]


def read(data: bytes, *, size: int = 1 << 30, reader: ArchiveReader | None = None) -> list[Item]:
    """Every item of an archive that is fed in pieces of *size*, and said to be whole."""
    reader = reader or ArchiveReader(deep=True)
    items: list[Item] = []
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        items += reader.take()
    reader.finish()
    return items


TEXT = st.binary(max_size=30)
MOMENTS = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def any_columns(draw: st.DrawFn) -> Columns:
    """Keys of any bytes."""
    body = st.binary(min_size=1, max_size=60)
    rows = draw(st.lists(st.tuples(TEXT, body, st.just(-1) | MOMENTS, st.integers(-1, 255)), max_size=12))
    names, bodies, deadlines, uses = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [])
    use = draw(st.sampled_from(["", "idletime", "freq"]))
    return Columns(
        draw(st.integers(0, 99)), draw(st.integers(1, 90)), names, bodies, deadlines, uses if use else [], use
    )

"""The format is what docs/archive-format.md says: a reader made from that page alone, files of released versions."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import xxhash
import zstandard

from tests.codec.archive.making import FACTS, GONE, HEAD, LARGE, NOTE, PIECES, columns, made, read
from transfer.codec.archive.items import Keys, Manifest

GOLDEN = Path(__file__).parent / "golden" / "v1.xfer"
BLOCKS = [columns(), columns(7, 40, fill=b"golden"), columns(0, 30, 100)]
SPREAD, ALL = 0x9E3779B97F4A7C15, (1 << 64) - 1

# ---- a reader that follows the page and nothing else


def plain_frame(data: bytes, at: int) -> tuple[int, int, bytes, int]:
    """(kind, sequence, plain bytes, offset behind it) of the frame at *at*."""
    header = data[at : at + 88]
    sync, kind, flags, zero, sequence, plain, stored = struct.unpack_from("<4sBBHQII", header)
    assert (sync, zero) == (b"\xf5xfr", 0)
    assert xxhash.xxh3_128_digest(header[:72]) == header[72:]
    body = data[at + 88 : at + 88 + stored]
    assert xxhash.xxh3_128_digest(body) == header[56:72]
    if flags & 1:
        assert zstandard.frame_content_size(body) == plain
        body = zstandard.ZstdDecompressor().decompress(body)
    return kind, sequence, body, at + 88 + stored


def walk(data: bytes) -> Iterator[tuple[int, Any, int]]:
    """(kind, what it holds, offset) of every frame, in order and chained."""
    assert data[:12] == bytes.fromhex("89584645520D0A1A") + b"\x01\x00\x00\x00"
    at, expected, previous = 12, 0, bytes(16)
    while at < len(data):
        assert (data[at + 24 : at + 40], data[at + 40 : at + 56]) == (data[36:52], previous)
        kind, sequence, body, after = plain_frame(data, at)
        assert sequence == expected
        yield kind, body if kind in (6, 12) else msgpack.unpackb(body, strict_map_key=False), at
        at, expected, previous = after, expected + 1, data[at + 72 : at + 88]


def name_hash(db: int, name: bytes) -> int:
    return xxhash.xxh3_64_intdigest(name, db * SPREAD & ALL)


def blocks_of(data: bytes, db: int, name: bytes) -> list[bytes]:
    """The blocks that may hold a name, found from the end of the file."""
    index_at, *_ = struct.unpack_from("<QQQQ8s", plain_frame(data, len(data) - 128)[2])
    index = msgpack.unpackb(plain_frame(data, index_at)[2])
    hashed, k, g = name_hash(db, name), index["slot_bits"], index["segment_bits"]
    offset, _size = struct.unpack_from("<QQ", index["segments"], 16 * (hashed >> 64 - g))
    counts, prints, numbers = msgpack.unpackb(plain_frame(data, offset)[2])
    slot = (hashed >> 64 - k) % (1 << k - g)
    number = lambda planes, at: sum(plane[at] << 8 * i for i, plane in enumerate(planes))  # noqa: E731
    first = sum(number(counts, at) for at in range(slot))
    fitting = [at for at in range(first, first + number(counts, slot)) if prints[at] == hashed >> 24 & 255]
    offsets = [struct.unpack_from("<Q", index["offsets"], 8 * number(numbers, at))[0] for at in fitting]
    return [plain_frame(data, at)[2] for at in offsets]


def sums_of(rows: list[tuple[int, bytes, bytes, int]]) -> bytes:
    """The 256 sums of (db, name, body, deadline)."""
    sums = [0] * 256
    for db, name, body, deadline in rows:
        hashed = name_hash(db, name)
        sums[hashed >> 56] += xxhash.xxh3_128_intdigest(body, hashed + (deadline + 1) * SPREAD & ALL)
    return b"".join((total % (1 << 128)).to_bytes(16, "little") for total in sums)


# ---- what it finds


def _check(data: bytes) -> None:
    frames, rows = list(walk(data)), list[tuple[int, bytes, bytes, int]]()
    for kind, found, _ in frames:
        if kind == 3:
            db, _version, names, bodies, deadlines, _use, _uses = found
            rows += zip([db] * len(names), names, bodies, deadlines or [-1] * len(names), strict=True)
    whole = b"".join(found for kind, found, _ in frames if kind == 6)
    assert [found for kind, found, _ in frames if kind == 7] == [[len(whole)]]
    rows.append((LARGE.db, LARGE.key, whole, LARGE.deadline))
    ((manifest, at),) = [(found, at) for kind, found, at in frames if kind == 11]
    assert manifest["sha256"] == hashlib.sha256(data[:at]).digest()
    assert manifest["sums"] == sums_of(rows)
    assert (manifest["keys"], manifest["frames"]) == (len(rows), [kind for kind, _, _ in frames].index(11))
    assert sum(sum(types.values()) for types in manifest["dbs"].values()) == len(rows)
    assert {kind for kind, _, _ in frames} == set(range(1, 13))
    for db, name, _, _ in rows:
        assert any(name in block for block in blocks_of(data, db, name)), name
    assert sum(len(blocks_of(data, 5, b"absent:%d" % n)) for n in range(200)) < 20


def test_a_reader_made_from_the_page_alone_reads_what_is_written() -> None:
    """Frames, chain, SHA-256, sums, and every key through the key map."""
    _check(b"".join(made(BLOCKS)))


def test_archives_of_version_1_stay_readable() -> None:
    """A file of the first release, with every kind of frame, by the page and by the program."""
    data = GOLDEN.read_bytes()
    _check(data)
    items = read(data)
    assert items[:5] == [HEAD, FACTS, GONE, NOTE, LARGE]
    assert b"".join(PIECES) == b"".join(item.data for item in items if type(item).__name__ == "Piece")
    blocks = [item for item in items if isinstance(item, Keys)]
    assert [(b.db, b.version, b.keys, b.bodies, b.deadlines) for b in blocks] == [
        (b.db, b.version, b.keys, b.bodies, b.deadlines) for b in BLOCKS
    ]
    manifest = items[-2]
    assert isinstance(manifest, Manifest)
    assert (manifest.keys, manifest.digests) == (80, {"canonical": "0a"})

"""Archives that are not what was written: noticed, with the place, and what is whole comes back."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codec.archive.making import HEAD, ID, LARGE, PIECES, columns, made, read
from transfer.codec.archive.books import Books
from transfer.codec.archive.frames import (
    COMPRESSED,
    HEADER_BYTES,
    NO_SUM,
    PREFIX_BYTES,
    SKIPPABLE,
    Kind,
    RawFrame,
    checksum,
    put_header,
    put_prefix,
    read_frame,
)
from transfer.codec.archive.items import Keys, Unknown
from transfer.codec.archive.keymap import KeyMap
from transfer.codec.archive.packing import unpack
from transfer.codec.archive.payloads import Item, put_large_end, unseal
from transfer.codec.archive.reader import ArchiveReader
from transfer.codec.archive.salvage import Damage, SalvageReader
from transfer.codec.archive.tally import counts_of
from transfer.codec.archive.writer import ArchiveWriter
from transfer.model.errors import ChecksumError, CutError, FormatError, UnknownFormError
from transfer.pipeline.buckets import BucketStore

VARIANTS = {
    "raw": made([columns(size=120)], level=0),
    "compressed": made([columns(size=120, fill=b"value %d")]),
    "many blocks": made([columns(n % 3, 3, n * 3) for n in range(14)], everything=False),
}
FEW_BITS = 2_500
"""Of each variant; all of them were tried by hand: `python -m tests.codec.archive.test_damage`."""


def _error_of(data: bytes) -> FormatError:
    with pytest.raises(FormatError) as caught:
        read(data, reader=ArchiveReader())
    return caught.value


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _salvaged(data: bytes, size: int = 1 << 30) -> tuple[set[bytes], list[Damage]]:
    reader, items = SalvageReader(), list[Item | Damage]()
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        items += reader.take()
    items += reader.finish()
    names = {name for item in items if isinstance(item, Keys) for name in item.keys}
    return names, [item for item in items if isinstance(item, Damage)]


def check_bit(frames: list[bytes], bit: int) -> None:
    """One flipped bit: told with the frame it is in; salvage gives all keys but those of this frame."""
    data, at = b"".join(frames), bit // 8
    edges = [PREFIX_BYTES]
    for frame in frames:
        edges.append(edges[-1] + len(frame) - (PREFIX_BYTES if frame is frames[0] else 0))
    start = max((edge for edge in edges if edge <= at), default=0)
    error = _error_of(_flipped(data, bit))
    offset = error.facts["offset"]
    assert isinstance(offset, int)
    assert start <= offset <= at + 1 or offset == start + HEADER_BYTES, (bit, error)
    assert str(offset) in error.message


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_flipped_bit_is_noticed(variant: str) -> None:
    """In the prefix, in headers, in what is stored, in index, manifest and end."""
    frames = VARIANTS[variant]
    bits = range(8 * len(b"".join(frames)))
    for bit in Random(variant).sample(bits, FEW_BITS):
        check_bit(frames, bit)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_truncation_is_noticed_and_gives_back_whole_blocks(variant: str) -> None:
    """The error counts what is there; both readers give the keys of every whole block."""
    frames = VARIANTS[variant]
    data = b"".join(frames)
    for size in range(0, len(data), 1 if variant == "raw" else 7):
        whole = sum(1 for n in range(len(frames)) if sum(map(len, frames[: n + 1])) <= size)
        reader = ArchiveReader()
        reader.feed(data[:size])
        names = {name for item in reader.take() if isinstance(item, Keys) for name in item.keys}
        with pytest.raises(CutError) as caught:
            reader.finish()
        facts = caught.value.facts
        assert (facts["offset"], facts["frames"]) == (size, whole)
        assert facts["whole"] == max(sum(map(len, frames[:whole])), PREFIX_BYTES * (size >= PREFIX_BYTES))
        found, damages = _salvaged(data[:size])
        assert found == names
        assert damages[-1].end == size


SPLICES: dict[str, Callable[[list[bytes], list[bytes], Random], list[bytes]]] = {
    "swapped": lambda own, foreign, rng: _swapped(own, *rng.sample(range(1, len(own) - 3), 2)),
    "doubled": lambda own, foreign, rng: _with(own, own[n := rng.randrange(1, len(own) - 3)], n),
    "dropped": lambda own, foreign, rng: _without(own, rng.randrange(len(own))),
    "foreign": lambda own, foreign, rng: _with(own, foreign[n := rng.randrange(1, len(own))], n),
    "exchanged": lambda own, foreign, rng: _exchanged(own, foreign, rng.randrange(1, len(own))),
}


def _swapped(frames: list[bytes], one: int, other: int) -> list[bytes]:
    frames = frames.copy()
    frames[one], frames[other] = frames[other], frames[one]
    return frames


def _with(frames: list[bytes], frame: bytes, at: int) -> list[bytes]:
    return [*frames[:at], frame, *frames[at:]]


def _without(frames: list[bytes], at: int) -> list[bytes]:
    return [*frames[:at], *frames[at + 1 :]]


def _exchanged(frames: list[bytes], foreign: list[bytes], at: int) -> list[bytes]:
    return [*frames[:at], foreign[at], *frames[at + 1 :]]


def test_every_splice_is_noticed() -> None:
    """1,000 times a whole frame is swapped, doubled, dropped, or comes from an archive of the same keys."""
    own = VARIANTS["many blocks"]
    foreign = made([columns(n % 3, 3, n * 3) for n in range(14)], everything=False, archive_id=b"of another one..")
    rng = Random(7)
    for n in range(1_000):
        how = list(SPLICES)[n % len(SPLICES)]
        assert "offset" in _error_of(b"".join(SPLICES[how](own, foreign, rng))).facts, how


def test_salvage_gives_every_whole_block_and_names_the_damage() -> None:
    """A block in the middle is damaged: all others come, and the range and the number of the frame are told."""
    frames = VARIANTS["many blocks"]
    start = sum(map(len, frames[:5]))
    whole, _ = _salvaged(b"".join(frames))
    for size in (1 << 30, 50):
        for at in (0, 20, HEADER_BYTES + 2):
            found, (damage,) = _salvaged(_flipped(b"".join(frames), (start + at) * 8), size)
            assert whole - found == set(columns(size=3, first=12).keys)
            assert (damage.start, damage.end) == (start, start + len(frames[5]))
            assert (damage.first_missing, damage.missing) == (5, 1)


def test_salvage_goes_on_where_bytes_were_lost_or_came_in_between() -> None:
    """The frames after the place stand where no header says."""
    frames = VARIANTS["many blocks"]
    whole, nothing = _salvaged(b"".join(frames))
    begun = sum(map(len, frames[:5]))
    data = b"".join(frames)
    found, damages = _salvaged(data[: begun + 10] + data[begun + 30 :])
    assert (len(whole - found), len(damages), nothing) == (3, 1, [])
    found, damages = _salvaged(data[:begun] + b"\xf5xfr junk" * 40 + data[begun:])
    assert (found, [(one.start, one.missing) for one in damages]) == (whole, [(begun, 0)])
    found, damages = _salvaged(b"\x00" * 300 + data[300:])
    assert len(found) >= len(whole) - 6
    assert damages[0].start == 0


def test_salvage_takes_no_frames_of_another_archive() -> None:
    """Though they hold: two files were mixed up."""
    own, foreign = VARIANTS["many blocks"], made([columns(0, 3, 900)], archive_id=b"of another one..")
    found, (damage,) = _salvaged(b"".join([*own[:4], *foreign[1:9], *own[4:]]))
    assert found == _salvaged(b"".join(own))[0]
    assert (damage.start, damage.missing) == (sum(map(len, own[:4])), 0)
    assert "another archive" in damage.why


def test_of_a_large_value_that_lacks_a_piece_salvage_gives_no_end() -> None:
    """What follows the missing piece is damage, up to the next key."""
    frames = VARIANTS["raw"]
    damaged = b"".join(_without(frames, 5))
    reader = SalvageReader()
    reader.feed(damaged)
    kinds = [type(item).__name__ for item in reader.take()]
    assert kinds[:6] == ["Head", "Facts", "Tombstones", "Note", "LargeKey", "Damage"]
    assert kinds[6] == "Keys"


def _framed(kind: int, stored: bytes, plain: int | None = None, flags: int = 0, zero: int = 0) -> bytes:
    """An archive whose second frame is this one, with checksums that hold."""
    head = made([], everything=False)[0]
    sizes = (len(stored) if plain is None else plain, len(stored))
    header = bytearray(put_header(kind, flags, 1, sizes, ID, head[PREFIX_BYTES:][72:88], checksum(stored))[:72])
    header[6] = zero
    return head + header + checksum(bytes(header)) + stored


_DEEP = b"\x91" * 1_000_000 + b"\xc0"
_BOMB = zstandard.ZstdCompressor(level=1).compress(bytes(300 << 20))
_ZSTD = zstandard.ZstdCompressor().compress(bytes(100))
_PACK = msgspec.msgpack.encode
HOSTILE: dict[str, tuple[bytes, type[FormatError]]] = {
    "above the cap": (_framed(3, b"", 65 << 20, COMPRESSED), FormatError),
    "stored above plain": (_framed(3, b"abc", 2, COMPRESSED), FormatError),
    "raw of another size": (_framed(3, b"abc", 4), FormatError),
    "bomb": (_framed(3, _BOMB, 60 << 20, COMPRESSED), FormatError),
    "two zstd frames": (_framed(3, _ZSTD * 2, 100, COMPRESSED), FormatError),
    "more than zstd": (_framed(3, _ZSTD + b"abc", 100, COMPRESSED), FormatError),
    "no zstd": (_framed(3, b"abc", 9, COMPRESSED), FormatError),
    "lying zstd": (_framed(3, b"\x28\xb5\x2f\xfd\xa0\xff\xff\xff\x03\x01", 0x3FFFFFF, COMPRESSED), FormatError),
    "deep keys": (_framed(3, _DEEP), FormatError),
    "deep column": (_framed(3, b"\x97\x00\x0a" + _DEEP), FormatError),
    "deep facts": (_framed(2, b"\x81\xa6server" + _DEEP), FormatError),
    "deep unknown field": (_framed(2, b"\x81\xa6sorrow" + _DEEP), FormatError),
    "lying list": (_framed(3, b"\x97\x00\x0a\xdd\xff\xff\xff\xff"), FormatError),
    "lying bytes": (_framed(8, b"\x92\xa1n\xc6\xff\xff\xff\xff"), FormatError),
    "too many": (_framed(3, b"\x97\x00\x0a\xdd\x00\x04\x00\x01" + b"\xc4\x00" * 0x40001), FormatError),
    "columns": (_framed(3, _PACK([0, 10, [b"a", b"b"], [b"\x00"], None, 0, None])), FormatError),
    "no body": (_framed(3, _PACK([0, 10, [b"a"], [b""], None, 0, None])), FormatError),
    "uses": (_framed(3, _PACK([0, 10, [b"a"], [b"\x00"], None, 0, [1]])), FormatError),
    "text": (_framed(3, _PACK([0, 10, ["a"], [b"\x00"], None, 0, None])), FormatError),
    "left over": (_framed(3, _PACK([0, 10, [], [], None, 0, None]) + b"\x00"), FormatError),
    "unknown kind": (_framed(99, b"abc"), UnknownFormError),
    "unknown flag": (_framed(3, b"abc", flags=2), UnknownFormError),
    "not zero": (_framed(3, b"abc", zero=1), UnknownFormError),
    "second head": (_framed(1, b"\x80"), FormatError),
    "piece of nothing": (_framed(6, b"\x00abc"), FormatError),
    "end of nothing": (_framed(12, bytes(32) + b"XFEREND\n"), FormatError),
    "later version": (put_prefix()[:8] + b"\x02" + put_prefix()[9:] + bytes(200), UnknownFormError),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_frames_with_right_checksums_are_refused(what: str) -> None:
    """Bombs, lying sizes, deep nesting and wrong shapes: an error of ours with the offset."""
    data, expected = HOSTILE[what]
    error = _error_of(data)
    assert type(error) is expected
    assert "offset" in error.facts


@settings(deadline=None)
@given(kind=st.sampled_from(list(Kind)), data=st.data())
def test_whatever_a_frame_holds_is_read_or_refused(kind: Kind, data: st.DataObject) -> None:
    """Any bytes, and real ones changed at some places, under checksums that hold: never another error."""
    plain = {frame.kind: unpack(frame, raw.stored) for raw in _raw_frames() for frame in (raw.frame,)}[kind]
    changed = bytearray(plain)
    for at, value in data.draw(
        st.dictionaries(st.integers(0, len(plain) - 1), st.integers(0, 255), max_size=4)
    ).items():
        changed[at] = value
    stored = data.draw(st.just(bytes(changed)) | st.binary(max_size=60))
    header = put_header(kind, 0, 0, (len(stored), len(stored)), ID, NO_SUM, checksum(stored))
    try:
        item = unseal(read_frame(header + stored, 0))
    except FormatError:
        return
    if isinstance(item, KeyMap):
        assert all(number < 1 << 32 for number in item.find(0, 5))


def _raw_frames() -> list[RawFrame]:
    reader = ArchiveReader()
    reader.feed(b"".join(VARIANTS["raw"]))
    return list(reader.frames())


LIES: dict[str, Callable[[Books], None]] = {
    "keys": lambda books: setattr(books.tally, "keys", 4),
    "with_deadline": lambda books: setattr(books.tally, "with_deadline", 4),
    "tombstones": lambda books: setattr(books, "tombstones", 4),
    "dbs": lambda books: books.tally.dbs.update({4: {}}),
    "plain_bytes": lambda books: setattr(books, "plain_bytes", 4),
    "stored_bytes": lambda books: setattr(books, "stored_bytes", 4),
    "sums": lambda books: books.tally.sums.reverse(),
    "SHA-256": lambda books: books.bytes_passed(b"more"),
}


@pytest.mark.parametrize("what", LIES)
def test_a_manifest_that_is_of_something_else_is_noticed(what: str) -> None:
    """Though every frame holds: as of a writer with an error, or an archive put together from two."""
    writer = ArchiveWriter()
    data = writer.begin(HEAD) + writer.keys(columns())
    LIES[what](writer.books)
    with pytest.raises(FormatError, match=what):
        read(data + b"".join(writer.end()))


def test_an_index_or_a_large_value_that_is_of_something_else_is_noticed() -> None:
    """Blocks that are not those of the file; a body of another size, or another type, than it was said to be."""
    writer = ArchiveWriter(marks=BucketStore(0))
    data = writer.begin(HEAD) + writer.keys(columns())
    writer.books.block(_raw_frames()[3].frame, 0, b"", counts_of(columns()))
    with pytest.raises(FormatError, match="index"):
        read(data + b"".join(writer.end()))
    for pieces, size in ((PIECES, 5), ([b"\x05abc"], 4), ([], 0)):
        writer = ArchiveWriter()
        data = writer.begin(HEAD) + writer.large(LARGE) + b"".join(map(writer.piece, pieces))
        with pytest.raises(FormatError, match="large value"):
            read(data + writer._frame(Kind.LARGE_END, put_large_end(size)))


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    """By the size that it tells itself."""
    assert "says 314,572,800 bytes inside" in _error_of(HOSTILE["bomb"][0]).message


def test_an_unknown_frame_that_may_be_passed_over_is() -> None:
    """Its flag says so: what a later version adds."""
    reader = ArchiveReader()
    reader.feed(_framed(99, b"abc", flags=SKIPPABLE))
    assert isinstance(list(reader.take())[1], Unknown)


def _undo(frames: int) -> tuple[bytes, ArchiveWriter]:
    writer = ArchiveWriter()
    return writer.begin(HEAD) + b"".join(writer.keys(columns(size=2, first=n)) for n in range(frames)), writer


def test_a_torn_end_is_where_the_process_died() -> None:
    """At any length, and where the disk kept a hole of zeros: whole frames count, and writing goes on behind them."""
    data, _ = _undo(3)
    for size in range(len(data) + 1):
        reader = ArchiveReader(torn=True)
        reader.feed(data[:size])
        found = [item for item in reader.take() if isinstance(item, Keys)]
        reader.finish()
        at = reader.whole.end if reader.whole else 0
        assert (
            (reader.torn_from if reader.torn_from >= 0 else size)
            == reader.offset
            == max(at, PREFIX_BYTES * (size >= 12))
        )
        assert len(found) == (reader.whole.sequence if reader.whole else 0)
    for hole in (data[:-40] + bytes(40), data + bytes(5_000), data + b"\xf5xfr" * 30):
        reader = ArchiveReader(torn=True, deep=True)
        reader.feed(hole)
        list(reader.take())
        reader.finish()
        assert reader.head is not None
        assert reader.whole is not None
        assert reader.torn_from == reader.whole.end
        writer = ArchiveWriter().going_on(reader.head, reader.whole, reader.books)
        mended = hole[: reader.torn_from] + writer.keys(columns(size=5, first=50)) + b"".join(writer.end())
        assert read(mended)


def test_damage_before_a_later_frame_is_no_torn_end() -> None:
    """Also when the bytes come one by one."""
    data, writer = _undo(3)
    later = data + writer.keys(columns(size=2, first=90))
    damaged = _flipped(later, (len(data) - 3) * 8)
    for size in (1, 1 << 20):
        with pytest.raises(ChecksumError):
            read(damaged, size=size, reader=ArchiveReader(torn=True))
    swapped, first = bytes(data), len(_undo(1)[0])
    with pytest.raises(FormatError, match="belongs"):
        read(swapped + swapped[first:], reader=ArchiveReader(torn=True))


def test_reading_can_begin_at_any_frame() -> None:
    """With what the index, or a frame met before, tells of it."""
    frames = VARIANTS["many blocks"]
    offset = sum(map(len, frames[:6]))
    previous = frames[5][72:88]
    reader = ArchiveReader().going_on(offset, 6, previous, ID)
    items = read(b"".join(frames[6:]), reader=reader)
    assert isinstance(items[0], Keys)
    assert items[0].frame.offset == offset
    with pytest.raises(FormatError, match="another archive"):
        read(b"".join(frames[6:]), reader=ArchiveReader().going_on(offset, 6, archive_id=bytes(16)))
    with pytest.raises(FormatError, match="follow"):
        read(b"".join(frames[6:]), reader=ArchiveReader().going_on(offset, 6, bytes(16), ID))
    assert struct.unpack_from("<Q", frames[6], 8) == (6,)


if __name__ == "__main__":
    for name, parts in VARIANTS.items():
        count = 8 * len(b"".join(parts))
        for every in range(count):
            check_bit(parts, every)
        print(f"{name}: {count:,} of {count:,} flipped bits noticed")

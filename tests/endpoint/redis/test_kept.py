"""A full sync that is kept: believed byte for byte, or not at all."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import anycrc
import pytest
import xxhash

from transfer.endpoint.redis.fullsync.kept import KeptSync, SyncNote, is_sound

_BODY = b"REDIS0010" + os.urandom(3 << 20) + b"\xff"
_RIGHT = struct.pack("<Q", anycrc.Model("CRC64-REDIS").calc(_BODY))


def _noted(folder: Path, data: bytes) -> KeptSync:
    """*data*, whole, as a copy leaves it."""
    note = SyncNote(folder, "job")
    path = note.begin(str(folder), 5)
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(data)
    note.whole(len(data), xxhash.xxh3_128_hexdigest(data))
    known = note.read()
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("checksum", "sound"), [(_RIGHT, True), (bytes(8), True), (_RIGHT[::-1], False)], ids=["right", "none", "wrong"]
)
async def test_what_was_kept_whole_is_sound(checksum: bytes, sound: bool, tmp_path: Path) -> None:
    """Unless what the server sent was damaged on its way: the RDB's own checksum tells."""
    known = _noted(tmp_path, _BODY + checksum)

    assert (known.instant_ms, known.size_bytes) == (5, len(_BODY) + 8)
    assert SyncNote(tmp_path, "job").held_bytes() == len(_BODY) + 8
    assert await is_sound(known) is sound


def _altered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    "meddle",
    [
        _altered,
        lambda path: os.truncate(path, path.stat().st_size - 1),
        lambda path: path.write_bytes(path.read_bytes() + b"\n"),
        lambda path: path.chmod(0o640),
        lambda path: os.link(path, path.with_name("second")),
        _linked,
        os.unlink,
    ],
    ids=["altered", "cut", "longer", "readable", "second name", "link", "gone"],
)
async def test_a_file_that_others_had_their_hands_on_is_not_believed(
    meddle: Callable[[Path], object], tmp_path: Path
) -> None:
    """Nor one that was cut, or is gone."""
    known = _noted(tmp_path, _BODY + bytes(8))
    assert await is_sound(known)

    meddle(Path(known.path))

    assert not await is_sound(known)


async def test_a_sync_that_came_to_no_end_is_nothing(tmp_path: Path) -> None:
    """And the next one takes its place."""
    note = SyncNote(tmp_path, "job")
    first = note.begin(str(tmp_path), 5)
    os.close(os.open(first, os.O_CREAT | os.O_WRONLY, 0o600))
    known = note.read()
    assert known is not None
    assert not await is_sound(known)
    assert note.held_bytes() == 0

    assert note.begin(str(tmp_path), 6) == first
    assert os.listdir(tmp_path) == ["job.sync"]


def test_nothing_is_left_of_a_note_that_is_forgotten(tmp_path: Path) -> None:
    """File and note; but never a file that a note was made to name."""
    known, note = _noted(tmp_path, _BODY), SyncNote(tmp_path, "job")
    (tmp_path / "job.sync").write_text(f'{{"path": "{tmp_path}/precious", "instant_ms": 5}}')
    (tmp_path / "precious").write_text("mine")
    note.forget()
    assert (tmp_path / "precious").exists()

    note = SyncNote(tmp_path, "job")
    note.begin(str(tmp_path), 5)
    Path(known.path).write_bytes(_BODY)
    note.forget()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious"]

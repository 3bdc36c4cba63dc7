"""Encrypted files are those of age, and say when they are not whole."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.endpoint.file.age import AgeReader, AgeWriter, identities_of, is_encrypted, recipients_of
from transfer.model.errors import ChecksumError, FileMissingError, UsageError, WrongKeyError

_PIECE = 64 << 10


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, Path]:
    """A public key, and the file of the secret one."""
    identity = pyrage.x25519.Identity.generate()
    path = tmp_path / "key.txt"
    path.write_text(f"# created: 2026\n# public key: {identity.to_public()}\n{identity}\n")
    return str(identity.to_public()), path


def sealed(path: Path, data: bytes, *recipients: str) -> Path:
    with path.open("wb") as out, AgeWriter(out, recipients_of(recipients)) as writer:
        for at in range(0, len(data), 100_000):
            writer.write(data[at : at + 100_000])
    return path


def opened(path: Path, key: Path, passphrase: str = "") -> bytes:
    with AgeReader(path, identities_of(key, passphrase)) as reader:
        return reader.read()


def test_what_is_written_is_read(tmp_path: Path, pair: tuple[str, Path]) -> None:
    """Nothing, a piece, more than a pipe holds."""
    for size in (0, 1, _PIECE - 1, _PIECE, _PIECE + 1, 3_000_000):
        data = os.urandom(size)
        path = sealed(tmp_path / "a.age", data, pair[0])
        assert is_encrypted(path.read_bytes()[:32])
        assert opened(path, pair[1]) == data


@pytest.mark.skipif(shutil.which("age") is None, reason="age (Debian: apt-get install age) is not on PATH")
def test_the_stock_tool_opens_it_and_its_files_are_opened(tmp_path: Path, pair: tuple[str, Path]) -> None:
    """Both ways."""
    data = os.urandom(200_000)
    ours, theirs = sealed(tmp_path / "a.age", data, pair[0]), tmp_path / "b.age"
    assert subprocess.run(["age", "-d", "-i", pair[1], ours], capture_output=True, check=True).stdout == data
    subprocess.run(["age", "-r", pair[0], "-o", theirs], input=data, check=True)
    assert opened(theirs, pair[1]) == data


def test_each_of_several_recipients_opens_it(tmp_path: Path, pair: tuple[str, Path]) -> None:
    """Given by themselves or in a file."""
    other = pyrage.x25519.Identity.generate()
    listed, key = tmp_path / "team.txt", tmp_path / "other.txt"
    listed.write_text(f"# team\n\n{other.to_public()}\n")
    key.write_text(str(other))
    path = sealed(tmp_path / "a.age", b"data", pair[0], str(listed))
    assert opened(path, pair[1]) == opened(path, key) == b"data"


@settings(max_examples=25, deadline=None)
@given(moves=st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 70_000)), max_size=6))
def test_any_offset_can_be_read(tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, int]]) -> None:
    """Forward and back, as of a plain file."""
    folder = tmp_path_factory.mktemp("age")
    identity, data = pyrage.x25519.Identity.generate(), bytes(range(251)) * 1000
    (folder / "key").write_text(str(identity))
    path = sealed(folder / "a.age", data, str(identity.to_public()))
    with AgeReader(path, identities_of(folder / "key")) as reader:
        for at, size in moves:
            assert reader.seek(at) == min(at, len(data))
            assert reader.read(size) == data[at : at + size]
        assert reader.seek(0, os.SEEK_END) == len(data)


def test_damage_is_told_after_the_good_bytes_before_it(tmp_path: Path, pair: tuple[str, Path]) -> None:
    """Flipped or cut: whole pieces come, then the error; never a silent end."""
    data = os.urandom(10 * _PIECE)
    path = sealed(tmp_path / "a.age", data, pair[0])
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 1
    middle = len(whole) // 2
    for spoilt, at in ((bytes(flipped), middle), (whole[:middle], middle), (whole[:-1], len(whole) - 1)):
        path.write_bytes(spoilt)
        with AgeReader(path, identities_of(pair[1])) as reader:
            good = bytearray()
            with pytest.raises(ChecksumError, match="damaged or cut"):
                while more := reader.read(50_000):
                    good += more
            assert data.startswith(good)
            assert len(good) >= at // _PIECE * _PIECE - 2 * _PIECE


def test_another_key_opens_nothing(tmp_path: Path, pair: tuple[str, Path]) -> None:
    """And the error shows none."""
    other = pyrage.x25519.Identity.generate()
    path = sealed(tmp_path / "a.age", b"data", str(other.to_public()))
    with pytest.raises(WrongKeyError) as failure, AgeReader(path, identities_of(pair[1])) as reader:
        reader.read(1)
    assert "AGE-SECRET-KEY" not in str(failure.value)


def test_an_identity_may_be_encrypted_itself(tmp_path: Path, pair: tuple[str, Path]) -> None:
    """As `age -p` does it; the passphrase must be there and right."""
    locked = tmp_path / "key.age"
    locked.write_bytes(pyrage.passphrase.encrypt(pair[1].read_bytes(), "open sesame"))
    path = sealed(tmp_path / "a.age", b"data", pair[0])
    assert opened(path, locked, "open sesame") == b"data"
    with pytest.raises(WrongKeyError):
        identities_of(locked, "open barley")
    with pytest.raises(UsageError, match="passphrase"):
        identities_of(locked)


def test_what_is_no_key_is_refused_without_being_shown(tmp_path: Path, pair: tuple[str, Path]) -> None:
    """A secret key in place of a public one, an empty file, one that is not there."""
    secret = pair[1].read_text().splitlines()[-1]
    (tmp_path / "secret").write_text(secret)
    with pytest.raises(UsageError) as failure:
        recipients_of([str(tmp_path / "secret")])
    assert secret[:20] not in str(failure.value)
    with pytest.raises(UsageError):
        recipients_of(["age1nonsense"])
    with pytest.raises(UsageError):
        identities_of(Path(os.devnull))
    with pytest.raises(FileMissingError):
        recipients_of([str(tmp_path / "none")])


def test_a_full_disk_is_told_to_who_writes(pair: tuple[str, Path]) -> None:
    """/dev/full stands for it."""
    with Path("/dev/full").open("wb", buffering=0) as out:
        writer = AgeWriter(out, recipients_of([pair[0]]))
        with pytest.raises(OSError, match="No space left"):
            for _ in range(100):
                writer.write(os.urandom(_PIECE))
        writer.close()

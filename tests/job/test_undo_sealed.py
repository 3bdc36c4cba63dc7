"""What a job writes over is kept encrypted where that is asked for, and put back by who has the key."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import oracle
from tests.cli.running import Said, transfer
from tests.job.test_undo import assert_holds, both_filled, jobs_of, replace, undo
from tests.servers import running
from transfer.endpoint.archive.parts import part, plain_parts
from transfer.endpoint.archive.undo import files_of
from transfer.endpoint.file.age import own_key
from transfer.model.errors import ChecksumError, WrongKeyError

pyrage = pytest.importorskip("pyrage", reason="pyrage (extra crypt) is not installed")
PATH = Path("0001.xfer.parts")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    """A public key, and the file of its secret half."""
    identity = pyrage.x25519.Identity.generate()
    path = tmp_path / "key.txt"
    path.write_text(f"{identity}\n")
    path.chmod(0o600)
    return str(identity.to_public()), str(path)


def folder_of(said: Said, state: Path) -> Path:
    return state / "undo" / str(said.result["job"])


async def test_an_encrypted_archive_is_undone_with_its_identity_only(keys: tuple[str, str], tmp_path: Path) -> None:
    """No value stands in the files; what the undo itself keeps is encrypted for the same key."""
    public, secret = keys
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        before = both_filled(source, target)
        with oracle.client(target.address) as client:
            client.set("k5", "a secret that is written over " * 20)
        before = oracle.snapshot(target.address)

        done = replace(source, target, tmp_path, "--encrypt-to", public)
        after = oracle.snapshot(target.address)
        refused = undo(done.result["job"], tmp_path)
        assert not oracle.compare(after, oracle.snapshot(target.address))
        undone = undo(done.result["job"], tmp_path, "--identity", secret)

        assert (done.exit, refused.exit, undone.exit) == (0, 2, 0), (done, refused, undone)
        assert "--identity FILE" in refused.err
        assert_holds(before, target)
        for said in (done, undone):
            paths = files_of(folder_of(said, tmp_path))
            assert [path.name for path in paths] == ["0001.xfer.parts"]
            assert all(path.stat().st_mode & 0o777 == 0o600 for path in paths)
            assert not any(b"a secret" in path.read_bytes() for path in paths)


async def test_a_killed_job_with_an_encrypted_archive_goes_on_with_the_identity(
    keys: tuple[str, str], tmp_path: Path
) -> None:
    """Without it nothing is written, since what was captured is not known; each process has a file of its own."""
    public, secret = keys
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        before = both_filled(source, target)

        killed = replace(source, target, tmp_path, "--encrypt-to", public, crash="undo.changed:3")
        job = jobs_of(tmp_path)[0]
        held = oracle.snapshot(target.address)
        refused = transfer("resume", job, "--json", "--state", str(tmp_path))
        assert not oracle.compare(held, oracle.snapshot(target.address))
        resumed = transfer("resume", job, "--json", "--state", str(tmp_path), "--identity", secret)

        assert (killed.exit, refused.exit, resumed.exit) == (-9, 2, 0), (refused, resumed)
        assert "--identity FILE" in refused.err
        assert [path.name for path in files_of(tmp_path / "undo" / job)] == ["0001.xfer.parts", "0002.xfer.parts"]
        assert undo(job, tmp_path, "--identity", secret).exit == 0
        assert_holds(before, target)


async def test_damage_in_an_encrypted_archive_is_told_before_anything_is_put_back(
    keys: tuple[str, str], tmp_path: Path
) -> None:
    """One byte in the middle: exit 12."""
    public, secret = keys
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        both_filled(source, target)
        done = replace(source, target, tmp_path, "--encrypt-to", public)
        after = oracle.snapshot(target.address)
        (path,) = files_of(folder_of(done, tmp_path))
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

        assert undo(done.result["job"], tmp_path, "--identity", secret).exit == 12
        assert not oracle.compare(after, oracle.snapshot(target.address))


async def test_what_cannot_be_encrypted_for_anybody_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """No archive is made, or the key is none: exit 2, and the target is as it was."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        before = both_filled(source, target)
        words = ("copy", source.url, target.url, "--json", "--state", str(tmp_path), "--encrypt-to")

        none = transfer(*words, "age1whoever")
        wrong = transfer(*words, "age1whoever", "--on-conflict", "replace")
        without = transfer(*words, "age1whoever", "--on-conflict", "replace", "--allow", "no-undo")

        assert (none.exit, wrong.exit, without.exit) == (2, 2, 2), (none, wrong, without)
        assert "undo archives" in none.err
        assert "is no recipient" in wrong.err
        assert_holds(before, target)


_RECIPIENTS, _IDENTITIES = own_key()


@given(st.lists(st.binary(max_size=2000), max_size=4), st.integers(0, 10_000))
def test_parts_come_back_as_far_as_they_are_whole(pieces: list[bytes], cut: int) -> None:
    """Cut anywhere: the parts before it, and nothing of the one that is torn."""
    sealed = [part(piece, _RECIPIENTS) for piece in pieces]
    whole = b"".join(sealed)
    held = whole[: cut % (len(whole) + 1)]
    ends = [sum(map(len, sealed[: count + 1])) for count in range(len(sealed))]

    found = list(plain_parts(io.BytesIO(held), PATH, _IDENTITIES))

    assert found == pieces[: sum(end <= len(held) for end in ends)]


@given(st.binary(min_size=1, max_size=300), st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_of_a_part_is_noticed(piece: bytes, place: int, change: int) -> None:
    """Whatever byte of the age file it is; a changed length tears the part or is told."""
    sealed = bytearray(part(piece, _RECIPIENTS))
    sealed[place % len(sealed)] ^= change

    try:
        found = list(plain_parts(io.BytesIO(bytes(sealed)), PATH, _IDENTITIES))
    except (ChecksumError, WrongKeyError):
        return
    assert not found


def test_another_key_is_told_from_damage() -> None:
    """Nothing is wrong with the file then."""
    with pytest.raises(WrongKeyError):
        list(plain_parts(io.BytesIO(part(b"data", _RECIPIENTS)), PATH, own_key()[1]))

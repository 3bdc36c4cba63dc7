"""What a ledger and its buckets remember, in memory and on disk."""

from __future__ import annotations

import os
import resource
import stat
from collections import namedtuple
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from transfer.model.errors import LimitError
from transfer.model.record import hashes_of_names
from transfer.pipeline.buckets import BucketStore
from transfer.pipeline.ledger import Ledger

notes = st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=3), st.binary(max_size=3)), max_size=60)
SMALLEST = 1
"""A memory limit so low that the store spills as often as it can."""


def filled(entries: list[tuple[int, bytes, bytes]], memory_bytes: int = 32 << 20) -> Ledger:
    ledger = Ledger(memory_bytes=memory_bytes)
    for db, key, value in entries:
        ledger.note(db, [key], [value])
    return ledger


@given(entries=notes)
def test_a_ledger_remembers_what_was_noted_last(entries: list[tuple[int, bytes, bytes]]) -> None:
    """Like a dict of (db, key): the last value holds, and other keys were never noted."""
    ledger = filled(entries)
    model = {(db, key): xxhash.xxh3_64_digest(value) for db, key, value in entries}

    assert ledger.distinct() == len(model)
    for db in range(3):
        for key in {key for _, key, _ in entries} | {b"never"}:
            assert ledger.value_hash(db, key) == model.get((db, key))


@given(left=notes, right=notes)
def test_what_one_ledger_has_and_the_other_lacks_is_found(
    left: list[tuple[int, bytes, bytes]], right: list[tuple[int, bytes, bytes]]
) -> None:
    """The join by buckets gives the same names as a set difference."""
    wanted = {(db, key) for db, key, _ in left} - {(db, key) for db, key, _ in right}

    found = list(filled(left).missing_from(filled(right)))

    assert sorted(found) == sorted(name for db, key in wanted for name in hashes_of_names(db, [key]))


@given(records=st.lists(st.tuples(st.integers(0, 600), st.binary(min_size=2, max_size=2)), max_size=2500))
def test_a_store_that_spilled_answers_like_one_that_did_not(records: list[tuple[int, bytes]]) -> None:
    """Where a record lies, in memory or in one of many segments of the file, cannot be told from outside."""
    store = BucketStore(2, memory_bytes=SMALLEST)
    model: dict[bytes, bytes] = {}
    for start in range(0, len(records), 100):
        part = [(xxhash.xxh3_64_digest(b"%d" % number), value) for number, value in records[start : start + 100]]
        store.add([name for name, _ in part], [value for _, value in part])
        model |= dict(part)

    assert store.distinct() == len(model)
    assert {name: store.find(name) for name in model} == model
    assert store.find(b"\xff" * 8) is None
    store.close()


def test_a_hash_that_shows_up_across_two_records_is_not_found() -> None:
    """Only whole records count: bytes that happen to look like a hash are no key."""
    store = BucketStore(8)
    store.add([b"abcdefgh"], [b"aXXXXXXX"])
    store.add([b"a1234567"], [b"aaaaaaaa"])

    assert store.find(b"aXXXXXXX") is None
    assert store.find(b"abcdefgh") == b"aXXXXXXX"


def test_memory_stays_within_its_limit(tmp_path: Path) -> None:
    """300,000 keys through 1 MiB: what is beyond lies in the file."""
    store = BucketStore(8, memory_bytes=1 << 20, spill_dir=str(tmp_path))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for start in range(0, 300_000, 1000):
        names = [xxhash.xxh3_64_digest(b"%d" % number) for number in range(start, start + 1000)]
        store.add(names, names)
        assert store._held_bytes <= (1 << 20) + 16_000

    assert store.distinct() == 300_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10
    store.close()


def test_the_spill_file_has_no_name_and_is_private(tmp_path: Path) -> None:
    """Nobody else finds or reads it, and a crash leaves nothing behind."""
    store = BucketStore(8, memory_bytes=SMALLEST, spill_dir=str(tmp_path))
    for number in range(1000):
        name = xxhash.xxh3_64_digest(b"%d" % number)
        store.add([name], [name])

    assert list(tmp_path.iterdir()) == []
    assert stat.S_IMODE(os.fstat(store._file).st_mode) == 0o600
    store.close()


def test_a_full_disk_is_named_with_its_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is asked for before anything is written."""
    disk = namedtuple("disk", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda _: disk(1000, 4096))
    store = BucketStore(8, memory_bytes=SMALLEST, spill_dir=str(tmp_path))

    with pytest.raises(LimitError, match="4,096,000 bytes are free"):
        store.add([b"%08d" % number for number in range(1000)], [b"12345678"] * 1000)


def test_short_names_of_different_databases_are_told_apart() -> None:
    """A small seed is only xored into a short name: `k41` in database 3 must not be `k42` in database 0."""
    lengths = (b"%d", b"k%02d", b"key:%04d", b"user:%011d")
    names = [form % number for form in lengths for number in range(100)]

    hashes = {known for db in range(16) for known in hashes_of_names(db, names)}

    assert len(hashes) == 16 * len(names)

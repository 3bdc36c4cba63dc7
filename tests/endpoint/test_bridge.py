"""In which form payloads get from one server to another."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests import oracle
from tests.job.copying import copied
from tests.job.filling import fill
from tests.servers import running
from transfer.codec.dump import is_whole, stamp, version_of
from transfer.endpoint.redis.bridge import Bridge, UncrossableError, bridge_between
from transfer.model.endpoint import Features, Identity

STRING, FIELD_TTL = b"\x00\x01v", b"\x16\x01\x01f\x01v" + b"\xff" * 8


def between(source: str, here: Features, target: str, there: Features, wish: str = "auto") -> Bridge:
    def named(vendor: str) -> Identity:
        return Identity(vendor=vendor, version=(9, 0, 0), run_id="r", mode="standalone", role="master")

    return bridge_between(named(source), here, named(target), there, wish=wish)


def knows(version: int, *versions: int, types: tuple[int, ...] = (0, 1, 2, 4, 5, 22)) -> Features:
    return Features(dump_version=version, restores=frozenset(versions), restore_types=frozenset(types))


def test_a_type_of_one_family_is_never_stamped_for_the_other() -> None:
    """Numbers from 22 on are shared by types that have nothing in common."""
    here, there = knows(80, 80), knows(16, *range(6, 17))

    assert not between("valkey", here, "redis", there).keeps(22)
    assert between("valkey", here, "valkey", knows(81, 81)).keeps(22)


def test_what_is_taken_goes_as_it_is_unless_a_stamp_is_wished() -> None:
    """The same list, not a copy of it."""
    dumps = [stamp(STRING, 9)] * 3
    here, there = knows(9, 9), knows(10, 9, 10)

    assert between("redis", here, "redis", there).cross(dumps)[0] is dumps
    stamped, failed = between("redis", here, "redis", there, wish="restamp").cross(dumps)
    assert {version_of(dump) for dump in stamped} == {10}
    assert all(map(is_whole, stamped))
    assert not failed


def test_what_has_no_form_is_named_by_its_place() -> None:
    """The others of the batch go all the same."""
    bridge = between("valkey", knows(80, 80), "redis", knows(9, 9, types=(0, 4)))

    sent, failed = bridge.cross([stamp(STRING, 80), stamp(b"\x63??", 80), stamp(b"\x07m", 80)])

    assert (list(failed), sent[1]) == ([1], b"")
    assert version_of(sent[0]) == version_of(sent[2]) == 9
    with pytest.raises(UncrossableError, match="module"):
        bridge.encoded_anew(stamp(b"\x07m", 80))


@pytest.mark.parametrize("pair", [("valkey-9.1", "redis-8.2"), ("redis-8.2", "redis-6.2"), ("valkey-9.1", "redis-7.0")])
async def test_one_restore_a_key_is_enough(pair: tuple[str, str], tmp_path: Path) -> None:
    """No payload is refused first, and none needs type commands."""
    async with running(pair[0]) as source, running(pair[1]) as target:
        fill(source.address, 500)
        report = await copied(source, target, tmp_path, format="restamp", verify="none")
        with oracle.client(target.address) as client:
            stats, errors = client.info("commandstats"), client.info("errorstats")
        oracle.assert_same(source.address, target.address)

    assert report.keys.written == 500
    assert {name for name in stats if name in ("cmdstat_hset", "cmdstat_rpush", "cmdstat_set")} == set()
    done = stats["cmdstat_restore"]
    assert done["calls"] - done["failed_calls"] >= 500
    assert done["failed_calls"] + errors.get("errorstat_ERR", {"count": 0})["count"] < 60  # the probes, not one a key


@pytest.mark.parametrize(
    "pair", [("valkey-9.1", "redis-8.2"), ("valkey-9.1", "valkey-8.1"), ("redis-7.0", "valkey-9.1")]
)
async def test_a_listpack_that_kills_the_other_family_is_encoded_anew(pair: tuple[str, str], tmp_path: Path) -> None:
    """Elements of 16383 bytes: a stream of them is whole at the target, and the target lives."""
    async with running(pair[0]) as source, running(pair[1]) as target:
        with oracle.client(source.address) as client:
            for name, text in (("packed", b"x" * 16_378), ("plain", random.Random(1).randbytes(16_378))):
                client.xadd(f"s:{name}", {"f": text, "g": "tail"}, id="1-1")
                client.config_set("hash-max-listpack-value", 20_000)
                client.hset(f"h:{name}", mapping={"f": text, "g": "tail"})
        report = await copied(source, target, tmp_path)
        oracle.assert_same(source.address, target.address)

    assert (report.exit, report.keys.written, report.verified) == (0, 4, True)

"""Any version to any version: every ordered pair of servers, every type in every size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.job.copying import copied
from tests.job.watching import Watching
from tests.matrix import FIELD_TTL, IN_2099_MS, fill, timed_hashes
from tests.servers import VERSIONS, running
from transfer.job.verify import run_verify
from transfer.model.endpoint import Address
from transfer.model.plan import CopyRequest
from transfer.plan.comparison import plan_verify

PAIRS = [(here, there) for here in VERSIONS for there in VERSIONS if here != there]
every_pair = pytest.mark.parametrize(("here", "there"), PAIRS, ids=[f"{here}-to-{there}" for here, there in PAIRS])
_DBS = (0, 3)


@pytest.mark.parametrize("route", ["scan", "psync"])
@every_pair
async def test_everything_arrives_or_is_refused_by_name(here: str, there: str, route: str, tmp_path: Path) -> None:
    """Values and deadlines are equal at the target; what it cannot hold is listed with the reason."""
    async with running(here, "--repl-diskless-sync-delay", "0") as source, running(there) as target:
        fill(source.address, here)
        report = await copied(source, target, tmp_path, route=route)
        differences = oracle.compare(oracle.snapshot(source.address), oracle.snapshot(target.address))
        if "redis-6.2" not in (here, there):
            assert _functions(target.address) == _functions(source.address) != []

    assert report.functions is None if here == "redis-6.2" else report.functions.read == 2
    assert len(report.not_copied) == (2 if report.functions and there == "redis-6.2" else 0)
    holds_all = here not in FIELD_TTL or there in FIELD_TTL
    refused = [] if holds_all else timed_hashes()
    assert sorted(reject.key for reject in report.rejects) == sorted(refused), report.rejects
    assert all(reject.cause.startswith("a hash with deadlines on fields") for reject in report.rejects)
    assert not differences.without({(0, name) for name in refused}), differences.told()
    assert (report.verified, report.route) == (True, route)
    assert report.exit == (0 if holds_all else 3)


def _functions(place: Address) -> list[Any]:
    with oracle.Client(place) as client:
        return sorted((row[1], row[-1]) for row in client.ask("FUNCTION", "LIST", "WITHCODE"))


@pytest.mark.parametrize("form", ["restamp", "logical"])
async def test_a_form_that_is_named_is_the_one_taken(form: str, tmp_path: Path) -> None:
    """--format restamp leaves type commands out, logical leaves RESTORE out; what neither can do is refused by name."""
    async with running("redis-8.2") as source, running("valkey-9.1") as target:
        fill(source.address, "redis-8.2")
        report = await copied(source, target, tmp_path, format=form)
        differences = oracle.compare(oracle.snapshot(source.address), oracle.snapshot(target.address))
        with oracle.client(target.address) as client:
            used = client.info("commandstats")

    lost = {(reject.db, reject.key) for reject in report.rejects}
    assert {key for _, key in lost} == (set() if form == "restamp" else {b"x:small", b"x:large"})
    assert not differences.without(lost), differences.told()
    assert ("cmdstat_hset" in used, "cmdstat_zadd" in used) == ((form == "logical"),) * 2


async def test_a_loss_that_was_allowed_is_listed_and_the_rest_is_proved(tmp_path: Path) -> None:
    """--allow lossy writes hashes without the deadlines of their fields: named, counted apart, the rest compared."""
    watching, lossy = Watching(consents=True), frozenset({"lossy"})
    async with running("valkey-9.1") as source, running("redis-7.0") as target:
        fill(source.address, "valkey-9.1")
        report = await copied(source, target, tmp_path, watching, allow=lossy)
        differences = oracle.compare(oracle.snapshot(source.address), oracle.snapshot(target.address))
        again = await copied(source, target, tmp_path, allow=lossy)
        with oracle.Client(target.address) as client:
            client.ask("HSET", "timed:small", "f1", "another")
            found = Watching()
            request = CopyRequest(source=source.address, target=target.address, state_dir=str(tmp_path), allow=lossy)
            compared = await run_verify(request, found, plan_verify)

    assert watching.plan is not None
    assert "Redis 7.0.15 has none" in watching.plan.choices["lossy"]
    assert (report.exit, report.rejects, report.verified, report.lossy) == (0, [], True, 2)
    assert report.verify is not None
    assert (report.verify.lossy, report.verify.rejected) == (2, 0)
    assert report.verify.match == report.verify.checked - 2
    assert not differences, differences.told()
    for name in timed_hashes():
        assert [text for text in report.not_copied if f"2 fields of {name.decode()}, db 0" in text]
    assert [text for text in watching.warnings if "--allow lossy" in text] == [
        f"not copied: {text}" for text in report.not_copied
    ]
    assert (again.keys.written, again.keys.conflicts, again.lossy) == (0, 0, 2)
    assert compared.verify is not None
    assert ([finding.key for finding in found.findings], compared.verify.lossy) == ([b"timed:small"], 1)


async def test_a_large_hash_is_written_without_what_the_target_cannot_hold(tmp_path: Path) -> None:
    """Also where it goes in pieces; its fields are compared all the same."""
    async with running("redis-8.2") as source, running("redis-7.0") as target:
        with oracle.Client(source.address) as client:
            fields = [word for at in range(6000) for word in (f"field{at}", "v" * 200)]
            client.must([("HSET", "large", *fields), ("HPEXPIREAT", "large", IN_2099_MS, "FIELDS", 1, "field7")])
        sizes = {"max_memory_bytes": 4 << 20, "big_key_bytes": 1 << 19}
        report = await copied(source, target, tmp_path, allow=frozenset({"lossy"}), **sizes)
        refused = await copied(source, target, tmp_path, on_conflict="replace", **sizes)

    assert (report.exit, report.keys.written, report.lossy) == (0, 1, 1)
    assert report.verify is not None
    assert report.verify.lossy == 1
    assert report.not_copied == ["deadlines of fields of large, db 0 (--allow lossy)"]
    assert (refused.exit, refused.keys.rejected) == (3, 1)


@pytest.mark.parametrize("route", ["scan", "psync"])
async def test_what_would_kill_the_target_is_written_anew(route: str, tmp_path: Path) -> None:
    """A stream of Valkey 9.1 with a text of the one size that others step over wrongly: it arrives, and is readable."""
    async with running("valkey-9.1", "--repl-diskless-sync-delay", "0") as source, running("redis-8.2") as target:
        with oracle.Client(source.address) as client:
            for number in range(20):
                client.ask("XADD", f"usual:{number}", "1-1", "f", "v")
            client.ask("XADD", "deadly", "1-1", "f", b"x" * 16_378, "g", "tail")
            client.ask("XGROUP", "CREATE", "deadly", "group", "0")

        report = await copied(source, target, tmp_path, route=route)

        assert (report.exit, report.verified, report.keys.written) == (0, True, 21), report
        oracle.assert_same(source.address, target.address)

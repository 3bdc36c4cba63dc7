"""Any version to any version: every ordered pair of servers, every type in every size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.job.copying import copied
from tests.job.watching import Watching
from tests.matrix import FIELD_TTL, fill, timed_hashes
from tests.servers import VERSIONS, running
from transfer.model.endpoint import Address

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


async def test_a_loss_that_was_allowed_is_listed(tmp_path: Path) -> None:
    """--allow lossy writes hashes without the deadlines of their fields, and says so of each."""
    watching = Watching(consents=True)
    async with running("valkey-9.1") as source, running("redis-7.0") as target:
        fill(source.address, "valkey-9.1")
        report = await copied(source, target, tmp_path, watching, allow=frozenset({"lossy"}))
        differences = oracle.compare(oracle.snapshot(source.address), oracle.snapshot(target.address))

    assert (report.exit, report.rejects) == (0, [])
    assert not differences, differences.told()
    said = [text for text in watching.warnings if "--allow lossy" in text]
    assert [any(name.decode() in text for text in said) for name in timed_hashes()] == [True, True]
    assert any("2 keys were written without" in note for note in report.notes)

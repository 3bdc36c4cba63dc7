"""A flag that would change nothing is refused by its name."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests import oracle
from tests.cli.running import run, transfer
from tests.job.filling import until
from tests.servers import ask, running
from transfer.cli.effect import NO_EFFECT, refuse_idle
from transfer.cli.options import Moving
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.errors import UsageError

GROUPS: list[Any] = [getattr(Moving(), field.name) for field in fields(Moving)]
NAMES = [(kind, name) for kind, names in NO_EFFECT.items() for name in names]


@pytest.mark.parametrize(("kind", "name"), NAMES, ids=[f"{kind} --{name}" for kind, name in NAMES])
def test_what_has_no_effect_is_refused_where_it_has_none(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under its name; as a variable of the environment, which is meant for all commands, it passes."""
    group = next(group for group in GROUPS if name in [field.name for field in fields(group)])
    said = [*GROUPS, replace(group, **{name: "another"})]
    flag = "--" + name.replace("_", "-")

    with pytest.raises(UsageError, match=flag):
        refuse_idle(kind, said)
    refuse_idle("copy", said)
    monkeypatch.setenv("TRANSFER_" + name.upper(), "another")
    refuse_idle(kind, said)


@pytest.mark.parametrize(
    "words",
    [
        ("copy", "redis://127.0.0.1:1", "out.rdb", "--on-conflict", "skip"),
        ("import", "in.rdb", "redis://127.0.0.1:1", "--route", "psync"),
        ("verify", "in.rdb", "--match", "x*"),
        ("verify", "redis://127.0.0.1:1", "redis://127.0.0.1:2", "--identity", "x"),
        ("inspect", "in.rdb", "--timeout", "1s"),
    ],
)
def test_the_command_refuses_it_before_anything_else(words: tuple[str, ...], tmp_path: Path) -> None:
    """Exit 2, nothing is dialled and no file is looked for."""
    said = transfer(*words, state=tmp_path)

    assert (said.exit, words[-2] in said.err, "it would change nothing" in said.err) == (2, True, True), said


async def test_flags_that_scripts_give_to_every_command_are_taken(tmp_path: Path) -> None:
    """Where the job store is, and that nobody answers: commands that keep no job and ask nothing take them, too."""
    everywhere, path = ("--state", str(tmp_path / "state"), "--no-input", "--yes"), str(tmp_path / "all.jsonl")
    async with running("redis-7.0") as server:
        assert (await run("export", server.url, path, *everywhere, state=tmp_path)).exit == 0
        for words in (
            ("doctor", server.url),
            ("inspect", server.url),
            ("inspect", path),
            ("verify", server.url, path),
            ("verify", path),
        ):
            said = await run(*words, *everywhere, state=tmp_path)
            assert said.exit == 0, (words, said)


async def test_an_export_reads_from_a_replica_and_says_so(tmp_path: Path) -> None:
    """--read-from has an effect there: the primary is asked for no key."""
    async with running("redis-7.0", *_NOW) as primary, running("redis-7.0", *_NOW) as replica:
        await ask(primary, "SET", "k", "v")
        await ask(replica, "REPLICAOF", primary.address.host, primary.address.port)
        await until(lambda: _follows(primary))
        words = ("export", primary.url, str(tmp_path / "out.rdb"), "--json", "--read-from", "replica")
        said = await run(*words, "--route", "scan", state=tmp_path)
        calls = await ask(primary, "INFO", "commandstats")

    assert (said.exit, said.result["keys"]["written"]) == (0, 1), said
    assert said.lines[0]["choices"]["read-from"].startswith("replica of ")
    assert b"cmdstat_scan:" not in calls


_NOW = ("--repl-diskless-sync-delay", "0")


def _follows(primary: ThrowawayServer) -> bool:
    with oracle.client(primary.address) as asking:
        return "online" in repr(asking.info("replication").get("slave0"))

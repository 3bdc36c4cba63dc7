"""Function libraries travel ahead of the keys, and obey --on-conflict."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.running import run
from tests.job.copying import copied
from tests.job.watching import Watching
from tests.servers import ask, running
from transfer.endpoint.redis.throwaway import ThrowawayServer


def code(name: str, said: str) -> str:
    return f"#!lua name={name}\nredis.register_function('{name}_f', function(keys, args) return '{said}' end)"


@asynccontextmanager
async def two() -> AsyncIterator[tuple[ThrowawayServer, ThrowawayServer]]:
    """Three libraries; the target has one of them as it is, and one with other code."""
    async with running("valkey-9.1") as source, running("redis-7.0") as target:
        await ask(source, "SET", "k", "v")
        for name in ("equal", "other", "new"):
            await ask(source, "FUNCTION", "LOAD", code(name, "here"))
        await ask(target, "FUNCTION", "LOAD", code("equal", "here"))
        await ask(target, "FUNCTION", "LOAD", code("other", "there"))
        yield source, target


@pytest.mark.parametrize(
    ("policy", "conflicts", "replaced", "said"),
    [("", 1, 0, b"there"), ("fail", 1, 0, b"there"), ("skip", 1, 0, b"there"), ("replace", 0, 1, b"here")],
)
async def test_a_library_of_the_same_name_obeys_the_policy(
    policy: str, conflicts: int, replaced: int, said: bytes, tmp_path: Path
) -> None:
    """Other code stays unless it is to be replaced, and is listed then, also with skip. The exit is 0."""
    watching = Watching(consents=True)
    async with two() as (source, target):
        report = await copied(source, target, tmp_path, watching, on_conflict=policy)
        answers = [await ask(target, "FCALL", f"{name}_f", 0) for name in ("equal", "other", "new")]

    found = report.functions
    assert found is not None
    assert (found.read, found.written, found.already) == (3, 1, 1)
    assert (found.conflicts, found.replaced) == (conflicts, replaced)
    assert answers == [b"here", said, b"here"]
    listed = [text for text in report.not_copied if "library other" in text]
    assert len(listed) == conflicts
    assert [f"not copied: {text}" for text in listed] == watching.warnings
    assert report.exit == 0


async def test_nothing_is_loaded_in_a_dry_run(tmp_path: Path) -> None:
    """The plan names the libraries, the target has none of them."""
    watching = Watching(consents=True)
    async with two() as (source, target):
        await copied(source, target, tmp_path, watching, dry_run=True)
        assert await ask(target, "FCALL", "new_f", 0) != b"here"

    assert watching.plan is not None
    assert sorted(watching.plan.functions) == ["equal", "new", "other"]


async def test_a_library_that_is_refused_ends_nothing(tmp_path: Path) -> None:
    """A user who may not load functions copies the keys, and is told."""
    async with two() as (source, target):
        await ask(target, "ACL", "SETUSER", "default", "-function|load")
        report = await copied(source, target, tmp_path)

    assert report.functions is not None
    assert report.functions.rejected == 1
    assert any("library new: the target refuses it: NOPERM" in text for text in report.not_copied)
    assert (report.exit, report.keys.written) == (0, 1)


async def test_the_plan_says_that_functions_stay_where_the_target_has_none(tmp_path: Path) -> None:
    """Redis 6.2 has no functions: none are said to travel, and each is named in the end."""
    watching = Watching(consents=True)
    async with running("redis-7.0") as source, running("redis-6.2") as target:
        await ask(source, "SET", "k", "v")
        for name in ("one", "two"):
            await ask(source, "FUNCTION", "LOAD", code(name, "here"))
        report = await copied(source, target, tmp_path, watching)

    assert watching.plan is not None
    assert (watching.plan.functions, sorted(watching.plan.stranded)) == ([], ["one", "two"])
    assert any("do not travel: Redis 6.2" in note for note in watching.plan.notes)
    assert len([text for text in report.not_copied if "has no functions" in text]) == 2


@pytest.mark.parametrize(
    ("name", "more", "left"),
    [
        ("dump.rdb", (), ""),
        ("dump.rdb", ("--match", "k*"), "only a part of the source is copied"),
        ("dump.jsonl", (), "lines of JSON have no place for code"),
    ],
)
async def test_an_export_of_a_part_leaves_functions_out_and_says_so(
    name: str, more: tuple[str, ...], left: str, tmp_path: Path
) -> None:
    """As a copy does; a whole one takes them along where the file has a place for code."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await ask(source, "SET", "k", "v")
        await ask(source, "FUNCTION", "LOAD", code("one", "here"))
        path = str(tmp_path / name)
        said = await run("export", source.url, path, "-q", "--json", *more, state=tmp_path)
        await run("import", path, target.url, state=tmp_path)
        answer = await ask(target, "FCALL", "one_f", 0)

    expected = [f"1 function library (one): {left}"] if left else []
    assert (said.exit, answer == b"here") == (0, not left)
    assert said.result["not_copied"] == expected
    assert [line["message"] for line in said.of("warning")] == [f"not copied: {text}" for text in expected]

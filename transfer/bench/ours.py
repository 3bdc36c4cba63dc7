"""Ours: the real command in a process of its own, as a user runs it.

`wall_s` has the start of the interpreter and preflight in it; `seconds` is what the result line says. `ended` is of
the monotonic clock.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from transfer.bench.places import Side, url_of
from transfer.bench.process import Ran, python_environment, run
from transfer.bench.ways import Row
from transfer.model.endpoint import Address
from transfer.model.errors import WayError

COMMAND = (sys.executable, "-m", "transfer")
UNTRAILED = (sys.executable, "-m", "transfer.cli.untrailed")
_CHANGED_MEANWHILE = 7
_SECRETS = ("TRANSFER_SOURCE_PASSWORD", "TRANSFER_TARGET_PASSWORD")


async def copy(
    source: Address,
    target: Address,
    *,
    verify: str = "none",
    pace: str = "max",
    more: tuple[str, ...] = (),
    command: tuple[str, ...] = COMMAND,
) -> Row:
    """`transfer copy`; with *verify* the row has `verify_s` too."""
    words = ["copy", url_of(source), url_of(target), "--verify", verify, "--yes", *more]
    result, ran = await _result([*words, *await pace_words(pace)], source, target, command=command)
    row = _moved(result, ran)
    if verify != "none":
        row["verify_s"] = result["verify"]["seconds"]
    return row


def _moved(result: dict[str, Any], ran: Ran) -> Row:
    row = {"wall_s": ran.wall_s, "seconds": result["seconds"], "engine_cpu_s": ran.cpu_s, "ended": ran.ended}
    row["rss_mib"] = max(ran.rss_mib, result["peak_rss_bytes"] / 2**20)
    row["keys"] = result["keys"]["written"]
    return row


async def copy_psync(source: Side, target: Address) -> Row:
    """`transfer copy` by a full sync, which begins as soon as it is asked for."""
    await source.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    return await copy(source.address, target, more=("--route", "psync", "--allow", "fork"))


async def export(source: Side, file: Path, route: str) -> Row:
    """`transfer export` into *file*, which is left there; read back, and not compared with the source."""
    fork = ("--allow", "fork,overwrite") if route == "psync" else ("--allow", "overwrite")
    await source.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    words = ["export", url_of(source.address), str(file), "--route", route, "--verify", "none", "--yes", *fork]
    result, ran = await _result([*words, *await pace_words("max")], source.address)
    return _moved(result, ran) | {"file_mib": await _mib(file)}


async def import_(file: Path, target: Address) -> Row:
    """`transfer import` of *file*, which is looked through before; `seconds` holds that, too."""
    words = ["import", str(file), url_of(target), "--verify", "none", "--yes"]
    result, ran = await _result(words, target)
    return _moved(result, ran) | {"seconds": ran.wall_s, "file_mib": await _mib(file)}


async def _mib(file: Path) -> float:
    return (await anyio.Path(file).stat()).st_size / 2**20


async def verify_file(file: Path, *more: str) -> Row:
    """`transfer verify FILE`: is it whole?"""
    _, ran = await _result(["verify", str(file), *more])
    return {"wall_s": ran.wall_s, "seconds": ran.wall_s, "engine_cpu_s": ran.cpu_s, "rss_mib": ran.rss_mib}


async def verify(left: Address, right: Address) -> Row:
    """`transfer verify`, in full."""
    result, ran = await _result(["verify", url_of(left), url_of(right)], left, right)
    seconds = result["verify"].get("seconds") or result["seconds"]
    return {"wall_s": ran.wall_s, "seconds": seconds, "engine_cpu_s": ran.cpu_s, "rss_mib": ran.rss_mib}


async def pace_words(pace: str) -> list[str]:
    """`--pace` as far as this release knows it."""
    return ["--pace", pace] if await anyio.to_thread.run_sync(knows_pace) else []


@cache
def knows_pace() -> bool:
    """Whether `transfer copy` takes --pace."""
    import subprocess

    words = [*COMMAND, "copy", "--help"]
    done = subprocess.run(words, env=python_environment(), capture_output=True, text=True, check=False)
    return "--pace" in done.stdout


async def _result(words: list[str], *places: Address, command: tuple[str, ...] = COMMAND) -> tuple[dict[str, Any], Ran]:
    """The result line. 7 (keys changed meanwhile) is an answer too: users write while latency is measured."""
    names = _SECRETS if len(places) > 1 else _SECRETS[:1] if words[0] != "import" else _SECRETS[1:]
    given = {name: place.password.reveal() for name, place in zip(names, places, strict=False) if place.password}
    with tempfile.TemporaryDirectory() as state:
        full = [*command, *words, "--json", "--quiet", "--state", str(Path(state))]
        ran = await run(full, environment=python_environment(**given))
    if ran.exit not in (0, _CHANGED_MEANWHILE):
        raise WayError(f"transfer {words[0]}: {ran.complaint}", exit=ran.exit)
    return json.loads(ran.out.splitlines()[-1]), ran

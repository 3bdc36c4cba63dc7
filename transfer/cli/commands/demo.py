"""`demo`, `demo fill URL`, `demo verify URL`, `demo clear URL`: words in; lines, data and exit code out."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from transfer.cli.render.json import key_fields, said_of
from transfer.cli.render.plan import table
from transfer.cli.render.summary import finding_lines
from transfer.endpoint.redis import sample
from transfer.job.demo import Copying, Say, demonstrate, stoppable
from transfer.model.endpoint import Address
from transfer.model.ports import Observer
from transfer.model.report import Finding
from transfer.wire.dial import Dialer

_SHOWN_FINDINGS = 20


class Outcome(NamedTuple):
    """Lines for people, `data` of the result line, exit code."""

    lines: list[str]
    data: dict[str, Any]
    exit: int


async def run_demo(
    copying: Copying,
    observer: Observer,
    say: Say,
    *,
    keys: int = sample.DEFAULT_KEYS,
    seed: int = sample.DEFAULT_SEED,
    state_dir: str = "",
) -> Outcome:
    """`demo`: *say* prints a line at once, *observer* shows the copy and its table."""
    shown = await demonstrate(copying, observer, say, keys=keys, seed=seed, state_dir=state_dir)
    report = shown.report
    data = {
        "seconds": round(shown.seconds, 3),
        "filled": _filled(shown.filled),
        "copy": {"job": report.job, "exit": report.exit, "seconds": report.seconds, "verified": report.verified},
        "families": _families(shown.target),
    }
    well = "all of it arrived" if shown.exit == 0 else f"the demo FAILED with exit code {shown.exit}"
    lines = [f"demo: {well}, in {shown.seconds:.1f} s from the first server's start to the last one's end"]
    return Outcome(lines, data, shown.exit)


async def run_demo_fill(
    address: Address,
    *,
    keys: int = sample.DEFAULT_KEYS,
    seed: int = sample.DEFAULT_SEED,
    connect_timeout_ms: int = 10_000,
    timeout_ms: int = 30_000,
) -> Outcome:
    """`demo fill URL`: sample keys into a server, over nothing that is not its own."""
    async with stoppable():
        filled = await sample.fill(_dialer(address, connect_timeout_ms, timeout_ms), keys=keys, seed=seed)
    dbs = ", ".join(f"db {db}: {count:,}" for db, count in sorted(filled.dbs.items()))
    lines = [
        f"filled {address} with {filled.keys:,} keys of seed {seed} in {filled.seconds:.1f} s ({dbs})",
        f"what was written is noted in {sample.MANIFEST_KEY.decode()}; transfer demo clear URL takes it away again",
    ]
    return Outcome(lines, _filled(filled), 0)


async def run_demo_verify(
    address: Address, *, hash_keys: bool = False, connect_timeout_ms: int = 10_000, timeout_ms: int = 30_000
) -> Outcome:
    """`demo verify URL`: every sample key against what its seed says; 6 where one differs."""
    async with stoppable():
        found = await sample.verify(_dialer(address, connect_timeout_ms, timeout_ms))
    listed = finding_lines(found.findings[:_SHOWN_FINDINGS], found.different, _plain, hash_keys)
    lines = [*_about(found, address), *_table(found), *listed]
    data = {
        "manifest": msgspec.to_builtins(found.manifest),
        "families": _families(found),
        "different": found.different,
        "findings": [_finding(finding, hash_keys) for finding in found.findings],
    }
    return Outcome(lines, data, 6 if found.different else 0)


async def run_demo_clear(address: Address, *, connect_timeout_ms: int = 10_000, timeout_ms: int = 30_000) -> Outcome:
    """`demo clear URL`: only what fill wrote and nobody changed since."""
    async with stoppable():
        cleared = await sample.clear(_dialer(address, connect_timeout_ms, timeout_ms))
    lines = [f"removed {cleared.removed:,} demo keys from {address}"]
    if cleared.changed:
        lines.append(f"left {cleared.changed:,} keys under names of ours that hold another value than fill wrote")
    if not (cleared.removed or cleared.changed or cleared.gone):
        lines = [f"no demo data at {address}: nothing removed"]
    return Outcome(lines, msgspec.to_builtins(cleared), 0)


def _dialer(address: Address, connect_timeout_ms: int, timeout_ms: int) -> Dialer:
    return Dialer(address, name="transfer-demo", connect_timeout=connect_timeout_ms / 1000, timeout=timeout_ms / 1000)


def _about(found: sample.Verified, address: Address) -> list[str]:
    if found.manifest is None:
        return [f"no demo data at {address}"]
    return [f"{address}: {found.manifest.keys:,} keys of seed {found.manifest.seed} are declared"]


def _table(found: sample.Verified) -> list[str]:
    counts = found.families.items()
    rows = [(name, *(f"{number:,}" for number in msgspec.structs.astuple(count))) for name, count in counts]
    return table(("family", "declared", "same", "expired", "different"), rows, left=1)


def _families(found: sample.Verified) -> dict[str, Any]:
    return {name: msgspec.to_builtins(count) for name, count in found.families.items()}


def _filled(filled: sample.Filled) -> dict[str, Any]:
    return {**msgspec.to_builtins(filled), "dbs": {str(db): count for db, count in filled.dbs.items()}}


def _finding(finding: Finding, hash_keys: bool) -> dict[str, Any]:
    named = key_fields(finding.key, hash_keys)
    return {"verdict": finding.verdict.value, "db": finding.db, **named, "detail": said_of(finding.detail, hash_keys)}


def _plain(text: str, style: str) -> str:
    return text

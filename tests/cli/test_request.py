"""Words become a request with units; what makes no sense is refused with the flag's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import transfer
from transfer.cli.options import (
    Bounds,
    Change,
    Check,
    Conflict,
    Consent,
    DryRun,
    Extent,
    GiveUp,
    Keep,
    Names,
    Pace,
    Proof,
    Rename,
    Store,
    Waits,
    What,
)
from transfer.cli.request import copy_request, pace_changes
from transfer.model.errors import FileMissingError, UsageError
from transfer.model.plan import CopyRequest

_GROUPS = {
    "what": What,
    "rename": Rename,
    "change": Change,
    "conflict": Conflict,
    "pace": Pace,
    "extent": Extent,
    "bounds": Bounds,
    "check": Check,
    "proof": Proof,
    "dry_run": DryRun,
    "keep": Keep,
    "store": Store,
    "waits": Waits,
    "give_up": GiveUp,
    "consent": Consent,
    "names": Names,
}


def asked(**flags: Any) -> CopyRequest:
    """The request of `copy redis://a redis://b` with *flags* by their field names."""
    groups = {
        name: kind(**{flag: value for flag, value in flags.items() if flag in kind.__dataclass_fields__})
        for name, kind in _GROUPS.items()
    }
    return copy_request("redis://a", "redis://b", **groups)


def test_without_flags_the_defaults_are_those_of_the_request() -> None:
    """One truth: the flags' defaults and the engine's agree."""
    made = asked()

    assert made == CopyRequest(source=made.source, target=made.target)


def test_every_unit_arrives_as_the_engine_counts() -> None:
    """Durations in ms, sizes in bytes, rates per second, shares as fractions."""
    made = asked(
        rate="50k/s",
        bwlimit="100MiB/s",
        max_memory="64MiB",
        max_duration="2h",
        timeout="5s",
        sample="1%",
        min_ttl="30s",
        ttl_tolerance="1s",
        max_skew="0s",
    )

    assert (made.rate_keys_per_s, made.bwlimit_bytes_per_s, made.max_memory_bytes) == (50_000, 100 << 20, 64 << 20)
    assert (made.max_duration_ms, made.timeout_ms, made.min_ttl_ms) == (7_200_000, 5_000, 30_000)
    assert (made.ttl_tolerance_ms, made.max_skew_ms, made.sample) == (1_000, 0, 0.01)


def test_the_pace_arrives_as_asked() -> None:
    """Latency and lag in their units; who is read from."""
    made = asked(
        pace="max",
        max_source_latency="2ms",
        max_target_lag="16MiB",
        read_from="replica",
        max_replica_lag="1m",
        keep_idle="on",
    )

    assert (made.pace, made.max_source_latency_ms, made.max_target_lag_bytes) == ("max", 2, 16 << 20)
    assert (made.read_from, made.max_replica_lag_ms, made.keep_idle) == ("replica", 60_000, "on")


def test_a_change_of_pace_holds_what_was_named_and_nothing_else() -> None:
    """`none` lifts a limit; nonsense is refused by the name of its flag."""
    assert pace_changes(None, "", "", "") == {}
    assert pace_changes("max", "", "none", "2MiB/s") == {"pace": "max", "rate": 0, "bwlimit": 2 << 20}
    assert pace_changes(None, "3ms", "5k/s", "") == {"max_source_latency_ms": 3, "rate": 5_000}
    with pytest.raises(UsageError, match="--rate"):
        pace_changes(None, "", "fast", "")


def test_names_are_the_bytes_that_were_typed() -> None:
    """argv is decoded with surrogateescape; that is undone."""
    made = asked(match=("\udcff*", "schlüssel"), exclude=("a\udc80",))

    assert made.match == (b"\xff*", "schlüssel".encode())
    assert made.exclude == (b"a\x80",)


@pytest.mark.parametrize(("text", "pair"), [("0", (0, None)), ("3:5", (3, 5)), ("*:3", (None, 3)), ("0:0", (0, 0))])
def test_a_database_is_a_number_or_a_pair(text: str, pair: tuple[int | None, int | None]) -> None:
    """As the contract writes them."""
    assert asked(db=(text,)).dbs == (pair,)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("old:new", (b"old", b"new")),
        ("user::person:", (b"user:", b"person:")),
        ("a\\:b:c\\:d", (b"a:b", b"c:d")),
        ("old:", (b"old", b"")),
        (":new", (b"", b"new")),
        ("a:b::c:d:", (b"a:b:", b"c:d:")),
    ],
)
def test_a_rename_is_two_prefixes(text: str, pair: tuple[bytes, bytes]) -> None:
    """One colon between them, or both end in one, or the inner ones are escaped."""
    assert asked(rename=(text,)).renames == (pair,)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("keep", ("keep", 0)),
        ("drop", ("drop", 0)),
        ("rebase", ("rebase", 0)),
        ("cap=30d", ("cap", 2_592_000_000)),
        ("add=1h", ("add", 3_600_000)),
    ],
)
def test_a_rule_for_deadlines_has_its_amount(text: str, rule: tuple[str, int]) -> None:
    """cap and add need one, the others have none."""
    made = asked(ttl=text)

    assert (made.ttl, made.ttl_amount_ms) == rule


def test_verify_in_part_is_a_share() -> None:
    """`--verify sample=1%`."""
    made = asked(verify="sample=1%")

    assert (made.verify, made.verify_sample) == ("sample", 0.01)


def test_hazards_may_be_listed_and_repeated() -> None:
    """`--allow a,b --allow c`."""
    assert asked(allow=("clock-skew,touch", "lossy")).allow == {"clock-skew", "touch", "lossy"}


def test_types_may_be_said_as_people_say_them() -> None:
    """`sets` is `set`, `sorted-set` is `zset`; twice is once."""
    assert asked(type=("sets", "sorted-set", "zset")).types == ("set", "zset")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"rate": "fast"}, "--rate"),
        ({"rate": "0"}, "--rate"),
        ({"max_source_latency": "0ms"}, "--max-source-latency"),
        ({"max_target_lag": "much"}, "--max-target-lag"),
        ({"max_replica_lag": "10"}, "--max-replica-lag"),
        ({"max_memory": "10"}, "--max-memory"),
        ({"workers": 0}, "--workers"),
        ({"batch": -1}, "--batch"),
        ({"timeout": "30"}, "--timeout"),
        ({"timeout": "0s"}, "--timeout"),
        ({"sample": "2"}, "--sample"),
        ({"sample": "0%"}, "--sample"),
        ({"db": ("*",)}, "--db"),
        ({"db": ("1:*",)}, "--db"),
        ({"db": ("-1",)}, "--db"),
        ({"rename": ("user",)}, "--rename"),
        ({"rename": ("a:b:c",)}, "--rename"),
        ({"rename": ("a:a",)}, "--rename"),
        ({"ttl": "cap"}, "--ttl"),
        ({"ttl": "keep=1h"}, "--ttl"),
        ({"ttl": "cap=0s"}, "--ttl"),
        ({"verify": "sample"}, "--verify"),
        ({"verify": "fully"}, "--verify"),
        ({"max_rejects": "many"}, "--max-rejects"),
        ({"max_rejects": "200%"}, "--max-rejects"),
        ({"type": ("json",)}, "--type"),
        ({"allow": ("everything",)}, "--allow"),
        ({"approved_plan": "sha256:short"}, "--approved-plan"),
        ({"keys_from": "--json"}, "--keys-from"),
    ],
)
def test_a_word_that_makes_no_sense_is_refused_under_its_flag(flags: dict[str, Any], told: str) -> None:
    """With a hint that shows how it reads."""
    with pytest.raises(UsageError) as caught:
        asked(**flags)

    assert caught.value.message.startswith(told)
    assert caught.value.hint


def test_a_list_of_keys_that_is_not_there_is_said_before_anything_is_dialled() -> None:
    """Exit 4, as for every file that is not there."""
    with pytest.raises(FileMissingError):
        asked(keys_from="/nowhere/keys.txt")
    assert asked(keys_from="-").keys_from == "-"


@pytest.mark.parametrize(("name", "wrong"), [("missing", "is not there"), ("file", "is no folder")])
def test_a_folder_to_spill_to_must_be_one(name: str, wrong: str, tmp_path: Path) -> None:
    """Before anything is dialled, as bad input; not as a disk without room."""
    (tmp_path / "file").touch()
    folder = str(tmp_path / name)
    said = transfer("copy", "redis://127.0.0.1:1", "redis://127.0.0.1:2", "--spill-dir", folder)

    assert (said.exit, f"--spill-dir: {folder!r} {wrong}" in said.err) == (2, True), said

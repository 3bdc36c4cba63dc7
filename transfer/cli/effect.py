"""Flags that a command takes and that would change nothing: refused by name, never ignored.

    groups of flags as they were given, which kind of run -> the first that has no effect there -> UsageError

A variable of the environment is meant for every command, and passes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from transfer.cli.options import flag_variable
from transfer.model.endpoint import NAMES_SCHEME, Address
from transfer.model.errors import UsageError

_MADE_ANEW = "a file is made anew"
_NO_SOURCE = "nobody else reads the file"
_NO_VALUES = "a list of names holds no values"
_ON_EXPORT = {
    "on_conflict": _MADE_ANEW,
    "format": "the ending of the file says its form",
    "big_key": "every value is written whole",
    "max_target_lag": "a file has no replicas",
    "on_full": "a disk that is full ends it",
    "max_skew": "a file has no clock",
    "undo_dir": _MADE_ANEW,
}
NO_EFFECT: dict[str, dict[str, str]] = {
    "export": _ON_EXPORT,
    "names": _ON_EXPORT
    | dict.fromkeys(
        ("ttl", "keep_idle", "verify", "ttl_tolerance", "digest", "max_rejects", "max_memory"),
        _NO_VALUES,
    )
    | {
        "min_ttl": "deadlines are not read",
        "rename": "names are listed as they are at the source",
        "route": "names are found by SCAN",
        "workers": "names are found over one connection",
        "batch": "names are found by SCAN",
    },
    "import": {
        "route": "a file is read from its beginning to its end",
        "max_source_latency": _NO_SOURCE,
        "read_from": _NO_SOURCE,
        "max_replica_lag": _NO_SOURCE,
        "big_key": "every value is read whole",
        "max_skew": "a file has no clock",
    },
    "verify": {"undo_dir": "nothing is written"},
}
"""Kind of run -> field of a group of flags -> why it has no effect there."""


def kind_of(source: Address, target: Address) -> str:
    """copy, import, export or names, by what the places are: each of these commands takes places of any kind."""
    if target.scheme == NAMES_SCHEME:
        return "names"
    return "import" if source.is_file else "export" if target.is_file else "copy"


def refuse_idle(kind: str, groups: Iterable[Any]) -> None:
    """Refuse what has no effect in a run of *kind*.

    Raises:
        UsageError: it names the flag.
    """
    idle = NO_EFFECT.get(kind, {})
    for name in given(groups):
        if name in idle:
            raise _idle(name, f"{idle[name]}: it would change nothing")


def refuse_all(groups: Iterable[Any], why: str) -> None:
    """Refuse every flag of *groups* that was given.

    Raises:
        UsageError: it names the first.
    """
    for name in given(groups):
        raise _idle(name, f"it would change nothing: {why}")


def given(groups: Iterable[Any]) -> list[str]:
    """Fields that hold something else than without flags, and not from the environment."""
    return [
        field.name
        for group in groups
        for field in fields(group)
        if getattr(group, field.name) != field.default and flag_variable(_flag(field.name)) not in os.environ
    ]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _idle(name: str, why: str) -> UsageError:
    return UsageError(f"{_flag(name)}: {why}", hint=f"leave {_flag(name)} out")

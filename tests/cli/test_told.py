"""Commands that are told next: pasted, they find the job."""

from __future__ import annotations

import pytest

from transfer.cli.told import state_given, with_state

JOB = "20261123-0940-a6fe"


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        (f"transfer resume {JOB} goes on", f"transfer resume {JOB} --state '/a b' goes on"),
        (f"transfer jobs show {JOB} tells it", f"transfer jobs show {JOB} --state '/a b' tells it"),
        (f"transfer rejects retry {JOB}", f"transfer rejects retry {JOB} --state '/a b'"),
        ("transfer jobs list; transfer explain E101", "transfer jobs list --state '/a b'; transfer explain E101"),
        (f"transfer resume {JOB} --state /x", f"transfer resume {JOB} --state /x"),
        ("transfer copy SRC DST", "transfer copy SRC DST"),
        ("transfer jobs show ID lists them", "transfer jobs show ID --state '/a b' lists them"),
    ],
)
def test_a_command_names_the_store_that_was_named(told: str, meant: str) -> None:
    """Once, quoted for a shell, right behind the job; where none was named, nothing is added."""
    token = state_given.set("/a b")
    try:
        assert with_state(told) == meant
    finally:
        state_given.reset(token)

    assert with_state(told) == told

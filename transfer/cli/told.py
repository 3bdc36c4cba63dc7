"""Commands that are told to be run next: they must mean the same job store as the one that tells them."""

from __future__ import annotations

import re
import shlex
from contextvars import ContextVar

state_given: ContextVar[str] = ContextVar("state_given", default="")
"""The directory that --state named: every command that is told next must name it, too."""
_OF_A_STORE = re.compile(
    r"\btransfer (?:resume|(?:jobs|rejects) \w+)(?: \d{8}-[\w-]+| ID\b)?(?! --state| \d{8}-| ID\b|[\w-])"
)


def with_state(text: str) -> str:
    """*text* with --state in every command of it that asks the job store, where this one was given it."""
    given = state_given.get()
    return _OF_A_STORE.sub(lambda found: f"{found[0]} --state {shlex.quote(given)}", text) if given else text

"""Answers that are RESP, and not of the shape that was asked for.

    with understood(link.where, "SCAN"): cursor, names = ...     a list of one, a number -> ForeignProtocolError

Rule: only what asks and takes apart stands in such a block, so that a fault of ours elsewhere keeps its own name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transfer.model.errors import ForeignProtocolError

_SHAPES = (TypeError, ValueError, LookupError, AttributeError, OverflowError)
_HINT = "transfer doctor URL shows who answers there"


@contextmanager
def understood(where: str, question: str) -> Iterator[None]:
    """Raise ForeignProtocolError where an answer to *question* is not of the shape that it must have."""
    try:
        yield
    except _SHAPES as error:
        raise foreign(where, question, f"{type(error).__name__}: {error}"[:120]) from error


def foreign(where: str, question: str, found: object) -> ForeignProtocolError:
    """The failure for an answer to *question* that nobody could have given."""
    return ForeignProtocolError(f"the answer to {question} makes no sense ({found})", where=where, hint=_HINT)

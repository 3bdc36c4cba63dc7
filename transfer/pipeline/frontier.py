"""How far a run has come: per partition, the last position before which nothing is open.

    begin(span) in the order of the source -> keys settle in any order -> the front of settled spans moves on

Spans are settled out of order, since several readers and writers work at once; a position counts only when
every span before it is settled, too. So what a later process skips was acknowledged, all of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from transfer.model.record import Position, Span


class Frontier:
    """Positions of the partitions of one run.

    Args:
        on_move: told of the partition and its new cursor, whenever a front moved.
    """

    def __init__(self, on_move: Callable[[str, str], None] = lambda partition, cursor: None) -> None:
        self._spans: dict[str, deque[Span]] = {}
        self._cursors: dict[str, str] = {}
        self._on_move = on_move

    @property
    def cursors(self) -> Mapping[str, str]:
        """Where each partition can be gone on with; DONE where nothing is left of it."""
        return self._cursors

    def open(self, partition: str, cursor: str) -> None:
        """*partition* is read from *cursor* on. All partitions of a database are opened before one of them is read."""
        self._spans[partition] = deque()
        self._cursors[partition] = cursor
        self._on_move(partition, cursor)

    def begin(self, partition: str, cursor: str) -> Span:
        """The names that come next in *partition*; *cursor* is where to go on after them."""
        span = Span(Position(partition, cursor))
        self._spans[partition].append(span)
        return span

    def read(self, span: Span, keys: int) -> None:
        """*keys* of the span's names are to be copied; the others have their fate elsewhere or are not wanted."""
        span.open_keys = keys
        if not keys:
            self._advance(span)

    def settle(self, span: Span, keys: int) -> None:
        """*keys* of the span have their fate."""
        if not keys:
            return
        span.open_keys -= keys
        assert span.open_keys >= 0, "a key was settled twice"
        if not span.open_keys:
            self._advance(span)

    def _advance(self, span: Span) -> None:
        partition = span.position.partition
        waiting = self._spans[partition]
        if waiting[0] is not span:
            return
        while waiting and not waiting[0].open_keys:
            front = waiting.popleft()
        self._cursors[partition] = front.position.cursor
        self._on_move(partition, front.position.cursor)

    def unsettled(self) -> int:
        """How many keys have no fate yet; a span that was not looked at counts as one."""
        return sum(abs(span.open_keys) for waiting in self._spans.values() for span in waiting)

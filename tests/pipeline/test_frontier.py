"""A front moves on only over settled ground."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transfer.model.record import DONE
from transfer.pipeline.frontier import Frontier


@given(sizes=st.lists(st.integers(0, 3), min_size=1, max_size=12), order=st.randoms(use_true_random=False))
def test_a_position_leaves_nothing_open_behind_it(sizes: list[int], order: object) -> None:
    """Whatever the order in which keys settle, every span before the position told is settled; at the end all are."""
    told: list[str] = []
    frontier = Frontier(lambda partition, cursor: told.append(cursor))
    frontier.open("p", "")
    spans = [frontier.begin("p", str(number)) for number in range(len(sizes))]
    last = frontier.begin("p", DONE)
    waiting = [span for span, size in zip(spans, sizes, strict=True) for _ in range(size)]
    order.shuffle(waiting)  # type: ignore[attr-defined]

    for span, size in zip([*spans, last], [*sizes, 0], strict=True):
        frontier.read(span, size)
    for span in waiting:
        frontier.settle(span, 1)
        passed = frontier.cursors["p"]
        behind = spans if passed == DONE else spans[: int(passed) + 1] if passed else []
        assert not any(one.open_keys for one in behind)

    assert not frontier.unsettled()
    assert told[-1] == DONE


def test_a_span_that_was_not_read_holds_the_front() -> None:
    """Names that were given and never looked at are not passed."""
    frontier = Frontier()
    frontier.open("p", "")
    frontier.begin("p", "1")
    later = frontier.begin("p", "2")

    frontier.read(later, 1)
    frontier.settle(later, 1)

    assert frontier.cursors == {"p": ""}
    assert frontier.unsettled()

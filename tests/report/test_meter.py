"""Rates and the time that remains, by a clock that the test sets."""

from __future__ import annotations

import pytest

from transfer.report.meter import WINDOW_S, Meter


class Clock:
    """Seconds that go on when told."""

    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_rates_are_keys_and_bytes_over_time() -> None:
    """1000 keys and 1 MB in 2 seconds."""
    clock = Clock()
    meter = Meter("copy", 10_000, clock=clock)
    meter.count(1_000, 1_000_000)
    clock.now_s += 2
    now = meter.snapshot()

    assert (now.keys_per_s, now.bytes_per_s) == (500, 500_000)
    assert now.share == pytest.approx(0.1)
    assert now.eta_s == pytest.approx(18)


def test_cursors_say_better_than_counts_how_far_it_is() -> None:
    """Filters leave keys out: the share that is given wins."""
    clock = Clock()
    meter = Meter("copy", 10_000, clock=clock)
    meter.count(10)
    clock.now_s += 10
    now = meter.snapshot(0.5)

    assert now.share == 0.5
    assert now.eta_s == pytest.approx(10)


def test_a_run_that_stands_still_says_so() -> None:
    """The window forgets the good times; no end is in sight."""
    clock = Clock()
    meter = Meter("copy", 10_000, clock=clock)
    meter.count(5_000)
    for _ in range(30):
        clock.now_s += WINDOW_S / 10
        now = meter.snapshot()

    assert now.keys_per_s == 0
    assert now.eta_s is None


def test_what_is_not_known_is_not_guessed() -> None:
    """No total and no cursor: no share, no end."""
    now = Meter("verify", clock=Clock()).snapshot()

    assert (now.share, now.total_keys, now.eta_s, now.keys_per_s) == (None, None, None, 0)


def test_a_share_stays_between_nothing_and_all() -> None:
    """Keys may be met twice, or come while it runs."""
    meter = Meter("copy", 10, clock=Clock())
    meter.count(15)

    assert meter.snapshot().share == 1.0
    assert meter.snapshot(-0.1).share == 0.0


def test_the_first_moment_is_no_rate() -> None:
    """A burst in the first microsecond is not a million keys a second."""
    clock = Clock()
    meter = Meter("copy", 1_000_000, clock=clock)
    meter.count(100)
    clock.now_s += 1e-6

    assert meter.snapshot().keys_per_s <= 500

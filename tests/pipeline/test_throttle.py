"""The governor: low at first, up while PINGs are calm, down at once when one is not."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from transfer.pipeline.pace import Pace
from transfer.pipeline.throttle import NO_LIMIT, Governor

IDLE_MS = 0.3
WINDOW = 10


def _watched(allowance_ms: float = 5.0) -> Governor:
    governor = Governor(allowance_ms)
    governor.idle([IDLE_MS, 9.0, 0.1])
    governor.company(True)
    return governor


def _pings(governor: Governor, above_idle_ms: float, windows: int = 1) -> float:
    for _ in range(windows * WINDOW):
        governor.observe(IDLE_MS + above_idle_ms)
    return governor.level


def test_alone_nothing_is_limited_whatever_a_ping_takes() -> None:
    """Nobody is there to feel it."""
    governor = Governor()
    governor.idle([IDLE_MS])

    _pings(governor, 100.0)

    assert (governor.most_keys, governor.most_bytes, governor.at_once, governor.pause_s) == (NO_LIMIT,) * 3 + (0.0,)
    assert not governor.limited


def test_pace_max_is_limited_by_nobody() -> None:
    """Whoever is there."""
    governor = Governor(regulates=False)
    governor.company(True)

    assert governor.most_keys == NO_LIMIT
    assert not governor.limited


def test_with_others_it_begins_low_and_grows_while_pings_are_calm() -> None:
    """Keys of one request first, then requests at once; never more than the design allows."""
    governor = _watched()
    low = (governor.most_keys, governor.at_once)

    _pings(governor, 0.5, windows=30)

    assert low == (64, 1)
    assert (governor.most_keys, governor.at_once, governor.most_bytes) == (128, 3, 128 << 10)
    assert governor.limited


def test_one_ping_over_the_limit_halves_it_at_once_and_once_a_window() -> None:
    """Not at the end of a window: that would be a quarter of a second later."""
    governor = _watched()
    before = governor.level

    governor.observe(IDLE_MS + 5.1)

    assert governor.level == before / 2
    governor.observe(IDLE_MS + 5.1)
    assert governor.level == before / 2


def test_between_calm_and_restless_it_stays() -> None:
    """1 ms above idle is calm, 2 ms restless, where 5 are allowed."""
    governor = _watched()

    assert _pings(governor, 1.5) == 64
    assert _pings(governor, 2.5) == pytest.approx(64 * 0.8)
    assert _pings(governor, 0.9) == pytest.approx(64)


def test_a_short_ping_does_not_make_the_measured_idle_value_shorter() -> None:
    """Else one lull of a busy server would make all that others do to it look like ours."""
    governor = _watched()

    governor.observe(0.01)

    assert governor.idle_ms == IDLE_MS


def test_without_a_measured_idle_value_the_shortest_ping_stands_for_it() -> None:
    """A copy that began at pace max and was slowed down later."""
    governor = Governor(regulates=False)
    for latency_ms in (2.0, 0.4, 3.0):
        governor.observe(latency_ms)

    assert governor.idle_ms == 0.4


def test_the_allowance_sets_the_measure() -> None:
    """What is restless under 5 ms is calm under 50."""
    assert _pings(_watched(allowance_ms=50.0), 2.5) == 80


def test_one_unlucky_ping_in_a_window_does_not_keep_it_down() -> None:
    """The second longest tells."""
    governor = _watched()
    governor.observe(IDLE_MS + 4.0)
    for _ in range(WINDOW - 1):
        governor.observe(IDLE_MS + 0.1)

    assert governor.level == 80


def test_under_lasting_distress_pauses_come_in_and_it_never_stands_still() -> None:
    """16 keys a request, and 3 ms between them at most."""
    governor = _watched()

    _pings(governor, 50.0, windows=100)

    assert (governor.most_keys, governor.at_once) == (16, 1)
    assert governor.pause_s == pytest.approx(0.003)


def test_a_client_that_comes_back_is_met_by_a_low_level() -> None:
    """Whatever was reached while it was here before."""
    governor = _watched()
    _pings(governor, 0.1, windows=30)

    governor.company(False)
    alone = governor.most_keys
    governor.company(True)

    assert alone == NO_LIMIT
    assert governor.most_keys == 64


async def test_so_many_requests_are_under_way_at_once() -> None:
    """The others wait for their turn; a wait that is cancelled costs nobody his."""
    governor = _watched()
    under_way = most = done = 0
    go = anyio.Event()

    async def ask(scope: anyio.CancelScope) -> None:
        nonlocal under_way, most, done
        with scope:
            async with governor:
                under_way += 1
                most = max(most, under_way)
                await go.wait()
                await checkpoint()
                under_way -= 1
                done += 1

    async with anyio.create_task_group() as group:
        scopes = [anyio.CancelScope() for _ in range(7)]
        for scope in scopes:
            group.start_soon(ask, scope)
        await anyio.wait_all_tasks_blocked()
        scopes[1].cancel()
        go.set()

    assert (most, done) == (1, 6)


async def test_who_waits_goes_on_when_the_others_leave() -> None:
    """A limit that ended holds nobody."""
    governor = _watched()
    inside = 0
    done = anyio.Event()

    async def ask() -> None:
        nonlocal inside
        async with governor:
            inside += 1
            await done.wait()

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert inside == 1
        governor.company(False)
        await anyio.wait_all_tasks_blocked()
        assert inside == 3
        done.set()


async def test_a_rate_that_changes_frees_who_waits_under_the_old_one() -> None:
    """At one key a second a batch of 1000 blocks the next for a quarter of an hour."""
    pace = Pace(keys_per_s=1)
    await pace.wait(1000, 0)

    with anyio.fail_after(2):
        async with anyio.create_task_group() as group:
            group.start_soon(pace.wait, 1000, 0)
            await anyio.wait_all_tasks_blocked()
            pace.change(0, 0)


async def test_nobody_gets_a_turn_while_the_pace_is_held() -> None:
    """Until it is let go, or the run is to stop."""
    pace, passed = Pace(), anyio.Event()
    pace.holds.add("a replica")

    async def wait() -> None:
        await pace.wait(1, 1)
        passed.set()

    with anyio.fail_after(2):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not passed.is_set()
            pace.stop.set()
        assert passed.is_set()

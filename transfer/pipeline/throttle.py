"""How much is asked of the source at once, so that its other clients hardly feel it.

    others are there? --------------------.
    latency of a PING beside the work ----+-> Governor -> keys and bytes of one request, requests at once, pauses

Rule 1: alone, or told not to regulate, nothing is limited.
Rule 2: with others it begins low; a calm window of PINGs raises the level by a quarter, a restless one lowers it by a
        fifth, and one PING over the limit halves it at once, once a window.
Rule 3: a request stays below `_MOST_KEYS` keys and 1 KiB for each: what one request takes of the server's only thread
        is what others wait for. At the lowest level pauses come in between; it never stands still.
"""

from __future__ import annotations

from collections import deque
from statistics import median

import anyio

NO_LIMIT = 1 << 40
_LEAST_KEYS, _MOST_KEYS = 16, 128
_MOST_AT_ONCE = 3
_START_LEVEL, _LEAST_LEVEL, _MOST_LEVEL = 64.0, 4.0, float(_MOST_KEYS * _MOST_AT_ONCE)
"""At the least level 16 keys are asked for every 3 ms, a few hundredths of the server's time: where PINGs are slow even
then, others are the cause, and to ask for less would help nobody."""
_KEY_BYTES = 1 << 10
_WINDOW_PINGS = 10
_CALM, _RESTLESS = 0.2, 0.4
"""Shares of the allowance: below the first is calm, above the second restless. What a client meets in its worst
hundredth stays near the second, 2 ms of the usual 5; the whole allowance is for single moments."""
_RAISE, _LOWER, _HALVE = 1.25, 0.8, 0.5
_PAUSE_S = 0.001


class Governor:
    """Regulates requests to one server; each is made inside `async with governor`.

    Args:
        allowance_ms: how far the latency of a PING may go above its idle value.
        regulates: False: never limits anything.

    Attributes:
        level: keys in flight at most, while it limits; below `_LEAST_KEYS` pauses stand for what is less.
        idle_ms, latency_ms: the PING before the work, and the last one; None while unknown.
        limited: whether it has limited anything so far.
    """

    def __init__(self, allowance_ms: float = 5.0, *, regulates: bool = True) -> None:
        self.allowance_ms = allowance_ms
        self.regulates = regulates
        self.others = False
        self.limited = False
        self.level = _START_LEVEL
        self.idle_ms: float | None = None
        self.latency_ms: float | None = None
        self._measured = False
        self._window: list[float] = []
        self._halved = False
        self._busy = 0
        self._waiting: deque[anyio.Event] = deque()

    @property
    def limits(self) -> bool:
        """Whether anything is held back now."""
        return self.regulates and self.others

    @property
    def most_keys(self) -> int:
        """Keys of one request, at most."""
        return min(_MOST_KEYS, max(_LEAST_KEYS, int(self.level))) if self.limits else NO_LIMIT

    @property
    def most_bytes(self) -> int:
        """Bytes of the answers to one request, at most; a larger key is asked for alone."""
        return self.most_keys * _KEY_BYTES if self.limits else NO_LIMIT

    @property
    def at_once(self) -> int:
        """Requests under way, at most."""
        return max(1, int(self.level) // _MOST_KEYS) if self.limits else NO_LIMIT

    @property
    def pause_s(self) -> float:
        """Seconds to wait before a request."""
        return _PAUSE_S * (_LEAST_KEYS / self.level - 1) if self.limits and self.level < _LEAST_KEYS else 0.0

    def change(self, *, regulates: bool, allowance_ms: float) -> None:
        """Another pace from now on."""
        if regulates and not self.regulates:
            self._begin_low()
        self.regulates, self.allowance_ms = regulates, allowance_ms
        self._wake()

    def company(self, others: bool) -> None:
        """Whether other clients use the server now."""
        if others and not self.others:
            self._begin_low()
        self.others = others
        self.limited |= self.limits
        self._wake()

    def idle(self, latencies_ms: list[float]) -> None:
        """How long PINGs took before the work began."""
        self.idle_ms, self._measured = median(latencies_ms), True

    def observe(self, latency_ms: float) -> None:
        """How long one PING took beside the work. Where none was measured before it, the shortest stands for idle."""
        self.latency_ms = latency_ms
        if not self._measured:
            self.idle_ms = min(latency_ms, self.idle_ms) if self.idle_ms is not None else latency_ms
        assert self.idle_ms is not None
        if not self.limits:
            return
        over = latency_ms - self.idle_ms
        self._window.append(over)
        if over > self.allowance_ms and not self._halved:
            self._halved = True
            self._scale(_HALVE)
        if len(self._window) >= _WINDOW_PINGS:
            self._close_window()

    def _close_window(self) -> None:
        """The second longest tells: one PING that was unlucky is none of our doing."""
        telling = sorted(self._window)[-2]
        if not self._halved:
            if telling > _RESTLESS * self.allowance_ms:
                self._scale(_LOWER)
            elif telling <= _CALM * self.allowance_ms:
                self._scale(_RAISE)
        self._window, self._halved = [], False

    def _scale(self, factor: float) -> None:
        self.level = min(_MOST_LEVEL, max(_LEAST_LEVEL, self.level * factor))
        self._wake()

    def _begin_low(self) -> None:
        self.level = _START_LEVEL
        self._window, self._halved = [], False

    async def __aenter__(self) -> None:
        """Wait for the turn of one request."""
        while self._busy >= self.at_once:
            turn = anyio.Event()
            self._waiting.append(turn)
            await turn.wait()
        self._busy += 1
        if pause_s := self.pause_s:
            try:
                await anyio.sleep(pause_s)
            except BaseException:
                await self.__aexit__()
                raise

    async def __aexit__(self, *failure: object) -> None:
        self._busy -= 1
        self._wake()

    def _wake(self) -> None:
        """All who wait look again: there are few, and a turn given to one that was cancelled would be lost."""
        while self._waiting:
            self._waiting.popleft().set()

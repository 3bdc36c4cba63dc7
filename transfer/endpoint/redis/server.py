"""One live server: dials links to it, knows who answered first, and asks again after every loss.

open -> link ... (lost) -> redial: backoff -> dial -> who answers? -> the same process: a new link
                                                                 -> another: ReplacedError, nothing is sent
TIME, again and again -> the clock is where it was thought to be | it drifted: measured anew | it was stepped: told
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from transfer.endpoint.redis import probe
from transfer.model.endpoint import Address, Features, Identity
from transfer.model.errors import GaveUpError, LinkError, ReadOnlyTargetError, ReplacedError, TransferError
from transfer.wire.dial import Dialer
from transfer.wire.link import Link
from transfer.wire.replies import passes, tells
from transfer.wire.understood import understood

_T = TypeVar("_T")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_DRIFT_MS, STEP_MS = 20, 250
"""A clock that is so far from where it was thought to be is measured anew; was stepped."""


class Server:
    """A server and what is known of it. `open` it, then ask it for links.

    Attributes:
        identity, features: as found when it was opened (or adopted anew after a replacement).
        give_up_s: how long `redial` keeps trying.
        on_wait: called with a sentence, for people to read, once per wait that somebody may have to end.
    """

    def __init__(self, dialer: Dialer, give_up_s: float = 300.0) -> None:
        self.dialer = dialer
        self.give_up_s = give_up_s
        self.identity: Identity
        self.features: Features
        self.on_wait: Callable[[str], None] = lambda text: None
        self.redials = 0
        self._offset_ms = 0
        self._earlier_offsets_ms: list[int] = []
        self.round_trip_s = 0.0
        self._probes_restore = True
        self._announced: list[Link] = []
        self._clock = time.time() - time.monotonic()

    @property
    def address(self) -> Address:
        return self.dialer.address

    @property
    def where(self) -> str:
        return str(self.dialer.address)

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        name: str = "",
        connect_timeout: float = 10.0,
        timeout: float = 30.0,
        give_up_s: float = 300.0,
        probes_restore: bool = True,
    ) -> Server:
        """Dial and learn who answers. A wrong address fails at once; "not now" is waited for up to *connect_timeout*.

        Raises:
            UnreachableError, AuthError, TlsError, ForeignProtocolError, PermissionDeniedError.
        """
        server = cls(Dialer(address, name=name, connect_timeout=connect_timeout, timeout=timeout), give_up_s)
        server._probes_restore = probes_restore
        await server._adopt_answering(anyio.current_time() + connect_timeout)
        return server

    async def _adopt_answering(self, deadline: float) -> None:
        """`adopt`, again and again while a server answers that it cannot now, up to *deadline*."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return await self.adopt()
            except TransferError as error:
                if "reply" not in error.facts or not passes(error) or anyio.current_time() + pause > deadline:
                    raise
            await anyio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def adopt(self) -> None:
        """Take whoever answers now as the server that is meant."""
        async with self.link(db=0) as link:  # the database of the URL need not exist
            self.identity = await probe.identify(link)
            self.features = await probe.probe_features(link, self.identity, restores=self._probes_restore)
            await self._set_offset(link)

    async def look_at_clock(self, link: Link) -> int:
        """Ask whether the server's clock is still where it was thought to be, and go by what it says from now on.

        Returns by how many ms it was stepped since it was last measured, 0 if it was not.
        """
        with understood(self.where, "TIME"):
            before, there, after = time.monotonic(), await probe.time_ms(link), time.monotonic()
        least, most = (there - (ours + self._clock) * 1000 for ours in (after, before))
        if least - _DRIFT_MS <= self._offset_ms <= most + _DRIFT_MS:
            return 0
        with understood(self.where, "TIME"):
            return await self._set_offset(link)

    async def _set_offset(self, link: Link) -> int:
        """Measure the clock. One that drifts is a step at last: keys were written by where it stood."""
        known, self._offset_ms = self._offset_ms, await self._measure_offset_ms(link)
        earlier = self._earlier_offsets_ms
        if not earlier or all(abs(self._offset_ms - other) > STEP_MS for other in earlier):
            earlier.append(self._offset_ms)
        step_ms = self._offset_ms - known
        return step_ms if len(earlier) > 1 and abs(step_ms) > STEP_MS else 0

    async def _measure_offset_ms(self, link: Link) -> int:
        """Server clock minus our monotonic wall clock; the middle of the fastest of three looks. Its length is kept."""
        looks = []
        for _ in range(3):
            before = time.monotonic()
            there = await probe.time_ms(link)
            after = time.monotonic()
            looks.append((after - before, there - ((before + after) / 2 + self._clock) * 1000))
        self.round_trip_s, offset_ms = min(looks)
        return round(offset_ms)

    @property
    def clock_offset_ms(self) -> int:
        return self._offset_ms

    def now_ms(self) -> int:
        """The server's clock now, from the offset that was measured last; steps of ours do not matter."""
        return int((time.monotonic() + self._clock) * 1000) + self._offset_ms

    def moments_ms(self) -> list[int]:
        """`now_ms`, and what the clock would say now, had it not been stepped since `open`: once for each step."""
        earlier = [offset - self._offset_ms for offset in self._earlier_offsets_ms]
        return [now := self.now_ms(), *(now + shift for shift in earlier if abs(shift) > STEP_MS)]

    @asynccontextmanager
    async def link(
        self, db: int | None = None, *, resp3: bool = False, cap_bytes: int = 64 << 20
    ) -> AsyncIterator[Link]:
        """A link for one piece of work, closed after it."""
        link = await self.dialer.dial(db=db, resp3=resp3, cap_bytes=cap_bytes)
        try:
            with understood(self.where, "a question about the server"):
                yield link
        finally:
            await link.close()

    async def redial(self, db: int, *, cap_bytes: int = 64 << 20, writes: bool = False) -> Link:
        """A new link after a loss, to the same process as before.

        Raises:
            ReplacedError: another process answers; nothing was sent to it but questions.
            GaveUpError: nobody answered for `give_up_s` seconds.
        """
        return await self._patiently(lambda: self._dial_known(db, cap_bytes, writes))

    async def announce(self, dbs: Iterable[int]) -> None:
        """Hold one link in each of *dbs* whose name says that we write there, until `withdraw`.

        Raises:
            GaveUpError: nobody answered for `give_up_s` seconds.
        """
        for db in dbs:
            self._announced.append(await self.redial(db, writes=True))

    async def withdraw(self) -> None:
        """Close what `announce` holds."""
        while self._announced:
            await self._announced.pop().close()

    async def adopt_when_up(self, *, writable: bool = False) -> None:
        """Like `adopt`, waiting while nobody answers or the server loads its data; *writable*: or is a replica.

        Raises:
            GaveUpError: nobody answered for `give_up_s` seconds.
            ReadOnlyTargetError: only a replica did.
        """
        await self._patiently(lambda: self._adopt_loaded(writable))

    async def asked(self, question: Callable[[Link], Awaitable[_T]], db: int = 0) -> _T:
        """The answer to *question* from whoever answers, asked again where a link breaks.

        Raises:
            GaveUpError: nobody answered for `give_up_s` seconds.
        """

        async def ask() -> _T:
            async with self.link(db) as link:
                return await question(link)

        return await self._patiently(ask)

    async def _adopt_loaded(self, writable: bool) -> None:
        async with self.link(db=0) as link:
            found = await probe.identify(link)
            if await probe.is_loading(link) or found.syncing:
                raise LinkError("LOADING: the server is loading its data", where=self.where)
            if writable and found.role != "master":
                said = f"a replica answers at the target now ({found.name})"
                raise ReadOnlyTargetError(said, where=self.where, reply="READONLY")
        await self.adopt()

    async def _patiently(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """*work*, again and again with growing pauses while it fails in a way that may pass."""
        self.redials += 1
        deadline = anyio.current_time() + self.give_up_s
        pause, told = _FIRST_PAUSE_S, ""
        while True:
            try:
                return await work()
            except TransferError as error:
                if not passes(error):
                    raise
                if anyio.current_time() + pause > deadline:
                    if isinstance(error, ReadOnlyTargetError):
                        raise
                    raise GaveUpError(
                        f"no connection for {self.give_up_s:g} s: {error.message}", where=self.where
                    ) from error
                if (said := tells(error)) and not told:
                    self.on_wait(f"{self.where} cannot go on, waiting up to {self.give_up_s:g} s: {said}")
                    told = said
            await anyio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _dial_known(self, db: int, cap_bytes: int, writes: bool) -> Link:
        link = await self.dialer.dial(db=db, cap_bytes=cap_bytes, writes=writes)
        try:
            with understood(self.where, "INFO"):
                found = await probe.identify(link)
                loading = found.syncing or await probe.is_loading(link)
            if loading:
                raise LinkError("LOADING: the server is loading its data", where=self.where)
            if found.run_id != self.identity.run_id or found.role != self.identity.role:
                raise ReplacedError(
                    f"another process answers: {found.name} {found.role}, run id {found.run_id[:12]}, "
                    f"was {self.identity.name} {self.identity.role}, {self.identity.run_id[:12]}",
                    where=self.where,
                )
        except BaseException:
            await link.close()
            raise
        return link

"""Which names were written at a server since we began to listen: CLIENT TRACKING ON BCAST over one RESP3 link.

    server: write, expiry, eviction, DEL -> push [names] -> name hash -> when it came in
            FLUSHALL, FLUSHDB            -> push null    -> everything, at that time

Limits: invalidations carry no database, so a name written in any of them counts in all; a write that
leaves the value as it was counts too; nothing is told of what happened while the link was broken.

Rule 1: never silent: a gap, too many names, or no right to track make `reliable` False for the rest of a session.
        A later session begins anew: whoever opens it reads everything again.
Rule 2: a link that is silent for longer than its time limit is lost; a PING every half of it asks for a sign of life.
Rule 3: a write is known at the latest when `catch_up`, called after it was answered, returns.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import repeat

import anyio
import xxhash

from transfer.codec import resp
from transfer.endpoint.redis.server import Server
from transfer.model.errors import TransferError
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.understood import understood

MOST_NAMES = 500_000
"""About 70 MB of hashes and times."""
_BEATS = 2
"""Signs of life asked for per time limit of the link: one that went silent is noticed within 1.5 of them."""
_NEVER = -math.inf


class WriteTracker:
    """Listens to one server; ask it about names while `running` or after it.

    Attributes:
        available: the server lets us track; False from the start where it does not.
        lost: the link broke while it was needed: from then on everything may have changed.
        overflowed: more than *most_names* names were written and not read since.
    """

    def __init__(self, most_names: int = MOST_NAMES, clock: Callable[[], float] = time.monotonic) -> None:
        self.available = False
        self.lost = False
        self.overflowed = False
        self._most_names = most_names
        self._clock = clock
        self._written: dict[bytes, float] = {}
        self._all_written = _NEVER
        self._link: Link | None = None
        self._pings = self._pongs = 0
        self._ponged = anyio.Event()
        self._sending = anyio.Lock()

    @property
    def reliable(self) -> bool:
        """Whether a name that was not reported was not written."""
        return self.available and not self.lost and not self.overflowed

    @asynccontextmanager
    async def running(self, server: Server) -> AsyncIterator[WriteTracker]:
        """Listen to *server* for the length of the block. A server that refuses leaves `available` False."""
        await self._start(server)
        try:
            if self._link is None:
                yield self
                return
            async with anyio.create_task_group() as group:
                group.start_soon(self._listen, self._link)
                group.start_soon(self._beat, self._link)
                yield self
                await self.catch_up()
                group.cancel_scope.cancel()
        finally:
            if self._link is not None:
                await self._link.close()
                self._link = None

    def changed_since(self, key: bytes, moment: float = _NEVER) -> bool:
        """Whether *key* may have been written at or after *moment* (monotonic seconds), in any database."""
        if not self.reliable:
            return True
        return max(self._written.get(xxhash.xxh3_64_digest(key), _NEVER), self._all_written) > moment

    def clean(self, keys: list[bytes], read_started: float) -> None:
        """Forget writes to *keys* that came in before a read of them was sent: that read has seen them."""
        written = self._written
        if not written:
            return
        for name in written.keys() & set(map(xxhash.xxh3_64_digest, keys)):
            if written[name] < read_started:
                del written[name]

    def overtaken(self, key: bytes) -> None:
        """Take *key* for written from now on: what was read of it last is not what was carried."""
        if self.reliable:
            self._written[xxhash.xxh3_64_digest(key)] = math.inf

    async def catch_up(self) -> None:
        """Wait until every write that the server answered before this call is known here."""
        if self._link is None or self.lost or not self.available:
            return
        try:
            with anyio.fail_after(self._link.timeout):
                async with self._sending:
                    await self._link.send(_PING)
                    self._pings += 1
                    wanted = self._pings
                while self._pongs < wanted and not self.lost:
                    await self._ponged.wait()
        except (TransferError, TimeoutError):
            self.lost = True
            await self._link.close()  # a PONG that comes too late must not be taken for another's

    async def _start(self, server: Server) -> None:
        self._forget()
        if not server.features.tracking:
            return
        try:
            link = await server.dialer.dial(resp3=True)
            answer = await link.command("CLIENT", "TRACKING", "ON", "BCAST")
        except TransferError:
            return
        if isinstance(answer, ErrorReply):
            await link.close()
            return
        self._link, self.available = link, True

    def _forget(self) -> None:
        """A session knows nothing of those before it."""
        self.available = self.lost = self.overflowed = False
        self._written.clear()
        self._all_written = _NEVER
        self._pings = self._pongs = 0

    async def _listen(self, link: Link) -> None:
        try:
            while True:
                message = await link.next_push()
                with understood(link.where, "CLIENT TRACKING"):
                    self._take(message)
        except TransferError:
            self.lost = True
            self._signal()

    async def _beat(self, link: Link) -> None:
        """Notice a peer that went silent: pushes are waited for without limit, since none may come for long."""
        while not self.lost:
            await anyio.sleep(link.timeout / _BEATS)
            await self.catch_up()

    def _take(self, message: Reply) -> None:
        if isinstance(message, list):
            if message and message[0] == b"invalidate":
                self._note(message[1])
        else:
            self._pongs += 1
            self._signal()

    def _note(self, names: list[bytes] | None) -> None:
        now = self._clock()
        if names is None:
            self._all_written = now
            self._written.clear()
        elif not self.overflowed:
            self._written.update(zip(map(xxhash.xxh3_64_digest, names), repeat(now), strict=False))
            if len(self._written) > self._most_names:
                self.overflowed = True
                self._written.clear()

    def _signal(self) -> None:
        self._ponged.set()
        self._ponged = anyio.Event()


_PING = resp.command("PING")

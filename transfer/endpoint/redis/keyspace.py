"""A live server's keys for a comparison: names page by page, payloads and values of many keys at once.

    Keyspace promise of `verify` -> Links (lease, redial after a loss) -> Scanner | MomentReader | read_values

Rule 1: a broken link costs a repetition, never a key; another process at the address is ReplacedError.
Rule 2: a value too large to be taken is named with its size; `large` reads it piece by piece, one at a time.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import anyio
import msgspec

from transfer.endpoint.redis.big.digests import Digests, PairDigest
from transfer.endpoint.redis.info import read_info
from transfer.endpoint.redis.keyfile import key_pages
from transfer.endpoint.redis.large import LargeValue, read_large
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.probe import keyspace
from transfer.endpoint.redis.reading import Moment, MomentReader, prepare
from transfer.endpoint.redis.scanning import Scanner
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.sizes import PayloadSizes
from transfer.endpoint.redis.values import ReadValue, read_values
from transfer.model.endpoint import Population
from transfer.model.errors import LinkError, OversizedReplyError, PermissionDeniedError
from transfer.model.ports import UNTHROTTLED, Throttle
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import Link
from transfer.wire.understood import understood

_PAGE_KEYS = 1000
_LARGEST_ITEM_BYTES = 24 << 20
"""Of a value that is read in pieces; a copy takes no larger ones."""
_T = TypeVar("_T")


class LiveKeyspace:
    """All logical databases of one server, to be looked at.

    Args:
        limit_bytes: values larger than this are named, not taken.
        cap_bytes: what is held of one reply at most; 0: 16 MiB above the limit.
        keys_from: a file of key names, given by `pages` instead of what SCAN finds.
        on_wait: told when the server keeps us waiting.
        throttle: how much may be asked for at once.
        digests: what stands for values that come in pieces.
    """

    def __init__(
        self,
        server: Server,
        *,
        limit_bytes: int = 64 << 20,
        cap_bytes: int = 0,
        page_keys: int = _PAGE_KEYS,
        keys_from: str = "",
        on_wait: Callable[[str], None] = lambda text: None,
        throttle: Throttle = UNTHROTTLED,
        digests: Digests = PairDigest,
    ) -> None:
        self.server = server
        self.vendor = server.identity.vendor
        self.where = server.where
        self._limit_bytes = limit_bytes
        self._page_keys = page_keys
        self._keys_from = keys_from
        self._throttle, self._digests = throttle, digests
        self._links = Links(
            server,
            cap_bytes=cap_bytes or limit_bytes + (16 << 20),
            prepare=lambda link: prepare(link, server.features),
        )
        self._links_for_large = Links(
            server, cap_bytes=_LARGEST_ITEM_BYTES, prepare=lambda link: prepare(link, server.features)
        )
        self._patience = Patience(server.give_up_s, stop_when_full=False, where=server.where, on_warning=on_wait)
        self._sizes: defaultdict[int, PayloadSizes] = defaultdict(PayloadSizes)
        self._large_turn = anyio.Lock()

    def now_ms(self) -> int:
        """The server's clock."""
        return self.server.now_ms()

    def moments_ms(self) -> list[int]:
        """The server's clock, and what it would say had it not been stepped."""
        return self.server.moments_ms()

    async def look_at_clock(self) -> None:
        """Go by what the server's clock says now."""
        await self.server.asked(self.server.look_at_clock)

    async def pages(self, db: int, match: bytes | None = None, kind: str | None = None) -> AsyncIterator[list[bytes]]:
        """Names in *db*, each that stays at least once, filtered by the server (SCAN MATCH, TYPE)."""
        if self._keys_from:
            async for page in key_pages(self._keys_from, self._page_keys, db):
                yield page.names
            return
        scanner = Scanner(
            self._links, db, self._patience, count=self._page_keys, match=match, kind=kind, throttle=self._throttle
        )
        async for page in scanner.pages():
            yield page.names

    async def portions(self, db: int, keys: list[bytes]) -> list[list[bytes]]:
        """*keys* cut, in order, into lists that can be held in memory at once."""
        found: list[list[bytes]] = []
        while keys:
            some, keys = keys[: self._throttle.most_keys], keys[self._throttle.most_keys :]
            found += await self._cut(db, some, min(self._throttle.most_bytes, self._limit_bytes))
        return found

    async def _cut(self, db: int, keys: list[bytes], most_bytes: int) -> list[list[bytes]]:
        return await self._patiently(db, lambda link: self._reader(link, db).portions(keys, most_bytes))

    async def dumps(self, db: int, keys: list[bytes]) -> Moment:
        """Payloads and deadlines of *keys*, in order; a payload above the limit that came unforeseen is let go."""
        moment = await self._patiently(db, lambda link: self._reader(link, db).read(keys))
        if max(moment.sizes, default=0) > self._limit_bytes:
            for number, size in enumerate(moment.sizes):
                if size > self._limit_bytes:
                    moment.too_large[keys[number]] = size
                    moment.payloads[number], moment.sizes[number] = None, 0
        return moment

    async def values(self, db: int, keys: list[bytes], *, dumps: bool = False) -> list[ReadValue]:
        """Values of *keys*, in order, with their payloads if asked; what is too large says so as its `problem`."""
        try:
            return await self._patiently(db, lambda link: self._read_values(link, keys, dumps))
        except OversizedReplyError as error:
            if len(keys) == 1:
                problem = f"its value is too large to be taken: {error.message}"
                return [ReadValue(None, problem=problem, too_large=True)]
        middle = len(keys) // 2
        first, rest = keys[:middle], keys[middle:]
        return await self.values(db, first, dumps=dumps) + await self.values(db, rest, dumps=dumps)

    async def population(self, db: int) -> Population | None:
        """Keys by INFO keyspace; `rdb_changes_since_last_save` counts every write, until a save begins anew."""
        return await self._patiently(db, lambda link: _population(link, db))

    async def large(self, db: int, key: bytes, *, field_deadlines: bool = True) -> LargeValue:
        """A digest of what *key* holds, read piece by piece."""
        async with self._large_turn:
            work = functools.partial(self._read_large, key=key, field_deadlines=field_deadlines)
            return await self._patiently(db, work, throttled=False, links=self._links_for_large)

    async def close(self) -> None:
        """Close every link."""
        await self._links.close()
        await self._links_for_large.close()

    def _reader(self, link: Link, db: int) -> MomentReader:
        return MomentReader(link, self.server.features, self._sizes[db], limit_bytes=self._limit_bytes)

    async def _read_values(self, link: Link, keys: list[bytes], dumps: bool) -> list[ReadValue]:
        try:
            return await read_values(link, keys, features=self.server.features, vendor=self.vendor, dumps=dumps)
        except OversizedReplyError as error:
            raise _TooMuchError(error) from error

    async def _read_large(self, link: Link, key: bytes, field_deadlines: bool) -> LargeValue:
        features = self.server.features
        if not field_deadlines:
            features = msgspec.structs.replace(features, field_ttl=False)  # then nobody asks for them
        try:
            return await read_large(link, key, features, throttle=self._throttle, digests=self._digests)
        except OversizedReplyError as error:
            return LargeValue("unknown", b"", 0, NO_DEADLINE, problem=f"an item is too large: {error.message}")
        except BaseException:
            await link.close()  # it may still watch the key
            raise

    async def _patiently(
        self, db: int, work: Callable[[Link], Awaitable[_T]], *, throttled: bool = True, links: Links | None = None
    ) -> _T:
        """Do *work* over a link, and again over a new one as long as links break.

        Raises:
            ReplacedError, GaveUpError: as `Server.redial`.
        """
        while True:
            try:
                async with (links or self._links).lease(db) as link, self._throttle if throttled else UNTHROTTLED:
                    with understood(self.where, "a question about keys"):
                        done = await work(link)
            except _TooMuchError as error:
                raise error.oversized from None
            except LinkError as error:
                if not error.retryable:
                    raise
                await self._patience.broken(error)
                continue
            self._patience.progressed()
            return done


async def _population(link: Link, db: int) -> Population | None:
    try:
        saved = await read_info(link, "persistence")
    except PermissionDeniedError:
        return None
    marks = [saved.get(name, "") for name in ("rdb_changes_since_last_save", "rdb_last_save_time", "loading")]
    if not all(map(str.isdigit, marks)):
        return None
    keys, _ = (await keyspace(link)).get(db, (0, 0))
    return Population(keys, tuple(map(int, marks)))


class _TooMuchError(Exception):
    """An oversized reply that no repetition mends."""

    def __init__(self, oversized: OversizedReplyError) -> None:
        super().__init__(oversized.message)
        self.oversized = oversized

"""Names of a logical database, page by page, by SCAN.

    SCAN cursor COUNT n [MATCH glob] [TYPE t] -> names, next cursor ... until the cursor is 0, or past the part's end

Every key that lives through the whole scan is named at least once; some may be named twice (redis-doc
scan.md). A cursor holds only for the process that gave it: Links refuses to go on with another, and an answer
LOADING says that the data it led through is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.passing import replaced_data
from transfer.endpoint.redis.patience import Patience
from transfer.model.errors import LinkError, PermissionDeniedError, ServerRefusedError
from transfer.model.ports import UNTHROTTLED, Throttle
from transfer.wire.link import ErrorReply, Reply
from transfer.wire.replies import ReplyClass, classify, waits
from transfer.wire.understood import foreign

_PAGE_BYTES = 1 << 20
"""Names of one page, roughly: they lie in the server's output buffer until read."""
_LEAST_COUNT = 10
_NAMES_PER_S = 300_000
"""As many as a source gives, and more than an engine moves."""
_MOST_PARTS = 16
_NAMES = frozenset({bytes})
_FORBIDDEN = (ReplyClass.AUTH, ReplyClass.DENIED, ReplyClass.DENIED_KEY)
_PAGES_PER_PART = 16


class Page(msgspec.Struct, frozen=True):
    """Some names, and the cursor after them; *last*: nothing comes after them."""

    names: list[bytes]
    cursor: bytes
    last: bool = False


class Part(msgspec.Struct, frozen=True):
    """One of `2 ** bits` equal parts of a hash table, by number.

    A cursor is the place in the table with its bits reversed (redis/src/dict.c `dictScan`, valkey/src/hashtable.c).
    So parts can be scanned at once; at its end a part may run into the next one, by a page at most.
    """

    number: int = 0
    bits: int = 0

    @property
    def start(self) -> bytes:
        return b"%d" % _reversed(self.number << (64 - self.bits))

    def __str__(self) -> str:
        return f"{self.number}.{self.bits}"

    @classmethod
    def parse(cls, text: str) -> Part:
        """What `str()` of a part says."""
        number, _, bits = text.partition(".")
        return cls(int(number), int(bits))

    def ends_at(self, cursor: bytes) -> bool:
        """Whether nothing of the part is left at *cursor*."""
        return cursor == b"0" or (bool(self.bits) and _reversed(int(cursor)) >> (64 - self.bits) > self.number)

    def share_before(self, cursor: bytes) -> float:
        """How much of the part lies before *cursor*, 0 to 1."""
        place = _reversed(int(cursor)) - (self.number << (64 - self.bits))
        return min(1.0, max(0.0, place / (1 << (64 - self.bits))))


def parts(round_trip_s: float, count: int, keys: int) -> list[Part]:
    """Parts to scan at once, so that waiting for names is not what takes the time.

    Small tables stay whole: at the end of each part up to *count* names come twice.
    """
    wanted = _NAMES_PER_S * round_trip_s / count
    bits = 0
    while 1 << bits < wanted and 1 << bits < _MOST_PARTS and (2 << bits) * _PAGES_PER_PART * count <= keys:
        bits += 1
    return [Part(number, bits) for number in range(1 << bits)]


def _reversed(cursor: int) -> int:
    return int(f"{cursor:064b}"[::-1], 2)


class Scanner:
    """Scans one logical database, or a part of it.

    Args:
        count: COUNT to begin with; halved while pages of names are larger than 1 MiB, and grown back.
        throttle: how many names one SCAN may look for.
        after: cursor to go on from (default: the start of the part).
        match, kind: filtered by the server itself (SCAN MATCH, TYPE), None: everything.
    """

    def __init__(
        self,
        links: Links,
        db: int,
        patience: Patience,
        *,
        count: int = 500,
        match: bytes | None = None,
        kind: str | None = None,
        part: Part = Part(),  # noqa: B008 - frozen
        after: str = "",
        throttle: Throttle = UNTHROTTLED,
    ) -> None:
        self._links = links
        self._db = db
        self._patience = patience
        self._throttle = throttle
        self._most = count
        self._count = count
        self._tail: tuple[bytes | str, ...] = ("MATCH", match) if match is not None else ()
        self._tail += ("TYPE", kind) if kind is not None else ()
        self._part = part
        self.cursor = after.encode() or part.start
        self.finished = False
        self._near_the_end = 0

    async def pages(self) -> AsyncIterator[Page]:
        """Yield every page; empty pages too, for their cursor."""
        while not self.finished:
            before, asked = self.share_done(), self._near_the_end or self._count
            page = await self._page(asked)
            self.cursor, self.finished = page.cursor, self._part.ends_at(page.cursor)
            self._near_the_end = self._last_count(before, asked)
            size_bytes = sum(map(len, page.names))
            if size_bytes > _PAGE_BYTES:
                self._count = max(_LEAST_COUNT, self._count // 2)
            elif size_bytes * 4 < _PAGE_BYTES:
                self._count = min(self._most, self._count * 2)
            yield Page(page.names, page.cursor, self.finished)

    async def _page(self, count: int) -> Page:
        while True:
            try:
                async with self._links.lease(self._db) as link, self._throttle:
                    count = min(count, self._throttle.most_keys)
                    answer = await link.command("SCAN", self.cursor, "COUNT", count, *self._tail)
            except LinkError as error:
                if not error.retryable:
                    raise
                await self._patience.broken(error)
                continue
            if not isinstance(answer, ErrorReply):
                self._patience.progressed()
                return self._taken(answer)
            await self._refused(str(answer))

    def _taken(self, answer: Reply) -> Page:
        match answer:
            case [bytes(cursor), list(names)] if cursor.isdigit() and int(cursor) >> 64 == 0:
                if _NAMES.issuperset(map(type, names)):
                    return Page(names, cursor)
        raise foreign(self._links.server.where, "SCAN", type(answer).__name__)

    async def _refused(self, text: str) -> None:
        kind = classify(text)
        if kind is ReplyClass.LOADING:
            raise replaced_data(text, self._links.server.where)
        if not waits(text):
            failure = PermissionDeniedError if kind in _FORBIDDEN else ServerRefusedError
            raise failure(f"the server refused SCAN: {text}", where=self._links.server.where)
        await self._patience.held(text)

    def _last_count(self, before: float, asked: int) -> int:
        """COUNT that leads just to the end of the part, where the next page would lead beyond it; else 0."""
        done = self.share_done()
        progress = done - before
        if not self._part.bits or not 0 < 1 - done < progress:
            return 0
        return max(_LEAST_COUNT, int(asked * (1 - done) / progress))

    def share_done(self) -> float:
        """How much of its part the cursor has passed."""
        return 1.0 if self.finished else self._part.share_before(self.cursor)

"""A live server as a source: SCAN names keys, readers fetch them, batches come out.

    per database:  Scanner or key file -> pages of names -> reader x N -> MULTI { deadlines, payloads } EXEC -> emit

Rule 1: what is in flight holds its bytes of the budget from before it is asked for.
Rule 2: a key that cannot be read is rejected by name; one that is gone is counted.
Rule 3: after a loss the same names are read again, if the same process answers; else ReplacedError.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import compress

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from transfer.codec import resp
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.big.move import TOO_LARGE_CODE
from transfer.endpoint.redis.keyfile import key_pages
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.passing import refuse_passing
from transfer.endpoint.redis.patience import Patience
from transfer.endpoint.redis.reading import UNREAD_BYTES, Moment, MomentReader, prepare
from transfer.endpoint.redis.scanning import Page, Part, Scanner, parts
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.sizes import Care, PayloadSizes
from transfer.endpoint.redis.strings import StringGuess
from transfer.endpoint.redis.underway import Underway
from transfer.model.errors import LinkError, PermissionDeniedError
from transfer.model.ports import UNTHROTTLED, Budget, Portion, ReadListener, Spans, Throttle
from transfer.model.record import DONE, Batch, Span
from transfer.model.selection import Selection, is_temporary
from transfer.model.tally import Tally
from transfer.model.units import show_bytes
from transfer.wire.link import ErrorReply, Link
from transfer.wire.understood import understood

Emit = Callable[[Batch], Awaitable[None]]
_Named = tuple[Span, list[bytes]]
"""Names as they came from a page."""
MoveLarge = Callable[[int, bytes], Awaitable[None]]
"""Copies one large key of a database, counts it, and returns when it is acknowledged (or the run is to stop)."""

UNREADABLE_CODE = "E302"
_OVERHEAD = 3
"""A payload stands in the reader's buffer, as bytes, and in the writer's buffer for a moment."""


class SourceOptions(msgspec.Struct, frozen=True):
    """How to read: `dbs` in this order, `readers` at once, `page_keys` names a page.

    `limit_bytes`: values estimated larger are not read here, but named to `move_large`. `keys_from`: a file of names
    instead of SCAN.
    `strings`: strings may come as themselves, in batches of their own. `use`: idletime | freq, read with each key.
    """

    dbs: tuple[int, ...]
    readers: int = 2
    page_keys: int = 500
    limit_bytes: int = 64 << 20
    keys_from: str = ""
    strings: bool = False
    use: str = ""


class RedisSource:
    """Reads the selected keys of one server.

    Args:
        on_read: told (names, monotonic time before the read was sent), so that writes seen earlier are settled.
        left: takes out of names of a database those that need not be copied again.
        stop: when set, nothing further is asked for: what was read is still emitted.
        throttle: how much may be asked for at once.
        pace: how much one batch may hold.

        move_large: copies what is too large for a batch; without it such keys are rejected by name.

    `temporaries` counts names under which a copy into this server built large values: they are left out.
    `acknowledged` is to be told of every batch that was written.
    """

    def __init__(
        self,
        server: Server,
        selection: Selection,
        options: SourceOptions,
        *,
        budget: Budget,
        tally: Tally,
        patience: Patience,
        stop: anyio.Event,
        throttle: Throttle = UNTHROTTLED,
        pace: Portion = UNTHROTTLED,
        on_read: ReadListener = lambda names, moment: None,
        frontier: Spans,
        left: Callable[[int, list[bytes]], list[bytes]] = lambda db, names: names,
        move_large: MoveLarge | None = None,
    ) -> None:
        self._frontier, self._left = frontier, left
        self._server = server
        self._move_large = move_large
        self._selection = selection
        self._options = options
        self._budget = budget
        self._tally = tally
        self._patience = patience
        self._stop = stop
        self._throttle, self._pace = throttle, pace
        self._on_read = on_read
        self._links = Links(
            server,
            cap_bytes=options.limit_bytes + (16 << 20),
            prepare=lambda link: prepare(link, server.features),
        )
        self._sizes: defaultdict[int, PayloadSizes] = defaultdict(PayloadSizes)
        usable = options.strings and server.features.gives_strings and not options.use
        self._guess = StringGuess(usable=usable)
        self._scanners: list[Scanner] = []
        self._done: set[int] = set()
        self._underway = Underway()
        self._named = 0
        """Names that SCAN gave and that have no fate yet."""
        self.temporaries = 0

    async def read(self, emit: Emit, after: Mapping[str, str]) -> None:
        """As `Source.read`."""
        for db in self._options.dbs:
            send, receive = anyio.create_memory_object_stream[_Named](self._options.readers)
            async with anyio.create_task_group() as group:
                for _ in range(self._options.readers):
                    group.start_soon(self._read_pages, db, receive.clone(), emit)
                receive.close()
                async with send:
                    for partition, pages in (await self._pages(db, after)).items():
                        group.start_soon(self._name, partition, pages, send.clone())
            if not self._stop.is_set():
                self._done.add(db)

    async def _name(self, partition: str, pages: AsyncIterator[Page], send: MemoryObjectSendStream[_Named]) -> None:
        async with send:
            async for page in pages:
                span = self._frontier.begin(partition, DONE if page.last else page.cursor.decode())
                self._named += len(page.names)
                await send.send((span, page.names))
                if self._stop.is_set():
                    return

    async def _pages(self, db: int, after: Mapping[str, str]) -> dict[str, AsyncIterator[Page]]:
        """Where names come from, by partition; all of it at once."""
        if self._options.keys_from:
            cursors = {f"db{db}": after.get(f"db{db}", "")}
        elif known := {name: cursor for name, cursor in after.items() if name.startswith(f"db{db}/")}:
            cursors = known
        else:
            cursors = {f"db{db}/{part}": "" for part in await self._parts(db)}
        for partition, cursor in cursors.items():
            self._frontier.open(partition, cursor)
        left = {partition: cursor for partition, cursor in cursors.items() if cursor != DONE}
        if self._options.keys_from:
            file, size = self._options.keys_from, self._options.page_keys
            return {name: key_pages(file, size, db, int(at or 0)) for name, at in left.items()}
        scanners = {partition: self._scanner(db, partition, cursor) for partition, cursor in left.items()}
        self._scanners = list(scanners.values())
        return {partition: scanner.pages() for partition, scanner in scanners.items()}

    def _scanner(self, db: int, partition: str, after: str) -> Scanner:
        return Scanner(
            self._links,
            db,
            self._patience,
            count=self._options.page_keys,
            match=self._selection.pushed_match(),
            kind=self._selection.types[0] if len(self._selection.types) == 1 else None,
            part=Part.parse(partition.partition("/")[2]),
            after=after,
            throttle=self._throttle,
        )

    async def _parts(self, db: int) -> list[Part]:
        """More than one only where a cursor means what it means in a plain hash table."""
        here = self._server.identity
        if here.mode != "standalone" or here.vendor not in ("redis", "valkey"):
            return [Part()]
        keys, _ = (await self._server.asked(probe.keyspace)).get(db, (0, 0))
        return parts(self._server.round_trip_s, self._options.page_keys, keys)

    def unsettled(self) -> int:
        """How many keys were read and have no fate yet."""
        return self._frontier.unsettled()

    def acknowledged(self, batch: Batch) -> None:
        """*batch* has arrived: its keys may be read again."""
        self._leave(batch.db, batch.span, batch.keys)

    def _leave(self, db: int, span: Span, names: list[bytes]) -> None:
        """*names* of *span* have their fate."""
        self._underway.leave(db, names)
        self._named -= len(names)
        self._frontier.settle(span, len(names))

    async def _read_pages(self, db: int, pages: MemoryObjectReceiveStream[_Named], emit: Emit) -> None:
        async with pages:
            async for span, given in pages:
                if self._stop.is_set():
                    continue
                selected = self._selection.names(given)
                if len(selected) < len(given):
                    self.temporaries += sum(map(is_temporary, given))
                selected = self._left(db, selected)
                names = self._underway.enter(db, selected)
                if len(names) < len(selected) and not self._asks_types:
                    self._tally.settle("repeated", len(selected) - len(names))
                self._named -= len(given) - len(names)
                self._frontier.read(span, len(names))
                await self._read_names(db, names, span, emit)

    async def _read_names(self, db: int, names: list[bytes], span: Span, emit: Emit) -> None:
        """Read *names* portion by portion; a portion that broke off is read again."""
        left = self._guess.part(names)
        while left.names and not self._stop.is_set():
            held = 0
            try:
                async with self._links.lease(db) as link:
                    reader, strings, names = self._reader(link, db), left.as_strings, left.names
                    if self._asks_types:
                        names = left.names = await self._of_types(reader, db, names, span)
                    async for portion in self._portions(reader, names):
                        held = self._expected_bytes(db, portion)
                        await self._budget.acquire(held)
                        async with self._throttle:
                            batch, no_strings = await self._read_portion(reader, db, portion, span, strings=strings)
                        self._budget.correct(held, batch.size_bytes)
                        held = 0
                        left.read(len(portion), no_strings)
                        await emit(batch)
                        if not strings:
                            await self._move_all_large(reader, db, portion, span)
                        if self._stop.is_set():
                            return
                self._patience.progressed()
            except LinkError as error:
                self._budget.release(held)
                if not error.retryable:
                    raise
                await self._patience.broken(error)

    def _reader(self, link: Link, db: int) -> MomentReader:
        options, features = self._options, self._server.features
        return MomentReader(link, features, self._sizes[db], limit_bytes=options.limit_bytes, use=options.use)

    async def _portions(self, reader: MomentReader, names: list[bytes]) -> AsyncIterator[list[bytes]]:
        """*names* cut for one request each; how much one may ask for is looked up again and again."""
        at = 0
        while at < len(names):
            some = names[at : at + min(self._throttle.most_keys, self._pace.most_keys)]
            at += len(some)
            async with self._throttle:
                portions = await reader.portions(some, min(self._throttle.most_bytes, self._pace.most_bytes))
            for portion in portions:
                yield portion

    @property
    def _asks_types(self) -> bool:
        return len(self._selection.types) > 1 or bool(self._selection.types and self._options.keys_from)

    async def _of_types(self, reader: MomentReader, db: int, names: list[bytes], span: Span) -> list[bytes]:
        wanted = {kind.encode() for kind in self._selection.types}
        kinds = await reader.link.ask(resp.each(b"TYPE", names), len(names))
        if errors := [str(kind) for kind in kinds if isinstance(kind, ErrorReply)]:
            await refuse_passing(reader.link, errors)
            raise PermissionDeniedError(f"the server refused TYPE: {errors[0]}", where=self._server.where)
        with understood(self._server.where, "TYPE"):
            chosen = [name for name, kind in zip(names, kinds, strict=True) if kind in wanted]
        self._leave(db, span, list(set(names).difference(chosen)))
        return chosen

    def _expected_bytes(self, db: int, portion: list[bytes]) -> int:
        """What a portion may hold until it is acknowledged; a key asked for alone may be as large as allowed."""
        alone = len(portion) == 1 and self._sizes[db].care > Care.NONE
        expected = _OVERHEAD * self._options.limit_bytes if alone else UNREAD_BYTES
        return min(expected, self._budget.total_bytes)

    async def _read_portion(
        self, reader: MomentReader, db: int, portion: list[bytes], span: Span, *, strings: bool
    ) -> tuple[Batch, list[bytes]]:
        """What *portion* holds, and the names still to be read by DUMP where it was tried as *strings*."""
        started = time.monotonic()
        moment = await reader.read_portion(portion, strings=strings)
        self._on_read(portion, started)
        batch = Batch(span, db, *_present(portion, moment), strings=strings)
        if moment.uses:
            batch.uses = [use for use, dump in zip(moment.uses, moment.payloads, strict=True) if dump is not None]
        others: list[bytes] = []
        self._guess.met(portion, moment.payloads, strings=strings)
        if strings:
            others = [key for key, payload in zip(portion, moment.payloads, strict=True) if payload is None]
        elif len(batch.keys) < len(portion):
            self._account(db, span, set(portion).difference(batch.keys), moment)
        self._drop_short_lived(batch)
        read_bytes = sum(batch.sizes)
        self._tally.bytes_read += read_bytes
        batch.size_bytes = (read_bytes + sum(map(len, batch.keys))) * (_OVERHEAD if len(portion) == 1 else 1)
        return batch, others

    async def _move_all_large(self, reader: MomentReader, db: int, portion: list[bytes], span: Span) -> None:
        """Copy those of *portion* that were found too large for a batch; nothing of the budget is held meanwhile."""
        known = reader.sizes.too_large
        if not known or self._move_large is None:
            return
        for key in [key for key in portion if key in known]:
            if not self._stop.is_set():
                known.pop(key, None)  # the next reading finds out anew
                await self._move_large(db, key)
            if not self._stop.is_set():
                self._leave(db, span, [key])

    def _account(self, db: int, span: Span, absent: set[bytes], moment: Moment) -> None:
        """*absent* names were refused, too large, or gone."""
        large = absent & moment.too_large.keys() if self._move_large is not None else set()
        unread = absent & (moment.refused.keys() | moment.too_large.keys())
        for key in unread - large:
            self._reject(db, key, moment)
        if gone := len(absent) - len(unread):
            self._tally.settle("gone", gone)
        self._leave(db, span, list(absent - large))

    def _drop_short_lived(self, batch: Batch) -> None:
        """Leave out the keys that expire too soon (--min-ttl)."""
        if not self._selection.min_ttl_ms:
            return
        now = self._server.now_ms()
        lives = [self._selection.lives_long_enough(deadline, now) for deadline in batch.deadlines]
        self._leave(batch.db, batch.span, [key for key, stays in zip(batch.keys, lives, strict=True) if not stays])
        batch.keys, batch.dumps = list(compress(batch.keys, lives)), list(compress(batch.dumps, lives))
        batch.sizes, batch.deadlines = list(compress(batch.sizes, lives)), list(compress(batch.deadlines, lives))
        batch.uses = list(compress(batch.uses, lives))

    def _reject(self, db: int, key: bytes, moment: Moment) -> None:
        if key in moment.refused:
            self._tally.reject(db, key, UNREADABLE_CODE, f"the source refused to give it: {moment.refused[key]}")
            return
        size, limit = moment.too_large[key], self._options.limit_bytes
        cause = f"takes {show_bytes(size)} or more at the source, above {show_bytes(limit)}"
        self._tally.reject(db, key, TOO_LARGE_CODE, cause)

    def share_done(self, keys: Mapping[int, int]) -> float:
        """How much is read, 0 to 1, where *keys* says how many keys each database has."""
        total = sum(keys.values()) or 1
        done = sum(keys.get(db, 0) for db in self._done)
        current = [db for db in self._options.dbs if db not in self._done][:1]
        if self._scanners and current:
            shares = [scanner.share_done() for scanner in self._scanners]
            done += int(keys.get(current[0], 0) * sum(shares) / len(shares))
        return min(1.0, max(0, done - self._named) / total)

    async def close(self) -> None:
        await self._links.close()


def _present(keys: list[bytes], moment: Moment) -> tuple[list[bytes], list[bytes], list[int], list[int]]:
    """Names, payloads, sizes and deadlines of those that have a payload."""
    payloads: list[bytes] = moment.payloads  # type: ignore[assignment]  # without those that are None below
    if None not in moment.payloads:
        return keys, payloads, moment.sizes, moment.deadlines
    there = [payload is not None for payload in payloads]
    sizes, deadlines = list(compress(moment.sizes, there)), list(compress(moment.deadlines, there))
    return list(compress(keys, there)), list(compress(payloads, there)), sizes, deadlines

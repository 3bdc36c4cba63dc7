"""A live server as a source by one full sync: everything it held at one instant, without a question per key.

    PSYNC -> drain -> Spool -> RdbReader -> columns of keys -> selected -> stamped like DUMP payloads -> emit
             kept file --'             `-> values too large for a batch: read from the live server (move_large)

Rule 1: one task drains the socket at line rate, whatever the target does; the server's fork ends as soon as it can.
Rule 2: payloads are the bytes that DUMP gives at the source: so ledgers and the check after the copy know them again.
Rule 3: what breaks the sync is a FullSyncError, before or after the first batch: the caller copies by SCAN, and what
        is there already is found equal.
Rule 4: an RDB is of an instant after the request, or it is not taken: a server may share one that it began earlier.
Rule 5: a position is where an item ends in the RDB: it means something as long as that is kept (kept.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from itertools import compress
from typing import Any

import anyio
import msgspec
import structlog

from transfer.codec.dump import stamped, type_name
from transfer.codec.rdb.items import End, Item, Keys, LargeKey
from transfer.codec.rdb.reader import RdbReader
from transfer.endpoint.redis.fullsync.kept import KeptSync, SyncFile, SyncNote
from transfer.endpoint.redis.fullsync.spool import Spool
from transfer.endpoint.redis.info import number, read_info
from transfer.endpoint.redis.server import Server
from transfer.model.errors import FormatError, FullSyncError, GaveUpError, LinkError
from transfer.model.ports import Budget, ReadListener, Spans
from transfer.model.record import DONE, Batch, Span
from transfer.model.selection import Selection, is_temporary
from transfer.model.tally import Tally
from transfer.wire.replication import FullSync

Emit = Callable[[Batch], Awaitable[None]]
MoveLarge = Callable[[int, bytes], Coroutine[Any, Any, None]]
Take = Callable[[int], Awaitable[bytes]]
"""The next bytes of an RDB, at least so many unless it ends."""

_FED_BYTES = 1 << 20
"""Fed at once to the reader, which joins that to what it has left. Less would only make smaller batches."""
_SMALL_BYTES, _GATHER_S = 256 << 10, 0.005
"""A server that forks passes on 16 KiB at a time. To take each as it comes costs 100 us, a second for 150 MB
(measured); what comes within 5 ms lies in the kernel's buffers meanwhile."""
_STALE_PAUSE_S = 1.0
_VALKEY_RDB_80 = "9.0.0"
"""Without it Valkey 9 would write the older form, which has no deadlines of fields."""
_TWO_BYTES, _LONG = 0x40, 0x80
PARTITION = "psync"
"""The one that positions of a full sync are of."""


class FullSyncOptions(msgspec.Struct, frozen=True):
    """`dbs` are wanted; values above `limit_bytes` go by `move_large`; `use`: idletime | freq, if the RDB tells it.

    `strings`: those that stand there as they are may come as themselves, in batches of their own: without a CRC here,
    and MSETNX takes half of the target's time for a RESTORE (see `strings.py` beside the folder).
    """

    dbs: tuple[int, ...]
    limit_bytes: int = 8 << 20
    batch_keys: int = 4000
    batch_bytes: int = 1 << 20
    spill_dir: str = ""
    window_bytes: int = 16 << 20
    use: str = ""
    strings: bool = False


class FullSyncSource:
    """Reads the selected keys of one server as they were at one instant. Keeps the promise of `model.ports.Source`.

    Args:
        on_read: told (names, monotonic time of the request): what was written before that is in what was read.
        stop: when set, nothing further is emitted.
        move_large: copies one key too large for a batch from the live server.
        note: where to note the sync that is kept until all of it has arrived; without it none is.
        kept: one that is gone on with, instead of a new one.
        left: takes out names that need not be copied again.

    Attributes:
        instant_ms: what moment everything is of, by the server's clock; 0 before it is known.
        mixed: whether this job had copied keys before that moment.
        large: how many values were read from the live server, and are not of that moment.
        spilled_bytes: how much of the stream waited in a file.
        temporaries: keys under names of interrupted copies; they are left out.
    """

    def __init__(
        self,
        server: Server,
        selection: Selection,
        options: FullSyncOptions,
        *,
        budget: Budget,
        tally: Tally,
        stop: anyio.Event,
        move_large: MoveLarge,
        frontier: Spans,
        on_read: ReadListener = lambda names, moment: None,
        note: SyncNote | None = None,
        kept: KeptSync | None = None,
        left: Callable[[int, list[bytes]], list[bytes]] = lambda db, names: names,
    ) -> None:
        self._frontier, self._note, self._kept, self._left = frontier, note, kept, left
        self._server = server
        self._selection = selection
        self._options = options
        self._budget = budget
        self._tally = tally
        self._stop = stop
        self._move_large = move_large
        self._on_read = on_read
        self._types: dict[int, bool] = {}
        self._seen = 0
        self._cursor, self.mixed = "", False
        self.instant_ms = self.large = self.spilled_bytes = self.temporaries = 0

    async def read(self, emit: Emit, after: Mapping[str, str]) -> None:
        """As `Source.read`; positions *after* are those of the sync that was kept.

        Raises:
            FullSyncError: the server refuses, or the stream broke off or cannot be understood.
            LimitError: the disk has no room for what the target is behind.
        """
        self._cursor = after.get(PARTITION, "")
        self._frontier.open(PARTITION, self._cursor)
        if self._kept is not None:
            self.instant_ms, self.mixed = self._kept.instant_ms, self._kept.mixed
            self._seen = self._tally.counts.read
            if self._cursor != DONE:
                await self._go_on(self._kept, emit)
        else:
            await self._sync(emit)
        if not self._stop.is_set():
            self._frontier.read(self._frontier.begin(PARTITION, DONE), 0)

    async def _go_on(self, kept: KeptSync, emit: Emit) -> None:
        """From the file of a sync that an earlier process had."""
        file = SyncFile(kept, int(self._cursor.partition(":")[0] or 0))
        try:
            await self._cut(file.take, float("-inf"), emit)  # nobody listened for writes since its instant
        finally:
            file.close()

    async def _sync(self, emit: Emit) -> None:
        try:
            sync = await self._begin()
        except (LinkError, GaveUpError) as error:
            raise FullSyncError(f"no full sync began: {error.message}", where=self._server.where) from error
        self.instant_ms, spill_dir = self._server.now_ms(), self._options.spill_dir
        self.mixed = self._tally.counts.read > 0
        path = self._note.begin(spill_dir, self.instant_ms, mixed=self.mixed) if self._note else ""
        spool = Spool(spill_dir, self._options.window_bytes, path)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._drain, sync, spool)
                await self._cut(spool.take, sync.asked_at, emit)
                if self._stop.is_set():
                    group.cancel_scope.cancel()
        finally:
            self.spilled_bytes = spool.spilled_bytes
            spool.close()
            await sync.close()

    async def _begin(self) -> FullSync:
        """A sync of an instant after now; one of a save that began earlier, for another replica, is waited out."""
        server, identity = self._server, self._server.identity
        newer = identity.vendor == "valkey" and identity.version >= (9, 0, 0)
        deadline = anyio.current_time() + server.give_up_s
        while True:
            async with server.link(db=0) as link:
                before = number(await read_info(link, "replication"), "master_repl_offset")
            sync = await FullSync.begin(
                server.dialer, version=_VALKEY_RDB_80 if newer else "", give_up_s=server.give_up_s
            )
            if sync.offset >= before:
                return sync
            await sync.close()
            if anyio.current_time() > deadline:
                raise FullSyncError("the server only shares a full sync that it began before", where=server.where)
            await anyio.sleep(_STALE_PAUSE_S)

    async def _drain(self, sync: FullSync, spool: Spool) -> None:
        """Everything into *spool*, then hang up."""
        try:
            size = await sync.framed()
            structlog.get_logger().info("full sync", offset=sync.offset, size=size, rdb_only=sync.rdb_only)
            while data := await sync.receive():
                await spool.put(data)
                if len(data) < _SMALL_BYTES:
                    await anyio.sleep(_GATHER_S)
        except LinkError as error:
            raise FullSyncError(
                f"the full sync broke off after {spool.put_bytes:,} bytes: {error.message}", where=self._server.where
            ) from error
        if self._note:
            self._note.whole(spool.put_bytes, spool.digest())
        spool.end()
        await sync.close()

    def _new_reader(self) -> RdbReader:
        """For what comes behind the last position."""
        reader = RdbReader(
            large_bytes=self._options.limit_bytes,
            most_keys=self._options.batch_keys,
            most_bytes=self._options.batch_bytes,
            cap_bytes=max(self._options.limit_bytes, 64 << 20),
        )
        if self._cursor:
            offset, db, version = map(int, self._cursor.split(":"))
            reader.going_on(version, db, offset)
        return reader

    async def _cut(self, take: Take, asked_at: float, emit: Emit) -> None:
        reader = self._new_reader()
        async with anyio.create_task_group() as moves:
            try:
                least_bytes = min(_FED_BYTES, self._options.window_bytes // 2)
                while data := await take(least_bytes):
                    for start in range(0, len(data), _FED_BYTES):
                        reader.feed(data[start : start + _FED_BYTES])
                        for item in reader.take():
                            if self._stop.is_set():
                                return
                            await self._handle(item, reader.version, asked_at, emit, moves)
                reader.finish()
            except FormatError as error:
                raise FullSyncError(
                    f"the full sync cannot be read: {error.message}", where=self._server.where
                ) from error
            if reader.trailing_bytes:
                text = f"{reader.trailing_bytes:,} bytes came behind the end of the full sync"
                raise FullSyncError(text, where=self._server.where)

    async def _handle(self, item: Item, version: int, asked_at: float, emit: Emit, moves: anyio.abc.TaskGroup) -> None:
        if isinstance(item, Keys):
            self._seen += len(item.keys)
            self._cursor = f"{item.offset}:{item.db}:{version}"
            span = self._frontier.begin(PARTITION, self._cursor)
            batches = self._batches(item, span)
            self._frontier.read(span, sum(len(batch.keys) for batch in batches))
            for batch in batches:
                self._on_read(batch.keys, asked_at)
                batch.size_bytes = min(batch.size_bytes, self._budget.total_bytes)
                await self._budget.acquire(batch.size_bytes)
                await emit(batch)
        elif isinstance(item, LargeKey):
            self._seen += 1
            if item.db in self._options.dbs and self._selection.passes(item.key) and self._takes(item.kind):
                self.large += 1
                span = self._frontier.begin(PARTITION, self._cursor)  # its own end is not known yet
                self._frontier.read(span, 1)
                moves.start_soon(self._move, item.db, item.key, span)
        elif isinstance(item, End):
            structlog.get_logger().info("full sync read", size=item.offset, checksum=item.checksum)

    async def _move(self, db: int, key: bytes, span: Span) -> None:
        await self._move_large(db, key)
        if not self._stop.is_set():
            self._frontier.settle(span, 1)

    def _batches(self, item: Keys, span: Span) -> list[Batch]:
        """What of *item* is wanted: strings as themselves, the rest as payloads."""
        if item.db not in self._options.dbs:
            return []
        self._select(item)
        if not item.keys:
            return []
        if not self._options.strings:
            return [self._payloads(item, span)]
        strings = _take_strings(item)
        found = [self._sized(Batch(span, item.db, *strings, strings=True))] if strings[0] else []
        return [*found, self._payloads(item, span)] if item.keys else found

    def _payloads(self, item: Keys, span: Span) -> Batch:
        """As DUMP would give them."""
        dumps = stamped(item.bodies, self._server.features.dump_version)
        batch = Batch(span, item.db, item.keys, dumps, list(map(len, dumps)), item.deadlines)
        if self._options.use:
            known = item.use == self._options.use
            batch.uses = [max(0, use) for use in item.uses] if known else [0] * len(item.keys)
        return self._sized(batch)

    def _sized(self, batch: Batch) -> Batch:
        read_bytes = sum(batch.sizes)
        self._tally.bytes_read += read_bytes
        batch.size_bytes = read_bytes + sum(map(len, batch.keys))
        return batch

    def _select(self, item: Keys) -> None:
        """Leave in *item* what the selection lets pass."""
        selection = self._selection
        named = selection.names(item.keys)
        if named is not item.keys:
            self.temporaries += sum(map(is_temporary, item.keys))
        if (wanted := self._left(item.db, named)) is not item.keys:
            names = set(wanted)
            _keep(item, [key in names for key in item.keys])
        if selection.types:
            _keep(item, [self._takes(body[0]) for body in item.bodies])
        if selection.min_ttl_ms:
            now = self._server.now_ms()
            _keep(item, [selection.lives_long_enough(deadline, now) for deadline in item.deadlines])

    def _takes(self, kind: int) -> bool:
        """Whether values of this type byte are selected."""
        if kind not in self._types:
            name = type_name(bytes((kind,)), self._server.identity.vendor)
            self._types[kind] = not self._selection.types or name in self._selection.types
        return self._types[kind]

    def unsettled(self) -> int:
        """How many keys were read and have no fate yet."""
        return self._frontier.unsettled()

    def acknowledged(self, batch: Batch) -> None:
        """*batch* has arrived."""
        self._frontier.settle(batch.span, len(batch.keys))

    def share_done(self, keys: Mapping[int, int]) -> float:
        """How much is read, 0 to 1, where *keys* says how many keys each database has."""
        return min(1.0, self._seen / (sum(keys.values()) or 1))

    async def close(self) -> None:
        """Nothing is open outside of `read`."""


def _keep(item: Keys, mask: list[bool]) -> None:
    item.keys, item.bodies = list(compress(item.keys, mask)), list(compress(item.bodies, mask))
    item.deadlines, item.uses = list(compress(item.deadlines, mask)), list(compress(item.uses, mask))


def _take_strings(item: Keys) -> tuple[list[bytes], list[bytes], list[int], list[int]]:
    """Take out of *item* the strings that are neither packed nor numbers: names, themselves, sizes, deadlines.

    Body: 0x00, length in 1 byte (below 64) or 2 (below 16,384), the string.
    """
    starts = [0 if body[0] or (head := body[1]) >= _LONG else 3 if head >= _TWO_BYTES else 2 for body in item.bodies]
    keys, deadlines = list(compress(item.keys, starts)), list(compress(item.deadlines, starts))
    values = [body[start:] for body, start in zip(item.bodies, starts, strict=True) if start]
    if keys:
        _keep(item, [not start for start in starts])
    return keys, values, list(map(len, values)), deadlines

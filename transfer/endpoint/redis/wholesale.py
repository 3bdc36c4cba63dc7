"""Batches written over what a target holds, column by column, where no key has to be looked at by itself.

    Batch -> groups -> WATCH names, deadlines, DUMPs -> archive: pre-images and what is intended, fsync
                                                     -> MULTI RESTORE ... EXEC -> `took` is noted
                  `-> a key that is equal, too large, captured before, refused, written meanwhile: UNDECIDED, all
                      of its group, which is then written key by key (captured.py)

The rules of captured.py hold; what is here costs half of it. An object a key is what it saves.
"""

from __future__ import annotations

from itertools import compress
from operator import eq

from transfer.codec import fingerprint as prints
from transfer.codec import resp
from transfer.codec.archive.items import Columns
from transfer.codec.archive.undo import IntendedColumns, some_deadlines
from transfer.codec.dump import FOOTER_BYTES
from transfer.codec.fingerprint import Intended
from transfer.endpoint.archive.undo import Held
from transfer.endpoint.redis.captured import CHANGED, CapturedWriter
from transfer.endpoint.redis.reading import MomentReader
from transfer.endpoint.redis.sending import UNDECIDED
from transfer.model.crash import crash
from transfer.model.record import NO_DEADLINE, Batch
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.understood import understood

_DONE = b"OK"


class _Group:
    """Some keys of a batch; what lasts is written first."""

    def __init__(self, names: list[bytes], payloads: list[bytes], deadlines: list[int]) -> None:
        self.names, self.payloads, self.deadlines = names, payloads, deadlines

    def in_order(self, order: list[int]) -> _Group:
        """The same keys in another order."""
        columns = self.names, self.payloads, self.deadlines
        names, payloads, deadlines = ([column[place] for place in order] for column in columns)
        return _Group(names, payloads, deadlines)  # type: ignore[arg-type]

    def intended(self) -> IntendedColumns:
        return IntendedColumns(prints.fingerprints(self.payloads), some_deadlines(self.deadlines))

    def written_in_order(self) -> list[int]:
        """Places in the order of `command`."""
        places = range(len(self.names))
        return sorted(places, key=lambda place: self.deadlines[place] != NO_DEADLINE)

    def command(self) -> bytes:
        """MULTI, what writes all of them, EXEC."""
        lasts = [deadline == NO_DEADLINE for deadline in self.deadlines]
        payloads = list(compress(self.payloads, lasts))
        body = resp.restore_all(list(compress(self.names, lasts)), payloads, list(map(len, payloads)), replace=True)
        if len(payloads) < len(lasts):
            rows = zip(self.names, self.payloads, self.deadlines, strict=True)
            body += b"".join([resp.restore(*row, replace=True) for row in rows if row[2] != NO_DEADLINE])
        return resp.transaction(body)


class BatchWriter(CapturedWriter):
    """Writes batches as well as single changes."""

    @property
    def takes_batches(self) -> bool:
        """Whether payloads of this target are compared by their bytes, and deadlines exactly."""
        return self._exact and self._captures is not None and self._target.features.pexpiretime and self._group_keys > 1

    async def write_batch(self, link: Link, db: int, batch: Batch) -> list[Reply] | None:
        """Write *batch* over what *db* holds; None if all of it was written.

        Else the answers in the order of `Delivery.unfold`: UNDECIDED for what is to be written key by key.

        Raises: as `write`.
        """
        written: list[bool] = []
        for at in range(0, len(batch.keys), self._group_keys):
            end = at + self._group_keys
            group = _Group(batch.keys[at:end], batch.dumps[at:end], batch.deadlines[at:end])
            written += [await self._write_group(link, db, group)] * len(group.names)
        if all(written):
            return None
        order = sorted(range(len(written)), key=lambda place: batch.deadlines[place] != NO_DEADLINE)
        return [_DONE if written[place] else UNDECIDED for place in order]

    async def _write_group(self, link: Link, db: int, group: _Group) -> bool:
        """Whether all of *group* was written; if not, it is to be looked at key by key."""
        captures = self._kept
        if captures.open or not await self._fits(link, db, group) or captures.which_taken(db, group.names):
            return False
        found = await self._read(link, db, group.names)
        if found is None or any(map(eq, found[1], group.payloads)) or prints.reordered(found[1], group.payloads):
            await link.command("UNWATCH")
            return False
        until, there = found
        if None in there:  # names that hold nothing are captured last
            order = sorted(range(len(there)), key=lambda place: there[place] is None)
            group, until, there = group.in_order(order), [until[at] for at in order], [there[at] for at in order]
        number = await self._keep(db, group, until, [dump for dump in there if dump is not None])
        try:
            replies = await link.ask_parts([group.command()], len(group.names) + 2)
        except BaseException:
            captures.doubt(db, number, group.names, self._each_intended(group))
            raise
        crash(CHANGED)
        return self._noted(db, group, number, replies[-1])

    async def _fits(self, link: Link, db: int, group: _Group) -> bool:
        """Whether what the names hold can be read at once, as far as is known."""
        sizes = self._sizes[db]
        if sizes.too_large:
            return False
        reader = MomentReader(link, self._target.features, sizes, limit_bytes=self._limit_bytes)
        with understood(link.where, "a question about sizes"):
            return len(await reader.portions(group.names)) == 1 and not sizes.too_large

    async def _read(self, link: Link, db: int, names: list[bytes]) -> tuple[list[int], list[bytes | None]] | None:
        """Deadlines and payloads of *names*, all of which are watched from now on; None if one is refused."""
        before, count = link.received_bytes, len(names)
        watched, replies = await self._watch(link, db, names, names)
        if isinstance(watched, ErrorReply) or ErrorReply in set(map(type, replies)):
            return None
        deadlines, dumps = replies[:count], replies[count:]
        with understood(link.where, "a read of what is to be changed"):
            held = [len(dump) for dump in dumps if dump is not None]
            if min(held, default=FOOTER_BYTES + 1) <= FOOTER_BYTES:
                raise ValueError("a payload that is none")
            until = [max(NO_DEADLINE, deadline) for deadline in deadlines]
        self._sizes[db].learn(held, link.received_bytes - before)
        return until, dumps

    async def _keep(self, db: int, group: _Group, until: list[int], held: list[bytes]) -> int:
        """The number under which it is on the disk that the first names of *group* hold *held*, the others nothing."""
        count, version = len(held), self._target.features.dump_version
        bodies = [dump[:-FOOTER_BYTES] for dump in held]
        columns = Columns(db, version, group.names[:count], bodies, until[:count])
        return await self._kept.archive.capture(db, Held(columns, group.names[count:]), group.intended())

    def _noted(self, db: int, group: _Group, number: int, done: Reply) -> bool:
        """Note what was written; whether that is all of it."""
        if not isinstance(done, list):  # somebody wrote between, or the transaction was refused
            return False
        whole = done.count(_DONE) == len(done)
        answered = zip(group.written_in_order(), done, strict=True) if not whole else enumerate(done)
        took = [place for place, answer in answered if not isinstance(answer, ErrorReply)]
        if took:
            self._kept.archive.took(number, None if whole else took)
            self._kept.take(db, [group.names[place] for place in took])
        return whole

    def _each_intended(self, group: _Group) -> list[Intended]:
        pairs = zip(group.payloads, group.deadlines, strict=True)
        return [self.intended(payload, deadline) for payload, deadline in pairs]

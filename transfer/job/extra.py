"""--delete-extra: keys that only the target has are deleted, after the transfer and before the proof.

    SCAN at the target -> inside mapping and filters? -> not in the source, asked right before -> capture, UNLINK

Rule 1: what no key of the source could have been mapped to, or the filters leave out, is never looked at twice.
Rule 2: a name that the source has stays, whatever it holds there and whether or not it was copied.
Rule 3: a source that lost most of what was read there deletes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import anyio

from transfer.codec import resp
from transfer.endpoint.file.file import DataFile
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.captured import CapturedWriter
from transfer.endpoint.redis.changing import AsyncGroups, Changing
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.links import Links
from transfer.endpoint.redis.looking import ALREADY, Change
from transfer.endpoint.redis.passing import refuse_passing
from transfer.endpoint.redis.rebuild import REFUSED_CODE
from transfer.endpoint.redis.server import Server
from transfer.job.engine import Engine
from transfer.job.sources import largest_value_bytes, patience_with, reply_cap_bytes
from transfer.model.errors import LinkError
from transfer.model.tally import Tally
from transfer.model.units import some
from transfer.wire.link import ErrorReply, Reply

Origins = list[tuple[int, bytes]]
"""Database and name at the source."""


class Names(Protocol):
    """What the source has now."""

    async def held(self, dbs: Collection[int]) -> int:
        """How many keys there are in *dbs*."""

    async def has(self, db: int, names: list[bytes]) -> list[bool]:
        """Which of *names* hold something; where that cannot be told, they do."""

    async def close(self) -> None: ...


class LiveNames:
    """As `Names`, of a server. Raises ReplacedError: another one answers."""

    def __init__(self, source: Server) -> None:
        self._source, self._links = source, Links(source)

    async def held(self, dbs: Collection[int]) -> int:
        keyspace = await self._source.asked(probe.keyspace)
        return sum(keyspace.get(db, (0, 0))[0] for db in dbs)

    async def has(self, db: int, names: list[bytes]) -> list[bool]:
        async with self._links.lease(db) as link:
            answers = await link.ask(resp.each(b"EXISTS", names), len(names))
            await refuse_passing(link, [str(answer) for answer in answers if isinstance(answer, ErrorReply)])
        return [answer != 0 for answer in answers]

    async def close(self) -> None:
        await self._links.close()


class FileNames:
    """As `Names`, of a file that was looked through with an index."""

    def __init__(self, file: DataFile) -> None:
        self._file = file

    async def held(self, dbs: Collection[int]) -> int:
        return sum(keys for db, (keys, _) in self._file.counts().items() if db in dbs)

    async def has(self, db: int, names: list[bytes]) -> list[bool]:
        found = {name for _, name in self._file.index.find(db, names)}
        return [name in found for name in names]

    async def close(self) -> None:
        pass


class Extra:
    """Deletes what is extra at the target of *engine*, by *writer* if what it held is kept.

    Attributes:
        deleted: how many keys were.
    """

    def __init__(self, engine: Engine, writer: CapturedWriter | None, names: Names, tally: Tally) -> None:
        self._engine, self._writer, self._names, self._tally = engine, writer, names, tally
        self.deleted = 0

    async def delete(self, stop: anyio.Event) -> list[str]:
        """Look at every key of the target once; sentences about it. Raises as `Changing.run`."""
        held, read = await self._names.held(self._engine.mapping.dbs), self._tally.counts.read
        if held * 2 < read:
            were_read = some(read, "key", "was", "were")
            return [f"nothing extra is deleted: {were_read} read at the source, and {held:,} are there now"]
        engine, request = self._engine, self._engine.request
        target, cap_bytes = engine.target, reply_cap_bytes(request)
        patience = self._patience = patience_with(request, target, target.on_wait, stop)
        changing = Changing(
            target, self._writer, patience, self._settle, stop, cap_bytes=cap_bytes, recheck=self._extra
        )
        await changing.run(self._groups())
        return [f"{some(self.deleted, 'key')} that the source does not have: deleted (--delete-extra)"]

    async def _groups(self) -> AsyncGroups:
        target, types = self._engine.target, self._engine.request.types
        keyspace = LiveKeyspace(target, limit_bytes=largest_value_bytes(self._engine.request))
        try:
            for db in sorted(set(self._engine.mapping.dbs.values())):
                for kind in types or (None,):
                    async for page in keyspace.pages(db, None, kind):
                        inside = [name for name in page if self._origins(db, name)]
                        extra = await self._extra(db, [_deletion(name) for name in inside])
                        if extra:
                            yield db, extra
        finally:
            await keyspace.close()

    def _origins(self, db: int, name: bytes) -> Origins:
        """What *name* in *db* of the target could have come from; with renames only what they named."""
        mapping, selection = self._engine.mapping, self._engine.selection
        if mapping.renames and not any(name.startswith(new) for _, new in mapping.renames):
            return []
        origins = [origin for origin in mapping.origins(name) if selection.passes(origin)]
        return [(source, origin) for source, into in mapping.dbs.items() if into == db for origin in origins]

    async def _extra(self, db: int, changes: list[Change]) -> list[Change]:
        """Those of *changes* whose names the source does not have now."""
        origins = {change.name: self._origins(db, change.name) for change in changes}
        wanted: dict[int, list[bytes]] = {}
        for found in origins.values():
            for source, origin in found:
                wanted.setdefault(source, []).append(origin)
        there: set[tuple[int, bytes]] = set()
        for source, names in wanted.items():
            held = await self._having(source, names)
            there |= {(source, name) for name, holds in zip(names, held, strict=True) if holds}
        return [change for change in changes if there.isdisjoint(origins[change.name])]

    async def _having(self, db: int, names: list[bytes]) -> list[bool]:
        while True:
            try:
                return await self._names.has(db, names)
            except LinkError as error:
                if not error.retryable:
                    raise
                await self._patience.broken(error)

    def _settle(self, db: int, change: Change, answer: Reply) -> None:
        if isinstance(answer, ErrorReply):
            self._tally.reject(db, change.name, REFUSED_CODE, f"extra, and not deleted: {answer}")
        elif answer is not ALREADY and answer != 0:
            self.deleted += 1


def _deletion(name: bytes) -> Change:
    return Change(name, (resp.command(b"UNLINK", name),))

"""Names out of a list (`--keys-from`) as a filter of a file's keys: remembered as hashes, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

from transfer.endpoint.file.index import NameIndex, Records
from transfer.endpoint.redis.keyfile import key_pages

_PAGE_NAMES = 10_000


class ChosenNames:
    """Which names pass; *records* hold `index.WIDTH_BYTES` for each."""

    def __init__(self, records: Records) -> None:
        self._index = NameIndex(records)

    async def read(self, name: str, dbs: Iterable[int]) -> None:
        """All names of the list at *name*, for each of *dbs*. Raises OSError: it cannot be read."""
        for db in dbs:
            async for page in key_pages(name, _PAGE_NAMES, db):
                self._index.add(db, page.names, [0] * len(page.names))

    def passing(self, db: int, names: list[bytes]) -> list[bytes]:
        """Those of *names* in *db* that were named, in their order."""
        found = {name for _, name in self._index.find(db, names)}
        return [name for name in names if name in found]

    def close(self) -> None:
        self._index.close()

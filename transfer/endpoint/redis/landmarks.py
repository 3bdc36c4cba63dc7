"""Some keys to recognise two servers by after another process answered at an address.

    before the copy: names each side held        while it goes on: keys that were acknowledged, drawn evenly

An old save of the target holds the first keys of a copy and not the last: both are remembered.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

from transfer.codec import resp
from transfer.endpoint.redis import probe
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import Link, Reply

_FIRST, _DRAWN = 50, 100
_NAMES_PER_DB = 100
_MOST_DBS = 32
_PAGE_KEYS = 1000

Names = set[tuple[int, bytes]]
"""(logical database, name)"""
Mark = tuple[tuple[int, bytes], tuple[int, bytes], int]
"""Where a key came from, where it is now, and until when it is there (Unix ms or NO_DEADLINE)."""


class Landmarks:
    """Names at source and target that were there at some time of the run.

    Attributes:
        source, target: names found there before the copy began.
        held, lasting: how many keys the source held then, and how many of them without a deadline.
        until_ms: how long some key of the source had to live, by its clock; 0 where none of those looked at had to.
    """

    def __init__(self) -> None:
        self.source: Names = set()
        self.target: Names = set()
        self.held = self.lasting = self.until_ms = 0
        self._first: list[Mark] = []
        self._drawn: list[Mark] = []
        self._seen = 0
        self._random = random.Random(0)

    def note(self, there: tuple[int, bytes], here: tuple[int, bytes], expire_at_ms: int) -> None:
        """A key of the source was acknowledged *here* at the target; give one of each batch, one that lasts."""
        mark = (there, here, expire_at_ms)
        self._seen += 1
        if len(self._first) < _FIRST:
            self._first.append(mark)
        elif len(self._drawn) < _DRAWN:
            self._drawn.append(mark)
        elif (place := self._random.randrange(self._seen)) < _DRAWN:
            self._drawn[place] = mark

    def marks(self) -> list[Mark]:
        """What `note` kept, for a later process of the job to `recall`."""
        return [*self._first, *self._drawn]

    def recall(self, marks: list[Mark]) -> None:
        """Take up what an earlier process kept."""
        for mark in marks:
            self.note(*mark)

    def alive(self, at_ms: int) -> list[Mark]:
        """Those whose deadlines have not passed."""
        return [mark for mark in self.marks() if mark[2] == NO_DEADLINE or mark[2] > at_ms]

    def at_source(self) -> Names:
        """Names that the source held."""
        return self.source | {there for there, _, _ in (*self._first, *self._drawn)}

    def at_target(self) -> Names:
        """Names that the target held or acknowledged."""
        return self.target | {here for _, here, _ in (*self._first, *self._drawn)}


async def some_names(link: Link) -> Names:
    """A page of names of every database of a server (of the first 32); the link is at database 0 afterwards."""
    found: Names = set()
    for db in sorted(await probe.keyspace(link))[:_MOST_DBS]:
        await link.command("SELECT", db)
        answer = await link.command("SCAN", 0, "COUNT", _NAMES_PER_DB)
        if isinstance(answer, list):
            found |= {(db, name) for name in answer[1]}
    await link.command("SELECT", 0)
    return found


async def lasting_page(link: Link, cursor: bytes) -> tuple[bytes, list[bytes]]:
    """The next cursor of SCAN, and the names of its page whose keys never expire."""
    cursor, names = await link.command("SCAN", cursor, "COUNT", _PAGE_KEYS)
    lives = await link.ask(resp.each(b"PTTL", names), len(names)) if names else []
    return cursor, [name for name, life in zip(names, lives, strict=True) if life == NO_DEADLINE]


async def longest_life_ms(link: Link, names: Names) -> int:
    """How long the one of *names* that lives longest has to live, of those with a deadline; the link's db changes."""
    longest = 0
    async for lives in _answers(link, b"PTTL", names):
        longest = max([longest, *(life for life in lives if isinstance(life, int))])  # some names may be forbidden
    await link.command("SELECT", 0)
    return longest


async def any_there(link: Link, names: Names) -> bool:
    """Whether the server holds any of *names*."""
    async for found in _answers(link, b"EXISTS", names):
        if 1 in found:
            return True
    return False


async def _answers(link: Link, word: bytes, names: Names) -> AsyncIterator[list[Reply]]:
    """What the server says to *word* of each of *names*, database by database; the link stays at the last."""
    for db in sorted({db for db, _ in names}):
        await link.command("SELECT", db)
        wanted = [name for at, name in names if at == db]
        yield await link.ask(resp.each(word, wanted), len(wanted))

"""Strings apart from other types: one MGET reads and one MSETNX writes as many as 64 DUMPs and RESTOREs.

    names of a page -> shapes -> share of strings among the keys of that shape -> tried as strings | read by DUMP

Per key, measured on Redis 7.0: DUMP of a string of 120 bytes takes 2.3 us of the source's thread, MGET 0.7, since
it neither tries to compress nor computes a CRC; RESTORE takes 2.5 us of the target's, MSETNX 1.4. What MGET gives
nothing for is read a second time, and costs 1.9 us more. To ask which names are strings, by a second SCAN with TYPE,
would cost 0.8 us for every key: as much as it saves where half of them are. Names tell it for nothing: applications
call alike what is alike. The shape of a name is what is left of it without digits and the letters of hex numbers.

Rule 1: a wrong guess costs time only.
Rule 2: what is remembered is bounded; shapes not met before are guessed by what such turned out to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

_STRING_TYPE = 0
_MOSTLY = 0.7
"""Share of strings from which on all names of a shape are tried."""
_LOOKED_AT = 64
"""Names of a portion that are learnt from."""
_WORTHWHILE = 8
"""Fewer than one in so many names are not worth a request of their own."""
_NUMBERS = b"0123456789abcdefABCDEF-"
_MOST_SHAPES = 1024
_SHAPE_BYTES = 64
_MEMORY = 256
"""Keys of a shape after which what was seen of it counts half."""
_NEW = None
"""Stands for all shapes that were not met before."""


class Unread:
    """Names of a page that are still to be read: first those to be tried as strings, then the others."""

    def __init__(self, tried: list[bytes], others: list[bytes]) -> None:
        self._tried, self._others = tried, others

    @property
    def as_strings(self) -> bool:
        """Whether `names` are to be tried as strings."""
        return bool(self._tried)

    @property
    def names(self) -> list[bytes]:
        """What is to be read now."""
        return self._tried or self._others

    @names.setter
    def names(self, names: list[bytes]) -> None:
        if self._tried:
            self._tried = names
        else:
            self._others = names

    def read(self, count: int, no_strings: list[bytes]) -> None:
        """The first *count* of `names` were read; *no_strings* among them are to be read again as what they are."""
        self.names = self.names[count:]
        self._others = self._others + no_strings


class StringGuess:
    """Tells which names are likely those of strings, by what was met before."""

    def __init__(self, *, usable: bool = True) -> None:
        self._usable = usable
        self._seen: dict[bytes | None, tuple[int, int]] = {}
        self._likely: dict[bytes | None, bool] = {}

    def part(self, names: list[bytes]) -> Unread:
        """Which of *names* are to be tried as strings."""
        if not any(self._likely.values()):
            return Unread([], names)
        known, new = self._likely.get, self._likely.get(_NEW, False)
        tried = [known(name.translate(None, _NUMBERS), new) for name in names]
        count = sum(tried)
        if count == len(names):
            return Unread(names, [])
        if count * _WORTHWHILE < len(names):
            return Unread([], names)
        others = [name for name, likely in zip(names, tried, strict=True) if not likely]
        return Unread(list(compress(names, tried)), others)

    def met(self, names: Sequence[bytes], payloads: Sequence[bytes | None], *, strings: bool) -> None:
        """Learn from what some names held: *strings* (None: of another type), or DUMP payloads (None: gone)."""
        if not self._usable:
            return
        for name, payload in zip(names[:_LOOKED_AT], payloads[:_LOOKED_AT], strict=True):
            if strings:
                self._learn(name, payload is not None)
            elif payload:
                self._learn(name, payload[0] == _STRING_TYPE)

    def _learn(self, name: bytes, is_string: bool) -> None:
        shape = name.translate(None, _NUMBERS)
        if shape not in self._seen:
            self._count(_NEW, is_string)
        if len(shape) <= _SHAPE_BYTES:
            self._count(shape, is_string)

    def _count(self, shape: bytes | None, is_string: bool) -> None:
        if len(self._seen) > _MOST_SHAPES and shape not in self._seen:
            new = self._seen[_NEW]
            self._seen, self._likely = {_NEW: new}, {_NEW: self._likely[_NEW]}
        strings, keys = self._seen.get(shape, (0, 0))
        if keys >= _MEMORY:
            strings, keys = strings // 2, keys // 2
        self._seen[shape] = strings + is_string, keys + 1
        self._likely[shape] = strings + is_string >= _MOSTLY * (keys + 1)

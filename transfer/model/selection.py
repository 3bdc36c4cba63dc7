"""What is copied, and what becomes of names, databases and deadlines on the way.

    key of the source -> Selection (does it pass?) -> Mapping (its database, name and deadline there)

Both are pure and decide by bytes alone, so the copy, the check after it and a dry run agree.
"""

from __future__ import annotations

import re
from operator import methodcaller

import msgspec
import xxhash

from transfer.model.globs import Glob, literal_start
from transfer.model.record import NO_DEADLINE

TEMPORARY_PREFIX = b"transfer:tmp:"
"""Names of keys that are being built at a target, or were left behind there: they are nobody's data."""
_HASH_SPACE = 1 << 64


class Selection:
    """Which keys pass, judged by their names; types and deadlines are judged where they are known.

    Args:
        match, exclude: globs; a key passes when any of *match* (or none is given) and none of *exclude* fits.
        types: Redis type names that pass (empty: all).
        sample: share of keys, 0 < sample <= 1, chosen by hash of the name: the same keys every time.
        min_ttl_ms: keys that live less are left out (0: none).
    """

    def __init__(
        self,
        *,
        match: tuple[bytes, ...] = (),
        exclude: tuple[bytes, ...] = (),
        types: tuple[str, ...] = (),
        sample: float = 1.0,
        min_ttl_ms: int = 0,
    ) -> None:
        self.match = match
        self.exclude = exclude
        self.types = types
        self.sample = sample
        self.min_ttl_ms = min_ttl_ms
        self._match = [Glob(pattern) for pattern in match]
        self._exclude = [Glob(pattern) for pattern in exclude]

    @property
    def all_names(self) -> bool:
        """Whether every name passes, so that nothing need be asked per key."""
        return not self._match and not self._exclude and self.sample >= 1.0

    def pushed_match(self) -> bytes | None:
        """The one glob the server can filter by itself, else None."""
        return self.match[0] if len(self.match) == 1 else None

    def passes(self, key: bytes) -> bool:
        if is_temporary(key):
            return False
        if self._match and not any(glob.matches(key) for glob in self._match):
            return False
        if self._exclude and any(glob.matches(key) for glob in self._exclude):
            return False
        return self.sample >= 1.0 or xxhash.xxh3_64_intdigest(key) < self.sample * _HASH_SPACE

    def names(self, keys: list[bytes]) -> list[bytes]:
        """The names that pass, in order."""
        if self.all_names and not any(map(_IS_TEMPORARY, keys)):
            return keys
        return [key for key in keys if self.passes(key)]

    def lives_long_enough(self, expire_at_ms: int, now_ms: int) -> bool:
        return not self.min_ttl_ms or expire_at_ms == NO_DEADLINE or expire_at_ms - now_ms >= self.min_ttl_ms


_is_temporary = re.compile(re.escape(TEMPORARY_PREFIX) + rb"[^:]+:[0-9]+:\{.+\}", re.DOTALL).fullmatch
_IS_TEMPORARY = methodcaller("startswith", TEMPORARY_PREFIX)
"""Quick, and true for more than those."""


def is_temporary(key: bytes) -> bool:
    """Whether *key* is one that a copy builds a large value under (`transfer:tmp:JOB:n:{tag}`)."""
    return key.startswith(TEMPORARY_PREFIX) and _is_temporary(key) is not None


class TtlRule(msgspec.Struct, frozen=True):
    """What becomes of deadlines: keep | drop | rebase | cap | add.

    `amount_ms` serves cap and add, which touch only keys with a deadline. rebase keeps the time that
    remained by the source's clock, counted from the target's clock.
    """

    kind: str = "keep"
    amount_ms: int = 0

    def apply(self, expire_at_ms: int, source_now_ms: int, target_now_ms: int) -> int:
        """The deadline at the target; NO_DEADLINE stays NO_DEADLINE, and a deadline stays above 0."""
        if expire_at_ms == NO_DEADLINE or self.kind == "drop":
            return NO_DEADLINE
        if self.kind == "rebase":
            return max(1, expire_at_ms - source_now_ms + target_now_ms)
        if self.kind == "cap":
            return min(expire_at_ms, target_now_ms + self.amount_ms)
        return expire_at_ms + (self.amount_ms if self.kind == "add" else 0)


class Mapping:
    """Where a key of the source goes.

    Args:
        dbs: source database -> target database, for every database that is copied.
        renames: (old prefix, new prefix), first fit wins.
        ttl: the rule for deadlines.
    """

    def __init__(
        self,
        dbs: dict[int, int],
        renames: tuple[tuple[bytes, bytes], ...] = (),
        ttl: TtlRule = TtlRule(),  # noqa: B008 - frozen
    ) -> None:
        self.dbs = dbs
        self.renames = renames
        self.ttl = ttl

    @property
    def keeps_names(self) -> bool:
        return not self.renames

    def can_fold(self, selection: Selection) -> bool:
        """Whether two selected keys could come to one name, as far as can be said without looking at them.

        Where there is one rename and every selected name begins with its old prefix, all are renamed alike.
        """
        if len(set(self.dbs.values())) < len(self.dbs):
            return True
        if len(self.renames) != 1 or not selection.match:
            return bool(self.renames)
        old = self.renames[0][0]
        return not all(literal_start(pattern).startswith(old) for pattern in selection.match)

    def name(self, key: bytes) -> bytes:
        for old, new in self.renames:
            if key.startswith(old):
                return new + key[len(old) :]
        return key

    def origins(self, key: bytes) -> list[bytes]:
        """Every source name that `name` would map to *key*."""
        found = [key] if self.name(key) == key else []
        for old, new in self.renames:
            candidate = old + key[len(new) :]
            if key.startswith(new) and self.name(candidate) == key and candidate not in found:
                found.append(candidate)
        return found

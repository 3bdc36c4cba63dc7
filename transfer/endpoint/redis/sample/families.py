"""Which sample keys there are: families of names, how many of each, in which database, how long they live.

    (seed, keys) -> items(): every key with its value    names(): the same names without making values

Rule 1: the same seed and number of keys give the same items; only deadlines depend on when they are written.
Rule 2: a name depends on its number alone, and no two families share a name, so all fit into one database.
Rule 3: *keys* counts everything that is written, the manifests too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from transfer.endpoint.redis.sample import values
from transfer.endpoint.redis.sample.values import SampleValue
from transfer.model.errors import UsageError

MANIFEST_KEY = b"transfer:demo:manifest"
DEFAULT_KEYS = 200_000
DEFAULT_SEED = 1
LEAST_KEYS = 100
DBS = (0, 1, 5)

_BIG_FROM_KEYS = 1_000
_HOUR_MS = 3_600_000
_SPREAD_MS = 30 * 24 * _HOUR_MS
_MIX = 0x9E3779B97F4A7C15F39CC0605CEDC835  # odd, so that n -> n * _MIX mod 2**128 never gives two n one token


class Item(NamedTuple):
    """One key as it is to be. `ttl_ms` counts from the moment of filling, 0 is no deadline."""

    db: int
    family: str
    key: bytes
    value: SampleValue
    ttl_ms: int


class Family(NamedTuple):
    """Keys of one kind. `lives` says of how many keys one has a deadline (1: all, 3: every third, 0: none)."""

    name: str
    db: int
    share: float
    key: Callable[[int], bytes]
    value: Callable[[Random, int], SampleValue]
    lives: int = 0


def _numbered(prefix: bytes) -> Callable[[int], bytes]:
    return lambda n: b"%b%d" % (prefix, n)


_SINGLE = (
    Family("config:system", 0, 0, lambda n: b"config:system", values.config_system),
    Family("config:*", 0, 0, _numbered(b"config:"), values.setting),
)
_BIG = (
    Family("big:string", 0, 0, lambda n: b"big:string", values.big_string),
    Family("big:hash", 0, 0, lambda n: b"big:hash", values.big_hash),
    Family("big:leaderboard", 5, 0, lambda n: b"big:leaderboard", values.big_board),
)
_SHARED = (
    Family("driver:*", 0, 0.15, _numbered(b"driver:"), values.driver),
    Family("session:*", 0, 0.24, lambda n: b"session:%032x" % (n * _MIX % (1 << 128)), values.session, 1),
    Family("queue:*", 0, 0.05, _numbered(b"queue:"), values.queue, 4),
    Family("tags:*", 0, 0.06, _numbered(b"tags:"), values.tags, 5),
    Family("leaderboard:*", 0, 0.04, _numbered(b"leaderboard:"), values.leaderboard),
    Family("events:*", 0, 0.02, _numbered(b"events:"), values.events, 7),
    Family("visitors:*", 0, 0.01, _numbered(b"visitors:"), values.visitors, 2),
    Family("active:*", 0, 0.01, _numbered(b"active:"), values.active, 3),
    Family("binary", 0, 0.01, lambda n: b"\x00\xff" + n.to_bytes(4, "big") + b" \r\n{}", values.binary, 2),
    Family("straße:*", 0, 0.01, lambda n: f"straße:{n}:🚕".encode(), values.greeting),
    Family("cart:*", 1, 0.04, _numbered(b"cart:"), values.cart, 2),
    Family("page:*", 1, 0.04, _numbered(b"page:"), values.page, 1),
    Family("archive:*", 5, 0.03, _numbered(b"archive:"), values.archived, 6),
)
_USERS = Family("user:*", 0, 0, _numbered(b"user:"), values.user)
_SETTINGS = 19


def counted(keys: int) -> list[tuple[Family, int]]:
    """Every family with how many keys it has when *keys* are written; manifests are not among them.

    Raises:
        UsageError: fewer than `LEAST_KEYS`.
    """
    if keys < LEAST_KEYS:
        raise UsageError(f"{keys:,} keys cannot hold every family", hint=f"--keys {LEAST_KEYS} is the least", keys=keys)
    found = [(_SINGLE[0], 1), (_SINGLE[1], _SETTINGS)]
    found += [(family, 1) for family in _BIG if keys >= _BIG_FROM_KEYS]
    found += [(family, max(1, int(keys * family.share))) for family in _SHARED]
    users = keys - len(DBS) - sum(count for _, count in found)
    found.insert(2, (_USERS, users))
    return sorted(found, key=lambda pair: pair[0].db)


def items(seed: int, keys: int) -> Iterator[Item]:
    """Every key but the manifests, database by database."""
    for family, count in counted(keys):
        rng = Random(f"{seed}/{family.name}")
        name, db, key, value, lives = family.name, family.db, family.key, family.value, family.lives
        for n in range(count):
            ttl_ms = _HOUR_MS + n * 7_919_531 % _SPREAD_MS if lives and n % lives == 0 else 0
            yield Item(db, name, key(n), value(rng, n), ttl_ms)


def names(keys: int) -> Iterator[tuple[int, bytes]]:
    """Database and name of every key but the manifests."""
    for family, count in counted(keys):
        for n in range(count):
            yield family.db, family.key(n)

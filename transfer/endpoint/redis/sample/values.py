"""What one sample key holds: a random generator and a number in, a value out.

Rule 1: a value depends on nothing but the generator's state and the number.
Rule 2: one or two draws of 64 bits make a whole value; their digits choose from fixed words.
"""

from __future__ import annotations

import math
from random import Random

import msgspec

from transfer.model.value import HashValue, ListValue, SetValue, SortedSetValue, StreamId, StringValue


class Reading(msgspec.Struct, frozen=True):
    """A consumer group: each consumer reads `share` entries, then the first `acknowledged` are acknowledged."""

    group: bytes
    consumers: tuple[bytes, ...]
    share: int
    acknowledged: int


class Events(msgspec.Struct, frozen=True):
    """A stream: entries with their ids, and who has read how far."""

    entries: list[tuple[StreamId, list[bytes]]]
    readings: tuple[Reading, ...]


class Visitors(msgspec.Struct, frozen=True):
    """A HyperLogLog: the elements that were added, all of them different."""

    elements: list[bytes]


SampleValue = StringValue | ListValue | SetValue | SortedSetValue | HashValue | Events | Visitors

_FIRST: tuple[str, ...] = ("Ada", "Bo", "Chiara", "Dilnoza", "Emeka", "Fatima", "Grzegorz", "Hana")
_FIRST += ("Ingrid", "José", "Kwame", "Léa", "Mei", "Nour", "Олег", "美咲")
_LAST: tuple[str, ...] = ("Abara", "Björk", "Castillo", "Dvořák", "Eriksen", "Fischer", "Gupta", "Haddad")
_LAST += ("Ivanov", "Jensen", "Kim", "López", "Mbeki", "Núñez", "O'Hara", "王")
_ROLES = ('"admin"', '"editor"', '"viewer"', '"driver"', '"admin","auditor"', '"billing"', '"support","viewer"', "")
_CITIES = ("Zürich", "Kraków", "Lagos", "Osaka", "Lima", "Perth", "Tromsø", "München")
_FIRST_B, _LAST_B, _ROLES_B, _CITIES_B = (
    tuple(word.encode() for word in words) for words in (_FIRST, _LAST, _ROLES, _CITIES)
)
_STATES = (b"waiting", b"on_trip", b"off", b"paused")
_ODD_SCORES = (math.inf, -math.inf, 0.1, -17.25, 0.0, 1e300, 5e-324, 1 / 3)

_USER = (
    b'{"id":%d,"name":"%b %b","email":"user%d@%b.example","roles":[%b],"active":%b,'
    b'"created":"20%02d-%02d-%02dT%02d:%02d:00Z",'
    b'"address":{"city":"%b","zip":"%05d","geo":[%d.%04d,%d.%04d]},"logins":%d}'
)


def user(rng: Random, n: int) -> StringValue:
    """A person as JSON, nested."""
    r, s = rng.getrandbits(60), rng.getrandbits(60)
    return StringValue(
        _USER % (
            n, _FIRST_B[r & 15], _LAST_B[r >> 4 & 15], n, (b"mail", b"post", b"web", b"firma")[r >> 8 & 3],
            _ROLES_B[r >> 10 & 7], b"true" if r >> 13 & 3 else b"false",
            10 + (r >> 15) % 16, 1 + (r >> 20) % 12, 1 + (r >> 25) % 28, (r >> 30) % 24, (r >> 40) % 60,
            _CITIES_B[s & 7], s % 100_000, (s >> 20) % 90, (s >> 25) % 10_000, (s >> 30) % 180, (s >> 35) % 10_000,
            (s >> 40) % 5_000,
        )
    )  # fmt: skip


def config_system(rng: Random, n: int) -> StringValue:
    """The one `config:system` key."""
    return StringValue(
        b'{"version":"4.%d.%d","region":"eu-central-1","features":{"beta":false,"search":true},'
        b'"limits":{"requests_per_s":%d,"upload_bytes":10485760},"maintainers":["ops@example.org"]}'
        % (rng.randrange(20), rng.randrange(10), 100 * rng.randrange(1, 50))
    )


def setting(rng: Random, n: int) -> StringValue:
    """A small setting: numbers, words, an empty string."""
    return StringValue((b"", b"on", b"%d" % rng.randrange(10**6), b"0.%d" % rng.randrange(100), b"-1")[n % 5])


def driver(rng: Random, n: int) -> HashValue:
    """A record as a hash of ten fields."""
    r = rng.getrandbits(60)
    return HashValue({
        b"name": b"%b %b" % (_FIRST_B[r & 15], _LAST_B[r >> 4 & 15]),
        b"state": _STATES[r >> 8 & 3],
        b"city": _CITIES_B[r >> 10 & 7],
        b"plate": b"%c%c-%04d" % (65 + (r >> 13) % 26, 65 + (r >> 18) % 26, (r >> 20) % 10_000),
        b"lat": b"%d.%05d" % ((r >> 25) % 90, (r >> 20) % 100_000),
        b"lon": b"-%d.%05d" % ((r >> 28) % 180, (r >> 23) % 100_000),
        b"rating": b"%d.%d" % (1 + (r >> 33) % 5, (r >> 36) % 10),
        b"trips": b"%d" % ((r >> 40) % 9_000),
        b"since": b"%d" % (1_500_000_000 + (r >> 30)),
        b"note": b"",
    })  # fmt: skip


def session(rng: Random, n: int) -> StringValue:
    """An opaque token of 96 bytes, as text."""
    return StringValue(b"%096x" % rng.getrandbits(384))


def queue(rng: Random, n: int) -> ListValue:
    """Jobs that wait, some twice."""
    r = rng.getrandbits(60)
    return ListValue([b"job:%d:%x" % (i, r >> (i % 7)) for i in range(1 + r % 24)] + [b"7", b"7"])


def tags(rng: Random, n: int) -> SetValue:
    """Small integers for even numbers (an intset), words for odd ones."""
    r = rng.getrandbits(60)
    if n % 2 == 0:
        return SetValue(frozenset([b"%d" % ((r >> i) % 100_000 - 1_000) for i in range(1 + r % 20)]))
    return SetValue(frozenset([b"%b-%x" % (_CITIES_B[i & 7], r >> i & 0xFFF) for i in range(1 + r % 16)]))


def leaderboard(rng: Random, n: int) -> SortedSetValue:
    """Scores of every kind a double has, save NaN."""
    r = rng.getrandbits(60)
    scores = {b"player:%d" % (r >> i & 0xFFFF): (r >> i) % 20_001 / 7 - 1000 for i in range(4 + r % 16)}
    if n % 4 == 0:
        scores.update(zip((b"odd:%d" % i for i in range(len(_ODD_SCORES))), _ODD_SCORES, strict=True))
    return SortedSetValue(scores)


def events(rng: Random, n: int) -> Events:
    """A stream of 4 to 11 entries; nine of ten have groups, with entries delivered and not acknowledged."""
    r = rng.getrandbits(60)
    start = 1_700_000_000_000 + n * 60_000
    entries = [
        ((start + i // 2, i % 2), [b"kind", _STATES[r >> i & 3], b"driver", b"%d" % (r >> i & 0xFFFF)])
        for i in range(4 + r % 8)
    ]
    readings = (Reading(b"workers", (b"alice", b"bob"), 2, 1), Reading(b"audit\x00log", (b"eve",), 3, 0))
    return Events(entries, readings[: (0, 2, 1, 2, 1, 2, 1, 2, 1, 2)[n % 10]])


def visitors(rng: Random, n: int) -> Visitors:
    """20 to 220 visitors; every hundredth key has 5,000, which makes its HyperLogLog dense."""
    many = 5_000 if n % 100 == 0 else 20 + rng.getrandbits(20) % 200
    return Visitors([b"visitor:%d:%d" % (n, i) for i in range(many)])


def active(rng: Random, n: int) -> StringValue:
    """A bitmap of 64 to 1,087 bytes, empty bytes at its head."""
    return StringValue(bytes(n % 60) + rng.randbytes(64 + n % 964) + b"\x01")


def binary(rng: Random, n: int) -> StringValue:
    """Bytes that are no text in any encoding."""
    return StringValue(b"\x00\xff\xfe\r\n" + rng.randbytes(16 + n % 100))


def greeting(rng: Random, n: int) -> StringValue:
    """Text of several scripts."""
    r = rng.getrandbits(60)
    return StringValue(f"{_FIRST[r & 15]} grüßt {_LAST[r >> 4 & 15]} in {_CITIES[r >> 8 & 7]} 🚕 №{n}".encode())


def cart(rng: Random, n: int) -> HashValue:
    """Article -> amount."""
    r = rng.getrandbits(60)
    return HashValue({b"sku:%x" % (r >> i & 0xFFFFF): b"%d" % (1 + (r >> i) % 9) for i in range(1 + r % 12)})


def page(rng: Random, n: int) -> StringValue:
    """A rendered page of half a kilobyte that compresses well."""
    r = rng.getrandbits(60)
    return StringValue(b"<html><h1>%b</h1>" % _CITIES_B[r & 7] + b"<li>%x</li>" % (r & 0xFFFFF) * (20 + r % 40))


def archived(rng: Random, n: int) -> ListValue | SortedSetValue | HashValue:
    """The collections once more, in a database of their own."""
    return (queue, leaderboard, cart)[n % 3](rng, n)


def big_string(rng: Random, n: int) -> StringValue:
    """2 MiB of noise."""
    return StringValue(rng.randbytes(2 << 20))


def big_hash(rng: Random, n: int) -> HashValue:
    """50,000 fields."""
    return HashValue({b"field:%d" % i: b"%x" % rng.getrandbits(64) for i in range(50_000)})


def big_board(rng: Random, n: int) -> SortedSetValue:
    """20,000 members."""
    return SortedSetValue({b"player:%d" % i: rng.getrandbits(40) / 1024 for i in range(20_000)})

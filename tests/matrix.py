"""One data set for every pair of servers: all types, small and large, with all that hangs on them.

    fill(server) -> names -> copy -> oracle: equal values and deadlines, or refused for a stated reason

Sizes lie on both sides of every limit at which servers change the encoding (redis.conf `*-max-listpack-*`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.oracle import Client, Words
from transfer.model.endpoint import Address

IN_2099_MS = 4_070_908_800_000
FIELD_TTL = ("redis-8.2", "valkey-9.1")
LIBRARY = "#!lua name={name}\nredis.register_function('{name}_f', function(keys, args) return '{said}' end)"
_SMALL, _LARGE = 5, 700


def fill(place: Address, version: str) -> None:
    """Write the data set into an empty server of *version*."""
    with Client(place) as client:
        client.must(_strings())
        client.must(_collections())
        client.must(_streams())
        client.must([("PEXPIREAT", name, IN_2099_MS + at) for at, name in enumerate(_expiring(client))])
        if version in FIELD_TTL:
            client.must(_timed_fields())
        if version != "redis-6.2":
            client.must([("FUNCTION", "LOAD", LIBRARY.format(name=name, said=name)) for name in ("one", "two")])
        client.ask("SELECT", 3)
        client.must([("SET", "other db", "x"), ("RPUSH", "l", "1", "b"), ("PEXPIREAT", "l", IN_2099_MS)])


def timed_hashes() -> list[bytes]:
    """Names of the hashes whose fields have deadlines."""
    return [b"timed:small", b"timed:large"]


def _strings() -> Iterator[Words]:
    chance = random.Random(1)
    for at, value in enumerate((b"", b"a", b"7", b"-129", b"70000", b"2147483648", b"01", b"\x00\xff\r\n")):
        yield "SET", f"s:{at}", value
    yield "SET", "s:long", chance.randbytes(30_000)
    yield "SET", "s:packed", b"ab" * 20_000
    yield "SETBIT", "s:bits", 12345, 1
    for at in range(40):
        yield "PFADD", "s:sparse", f"{at}"
    for at in range(0, 6000, 100):
        yield "PFADD", "s:dense", *(f"{one}" for one in range(at, at + 100))


def _collections() -> Iterator[Words]:
    chance = random.Random(2)
    for size, items in (("small", _SMALL), ("large", _LARGE)):
        words = [b"%d" % at if at % 3 else b"w\xff%d" % at for at in range(items)]
        long = [*words, chance.randbytes(9000), b"run" * 50, b"-9223372036854775808", b"4611686018427387904", b""]
        yield "RPUSH", f"l:{size}", *words
        yield "RPUSH", f"l:{size}:long", *long
        yield "SADD", f"set:int:{size}", *(str(at * 70_000 - 9) for at in range(items))
        yield "SADD", f"set:{size}", *words
        yield "SADD", f"set:{size}:long", *long
        yield "HSET", f"h:{size}", *(part for word in words for part in (b"f" + word, word))
        yield "HSET", f"h:{size}:long", *(part for at, word in enumerate(long) for part in (b"%d" % at, word))
        scores = ["0.1", "-0.0", "inf", "-inf", "1e300", "3", "-7.25", "0.30000000000000004"]
        pairs = [part for at, word in enumerate(words) for part in (scores[at % len(scores)], word)]
        yield "ZADD", f"z:{size}", *pairs
        yield "ZADD", f"z:{size}:long", *pairs, "2.5", chance.randbytes(5000)


def _streams() -> Iterator[Words]:
    for size, entries in (("small", _SMALL), ("large", _LARGE)):
        name = f"x:{size}"
        for at in range(1, entries + 1):
            yield "XADD", name, f"{at}-{at % 3}", "f", f"v{at}", f"g{at % 7}", "7"
        yield "XDEL", name, "2-2"
        yield "XGROUP", "CREATE", name, "g", "0"
        yield "XGROUP", "CREATE", name, "idle", "$"
        yield "XREADGROUP", "GROUP", "g", "ann", "COUNT", 3, "STREAMS", name, ">"
        yield "XREADGROUP", "GROUP", "g", "bob", "COUNT", 1, "STREAMS", name, ">"
        yield "XACK", name, "g", "1-1"
        yield "XDEL", name, "3-0"  # it stays pending
        yield "XGROUP", "CREATECONSUMER", name, "g", "nobody"
    yield "XADD", "x:empty", "5-1", "a", "b"
    yield "XDEL", "x:empty", "5-1"


def _expiring(client: Client) -> list[bytes]:
    """Every third name."""
    names: list[bytes] = sorted(client.ask("KEYS", "*"))
    return names[::3]


def _timed_fields() -> Iterator[Words]:
    for name, fields in zip(timed_hashes(), (_SMALL, _LARGE), strict=True):
        yield "HSET", name, *(part for at in range(fields) for part in (f"f{at}", "v"))
        for at in (0, 2):
            yield "HPEXPIREAT", name, IN_2099_MS + at, "FIELDS", 1, f"f{at}"

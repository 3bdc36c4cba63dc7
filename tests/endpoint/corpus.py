"""A keyspace with every shape a value can have, made by type commands that all tested versions know."""

from __future__ import annotations

from transfer.codec.resp import command
from transfer.model.endpoint import Features
from transfer.wire.link import ErrorReply, Link

IN_2099_MS = 4_070_908_800_123
_LONG_NAME = b"n" * 65_536

COMMANDS: list[tuple[bytes | str | int | float, ...]] = [
    ("SET", "string", "plain"),
    ("SET", "string:number", "-9223372036854775808"),
    ("SET", "string:empty", ""),
    ("SET", "string:large", bytes(range(256)) * 8192, "PX", 100_000_000),
    ("SET", b"\r\n\x00 {}\xff", b"\r\n\x00\xff"),
    ("SET", "", "the key without a name"),
    ("SET", _LONG_NAME, "long name"),
    ("PFADD", "hll:sparse", *range(10)),
    ("PFADD", "hll:dense", *range(5000)),
    ("SETBIT", "bitmap", 100_000, 1),
    ("RPUSH", "list:small", "a", "a", "", b"\x00\xff", 12345678901234567890),
    ("RPUSH", "list:large", *(b"item %d" % i * (1 + i % 7) for i in range(5000))),
    ("RPUSH", "list:wide", b"w" * 700_000, b"x" * 700_000, b"y", b"z" * 1_500_000),
    ("SADD", "set:ints", *range(-200, 200)),
    ("SADD", "set:small", "a", "b", "", b"\r\n"),
    ("SADD", "set:large", *(b"member %d" % i for i in range(3000))),
    ("ZADD", "zset:scores", "inf", "a", "-inf", "b", "0.1", "c", "1e300", "d", "-0.0", "e", "0", "f"),
    ("ZADD", "zset:scores", "5e-324", "g", "1.7976931348623157e308", "h", "0.30000000000000004", "i"),
    ("ZADD", "zset:large", *(word for i in range(2000) for word in (i / 7, b"member %d" % i))),
    ("HSET", "hash:small", "f", "v", "", "", b"\x00", b"\xff\r\n", "n", 42),
    ("HSET", "hash:large", *(word for i in range(2000) for word in (b"field %d" % i, b"v" * (i % 90)))),
    ("XADD", "stream:empty", "MAXLEN", 0, "7-7", "f", "v"),
    ("XGROUP", "CREATE", "stream:new", "g", "$", "MKSTREAM"),
    *(("XADD", "stream:plain", f"{i // 3 + 1}-{i % 3}", "f", i, "g", b"\x00" * (i % 50)) for i in range(300)),
    *(("XADD", "stream:deleted", f"{i}-1", f"f{i}", i) for i in range(1, 40)),
    ("XDEL", "stream:deleted", "39-1", "1-1", "20-1"),
    *(("XADD", "stream:groups", f"{i}-0", "f", i) for i in range(1, 1301)),
    ("XGROUP", "CREATE", "stream:groups", "all", 0),
    ("XGROUP", "CREATE", "stream:groups", b"\r\n\xff", "5-0"),
    ("XGROUP", "CREATE", "stream:groups", "untouched", "$"),
    ("XGROUP", "CREATECONSUMER", "stream:groups", "all", "idle"),
    ("XREADGROUP", "GROUP", "all", "one", "COUNT", 1200, "STREAMS", "stream:groups", ">"),
    ("XREADGROUP", "GROUP", "all", b"\x00two", "COUNT", 5, "STREAMS", "stream:groups", ">"),
    ("XREADGROUP", "GROUP", b"\r\n\xff", "one", "COUNT", 9, "STREAMS", "stream:groups", ">"),
    ("XACK", "stream:groups", "all", "3-0", "4-0", "1203-0"),
    ("XCLAIM", "stream:groups", "all", "late", 0, "7-0", "9-0", "TIME", 1_600_000_000_000, "RETRYCOUNT", 12, "JUSTID"),
    ("XCLAIM", "stream:groups", "all", "one", 0, "8-0", "TIME", 1_600_000_000_001, "RETRYCOUNT", 0, "JUSTID"),
    *(
        ("PEXPIREAT", key, IN_2099_MS + i)
        for i, key in enumerate(("string:number", "list:small", "set:ints", "zset:scores", "hash:large"))
    ),
    *(("PEXPIREAT", key, IN_2099_MS) for key in ("stream:groups", "stream:empty", b"\r\n\x00 {}\xff")),
]


async def fill(link: Link) -> list[bytes]:
    """Make the keyspace and return its key names."""
    answers = await link.ask_parts([command(*words) for words in COMMANDS], len(COMMANDS))
    errors = [str(answer) for answer in answers if isinstance(answer, ErrorReply)]
    assert not errors, errors
    keys: list[bytes] = await link.command("KEYS", "*")
    return sorted(keys)


def features_of(version: str) -> Features:
    """The abilities that reading by type commands depends on."""
    return Features(pexpiretime=version != "redis-6.2", field_ttl=version in ("redis-8.2", "valkey-9.1"))


def vendor_of(version: str) -> str:
    """`redis` or `valkey`."""
    return version.partition("-")[0]

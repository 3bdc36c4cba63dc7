"""Seeded data sets: every type, odd names and values, deadlines, several databases."""

from __future__ import annotations

import random
import time

from tests.oracle import Client, Words

IN_2099_MS = 4_070_908_800_000
_AT_ONCE = 1000
DBS = (0, 0, 0, 0, 3)
"""A fifth of the keys is in database 3."""
_ODD_NAMES = (
    b"",
    b" ",
    b"\r\n",
    b"a\r\nb",
    b"\x00",
    b"\xff\xfe",
    b"{}",
    b"{a}{b}",
    b"*",
    b"k[1]",
    b"cl\xc3\xa9",
    b"x" * 512,
)
_ODD_SCORES = (b"-0.0", b"0", b"inf", b"-inf", b"0.1", b"1e308", b"5e-324", b"9007199254740993", b"-1.5")
_ODD_NUMBERS = (b"0", b"-1", b"9223372036854775807", b"-9223372036854775808", b"00", b"+1", b"1.0", b"")


def fill(client: Client, seed: int, keys: int, *, dbs: tuple[int, ...] = DBS) -> None:
    """Put *keys* keys into an empty server, spread over *dbs*; every third seed has hardly anything but strings."""
    chance = random.Random(seed)
    plain = seed % 3 == 1
    per_db: dict[int, list[Words]] = {}
    for number in range(keys):
        db = chance.choice(dbs)
        name = name_of(number, chance)
        commands = per_db.setdefault(db, [])
        commands += [("SET", name, chance.randbytes(20))] if plain and number % 23 else _value(name, number, chance)
        if number % 3 == 0:
            commands.append(("PEXPIREAT", name, IN_2099_MS + number))
        elif number % 50 == 1:
            commands.append(("PEXPIREAT", name, int(time.time() * 1000) + 600_000 + number))
    for db, commands in per_db.items():
        client.ask("SELECT", db)
        for at in range(0, len(commands), _AT_ONCE):
            client.must(commands[at : at + _AT_ONCE])
    client.ask("SELECT", 0)


def fill_large(client: Client, seed: int, size_bytes: int) -> None:
    """Two keys of each type, of about *size_bytes* each, one of the two with a deadline."""
    chance = random.Random(seed)
    piece, many = chance.randbytes(1000), range(size_bytes // 1000)
    for number in range(2):
        names = [
            b"large%d:%b{x}" % (number, kind) for kind in (b"string", b"list", b"set", b"hash", b"zset", b"stream")
        ]
        text, line, group, table, ranked, stream = names
        commands: list[Words] = [("SET", text, piece * len(many))]
        commands += [("RPUSH", line, piece + b"%d" % at) for at in many]
        commands += [("SADD", group, piece + b"%d" % at) for at in many]
        commands += [("HSET", table, b"f%d" % at, piece) for at in many]
        commands += [("ZADD", ranked, at / 7, piece + b"%d" % at) for at in many]
        commands += [("XADD", stream, b"%d-1" % (at + 1), "f", piece) for at in many]
        commands.append(("XGROUP", "CREATE", stream, "g", "5-1"))
        commands.append(("XREADGROUP", "GROUP", "g", "c", "COUNT", 3, "STREAMS", stream, ">"))
        if number:
            commands += [("PEXPIREAT", name, IN_2099_MS) for name in names]
        client.must(commands)


def name_of(number: int, chance: random.Random) -> bytes:
    """Mostly `k<number>`; each odd one once."""
    if number < len(_ODD_NAMES):
        return _ODD_NAMES[number]
    return b"k%d" % number if number % 10 else b"k%d:%b" % (number, chance.randbytes(8))


def _value(name: bytes, number: int, chance: random.Random) -> list[Words]:
    data = chance.randbytes(chance.choice((0, 1, 8, 20, 20, 60, 300)))
    many = range(chance.choice((1, 2, 3, 5, 20)) if number % 97 else 700)
    match number % 12:
        case 0:
            return [("HSET", name, *(part for at in many for part in (b"f%d" % at, data + b"%d" % at)))]
        case 1:
            return [("RPUSH", name, *(data + b"%d" % at if at % 3 else b"%d" % at for at in many))]
        case 2:
            return [("SADD", name, *(b"%d" % chance.randrange(-(1 << 33), 1 << 63) for _ in many))]
        case 3:
            return [("SADD", name, data, *(b"m%d" % at for at in many))]
        case 4:
            scores = (chance.choice((*_ODD_SCORES, b"%r" % chance.random())) for _ in many)
            return [("ZADD", name, *(part for at, score in enumerate(scores) for part in (score, b"m%d" % at)))]
        case 5 if number % 5 == 0:
            return _stream(name, data, many, chance)
        case 6 if number % 7 == 0:
            return [("PFADD", name, *(b"%d" % chance.randrange(1 << 30) for _ in many))]
        case 7:
            return [("SET", name, chance.choice(_ODD_NUMBERS))]
        case 8 if number % 4 == 0:
            return [("SETBIT", name, chance.randrange(9000), 1)]
    return [("SET", name, data)]


def _stream(name: bytes, data: bytes, many: range, chance: random.Random) -> list[Words]:
    commands: list[Words] = [("XADD", name, b"%d-%d" % (at + 1, at), "f", data or b"-", "g", at) for at in many]
    commands += [("XGROUP", "CREATE", name, "all", "0"), ("XGROUP", "CREATE", name, "tail", "$")]
    commands.append(("XREADGROUP", "GROUP", "all", f"c{chance.randrange(3)}", "COUNT", 3, "STREAMS", name, ">"))
    commands.append(("XACK", name, "all", "1-0"))
    if len(many) > 2:
        commands.append(("XDEL", name, "1-0"))  # a pending entry whose id is gone is refused by the logical form
    return commands

"""Data for benchmarks: a million mixed keys in some seconds, the same for the same seed.

`mixed`, of every ten keys: 4 strings of 120 bytes, 1 string of 200 bytes with a deadline, 2 hashes of 10 fields,
1 list of 20 items, 1 sorted set of 20 members, 1 set of 16 members. `small`: strings of 100 bytes. A number: strings of
so many bytes.

Rule 1: every part has a fixed width, so a key is one `bytes % tuple` into a ready RESP request.
Rule 2: random bytes are slices of one random text at random places; making them anew would take most of the time.
Rule 3: a database that holds keys is not filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from time import monotonic

import anyio

from transfer.model.endpoint import Address
from transfer.model.errors import GuardError
from transfer.wire.dial import Dialer, refuse
from transfer.wire.link import Link

DEFAULT_KEYS = 1_000_000
_KEYS_PER_SEND = 1_000
_BYTES_PER_SEND = 8 << 20
_LINKS = 2  # one waits for the server while requests for the other are made
_TEXT_BYTES = 1 << 20
_NAME_BYTES = 12  # a letter that tells the kind, ":" and ten digits: applications, too, call alike what is alike

Maker = Callable[[int, int], bytes]
"""(number of the key, a random place in the text) -> one command"""


async def fill(address: Address, keys: int = DEFAULT_KEYS, seed: int = 1, values: str = "mixed") -> float:
    """Write *keys* keys into the database of *address* (0 if it names none) and return the seconds it took.

    Raises:
        GuardError: the database holds keys already.
        ServerRefusedError: the server took one of the commands for wrong, or is full.
    """
    began = monotonic()
    dialer = Dialer(address)
    link = await dialer.dial()
    there = await link.command("DBSIZE")
    await link.close()
    if there:
        raise GuardError(f"the database holds {there:,} keys", where=str(address), hint="FLUSHDB, or another database")
    queue = requests(keys, seed, values)
    async with anyio.create_task_group() as group:
        for _ in range(_LINKS):
            group.start_soon(_send_all, dialer, queue)
    return monotonic() - began


async def _send_all(dialer: Dialer, queue: Iterator[tuple[bytes, int]]) -> None:
    link: Link = await dialer.dial()
    try:
        for request, replies in queue:
            for reply in await link.ask(request, replies):
                refuse(reply, link.where)
    finally:
        await link.close()


def requests(keys: int, seed: int, values: str = "mixed") -> Iterator[tuple[bytes, int]]:
    """Requests of a thousand commands (fewer where values are large), each with the number of its replies."""
    rng = Random(seed)
    size_bytes = int(values) if values.isdigit() else 100
    text = rng.randbytes(_TEXT_BYTES // 2).hex().encode() * (1 + size_bytes * 2 // _TEXT_BYTES)
    makers = _mixed(text) if values == "mixed" else [_string(text, size_bytes)]
    kinds, places = len(makers), len(text) - max(1_024, size_bytes)
    at_once = max(1, min(_KEYS_PER_SEND, _BYTES_PER_SEND // size_bytes))
    for start in range(0, keys, at_once):
        numbers = range(start, min(start + at_once, keys))
        draws = rng.choices(range(places), k=len(numbers))
        parts = [makers[n % kinds](n, at) for n, at in zip(numbers, draws, strict=True)]
        yield b"".join(parts), len(parts)


def _mixed(text: bytes) -> list[Maker]:
    string, hashes = _string(text, 120), _hash(text)
    return [
        string, hashes, string, _list(text), string, _volatile(text), _sorted_set(text), string, hashes, _set(text),
    ]  # fmt: skip


def _head(words: int, name: bytes, kind: bytes) -> bytes:
    return b"*%d\r\n$%d\r\n%b\r\n$%d\r\n%b:%%010d\r\n" % (words, len(name), name, _NAME_BYTES, kind)


def _word(size_bytes: int) -> bytes:
    return b"$%d\r\n%%b\r\n" % size_bytes


def _string(text: bytes, size_bytes: int) -> Maker:
    shape = _head(3, b"SET", b"k") + _word(size_bytes)
    return lambda n, at: shape % (n, text[at : at + size_bytes])


def _volatile(text: bytes) -> Maker:
    """200 bytes that live 10 to 24 hours (a number of five digits in seconds)."""
    shape = _head(5, b"SET", b"v") + _word(200) + b"$2\r\nEX\r\n$5\r\n%d\r\n"
    return lambda n, at: shape % (n, text[at : at + 200], 36_000 + n % 50_000)


def _hash(text: bytes) -> Maker:
    """Ten fields of 20 bytes."""
    fields = b"".join(b"$7\r\nfield:%d\r\n" % i + _word(20) for i in range(10))
    shape = _head(22, b"HSET", b"h") + fields
    return lambda n, at: shape % (n, *[text[i : i + 20] for i in range(at, at + 200, 20)])


def _list(text: bytes) -> Maker:
    """Twenty items of 16 bytes."""
    shape = _head(22, b"RPUSH", b"l") + _word(16) * 20
    return lambda n, at: shape % (n, *[text[i : i + 16] for i in range(at, at + 320, 16)])


def _set(text: bytes) -> Maker:
    """Sixteen members of 14 bytes."""
    shape = _head(18, b"SADD", b"s") + _word(14) * 16
    return lambda n, at: shape % (n, *[text[i : i + 14] for i in range(at, at + 224, 14)])


def _sorted_set(text: bytes) -> Maker:
    """Twenty members of 12 bytes, every second score a fraction."""
    pairs = b"".join(b"$5\r\n%%d%b\r\n" % (b".5" if i % 2 else b"") + _word(12) for i in range(20))
    shape = _head(42, b"ZADD", b"z") + pairs

    def make(n: int, at: int) -> bytes:
        words: list[int | bytes] = []
        for i in range(20):
            place = at + 12 * i
            words += ((100 + (n + i) % 900) if i % 2 else 10_000 + (n * 7 + i) % 90_000, text[place : place + 12])
        return shape % (n, *words)

    return make

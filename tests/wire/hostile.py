"""Malformed RESP from a seed: what a hostile or broken server may send in place of one reply.

seed -> mutator, place -> Malice(bytes, then: on | hold | close)
against a Link:      scripted replies, cut anywhere, one of them malformed
against whole runs:  real server -> `meddling_proxy` -> one reply (or all from there on) malformed -> copy | verify
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import anyio
from anyio.abc import ByteStream, SocketAttribute

from tests.servers import connect, serving
from transfer.model.endpoint import Address
from transfer.model.errors import TransferError
from transfer.wire.link import Link

Then = Literal["on", "hold", "close"]


@dataclass(frozen=True)
class Malice:
    """Bytes instead of a reply, and what the server does after them: go on, say nothing more, or close."""

    sent: bytes
    then: Then = "on"


Mutator = Callable[[bytes, random.Random], Malice]
MUTATORS: dict[str, Mutator] = {}


def _mutator(work: Mutator) -> Mutator:
    MUTATORS[work.__name__.lstrip("_")] = work
    return work


def _fixed(name: str, sent: bytes, then: Then = "on") -> None:
    MUTATORS[name] = lambda message, chance: Malice(sent, then)


for _name, _sent in {
    "huge bulk": b"$536870913000\r\nabc",
    "huge list": b"*3333333333\r\n",
    "huge map": b"%4294967295\r\n",
    "huge set": b"~4294967295\r\n",
    "huge attribute": b"|4294967295\r\n",
    "list of 100 million": b"*100000000\r\n",
    "nested lists of 100 million": b"*100000000\r\n" * 6,
    "a huge list within a list": b"*2\r\n*100000000\r\n:1\r\n",
    "a huge list far inside": b"*3\r\n$9000\r\n" + b"x" * 9000 + b"\r\n*1000000000\r\n",
    "a huge push far inside": b"*3\r\n$9000\r\n" + b"x" * 9000 + b"\r\n>100000000\r\n",
    "length beyond 64 bits": b"$99999999999999999999999\r\n",
    "list length beyond 64 bits": b"*99999999999999999999999\r\n",
    "negative length": b"$-2\r\n",
    "negative list length": b"*-7\r\n",
    "length that is no number": b"$abc\r\n",
    "list length that is no number": b"*1x\r\n",
    "no length": b"$\r\n\r\n",
    "null list": b"*-1\r\n",
    "null": b"$-1\r\n",
    "null of RESP3": b"_\r\n",
    "number": b":42\r\n",
    "negative number": b":-42\r\n",
    "huge number": b":99999999999999999999999999\r\n",
    "number that is none": b":abc\r\n",
    "empty string": b"$0\r\n\r\n",
    "short string": b"$3\r\nabc\r\n",
    "status": b"+FINE\r\n",
    "empty status": b"+\r\n",
    "empty list": b"*0\r\n",
    "list of lists": b"*2\r\n*2\r\n:1\r\n*0\r\n*1\r\n$1\r\nx\r\n",
    "list of nulls": b"*4\r\n$-1\r\n$-1\r\n*-1\r\n$-1\r\n",
    "deep nesting": b"*1\r\n" * 6 + b":1\r\n",
    "deepest nesting": b"*1\r\n" * 5000 + b":1\r\n",
    "many empty lists": b"*200000\r\n" + b"*0\r\n" * 200_000,
    "boolean": b"#t\r\n",
    "boolean that is none": b"#x\r\n",
    "double": b",nan\r\n",
    "double that is none": b",1.2.3\r\n",
    "big number": b"(3492890328409238509324850943850943825024385\r\n",
    "verbatim": b"=15\r\ntxt:Some string\r\n",
    "map": b"%1\r\n+a\r\n:1\r\n",
    "set": b"~2\r\n+a\r\n+a\r\n",
    "map with a list as key": b"%1\r\n*1\r\n:1\r\n:1\r\n",
    "set of lists": b"~1\r\n*1\r\n:1\r\n",
    "unknown type": b"?what\r\n",
    "nothing but ends of lines": b"\r\n\r\n\r\n",
    "a page of the web": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "a TLS alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "push instead": b">2\r\n+invalidate\r\n*1\r\n+k\r\n",
    "empty push instead": b">0\r\n",
    "error without text": b"-\r\n",
    "unknown error": b"-WHATEVER is this\r\n",
    "binary error": b"-\xff\xfe\x00\r\n",
    "SCAN without end": b"*2\r\n$3\r\nabc\r\n*1\r\n$1\r\nk\r\n",
    "SCAN beyond 64 bits": b"*2\r\n$25\r\n1844674407370955161600000\r\n*0\r\n",
    "SCAN with numbers": b"*2\r\n$1\r\n0\r\n*2\r\n:1\r\n:2\r\n",
    "TIME of words": b"*2\r\n$3\r\nabc\r\n$1\r\n?\r\n",
    "empty names": b"*2\r\n$1\r\n0\r\n*3\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n",
}.items():
    _fixed(_name, _sent)
_fixed("line without end", b"+" + b"x" * 300_000, "hold")
_fixed("silence", b"", "hold")
_fixed("the end", b"", "close")


@_mutator
def _cut_short(message: bytes, chance: random.Random) -> Malice:
    return Malice(message[: chance.randrange(len(message))], chance.choice(("hold", "close")))


@_mutator
def _cut_out(message: bytes, chance: random.Random) -> Malice:
    at = chance.randrange(len(message))
    return Malice(message[:at] + message[at + chance.randint(1, 8) :])


@_mutator
def _twice(message: bytes, chance: random.Random) -> Malice:
    return Malice(message * chance.randint(2, 4))


@_mutator
def _left_out(message: bytes, chance: random.Random) -> Malice:
    return Malice(b"")


@_mutator
def _flipped(message: bytes, chance: random.Random) -> Malice:
    changed = bytearray(message)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return Malice(bytes(changed))


@_mutator
def _flipped_at_its_head(message: bytes, chance: random.Random) -> Malice:
    changed = bytearray(message)
    changed[chance.randrange(min(6, len(changed)))] = chance.randrange(256)
    return Malice(bytes(changed))


@_mutator
def _noise(message: bytes, chance: random.Random) -> Malice:
    return Malice(chance.randbytes(chance.randint(1, 200)))


@_mutator
def _noise_with_a_type(message: bytes, chance: random.Random) -> Malice:
    return Malice(bytes([chance.choice(b"+-:$*_#,(!=%~>|")]) + chance.randbytes(20) + b"\r\n")


@_mutator
def _pushed_ahead(message: bytes, chance: random.Random) -> Malice:
    names = chance.choice((b"*1\r\n$1\r\nk\r\n", b"_\r\n", b":1\r\n", b"*1\r\n:1\r\n", b"$-1\r\n", b"*1\r\n*0\r\n"))
    return Malice(b">2\r\n$10\r\ninvalidate\r\n" + names + message)


@_mutator
def _odd_pushes_ahead(message: bytes, chance: random.Random) -> Malice:
    odd = (b">0\r\n", b">1\r\n$10\r\ninvalidate\r\n", b">1\r\n:7\r\n", b">1\r\n*0\r\n")
    return Malice(b"".join(chance.choices(odd, k=5)) + message)


@_mutator
def _count_off_by_one(message: bytes, chance: random.Random) -> Malice:
    head, _, rest = message.partition(b"\r\n")
    if head[:1] not in b"*$" or not head[1:].isdigit():
        return Malice(b"*1\r\n" + message)
    return Malice(b"%b%d\r\n%b" % (head[:1], max(0, int(head[1:]) + chance.choice((-1, 1))), rest))


@_mutator
def _ends_of_lines_lost(message: bytes, chance: random.Random) -> Malice:
    return Malice(message.replace(b"\r\n", chance.choice((b"\n", b"\r", b"\n\r", b"")), chance.randint(1, 3)))


@_mutator
def _another_type(message: bytes, chance: random.Random) -> Malice:
    places = [at for at, byte in enumerate(message) if byte in b"$:*+" and (not at or message[at - 1] == 10)]
    changed = bytearray(message)
    changed[chance.choice(places or [0])] = chance.choice(b"$:*+-_#,%~>")
    return Malice(bytes(changed))


@_mutator
def _an_element_replaced(message: bytes, chance: random.Random) -> Malice:
    """One element of a list becomes of another type."""
    starts = elements_of(message)
    if not starts:
        return Malice(b":7\r\n")
    start, end = chance.choice(starts)
    other = chance.choice(
        (b":7\r\n", b"$-1\r\n", b"$1\r\nx\r\n", b"*0\r\n", b"*1\r\n:1\r\n", b"-ERR no\r\n", b"+QUEUED\r\n")
    )
    return Malice(message[:start] + other + message[end:])


@_mutator
def _an_error(message: bytes, chance: random.Random) -> Malice:
    texts = (
        b"LOADING x",
        b"BUSY x",
        b"TRYAGAIN x",
        b"MASTERDOWN x",
        b"READONLY x",
        b"OOM x",
        b"MISCONF x",
        b"NOAUTH x",
    )
    more = (b"NOPERM x", b"MOVED 1 127.0.0.1:1", b"ASK 1 h:1", b"WRONGTYPE x", b"EXECABORT x", b"BUSYKEY x", b"ERR x")
    return Malice(b"-%b\r\n" % chance.choice(texts + more))


def end_of(data: bytes, start: int = 0) -> int:
    """Where the RESP2 message at *start* ends; -1 if it is not whole. Written for valid replies only."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return -1
    kind, at = data[start : start + 1], line + 2
    if kind in b"+-:_#,(":
        return at
    count = int(data[start + 1 : line])
    if kind in b"$=!":
        at = at if count < 0 else at + count + 2
        return at if at <= len(data) else -1
    for _ in range(count * (2 if kind == b"%" else 1)):
        at = end_of(data, at)
        if at < 0:
            return -1
    return at


def elements_of(message: bytes) -> list[tuple[int, int]]:
    """Start and end of each element of the list that *message* is."""
    line = message.find(b"\r\n")
    if message[:1] != b"*" or not message[1:line].isdigit():
        return []
    found, at = [], line + 2
    for _ in range(int(message[1:line])):
        end = end_of(message, at)
        found.append((at, end))
        at = end
    return found


class Scripted(ByteStream):
    """A stream that says *said* in pieces, whatever is sent; then nothing more, or the end."""

    def __init__(self, said: bytes, then: Then, chance: random.Random) -> None:
        self._said, self._then, self._chance = said, then, chance

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._said:
            size = self._chance.choice((1, 7, 100, max_bytes)) if len(self._said) < 5000 else max_bytes
            piece, self._said = self._said[:size], self._said[size:]
            return piece
        if self._then == "close":
            raise anyio.EndOfStream
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, item: bytes) -> None:
        pass

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


_FINE = (
    b"+OK\r\n",
    b":1\r\n",
    b"$3\r\nabc\r\n",
    b"$-1\r\n",
    b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n",
    b"*0\r\n",
    b"-ERR x\r\n",
)


async def against_link(seed: int) -> str:
    """One stream into one Link. Returns the verdict; a foreign exception comes out as it is."""
    chance = random.Random(seed)
    replies = [chance.choice(_FINE) for _ in range(chance.randint(1, 6))]
    place = chance.randrange(len(replies))
    malice = chance.choice(list(MUTATORS.values()))(replies[place], chance)
    ahead = b"".join(replies[:place])
    rest = b"".join(replies[place + 1 :]) if malice.then == "on" else b""
    then: Then = chance.choice(("hold", "close")) if malice.then == "on" else malice.then
    link = Link(Scripted(ahead + malice.sent + rest, then, chance), "hostile", 0.005, cap_bytes=1 << 20)
    try:
        match chance.randrange(3):
            case 0:
                with anyio.move_on_after(0.005):
                    for _ in replies:
                        await link.next_push()
            case 1:
                answers = await link.ask_acknowledged([b"x"], b"+OK\r\n" * len(replies))
                assert answers is None or len(answers) == len(replies)
            case _:
                for _ in range(2):
                    answers = await link.ask(b"x", len(replies))
                    assert len(answers) == len(replies)
    except TransferError as error:
        assert link.closed
        return error.code
    return "fine"


class Meddler:
    """Where in a run of replies malice strikes; `struck` says whether it did."""

    def __init__(self, seed: int, replies: int) -> None:
        self.chance = random.Random(seed)
        self.name = self.chance.choice(list(MUTATORS))
        self.at = self.chance.randrange(replies)
        self.always = self.chance.random() < 0.2
        self.seen = self.struck = 0

    def meddle(self, message: bytes) -> Malice:
        self.seen += 1
        if self.seen <= self.at or (self.struck and not self.always):
            return Malice(message)
        self.struck += 1
        return MUTATORS[self.name](message, self.chance)


@asynccontextmanager
async def meddling_proxy(upstream: Address, meddler: Meddler) -> AsyncIterator[Address]:
    """A server that is *upstream*, but for what *meddler* does to its replies."""

    async def serve(client: ByteStream) -> None:
        async with client, await connect(upstream) as server, anyio.create_task_group() as group:

            async def requests() -> None:
                try:
                    async for data in client:
                        await server.send(data)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass
                group.cancel_scope.cancel()

            group.start_soon(requests)
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
                await _replies(server, client, meddler)
            group.cancel_scope.cancel()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
    async with serving(listener, serve):
        yield Address(port=port)


async def _replies(server: ByteStream, client: ByteStream, meddler: Meddler) -> None:
    held = b""
    async for data in server:
        held += data
        said, at = [], 0
        while at < len(held) and (end := end_of(held, at)) > 0:
            malice = meddler.meddle(held[at:end])
            said.append(malice.sent)
            at = end
            if malice.then != "on":
                await client.send(b"".join(said))
                if malice.then == "hold":
                    await anyio.sleep_forever()
                return
        held = held[at:]
        if said:
            await client.send(b"".join(said))

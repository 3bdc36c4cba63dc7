"""A TCP or unix proxy that fails on purpose, at an exact byte or message, and the same way every time.

    client --requests--> proxy --requests--> upstream
    client <--replies--- proxy <--replies--- upstream

    async with proxy(server.address, Reset(after_messages=3)) as faulty:
        ... talk to faulty.address ...
        faulty.arm(Stall())

Rule 1: a position counts bytes or whole RESP messages of one side from the moment the fault was armed, over all
        connections; a fault with a position fires `times` times, then it is spent.
Rule 2: chance comes from the seed alone; `repr` of a proxy holds what a replay needs.
Rule 3: what is before the position is forwarded before the fault strikes.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import anyio
import hiredis
import msgspec
from anyio.abc import ByteStream, SocketAttribute

from tests.servers import connect, serving
from transfer.model.endpoint import Address

Side = Literal["requests", "replies"]


@dataclass(frozen=True)
class Fault:
    """Strikes on one side; with a position once it is reached, else at the first byte."""

    side: Side = "replies"
    after_bytes: int | None = None
    after_messages: int | None = None
    times: int = 1


@dataclass(frozen=True)
class Reset(Fault):
    """RST in both directions."""


@dataclass(frozen=True)
class Stall(Fault):
    """Forward nothing more in either direction, keep the connection open until `release`."""


@dataclass(frozen=True)
class HalfClose(Fault):
    """End this side for its reader; the other side goes on."""


@dataclass(frozen=True)
class Swallow(Fault):
    """Take *count* messages that were sent, deliver none of them, then RST: was it done or not?"""

    count: int = 1


@dataclass(frozen=True)
class Corrupt(Fault):
    """Change one byte, the first after the position."""


@dataclass(frozen=True)
class Switch(Fault):
    """RST every connection; new ones reach another server."""

    upstream: Address = field(default_factory=Address)


@dataclass(frozen=True)
class Delay:
    """Hold every chunk back for `ms`."""

    ms: float
    side: Side = "replies"


@dataclass(frozen=True)
class Rate:
    """Let through no more than this."""

    bytes_per_s: float
    side: Side = "replies"


@dataclass(frozen=True)
class Split:
    """Forward in pieces of 1 to `most` bytes, each a send of its own."""

    most: int = 1
    side: Side = "replies"


Lasting = Delay | Rate | Split
_T = TypeVar("_T", Delay, Rate, Split)


@dataclass(eq=False)
class _Armed:
    fault: Fault
    left_bytes: int | None
    left_messages: int | None
    left_times: int

    @classmethod
    def of(cls, fault: Fault, times: int | None = None) -> _Armed:
        positioned = fault.after_bytes is not None or fault.after_messages is not None
        return cls(
            fault, fault.after_bytes if positioned else 0, fault.after_messages, fault.times if times is None else times
        )

    def reached(self, size: int, ends: list[int]) -> int | None:
        """Offset in a chunk of *size* bytes, with messages ending at *ends*, where this strikes; None if beyond."""
        if self.left_messages == 0 or self.left_bytes == 0:
            return 0
        if self.left_messages is not None and self.left_messages <= len(ends):
            return ends[self.left_messages - 1]
        if self.left_bytes is not None and self.left_bytes <= size:
            return self.left_bytes
        return None

    def passed(self, size: int, messages: int) -> None:
        if self.left_bytes is not None:
            self.left_bytes -= size
        if self.left_messages is not None:
            self.left_messages -= messages


class _MessageEnds:
    """Where RESP messages end in a stream. Anything but RESP (TLS, HTTP) has no ends."""

    def __init__(self) -> None:
        self._reader: hiredis.Reader | None = hiredis.Reader(notEnoughData=self)

    def feed(self, data: bytes) -> list[int]:
        """Offsets after each message that ends in *data*; a message ends with a line, always."""
        ends: list[int] = []
        start = 0
        while self._reader is not None and start < len(data):
            stop = data.find(b"\n", start) + 1 or len(data)
            self._reader.feed(data[start:stop])
            start = stop
            try:
                if self._reader.gets() is not self:
                    ends.append(stop)
            except hiredis.ProtocolError:
                self._reader = None
        return ends


class _Connection:
    def __init__(self, client: ByteStream, server: ByteStream) -> None:
        self.streams = (client, server)
        self.scope = anyio.CancelScope()
        self.reset = False
        self.ends = {"requests": _MessageEnds(), "replies": _MessageEnds()}
        self.swallow: dict[Side, int] = {}
        self.ended: set[Side] = set()
        self.open = anyio.Event()
        self.open.set()

    def cut(self) -> None:
        self.reset = True
        self.scope.cancel()

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            for stream in self.streams:
                await (_reset(stream) if self.reset else stream.aclose())


class FaultProxy:
    """See the module.

    Attributes:
        address: where clients connect; login, database and TLS settings are the upstream's.
        connections: accepted so far.
        forwarded: bytes delivered per side; `messages`: RESP messages delivered per side.
        fired: faults with a position that struck, in order.
        refusing: while true, new connections are reset at once.
    """

    def __init__(self, upstream: Address, address: Address, seed: int) -> None:
        self.upstream = upstream
        self.address = address
        self.seed = seed
        self.connections = 0
        self.forwarded: dict[Side, int] = {"requests": 0, "replies": 0}
        self.messages: dict[Side, int] = {"requests": 0, "replies": 0}
        self.fired: list[Fault] = []
        self.refusing = False
        self._random = random.Random(seed)
        self._armed: list[_Armed] = []
        self._lasting: list[Lasting] = []
        self._live: set[_Connection] = set()
        self._changed = anyio.Event()
        self._history: list[Fault | Lasting] = []

    def __repr__(self) -> str:
        return f"FaultProxy(seed={self.seed}, armed={self._history})"

    @property
    def live(self) -> int:
        """Connections that are open now."""
        return len(self._live)

    def arm(self, *faults: Fault | Lasting) -> None:
        """Add *faults*; their positions count from here."""
        self._history += faults
        self._armed += [_Armed.of(fault) for fault in faults if isinstance(fault, Fault)]
        self._lasting += [fault for fault in faults if not isinstance(fault, Fault)]

    def disarm(self) -> None:
        """Forget all faults; what struck already stays as it is."""
        self._armed.clear()
        self._lasting.clear()

    def release(self) -> None:
        """Let stalled connections go on."""
        for connection in self._live:
            connection.open.set()

    def cut_all(self) -> None:
        """RST every open connection now."""
        for connection in self._live:
            connection.cut()

    def switch(self, upstream: Address) -> None:
        """RST every open connection; new ones reach *upstream*."""
        self.upstream = upstream
        self.cut_all()

    async def until(self, holds: Callable[[FaultProxy], bool]) -> None:
        """Wait until *holds*, looked at whenever something was forwarded, fired, opened or closed."""
        while not holds(self):
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _serve(self, client: ByteStream) -> None:
        self.connections += 1
        self._notify()
        try:
            server = None if self.refusing else await connect(self.upstream)
        except OSError:
            server = None
        if server is None:
            await _reset(client)
            return
        connection = _Connection(client, server)
        self._live.add(connection)
        try:
            async with anyio.create_task_group() as group:
                connection.scope = group.cancel_scope
                group.start_soon(self._pump, connection, "requests", client, server)
                group.start_soon(self._pump, connection, "replies", server, client)
        finally:
            await connection.close()
            self._live.discard(connection)
            self._notify()

    async def _pump(self, connection: _Connection, side: Side, source: ByteStream, target: ByteStream) -> None:
        try:
            async for data in source:
                await self._forward(connection, side, data, target)
            if side not in connection.ended:
                await target.send_eof()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            connection.cut()

    async def _forward(self, connection: _Connection, side: Side, data: bytes, target: ByteStream) -> None:
        ends = connection.ends[side].feed(data)
        while data:
            await connection.open.wait()
            armed, offset = self._next(side, len(data), ends)
            piece, data = data[:offset], data[offset:]
            count = sum(1 for end in ends if end <= offset)
            ends = [end - offset for end in ends[count:]]
            for other in self._armed:
                if other.fault.side == side:
                    other.passed(len(piece), count)
            await self._deliver(connection, side, piece, count, target)
            if armed is not None:
                data = await self._strike(armed, connection, side, data, target)

    def _next(self, side: Side, size: int, ends: list[int]) -> tuple[_Armed | None, int]:
        reached = [(armed.reached(size, ends), armed) for armed in self._armed if armed.fault.side == side]
        first = min((found for found in reached if found[0] is not None), key=lambda found: found[0] or 0, default=None)
        return (None, size) if first is None else (first[1], first[0] or 0)

    async def _deliver(
        self, connection: _Connection, side: Side, piece: bytes, messages: int, target: ByteStream
    ) -> None:
        if side in connection.swallow:
            connection.swallow[side] -= messages
            if connection.swallow[side] <= 0:
                await _end(connection)
            return
        if not piece or side in connection.ended:
            return
        for part in self._split(side, piece):
            for delay in self._of(Delay, side):
                await anyio.sleep(delay.ms / 1000)
            await target.send(part)
            self.forwarded[side] += len(part)
            for rate in self._of(Rate, side):
                await anyio.sleep(len(part) / rate.bytes_per_s)
        self.messages[side] += messages
        self._notify()

    def _split(self, side: Side, piece: bytes) -> list[bytes]:
        sizes = [split.most for split in self._of(Split, side)] or [1 << 12] * bool(self._of(Rate, side))
        parts = []
        while sizes and piece:
            size = self._random.randint(1, sizes[0])
            parts.append(piece[:size])
            piece = piece[size:]
        return [*parts, piece] if piece else parts

    def _of(self, kind: type[_T], side: Side) -> list[_T]:
        return [fault for fault in self._lasting if isinstance(fault, kind) and fault.side == side]

    async def _strike(
        self, armed: _Armed, connection: _Connection, side: Side, data: bytes, target: ByteStream
    ) -> bytes:
        """Do what the fault does; returns what is still to be forwarded."""
        fault = armed.fault
        if isinstance(fault, Corrupt) and not data:
            armed.left_bytes, armed.left_messages = 0, None  # the byte to change has not come yet
            return data
        if armed not in self._armed:
            return data  # another connection reached it while this one delivered what came before
        self._armed.remove(armed)
        if armed.left_times > 1:
            self._armed.append(_Armed.of(fault, armed.left_times - 1))
        self.fired.append(fault)
        self._notify()
        match fault:
            case Reset():
                await _end(connection)
            case Stall():
                connection.open = anyio.Event()
                await connection.open.wait()
            case HalfClose():
                connection.ended.add(side)
                await target.send_eof()
            case Swallow():
                connection.swallow[side] = fault.count
            case Corrupt():
                return bytes([data[0] ^ self._random.randint(1, 255)]) + data[1:]
            case Switch():
                self.switch(fault.upstream)
        return data


@asynccontextmanager
async def proxy(
    upstream: Address, *faults: Fault | Lasting, seed: int = 0, path: str = ""
) -> AsyncIterator[FaultProxy]:
    """A proxy before *upstream* for the length of the block, on loopback or on the unix socket *path*."""
    listener: Any
    if path:
        listener = await anyio.create_unix_listener(path)
        address = msgspec.structs.replace(upstream, scheme="unix", path=path)
    else:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
        host = "localhost" if upstream.tls else "127.0.0.1"
        scheme = upstream.scheme if not upstream.path else "redis"
        address = msgspec.structs.replace(upstream, scheme=scheme, path="", host=host, port=port)
    faulty = FaultProxy(upstream, address, seed)
    faulty.arm(*faults)
    async with serving(listener, faulty._serve):
        yield faulty


async def _end(connection: _Connection) -> None:
    connection.cut()
    await anyio.sleep_forever()


async def _reset(stream: ByteStream) -> None:
    """Close without a farewell: the peer sees ECONNRESET (a unix socket has no such thing: it sees the end)."""
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
    if raw.family != socket.AF_UNIX and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await stream.aclose()

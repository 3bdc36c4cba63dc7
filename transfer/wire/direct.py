"""A stream that is read as fast as its socket gives: past the event loop's transport, which hands out 256 KiB a turn.

    kernel's buffer (some MiB) -> recv of all that lies there, once a turn of the loop -> whoever drains it

A loop that also cuts and writes turns about 100 times a second: through the transport it would take in 25 MB/s.
Unix sockets are always read and written so: anyio's own stream for them tells the event loop's handler of a failure
where it is cancelled in the very turn in which its socket is ready (anyio 4, `_RawSocketMixin`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute, SocketStream, UNIXSocketStream


class DirectStream(ByteStream):
    """The socket of *stream*, of which nothing was read yet; *stream* is closed with this one."""

    def __init__(self, stream: SocketStream | UNIXSocketStream) -> None:
        self._stream = stream
        raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
        self._socket = socket.socket(fileno=os.dup(raw.fileno()))
        self._socket.setblocking(False)

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """As `ByteStream.receive`."""
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            except OSError as error:
                raise anyio.BrokenResourceError from error
            if not data:
                raise anyio.EndOfStream
            return data

    async def send(self, item: bytes) -> None:
        """As `ByteStream.send`."""
        await anyio.lowlevel.checkpoint()
        left = memoryview(item)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """As `ByteStream.aclose`; whoever waits for the socket is told."""
        if self._socket.fileno() != -1:
            anyio.notify_closing(self._socket)
        self._socket.close()
        await self._stream.aclose()

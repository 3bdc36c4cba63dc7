"""A stream that is read as fast as its socket gives: past the event loop's transport, which hands out 256 KiB a turn.

    kernel's buffer (some MiB) -> recv of all that lies there, once a turn of the loop -> whoever drains it

A loop that also cuts and writes turns about 100 times a second: through the transport it would take in 25 MB/s.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import ByteStream, SocketAttribute, SocketStream


class DirectStream(ByteStream):
    """*stream*, of which nothing was read yet; it goes on sending, and is closed with this one."""

    def __init__(self, stream: SocketStream) -> None:
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
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        self._socket.close()
        await self._stream.aclose()

"""One connection: a request of many commands out, as many replies back, in order.

Rule 1: one `send` per request; replies are parsed by hiredis in a tight loop.
Rule 2: a link whose request failed, timed out or was cancelled is closed and never used again,
        so that a late reply can never be taken for another command's.
Rule 3: nothing waits longer than `timeout` seconds for bytes that were asked for, nor for less than 1 KiB of them or
        a whole reply: a peer that trickles is as good as silent.
Rule 4: resident bytes of one request's unparsed replies stay below `cap_bytes`.
Rule 5: a request gets its replies and no more; one too many means they no longer belong together: the link is closed.
        Only RESP3 pushes may come in between; they wait for `next_push`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import anyio
import hiredis
from anyio.abc import ByteStream

from transfer.model.errors import ForeignProtocolError, LinkError, OversizedReplyError, TransferError

_CHUNK = 1 << 20
_PIECE = 2 << 20
_DEFAULT_CAP = 64 << 20
_LEAST_BYTES = 1 << 10
"""As much must come within one time limit, unless it ends a reply."""

_WAIT = object()
"""Stands for 'no whole reply yet', which None and False cannot: they are replies."""

_Push = hiredis.PushNotification

Reply = Any
ErrorReply = hiredis.ReplyError


class Link:
    """A conversation in RESP with one server. Error replies are returned as `ErrorReply`, not raised.

    Attributes:
        where: the address, redacted, for messages.
        received_bytes, sent_bytes: totals since the link was dialled.
    """

    def __init__(self, stream: ByteStream, where: str, timeout: float, cap_bytes: int = _DEFAULT_CAP) -> None:
        self.where = where
        self.timeout = timeout
        self.cap_bytes = cap_bytes
        self.closed = False
        self.received_bytes = 0
        self.sent_bytes = 0
        self._stream = stream
        self._reader = hiredis.Reader(notEnoughData=_WAIT)
        self._pushes: deque[Reply] = deque()

    async def ask(self, request: bytes, replies: int, *, patience: float | None = None) -> list[Reply]:
        """Send *request*, which holds *replies* commands, and return as many replies.

        Raises:
            LinkError: the connection broke, or *patience* seconds (default: the link's time limit)
                passed without a byte; how much of the request was executed is unknown.
            OversizedReplyError: one reply grew past `cap_bytes`.
            ForeignProtocolError: what came back is not RESP, or not as many replies as commands.
        """
        return await self.ask_parts((request,), replies, patience=patience)

    async def ask_parts(
        self, parts: tuple[bytes, ...] | list[bytes], replies: int, *, patience: float | None = None
    ) -> list[Reply]:
        """Like `ask`, for a request in pieces that need not be joined (large payloads)."""
        if self.closed:
            raise LinkError("this link is closed", where=self.where)
        try:
            return await self._converse(parts, replies, patience or self.timeout) or []
        except BaseException:
            await self.close()
            raise

    async def _converse(
        self, parts: tuple[bytes, ...] | list[bytes], replies: int, patience: float, expected: bytes = b""
    ) -> list[Reply] | None:
        """Send, then collect the replies; None if their bytes were the *expected* ones."""
        with self._named_failures(patience), _Watch(patience) as watch:
            for part in parts:
                await self._send(part, watch)
            if expected and await self._acknowledged(expected, watch):
                return None
            return await self._collect(replies, watch)

    async def _send(self, part: bytes, watch: _Watch) -> None:
        """Send *part*, a large one piece by piece: the transport copies what the socket does not take at once."""
        self.sent_bytes += len(part)
        if len(part) <= _PIECE:
            watch.renew()
            await self._stream.send(part)
            return
        whole = memoryview(part)
        for start in range(0, len(part), _PIECE):
            watch.renew()
            await self._stream.send(whole[start : start + _PIECE])  # type: ignore[arg-type]  # any buffer will do

    async def _collect(self, replies: int, watch: _Watch) -> list[Reply]:
        take = self._reader.gets
        got: list[Reply] = self._without_pushes(list(iter(take, _WAIT)))
        pending = largest = 0
        watch.renew()
        while len(got) < replies:
            received = await self._receive()
            watch.moved(received)
            pending += received
            if fresh := list(iter(take, _WAIT)):
                got += self._without_pushes(fresh)
                largest, pending = max(largest, pending), 0
                watch.renew()
            self._cap(pending)
        if len(got) > replies:
            raise ForeignProtocolError(
                f"{len(got)} replies came to {replies} commands", where=self.where, replies=len(got), commands=replies
            )
        if largest > _PIECE and not self._reader.has_data():
            self._reader = hiredis.Reader(notEnoughData=_WAIT)  # the old one keeps a buffer as large as the reply
        return got

    def _without_pushes(self, replies: list[Reply]) -> list[Reply]:
        """*replies* less the messages among them that were not asked for; those wait for `next_push`."""
        if _Push not in set(map(type, replies)):
            return replies
        self._pushes += [reply for reply in replies if type(reply) is _Push]
        return [reply for reply in replies if type(reply) is not _Push]

    async def ask_acknowledged(self, parts: tuple[bytes, ...] | list[bytes], expected: bytes) -> list[Reply] | None:
        """Like `ask_parts`, for commands whose answers are *expected* to be those bytes: None says that they were.

        They are compared at once, and parsed only if one is another. Every expected answer is one line.
        """
        if self.closed:
            raise LinkError("this link is closed", where=self.where)
        try:
            return await self._converse(parts, expected.count(b"\n"), self.timeout, expected)
        except BaseException:
            await self.close()
            raise

    async def _acknowledged(self, expected: bytes, watch: _Watch) -> bool:
        """Take in bytes while they are *expected*; False, with the reader fed, as soon as they are not."""
        taken = b""
        watch.renew()
        while True:
            received = await self._stream.receive(_CHUNK)
            watch.moved(len(received))
            taken += received
            if len(taken) >= len(expected) or not expected.startswith(taken):
                break
        self.received_bytes += len(taken)
        if taken == expected:
            return True
        self._reader.feed(taken)
        return False

    async def send(self, request: bytes) -> None:
        """Send *request* and wait for nothing; its replies come through `next_push`, after earlier pushes.

        Raises:
            LinkError: the connection broke, or did not take the bytes within the link's time limit.
        """
        if self.closed:
            raise LinkError("this link is closed", where=self.where)
        try:
            with self._named_failures(self.timeout), anyio.fail_after(self.timeout):
                await self._stream.send(request)
            self.sent_bytes += len(request)
        except BaseException:
            await self.close()
            raise

    async def receive(self) -> bytes:
        """The next bytes, as they come, past the parser: for a reply too large to be held, after `send`.

        Raises:
            LinkError: the connection broke, or nothing came within the link's time limit.
        """
        if self.closed:
            raise LinkError("this link is closed", where=self.where)
        try:
            with self._named_failures(self.timeout), anyio.fail_after(self.timeout):
                data = await self._stream.receive(_CHUNK)
        except BaseException:
            await self.close()
            raise
        self.received_bytes += len(data)
        return data

    async def next_push(self) -> Reply:
        """Wait, without time limit, for the next message the server sends unasked (RESP3 pushes).

        Cancelling the wait leaves the link usable: nothing was asked for.

        Raises:
            LinkError: the connection broke or was closed.
            OversizedReplyError, ForeignProtocolError: as for `ask`.
        """
        if self._pushes:
            return self._pushes.popleft()
        if self.closed:
            raise LinkError("this link is closed", where=self.where)
        pending = 0
        try:
            with self._named_failures(0):
                while (reply := self._reader.gets()) is _WAIT:
                    pending += await self._receive()
                    self._cap(pending)
        except TransferError:
            await self.close()
            raise
        return reply

    async def _receive(self) -> int:
        data = await self._stream.receive(_CHUNK)
        self._reader.feed(data)
        self.received_bytes += len(data)
        return len(data)

    def _cap(self, pending: int) -> None:
        if pending > self.cap_bytes:
            raise OversizedReplyError(
                f"a reply passed {self.cap_bytes:,} bytes and was not taken", where=self.where, cap=self.cap_bytes
            )

    @contextlib.contextmanager
    def _named_failures(self, patience: float) -> Iterator[None]:
        """Foreign exceptions of a conversation as ours. A cause stays in `__context__`, for `Dialer` to look at."""
        try:
            yield
        except TimeoutError:
            raise LinkError(f"no answer within {patience:g} s", where=self.where, seconds=patience) from None
        except hiredis.ProtocolError as error:
            raise ForeignProtocolError(f"what answers does not speak RESP ({error})", where=self.where) from None
        except MemoryError:  # a declared count of elements that no machine holds
            raise OversizedReplyError("a reply declares more elements than fit in memory", where=self.where) from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError) as error:
            raise LinkError(f"the connection broke ({_cause(error)})", where=self.where) from None

    async def command(self, *words: bytes | str | int) -> Reply:
        """One command, one reply."""
        return (await self.ask(hiredis.pack_command(words), 1))[0]  # type: ignore[arg-type]  # its stub says one word

    async def close(self) -> None:
        """Close the connection at once, dropping what was not sent yet; safe to call twice."""
        self.closed = True
        with anyio.CancelScope(shield=True), contextlib.suppress(OSError, anyio.BrokenResourceError):
            await self._stream.aclose()


class _Watch:
    """One time limit for a whole exchange, begun anew whenever it got on.

    A cancel scope for every wait would cost 27 us each, as much as 10 keys; moving its deadline costs 5 (measured).

    Raises:
        TimeoutError: *patience* seconds passed since the last `renew`.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._scope = anyio.CancelScope()
        self._moved_bytes = 0

    def renew(self) -> None:
        self._moved_bytes = 0
        self._scope.deadline = anyio.current_time() + self._patience

    def moved(self, size_bytes: int) -> None:
        """So many bytes came in."""
        self._moved_bytes += size_bytes
        if self._moved_bytes >= _LEAST_BYTES:
            self.renew()

    def __enter__(self) -> _Watch:
        self._scope.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._scope.__exit__(*raised)
        if self._scope.cancelled_caught:
            raise TimeoutError


def _cause(error: BaseException) -> str:
    inner = error.__cause__ or error
    if isinstance(error, anyio.EndOfStream):
        return "the server closed it"
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    return str(inner) or type(inner).__name__

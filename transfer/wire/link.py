"""One connection: a request of many commands out, as many replies back, in order.

Rule 1: one `send` per request; replies are parsed by hiredis in a tight loop.
Rule 2: a link whose request failed, timed out or was cancelled is closed and never used again,
        so that a late reply can never be taken for another command's.
Rule 3: nothing waits longer than `timeout` seconds for bytes that were asked for, nor for less than 1 KiB of them or
        a whole reply: a peer that trickles is as good as silent.
Rule 4: resident bytes of one request's unparsed replies stay below `cap_bytes`; a reply that declares more, and one
        of more lists than its bytes explain, is refused before it is taken.
Rule 5: a request gets its replies and no more; one too many means they no longer belong together: the link is closed.
        Only RESP3 pushes may come in between; they wait for `next_push`.
"""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

import anyio
import hiredis
from anyio.abc import ByteStream, SocketAttribute

from transfer.model.errors import ForeignProtocolError, LinkError, OversizedReplyError, TransferError
from transfer.wire.bounded import TOO_MANY, new_reader

_CHUNK = 1 << 20
_PIECE = 2 << 20
_DEFAULT_CAP = 64 << 20
_LEAST_BYTES = 1 << 10
"""As much must come within one time limit, unless it ends a reply."""

_HEADS = re.compile(rb"(?:[*%~>|][0-9]{0,24}\r?\n?)+(?:\$[0-9]{0,24}\r?\n?)?|\$[0-9]{0,24}\r?\n?")
"""Headers at the beginning of a reply, the last of them perhaps in part."""
_LARGE = re.compile(rb"[*%~>|$][0-9]{7}")
_SUSPECT = re.compile(rb"\r\n[*%~>|$][0-9]{8}")
"""Perhaps a header that declares ten millions or more, perhaps a part of a value."""
_SEARCHED_BYTES = 4 << 10
"""To search all that comes costs a tenth of the engine's time (measured)."""
_LINE = re.compile(rb"([^\r\n])([^\r\n]*)\r\n")
_EMPTY = re.compile(rb"[^0-9]0+(?![0-9])")
"""Of no elements or bytes: nothing may follow."""
_LONGEST_HEADS = 256
_ELEMENT_BYTES = 3
"""The shortest element, RESP3's null, takes so many."""
_MOST_ELEMENTS = 4 << 20
"""In one list: 32 MiB are reserved for it. Values with more go in pieces."""
_BYTES_PER_LIST = 16
"""A list, empty too, takes 60 bytes here and 4 on the wire; those of servers hold something (a stream's entry: 24)."""

_WAIT = object()
"""Stands for 'no whole reply yet', which None and False cannot: they are replies."""

_Push = hiredis.PushNotification

Reply = Any
ErrorReply = hiredis.ReplyError


def declared(data: bytes) -> Iterator[tuple[bytes, int]]:
    """What the headers in *data*, which begins with one, declare: (`$` or the sign of a list, how much)."""
    at = 0
    while (line := _LINE.match(data, at)) is not None:
        kind, count = line[1], line[2]
        at = line.end()
        if kind in b"$=!*%~>|" and count.isdigit():
            yield b"$" if kind in b"$=!" else b"*", int(count)
            at += int(count) + 2 if kind in b"$=!" else 0


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
        self._reader = self._new_reader()
        self._head = b""
        self._lists = 0
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
        got: list[Reply] = self._without_pushes(self._parsed())
        pending = largest = 0
        watch.renew()
        while len(got) < replies:
            data = await self._receive()
            watch.moved(len(data))
            pending += len(data)
            if fresh := self._parsed():
                got += self._without_pushes(fresh)
                largest, pending, self._lists = max(largest, pending), 0, 0
                watch.renew()
            self._cap(pending, data if pending else b"")
        if len(got) > replies:
            raise ForeignProtocolError(
                f"{len(got)} replies came to {replies} commands", where=self.where, replies=len(got), commands=replies
            )
        if largest > _PIECE and not self._reader.has_data():
            self._reader = self._new_reader()  # the old one keeps a buffer as large as the reply
        return got

    def _new_reader(self) -> hiredis.Reader:
        most = min(self.cap_bytes // _ELEMENT_BYTES, _MOST_ELEMENTS)
        return new_reader(most, notEnoughData=_WAIT)

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
            if b"\n" in received:  # a whole answer, however short: it writes
                watch.renew()
            if len(taken) >= len(expected) or not expected.startswith(taken):
                break
        self.received_bytes += len(taken)
        if taken == expected:
            return True
        self._feed(taken)
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
                while not (found := self._parsed()):
                    data = await self._receive()
                    pending += len(data)
                    self._cap(pending, data)
                self._lists = 0
        except TransferError:
            await self.close()
            raise
        self._pushes += found[1:]
        return found[0]

    def _parsed(self) -> list[Reply]:
        """Every whole reply that the reader holds."""
        try:
            return list(iter(self._reader.gets, _WAIT))
        except TypeError:
            raise hiredis.ProtocolError("a map or set with a list for a key") from None

    async def _receive(self) -> bytes:
        data = await self._stream.receive(_CHUNK)
        self._feed(data)
        self.received_bytes += len(data)
        return data

    def _feed(self, data: bytes) -> None:
        """Hand *data* to the reader, unless a reply begins with it that declares more than may come.

        A head that came in part waits for its rest. Of what stands deeper in a chunk, or in a reply of many, strings
        are bounded by `_cap`, and lists by the reader, which reserves room for them as they are declared.
        """
        if not self._reader.has_data():
            data, self._head = self._head + data, b""
            if _LARGE.match(data) or _SUSPECT.search(data, 0, _SEARCHED_BYTES):
                for kind, count in declared(data):
                    self._refuse_declared(kind, count)
            heads = _HEADS.match(data)
            if heads and heads.end() == len(data) < _LONGEST_HEADS and not _EMPTY.search(data):
                self._head = data
                return
        self._reader.feed(data)

    def _refuse_declared(self, kind: bytes, count: int) -> None:
        if count * (1 if kind == b"$" else _ELEMENT_BYTES) > self.cap_bytes:
            unit = "bytes" if kind == b"$" else "elements"
            raise OversizedReplyError(
                f"a reply declares {count:,} {unit} and was not taken", where=self.where, cap=self.cap_bytes
            )

    def _cap(self, pending: int, unparsed: bytes) -> None:
        """Refuse a reply that goes on after *pending* bytes, the last of them *unparsed*."""
        self._lists += unparsed.count(b"\r\n*") + unparsed.count(b"\r\n%") + unparsed.count(b"\r\n~")
        if pending > self.cap_bytes or self._lists > self.cap_bytes // _BYTES_PER_LIST:
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
            if TOO_MANY in str(error):
                raise OversizedReplyError(
                    "a reply declares a list that is too long, and was not taken", where=self.where, cap=self.cap_bytes
                ) from None
            raise ForeignProtocolError(f"what answers does not speak RESP ({error})", where=self.where) from None
        except MemoryError:  # a declared count of elements that no machine holds
            raise OversizedReplyError("a reply declares more elements than fit in memory", where=self.where) from None
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError) as error:
            raise LinkError(f"the connection broke ({_cause(error)})", where=self.where) from None

    async def command(self, *words: bytes | str | int) -> Reply:
        """One command, one reply."""
        return (await self.ask(hiredis.pack_command(words), 1))[0]  # type: ignore[arg-type]  # its stub says one word

    @property
    def local_address(self) -> str:
        """The address of ours that the peer sees if nothing stands between; "" on a unix socket."""
        found = self._stream.extra(SocketAttribute.local_address, "")  # noqa: S610 - not Django's
        return str(found[0]) if isinstance(found, tuple) else ""

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

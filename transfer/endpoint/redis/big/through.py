"""A large key cut through: its DUMP goes into a RESTORE as it comes, and nothing holds it.

    source: MULTI PEXPIRETIME [OBJECT ..] DUMP EXEC -> +OK +QUEUED .. *n :deadline $length body CRLF
                                                             decide ---'      | 1 MiB pieces
    target:                                    RESTORE name ttl $length ------'-> ABSTTL ... -> answer

Rule 1: the length decides before anything is sent: what the target would not take is not begun.
Rule 2: the body is hashed on its way, as if it had been held. Only its last ten bytes, the footer, may be changed.
Rule 3: whatever breaks, both links are closed: a RESTORE that was sent in part is never executed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import xxhash

from transfer.codec import resp
from transfer.codec.dump import FOOTER_BYTES
from transfer.codec.heads import NONE, Head, HeadReader
from transfer.endpoint.redis.bridge import AS_IS, Bridge
from transfer.endpoint.redis.landing import Landing
from transfer.endpoint.redis.passing import refuse_passing
from transfer.model.crash import crash, point
from transfer.model.endpoint import Features
from transfer.model.errors import ForeignProtocolError, FormatError, LinkError, ServerRefusedError
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import ErrorReply, Link, Reply

_PART = point("big.restored_part", "part of a large payload was sent into a RESTORE")
_RESTORED = point("big.restored", "the target answered the RESTORE of a large payload")
_PIECE_BYTES = 1 << 20

Land = Callable[[int], Landing | None]
"""Deadline at the source -> where and until when the key lands, None if it does not."""


class Passed(msgspec.Struct, frozen=True):
    """How it ended: `answer` of the target, and what was read. A `stop` says why nothing was sent.

    stop: gone | too_long | not_landing | other_form (its type is not taken) | refused (by the source, in the words of
    `answer`) | "" (it was sent)
    """

    stop: str
    answer: Reply = None
    landing: Landing | None = None
    size_bytes: int = 0
    value_hash: bytes = b""


class Dumped(msgspec.Struct, frozen=True):
    """The beginning of a DUMP reply: its deadline, use and length; the body is still to come."""

    expire_at_ms: int
    length: int
    use: int = 0
    refusal: str = ""


async def pass_through(
    source: Link,
    target: Link,
    key: bytes,
    features: Features,
    *,
    most_bytes: int,
    land: Land,
    replace: bool,
    use: str = "",
    bridge: Bridge = AS_IS,
    paced: Callable[[int], Awaitable[None]],
) -> Passed:
    """Copy *key* of *source* to where it lands at *target*, if its payload has at most *most_bytes*.

    Args:
        paced: waited for before each piece of so many bytes; what it raises breaks the copy off.

    Raises:
        LinkError: a link broke; *where* says which. Both are closed. Nothing is at the target, or all of it.
    """
    stream = DumpStream(source)
    try:
        dumped = await stream.begin(key, features, use)
        if dumped.refusal:
            await source.close()
            await refuse_passing(source, [dumped.refusal])
            return Passed("refused", dumped.refusal)
        if dumped.length == NONE:
            return Passed("gone")
        landing = land(dumped.expire_at_ms)
        if dumped.length > most_bytes or landing is None:
            await source.close()  # rather than taking in what is not wanted
            return Passed("too_long" if landing else "not_landing", size_bytes=dumped.length)
        piece = await stream.piece(dumped.length)
        if not bridge.passes(piece[0]):
            await source.close()
            return Passed("other_form", size_bytes=dumped.length)
        digest = xxhash.xxh3_64(seed=dumped.expire_at_ms + 1)
        head, _, tail = _restore(landing, dumped, replace=replace, use=use)
        await target.send(head)
        left, footer = dumped.length, b""
        while True:
            await paced(len(piece))
            digest.update(piece)
            left -= len(piece)
            of_body = max(0, len(piece) + left - FOOTER_BYTES)
            await target.send(piece[:of_body])
            footer += piece[of_body:]
            crash(_PART)
            if not left:
                break
            piece = await stream.piece(left)
        await target.send(bridge.stamped(footer))
        await stream.finish()
        answer = (await target.ask(tail, 1))[0]
        crash(_RESTORED)
    except BaseException:
        await source.close()
        await target.close()
        raise
    return Passed("", answer, landing, dumped.length, digest.digest())


def _restore(landing: Landing, dumped: Dumped, *, replace: bool, use: str) -> tuple[bytes, bytes, bytes]:
    head, body, tail = resp.restore_parts(landing.name, b"", landing.expire_at_ms, replace=replace)
    parts = resp.with_use((head, body, tail), use, dumped.use) if use else (head, body, tail)
    return parts[0][: -len(b"$0\r\n")] + b"$%d\r\n" % dumped.length, b"", parts[2]


async def body_hash(link: Link, key: bytes, features: Features, footer_bytes: int) -> tuple[bytes, int, int]:
    """xxh3-128 of the DUMP payload of *key* less its footer, its length, and the deadline.

    Raises:
        ServerRefusedError: the server does not give it.
    """
    stream = DumpStream(link)
    dumped = await stream.begin(key, features)
    if dumped.refusal:
        await link.close()
        raise ServerRefusedError(dumped.refusal, where=link.where)
    if dumped.length == NONE:
        return b"", 0, NO_DEADLINE
    digest, left = xxhash.xxh3_128(), dumped.length
    while left:
        piece = await stream.piece(left)
        digest.update(piece[: max(0, left - footer_bytes)])
        left -= len(piece)
    await stream.finish()
    return digest.digest(), dumped.length, dumped.expire_at_ms


class DumpStream:
    """One DUMP reply, taken from a link past its parser."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._reader = HeadReader()

    async def begin(self, key: bytes, features: Features, use: str = "") -> Dumped:
        """Ask; returns when the length is known."""
        clocks = [resp.command("PEXPIRETIME", key)] if features.pexpiretime else [resp.TIME, resp.command("PTTL", key)]
        uses = [resp.command("OBJECT", use, key)] if use else []
        body = [*clocks, *uses, resp.command("DUMP", key)]
        await self._link.send(resp.transaction(b"".join(body)))
        refusal = ""
        for _ in range(1 + len(body)):
            head = await self._head()
            refusal = refusal or (head.rest.decode("utf-8", "backslashreplace") if head.mark == "-" else "")
        if refusal or (outer := await self._head()).mark != "*" or outer.number != len(body):
            return Dumped(NO_DEADLINE, NONE, refusal=refusal or f"EXEC was answered with {outer.rest!r}")
        deadline = await self._deadline(exact=features.pexpiretime)
        used = await self._head() if use else None
        last = await self._head()
        if last.mark == "-":
            return Dumped(NO_DEADLINE, NONE, refusal=last.rest.decode("utf-8", "backslashreplace"))
        return Dumped(deadline, last.number, used.number if used is not None and used.mark == ":" else 0)

    async def _deadline(self, *, exact: bool) -> int:
        if exact:
            return max(NO_DEADLINE, (await self._head()).number)
        await self._head()  # of TIME: two numbers as text
        seconds, micros = [int(await self._text()) for _ in range(2)]
        ttl = (await self._head()).number
        return seconds * 1000 + micros // 1000 + ttl if ttl >= 0 else NO_DEADLINE

    async def _text(self) -> bytes:
        left, found = (await self._head()).number, b""
        while len(found) < left:
            found += await self.piece(left - len(found))
        await self.finish()
        return found

    async def _head(self) -> Head:
        try:
            while (head := self._reader.head()) is None:
                self._reader.feed(await self._link.receive())
        except FormatError as error:
            await self._link.close()
            raise ForeignProtocolError(error.message, where=self._link.where) from None
        return head

    async def piece(self, left: int) -> bytes:
        """Some of the *left* bytes of a body, at least one."""
        if self._reader.empty:
            self._reader.feed(await self._link.receive())
        return self._reader.body(min(left, _PIECE_BYTES))

    async def finish(self) -> None:
        """The line end behind a body."""
        end = b""
        while len(end) < len(b"\r\n"):
            end += await self.piece(len(b"\r\n") - len(end))
        if end != b"\r\n":
            await self._link.close()
            raise ForeignProtocolError("a body is longer than its length says", where=self._link.where)


def is_error(answer: Reply) -> bool:
    """Whether *answer* is an error reply."""
    return isinstance(answer, ErrorReply)


__all__ = ["Dumped", "LinkError", "Passed", "body_hash", "is_error", "pass_through"]

"""A full sync: we ask like a replica, take the RDB, and hang up.

    dial -> REPLCONF listening-port, ip-address, capa eof psync2, version, rdb-only -> PSYNC ? -1
         -> LF ... LF +FULLRESYNC id offset -> LF ... $length | $EOF:mark -> the RDB's bytes -> closed by us

A replica that stays is not harmless: it counts for WAIT, it fills the server's buffers, and Sentinel, which reads
INFO, adopts it and reconfigures what listens at its port.

Rule 1: `rdb-only` where it is known (7.0+): the server never puts us online. Before: we hang up with the last byte of
        the RDB. An ACK is never sent.
Rule 2: the announced port is bound by ourselves, and nobody listens there. The announced address is a name that never
        resolves (RFC 6761), which a Sentinel that was not told to resolve names leaves alone.
Rule 3: the end is checked: as many bytes as were announced, or the mark. How its pieces are cut does not matter.
Rule 4: every wait is limited; a lone LF is a sign of life.
"""

from __future__ import annotations

import random
import re
import socket
import time

import anyio

from transfer.codec import resp
from transfer.model.errors import FullSyncError, GaveUpError, LinkError
from transfer.wire.dial import Dialer
from transfer.wire.link import ErrorReply, Link
from transfer.wire.replies import Action, rule_of

NOWHERE = "transfer.invalid"
_FULL = re.compile(rb"\+FULLRESYNC ([0-9a-zA-Z]{40}) ([0-9]{1,19})")
_LENGTH = re.compile(rb"\$([0-9]{1,19})")
_MARK = re.compile(rb"\$EOF:(.{40})", re.DOTALL)
_MARK_BYTES = 40
_LATER = (Action.RETRY, Action.PAUSE)
_LONGEST_LINE = 1 << 16
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_LONGEST_SAVE_S = 12 * 3600.0
"""While a server saves to its disk first, it only says that it lives; a terabyte takes hours."""


def forbids(reply: str) -> bool:
    """Whether the text of an error reply says that this user may never do that here, or nobody."""
    return reply.startswith("NOPERM") or "unknown command" in reply.lower()


class FullSync:
    """One full sync that was granted.

    Attributes:
        replid, offset: the history and place of the instant it is of, as the server told.
        asked_at: monotonic seconds before it was asked for; what was written before that is in it.
        rdb_only: whether the server knows that nothing is wanted after the RDB.
    """

    def __init__(self, link: Link, port: socket.socket | None) -> None:
        self._link = link
        self._port = port
        self._held = self._last = b""
        self._left_bytes = 0
        self._mark = b""
        self._ended = False
        self.rdb_only = False
        self.replid, self.offset, self.asked_at = "", 0, 0.0

    @classmethod
    async def begin(cls, dialer: Dialer, *, version: str = "", give_up_s: float = 300.0) -> FullSync:
        """Ask for it, again and again while the server says "not now"; returns once it is granted.

        *version*: which server we claim to be, where that decides the RDB version (Valkey).

        Raises:
            FullSyncError: the server refuses, or does something else.
            GaveUpError: it said "not now" for *give_up_s* seconds.
            LinkError: the connection broke, or was silent.
        """
        deadline, pause = anyio.current_time() + give_up_s, _FIRST_PAUSE_S
        while True:
            sync = cls(*await _dialled(dialer))
            try:
                await sync._introduce(version)
                if not (later := await sync._ask(deadline)):
                    return sync
            except BaseException:
                await sync.close()
                raise
            await sync.close()
            if anyio.current_time() + pause > deadline:
                raise GaveUpError(f"no full sync for {give_up_s:g} s: {later}", where=str(dialer.address))
            await anyio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    async def _introduce(self, version: str) -> None:
        """Say what we are. Only a missing right matters: servers that know less ignore more."""
        words: list[tuple[str | int, ...]] = [("listening-port", self._port.getsockname()[1])] if self._port else []
        words += [("ip-address", NOWHERE), ("capa", "eof", "capa", "psync2")]
        words += [("version", version)] if version else []
        for option in words:
            await self._replconf(*option)
        self.rdb_only = await self._replconf("rdb-only", 1)

    async def _replconf(self, *words: str | int) -> bool:
        answer = await self._link.command("REPLCONF", *words)
        if isinstance(answer, ErrorReply) and forbids(str(answer)):
            raise FullSyncError(f"the server refuses REPLCONF: {answer}", where=self._link.where, reply=str(answer))
        return not isinstance(answer, ErrorReply)

    async def _ask(self, deadline: float) -> str:
        """Have the sync granted ("" is returned), or learn that it is to be asked for later (why)."""
        self.asked_at = time.monotonic()
        await self._link.send(resp.command("PSYNC", "?", -1))
        line = await self._line(max(1.0, deadline - anyio.current_time()))
        if found := _FULL.fullmatch(line):
            self.replid, self.offset = found[1].decode(), int(found[2])
            return ""
        text = line.decode("utf-8", "backslashreplace")
        if text.startswith("-") and (text.startswith("-NOMASTERLINK") or rule_of(text[1:]).dialling in _LATER):
            return text[1:]
        said = f"refuses PSYNC: {text[1:]}" if text.startswith("-") else f"answers PSYNC with {text[:80]!r}"
        raise FullSyncError(f"the server {said}", where=self._link.where, reply=text[1:])

    async def framed(self) -> int:
        """Wait until the RDB begins; how many bytes it has, 0 where the server does not know yet.

        Raises:
            FullSyncError, LinkError
        """
        line = await self._line(_LONGEST_SAVE_S)
        if found := _MARK.fullmatch(line):
            self._mark = found[1]
        elif found := _LENGTH.fullmatch(line):
            self._left_bytes = int(found[1])
        else:
            text = line.decode("utf-8", "backslashreplace")[:200]
            raise FullSyncError(f"the server gives no RDB: {text}", where=self._link.where, reply=text[1:])
        return self._left_bytes

    async def receive(self) -> bytes:
        """The next bytes of the RDB as they come; b"" once all of it was given.

        Raises:
            LinkError: the connection broke, or was silent, before the end.
        """
        while not self._ended:
            data = await (self._until_mark() if self._mark else self._counted())
            if data:
                return data
        return b""

    async def _counted(self) -> bytes:
        data = (await self._next())[: self._left_bytes]  # behind it the server's stream may begin
        self._left_bytes -= len(data)
        self._ended = not self._left_bytes
        return data

    async def _next(self) -> bytes:
        """The next bytes, those first that came together with a line."""
        data, self._held = self._held, b""
        return data or await self._link.receive()

    async def _until_mark(self) -> bytes:
        """What came before the last piece, since the mark may begin in it; a small piece is joined to it."""
        held, data = self._last, await self._next()
        if len(held) < _MARK_BYTES or len(data) < _MARK_BYTES:
            held, data = b"", held + data
        seam = held[-_MARK_BYTES:]
        if (found := (seam + data[:_MARK_BYTES]).find(self._mark)) >= 0:
            self._ended = True
            return (held + data)[: len(held) - len(seam) + found]
        if (found := data.find(self._mark)) >= 0:
            self._ended = True
            return held + data[:found]
        self._last = data
        return held

    async def _line(self, within_s: float) -> bytes:
        """The next line that is not empty."""
        try:
            with anyio.fail_after(within_s):
                while True:
                    line, end, rest = self._held.partition(b"\n")
                    if not end:
                        if len(line) > _LONGEST_LINE:
                            raise FullSyncError("the server answers PSYNC with no line", where=self._link.where)
                        self._held += await self._link.receive()
                        continue
                    self._held = rest
                    if line := line.removesuffix(b"\r"):
                        return line
        except TimeoutError:
            raise LinkError(f"no full sync within {within_s:.0f} s", where=self._link.where) from None

    async def close(self) -> None:
        """Hang up. Safe to call twice."""
        await self._link.close()
        if self._port is not None:
            self._port.close()


async def _dialled(dialer: Dialer) -> tuple[Link, socket.socket | None]:
    link = await dialer.dial(db=0, direct=True)
    try:
        return link, _bound_port(link.local_address)
    except BaseException:
        await link.close()
        raise


def _bound_port(address: str) -> socket.socket | None:
    """A port of ours that nobody can be reached at: bound, not listened to. None where none can be had."""
    host = address or "127.0.0.1"
    try:
        port = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return None
    try:
        port.bind((host, 0))
    except OSError:
        port.close()
        return None
    return port

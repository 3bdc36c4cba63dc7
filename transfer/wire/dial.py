"""Open links: TCP, unix socket, TLS; then say who we are.

    Address -> connect -> (TLS handshake, certificate and host name checked) -> AUTH -> CLIENT SETNAME -> SELECT -> Link

No byte of AUTH is sent before the certificate was accepted.
"""

from __future__ import annotations

import ssl

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from transfer.model.endpoint import Address
from transfer.model.errors import (
    AuthError,
    FileMissingError,
    ForeignProtocolError,
    LinkError,
    ServerRefusedError,
    TlsError,
    TransferError,
    UnreachableError,
)
from transfer.wire.link import ErrorReply, Link


class Dialer:
    """Opens links to one address.

    Attributes:
        address: where.
        name: connection name shown in CLIENT LIST ("" for none).
        connect_timeout, timeout: seconds for the whole of dialling, and for one answer.
    """

    def __init__(
        self, address: Address, *, name: str = "", connect_timeout: float = 10.0, timeout: float = 30.0
    ) -> None:
        self.address = address
        self.name = name
        self.connect_timeout = connect_timeout
        self.timeout = timeout

    async def dial(self, *, db: int | None = None, resp3: bool = False, cap_bytes: int = 64 << 20) -> Link:
        """Connect, authenticate and select *db* (default: the address's own, else 0).

        Raises:
            UnreachableError, TlsError, AuthError, ForeignProtocolError, ServerRefusedError, LinkError.
        """
        link: Link | None = None
        try:
            with anyio.fail_after(self.connect_timeout):
                stream = await self._connect()
                link = Link(stream, str(self.address), self.timeout, cap_bytes)
                await self._introduce(link, self.address.db if db is None else db, resp3)
        except BaseException as error:
            if link is not None:
                await link.close()
            if isinstance(error, TimeoutError):
                raise UnreachableError(
                    f"no connection within {self.connect_timeout:g} s", where=str(self.address)
                ) from None
            raise
        return link

    async def _connect(self) -> ByteStream:
        address = self.address
        try:
            if address.path:
                return await anyio.connect_unix(address.path)
            stream: ByteStream = await anyio.connect_tcp(address.host, address.port)
        except OSError as error:
            raise UnreachableError(f"cannot connect: {_reason(error)}", where=str(address)) from None
        return await self._secure(stream) if address.tls else stream

    async def _secure(self, stream: ByteStream) -> ByteStream:
        where = str(self.address)
        try:
            context = tls_context(self.address)
            return await TLSStream.wrap(
                stream, hostname=self.address.host, ssl_context=context, standard_compatible=False
            )
        except ssl.SSLCertVerificationError as error:
            await anyio.aclose_forcefully(stream)
            raise TlsError(f"the certificate was refused: {error.verify_message}", where=where) from None
        except (ssl.SSLError, anyio.EndOfStream, anyio.BrokenResourceError, OSError) as error:
            await anyio.aclose_forcefully(stream)
            raise TlsError(f"the TLS handshake failed: {_reason(error)}", where=where) from None
        except TransferError:
            await anyio.aclose_forcefully(stream)
            raise

    async def _introduce(self, link: Link, db: int | None, resp3: bool) -> None:
        try:
            await self._authenticate(link, resp3)
        except LinkError as error:
            if "closed" in error.message:
                raise ForeignProtocolError(
                    "the server closed the connection at the first command", where=link.where,
                    hint="check the port; rediss:// if it expects TLS",
                ) from None
            raise
        if self.name:
            await link.command("CLIENT", "SETNAME", self.name)
        if db:
            refuse(await link.command("SELECT", db), link.where)

    async def _authenticate(self, link: Link, resp3: bool) -> None:
        address = self.address
        if address.password is not None:
            user = (address.username,) if address.username else ()
            answer = await link.command("AUTH", *user, address.password.reveal())
            refuse(answer, link.where)
        if resp3:
            refuse(await link.command("HELLO", 3), link.where)
        answer = await link.command("PING")
        if isinstance(answer, ErrorReply) and str(answer).startswith(("NOAUTH", "WRONGPASS", "DENIED")):
            refuse(answer, link.where)
        elif not isinstance(answer, ErrorReply) and answer != b"PONG":
            raise ForeignProtocolError("what answers PING does not speak RESP", where=link.where)


def refuse(answer: object, where: str) -> None:
    """Raise what an error reply to a control command means; any other reply passes."""
    if not isinstance(answer, ErrorReply):
        return
    text = str(answer)
    if text.startswith(("NOAUTH", "WRONGPASS", "ERR AUTH", "ERR Client sent AUTH", "ERR invalid password")):
        raise AuthError(f"the server refused us: {text}", where=where)
    raise ServerRefusedError(f"the server refused a command: {text}", where=where)


def tls_context(address: Address) -> ssl.SSLContext:
    """TLS 1.2+, certificate and host name verified unless the address says otherwise."""
    try:
        context = ssl.create_default_context(cafile=address.cacert or None)
        if address.cert:
            context.load_cert_chain(address.cert, address.key or None)
    except FileNotFoundError as error:
        named = " or ".join(filter(None, (address.cacert, address.cert, address.key)))
        raise FileMissingError(f"no such certificate file: {named}", where=str(address)) from error
    except ssl.SSLError as error:
        raise TlsError(f"the certificate files cannot be used: {_reason(error)}", where=str(address)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not address.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: BaseException) -> str:
    inner = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(inner, ExceptionGroup):
        inner = inner.exceptions[0]
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__

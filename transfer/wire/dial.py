"""Open links: TCP, unix socket, TLS; then say who we are.

    Address -> connect -> (TLS handshake, certificate and host name checked) -> AUTH -> SELECT -> CLIENT SETNAME -> Link

No byte of AUTH is sent before the certificate was accepted. A connection that has its name is in its database: others
tell by both who writes where (`endpoint/redis/neighbours.py`).
"""

from __future__ import annotations

import errno
import resource
import socket
import ssl
from weakref import WeakValueDictionary

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from anyio.streams.tls import TLSStream

from transfer.model.endpoint import Address
from transfer.model.errors import (
    RESUME,
    AuthError,
    FileMissingError,
    ForeignProtocolError,
    LimitError,
    LinkError,
    PermissionDeniedError,
    ServerRefusedError,
    TlsError,
    TransferError,
    UnreachableError,
)
from transfer.wire.direct import DirectStream
from transfer.wire.link import ErrorReply, Link
from transfer.wire.replies import ReplyClass, classify

_TLS_HINT = "check the port; rediss:// if it expects TLS"
_PLAIN_HINT = "check the port; redis:// if it does not speak TLS"
_CERT_HINT = "?cert=FILE&key=FILE show who we are, if the server asks for that"
_CROWDED = "ERR max number of clients"


class Dialer:
    """Opens links to one address.

    Attributes:
        address: where.
        name: what names in CLIENT LIST begin with ("" for none): NAME-1, NAME-2 ..., NAME-w3 for one that writes.
        connect_timeout, timeout: seconds for the whole of dialling, and for one answer.
        dialled: how often `dial` was called.
    """

    def __init__(
        self, address: Address, *, name: str = "", connect_timeout: float = 10.0, timeout: float = 30.0
    ) -> None:
        self.address = address
        self.name = name
        self.connect_timeout = connect_timeout
        self.timeout = timeout
        self.dialled = 0
        self._named: WeakValueDictionary[str, Link] = WeakValueDictionary()

    async def dial(
        self,
        *,
        db: int | None = None,
        resp3: bool = False,
        cap_bytes: int = 64 << 20,
        writes: bool = False,
        direct: bool = False,
    ) -> Link:
        """Connect, authenticate and select *db* (default: the address's own, else 0); *writes* is told by the name.

        *direct*: the socket is to be drained at line rate (`wire/direct.py`).

        Raises:
            UnreachableError: nobody answers, in time or at all; also where a connection ends at the first command, as
                it does behind a balancer whose server is down: it may be tried again.
            LimitError: this process may open no more connections.
            TlsError, FileMissingError: handshake or certificate files; nothing was sent over the session.
            AuthError, PermissionDeniedError, ServerRefusedError: the server says no.
            ForeignProtocolError: what answers is no server of ours.
            LinkError: the connection broke.
        """
        self.dialled += 1
        name = f"{self.name}-{'w' * writes}{self.dialled}" if self.name else ""
        stage = "connection"
        link: Link | None = None
        try:
            with anyio.fail_after(self.connect_timeout):
                stream = await self._connect(direct)
                if self.address.tls:
                    stage = "answer to the TLS handshake"
                    stream = await self._secure(stream)
                stage = "answer"
                link = Link(stream, str(self.address), self.timeout, cap_bytes)
                self._named[name] = link
                await self._introduce(link, self.address.db if db is None else db, resp3, name)
        except BaseException as error:
            if link is not None:
                await link.close()
            if isinstance(error, TimeoutError):
                raise self._silence(stage) from None
            raise
        return link

    def open_names(self) -> set[str]:
        """Names of the links that are open, and of those that are being dialled."""
        return {name for name, link in self._named.items() if name and not link.closed}

    async def _connect(self, direct: bool) -> ByteStream:
        address = self.address
        try:
            if address.path:
                return DirectStream(await anyio.connect_unix(address.path))
            stream = await anyio.connect_tcp(address.host, address.port)
        except (OSError, UnicodeError) as error:  # UnicodeError: no host name can read like this
            if getattr(_innermost(error), "errno", None) in (errno.EMFILE, errno.ENFILE):
                raise _too_few_files(str(address)) from None
            raise UnreachableError(f"cannot connect: {_reason(error)}", where=str(address)) from None
        _keep_alive(stream)
        return DirectStream(stream) if direct else stream

    async def _secure(self, stream: ByteStream) -> ByteStream:
        where = str(self.address)
        try:
            context = tls_context(self.address)
            return await TLSStream.wrap(
                stream, hostname=self.address.host, ssl_context=context, standard_compatible=False
            )
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await stream.aclose()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise TlsError(f"the certificate was refused: {error.verify_message}", where=where) from None
            if isinstance(error, ssl.SSLError):
                raise TlsError(f"the TLS handshake failed: {_reason(error)}", where=where, hint=_hint(error)) from None
            if isinstance(error, (anyio.EndOfStream, anyio.BrokenResourceError)):
                raise UnreachableError(
                    "the server closed the connection in the TLS handshake", where=where, hint=_PLAIN_HINT
                ) from None
            raise

    def _silence(self, stage: str) -> UnreachableError:
        hint = _PLAIN_HINT if "TLS" in stage else _TLS_HINT if stage == "answer" and not self.address.tls else ""
        message = f"no {stage} within {self.connect_timeout:g} s"
        return UnreachableError(message, where=str(self.address), hint=hint, seconds=self.connect_timeout)

    async def _introduce(self, link: Link, db: int | None, resp3: bool, name: str) -> None:
        try:
            await self._authenticate(link, resp3)
        except ForeignProtocolError as error:
            raise ForeignProtocolError(error.message, where=link.where, hint=_TLS_HINT) from None
        except LinkError as error:
            raise self._broken_at_once(error) from None
        if db:
            refuse(await link.command("SELECT", db), link.where)
        if name:
            await link.command("CLIENT", "SETNAME", name)

    def _broken_at_once(self, error: LinkError) -> TransferError:
        """What a connection that ends at the first command means. TLS 1.3 asks for a client's certificate that late.

        A server's alert about that may be overtaken by its reset: the hint has to do then.
        """
        if isinstance(error.__context__, ssl.SSLError):
            reason = _reason(error.__context__)
            return TlsError(f"the server refused the TLS session: {reason}", where=error.where, hint=_CERT_HINT)
        if "connection broke" not in error.message:
            return error
        hint = _TLS_HINT if not self.address.tls else "" if self.address.cert else _CERT_HINT
        return UnreachableError(f"at the first command {error.message}", where=error.where, hint=hint)

    async def _authenticate(self, link: Link, resp3: bool) -> None:
        address = self.address
        if address.password is not None or address.username:
            user = (address.username,) if address.username else ()
            secret = address.password.reveal() if address.password else ""
            answer = await link.command("AUTH", *user, secret.encode(errors="surrogateescape"))
            refuse(_without(secret, answer), link.where)
        if resp3:
            refuse(await link.command("HELLO", 3), link.where)
        answer = await link.command("PING")
        if isinstance(answer, ErrorReply):
            if str(answer).startswith(("DENIED", _CROWDED)) or classify(str(answer)) is ReplyClass.AUTH:
                refuse(answer, link.where)
        elif answer != b"PONG":
            raise ForeignProtocolError("what answers PING does not speak RESP", where=link.where)


def refuse(answer: object, where: str) -> None:
    """Raise what an error reply to a control command means; any other reply passes.

    Raises:
        AuthError, PermissionDeniedError, ServerRefusedError: as the reply says.
        LinkError: the server has too many clients at the moment.
    """
    if not isinstance(answer, ErrorReply):
        return
    text, _, _ = str(answer).partition(", with args beginning with")  # servers echo arguments, secrets too
    kind = classify(text)
    if kind is ReplyClass.AUTH:
        raise AuthError(f"the server refused us: {text}", where=where)
    if kind in (ReplyClass.DENIED, ReplyClass.DENIED_KEY):
        raise PermissionDeniedError(f"the server refused a command: {text}", where=where)
    if text.startswith(_CROWDED):
        raise LinkError(f"the server refused a connection: {text}", where=where, reply=text)
    raise ServerRefusedError(f"the server refused a command: {text}", where=where, reply=text)


def _without(secret: str, answer: object) -> object:
    """*answer*, its text without *secret* if it is an error: a proxy may repeat what it was sent."""
    if isinstance(answer, ErrorReply) and secret and secret in str(answer):
        return ErrorReply(str(answer).replace(secret, "***"))
    return answer


def tls_context(address: Address) -> ssl.SSLContext:
    """TLS 1.2+, certificate and host name verified unless the address says otherwise.

    Raises:
        FileMissingError: a certificate or key file is not there or cannot be read.
        TlsError: a file holds something else, or a key that is encrypted.
    """
    where = str(address)
    try:
        context = ssl.create_default_context(cafile=address.cacert or None)
        if address.cert:
            context.load_cert_chain(address.cert, address.key or None, password=_no_passphrase)
    except ssl.SSLError as error:
        raise TlsError(f"the certificate files cannot be used: {_reason(error)}", where=where) from None
    except OSError as error:
        named = " or ".join(filter(None, (address.cacert, address.cert, address.key)))
        raise FileMissingError(f"cannot read a certificate file: {named}: {error.strerror}", where=where) from None
    except _EncryptedKeyError:
        raise TlsError(
            f"the private key {address.key or address.cert} is encrypted",
            where=where,
            hint="openssl pkey -in KEY -out PLAIN_KEY takes the passphrase off",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not address.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _EncryptedKeyError(Exception):
    """OpenSSL asked for a passphrase; without an answer of ours it would ask the terminal and wait."""


def _no_passphrase() -> str:
    raise _EncryptedKeyError


def _keep_alive(stream: SocketStream) -> None:
    """Have the kernel notice a peer that vanished, about 30 s after its last sign: `next_push` waits without limit."""
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - not Django's
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):  # seconds, seconds, probes
        if hasattr(socket, name):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _hint(error: ssl.SSLError) -> str:
    return _PLAIN_HINT if "WRONG_VERSION_NUMBER" in str(error) else ""


def _too_few_files(where: str) -> LimitError:
    """No waiting mends that: it is this process, not the server, that can open no more."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"no connection can be opened: this process may have {most} files and connections open at once"
    return LimitError(text, where=where, hint=f"ulimit -n 1024, then {RESUME}", most=most)


def _innermost(error: BaseException) -> BaseException:
    """Why a connection failed in the end; of several tried addresses of one host the first counts."""
    inner: BaseException = error.__cause__ or error
    while isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    return inner


def _reason(error: BaseException) -> str:
    inner = _innermost(error)
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__

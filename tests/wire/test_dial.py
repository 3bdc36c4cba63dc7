"""Dialling: who answers is known, and trusted, before a password is said."""

from __future__ import annotations

import datetime
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import anyio
import msgspec
import pytest
import trustme
from anyio.abc import ByteStream
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.canaries import CANARIES, assert_no_canary
from tests.faults import proxy
from tests.servers import VERSIONS, ask, running, server_context, with_tls
from tests.wire.test_link import scripted
from transfer.model.endpoint import Address, Secret
from transfer.model.errors import (
    AuthError,
    FileMissingError,
    ForeignProtocolError,
    LinkError,
    PermissionDeniedError,
    ServerRefusedError,
    TlsError,
    TransferError,
    UnreachableError,
)
from transfer.wire.dial import Dialer, refuse, tls_context
from transfer.wire.link import ErrorReply

replace = msgspec.structs.replace
PASSWORD = CANARIES["url password"]
FINE, OTHER = trustme.CA(), trustme.CA()

YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
TOMORROW = YESTERDAY + datetime.timedelta(days=2)


def self_signed() -> ssl.SSLContext:
    """A certificate that nobody but its own key vouches for."""
    return server_context(OTHER)


BAD_SERVERS: dict[str, Callable[[], ssl.SSLContext]] = {
    "self-signed or unknown authority": self_signed,
    "another host": lambda: server_context(FINE, "elsewhere.example.org"),
    "another address": lambda: server_context(FINE, "10.9.8.7"),
    "a wildcard of another domain": lambda: server_context(FINE, "*.example.org"),
    "expired": lambda: server_context(FINE, not_after=YESTERDAY),
    "not yet valid": lambda: server_context(FINE, not_before=TOMORROW),
}


def only_old_tls() -> ssl.SSLContext:
    """A good certificate on a protocol that is given up."""
    context = server_context(FINE)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.fixture
def cacert(tmp_path: Path) -> str:
    """The file of the authority that good certificates come from."""
    FINE.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


@pytest.mark.parametrize("fault", BAD_SERVERS)
async def test_a_certificate_that_does_not_hold_is_refused_before_auth(fault: str, cacert: str) -> None:
    """Not one byte of AUTH is sent to a server that does not prove who it is."""
    received = bytearray()
    async with (
        running(password=PASSWORD) as server,
        with_tls(server.address, BAD_SERVERS[fault](), received=received) as address,
    ):
        with pytest.raises(TlsError) as caught:
            await Dialer(replace(address, cacert=cacert)).dial()
        assert received == b""
        assert_no_canary(str(caught.value), caught.value.hint, caught.value.where, repr(caught.value))
        assert not caught.value.retryable


async def test_old_tls_is_refused_before_auth(cacert: str) -> None:
    """Below TLS 1.2 there is no conversation, whoever vouches."""
    received = bytearray()
    async with running() as server, with_tls(server.address, only_old_tls(), received=received) as address:
        with pytest.raises((TlsError, UnreachableError), match="TLS handshake"):
            await Dialer(replace(address, cacert=cacert)).dial()
        assert received == b""


async def test_without_an_authority_of_ours_the_system_decides() -> None:
    """A private authority is unknown to the system: refused until ?cacert= names it."""
    received = bytearray()
    async with running() as server, with_tls(server.address, server_context(FINE), received=received) as address:
        with pytest.raises(TlsError, match="certificate was refused"):
            await Dialer(address).dial()
        assert received == b""


async def test_a_certificate_of_a_named_authority_is_taken(cacert: str) -> None:
    """?cacert= is enough, by host name and by address; the password then goes through."""
    async with running(password=PASSWORD) as server, with_tls(server.address, server_context(FINE)) as address:
        for host in ("localhost", "127.0.0.1"):
            assert await ask(replace(address, cacert=cacert, host=host), "PING") == b"PONG"


async def test_insecure_is_said_not_assumed() -> None:
    """Only `verify_tls=False` takes a certificate nobody vouches for."""
    async with running() as server, with_tls(server.address, server_context(OTHER, "elsewhere")) as address:
        assert await ask(replace(address, verify_tls=False), "PING") == b"PONG"


async def test_large_replies_come_through_tls(cacert: str) -> None:
    """A reply of many TLS records is one reply."""
    async with running() as server, with_tls(server.address, server_context(FINE)) as address:
        await ask(server, "SETRANGE", "k", 3_000_000, "x")
        assert len(await ask(replace(address, cacert=cacert), "GET", "k")) == 3_000_001


async def test_a_real_server_speaks_tls_with_our_certificate(tmp_path: Path, cacert: str) -> None:
    """Redis built with TLS asks for a client certificate: with one we are in, without one we are told."""
    cert = FINE.issue_cert("localhost", "127.0.0.1")
    cert.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    cert.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    files = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    tls = ["--tls-cert-file", files["cert"], "--tls-key-file", files["key"], "--tls-ca-cert-file", cacert]
    port = await _free_port()
    async with running("redis-7.0", "--tls-port", str(port), *tls) as server:
        address = replace(server.address, port=port, tls=True, scheme="rediss", cacert=cacert)
        assert await ask(replace(address, **files), "PING") == b"PONG"
        with pytest.raises((TlsError, UnreachableError)) as caught:
            await Dialer(address).dial()
        assert "?cert=" in caught.value.hint
        with pytest.raises((ForeignProtocolError, UnreachableError)) as plain:
            await Dialer(replace(address, tls=False)).dial()
        assert "rediss://" in plain.value.hint


async def _free_port() -> int:
    from transfer.endpoint.redis.throwaway import _free_port

    return _free_port()


async def test_rediss_to_a_plain_port_says_so(cacert: str) -> None:
    """A server without TLS answers a handshake with an error, with silence or by closing: each names the cause."""
    async with running() as server:
        with pytest.raises((TlsError, UnreachableError)) as caught:
            await Dialer(replace(server.address, tls=True, cacert=cacert), connect_timeout=1).dial()
        assert "TLS" in caught.value.message
        assert "redis://" in caught.value.hint


@pytest.mark.parametrize("answer", [b"", b"-ERR unknown command\r\n", None])
async def test_a_handshake_with_a_plain_server_names_the_cause(answer: bytes | None, cacert: str) -> None:
    """Closing (b''), talking and silence (None) in a handshake all point at redis://."""

    async def plain(client: ByteStream) -> None:
        await client.receive()
        if answer:
            await client.send(answer)
        if answer != b"":
            await anyio.sleep_forever()

    async with scripted(plain) as address:
        with pytest.raises((TlsError, UnreachableError)) as caught:
            await Dialer(replace(address, tls=True, cacert=cacert), connect_timeout=0.5).dial()
        assert "TLS" in caught.value.message
        assert "redis://" in caught.value.hint


async def test_a_plain_url_to_a_tls_port_says_so(cacert: str) -> None:
    """A TLS server takes our first command for a broken handshake."""
    async with running() as server, with_tls(server.address, server_context(FINE)) as address:
        with pytest.raises((ForeignProtocolError, UnreachableError)) as caught:
            await Dialer(replace(address, tls=False), connect_timeout=1).dial()
        assert "rediss://" in caught.value.hint


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_wrong_password_is_an_auth_error_without_it(version: str) -> None:
    """Every version says no in its own words; none of ours repeats the password."""
    async with running(version, password="right") as server:  # noqa: S106
        for wrong in (Secret(PASSWORD), None):
            with pytest.raises(AuthError) as caught:
                await Dialer(replace(server.address, password=wrong)).dial()
            assert_no_canary(str(caught.value), caught.value.hint, caught.value.where, repr(caught.value.facts))
        with pytest.raises(AuthError):
            await Dialer(replace(server.address, username="nobody")).dial()


async def test_a_password_nobody_asked_for_is_an_auth_error() -> None:
    """A server without a password does not take one in silence: the URL is likely another server's."""
    async with running() as server:
        with pytest.raises(AuthError):
            await Dialer(replace(server.address, password=Secret(PASSWORD))).dial()


async def test_a_user_of_the_acl_gets_in() -> None:
    """Name and password of an ACL user; a name alone where the user needs none; bytes that are no text."""
    async with running() as server:
        await ask(server, "ACL", "SETUSER", "mover", "on", f">{CANARIES['acl user password']}", "~*", "+@all")
        await ask(server, "ACL", "SETUSER", "guest", "on", "nopass", "~*", "+@all")
        await ask(server, "ACL", "SETUSER", "odd", "on", b">\xff\xfe", "~*", "+@all")
        mover = replace(server.address, username="mover", password=Secret(CANARIES["acl user password"]))
        assert await ask(mover, "ACL", "WHOAMI") == b"mover"
        assert await ask(replace(server.address, username="guest"), "ACL", "WHOAMI") == b"guest"
        odd = replace(server.address, username="odd", password=Secret("\udcff\udcfe"))
        assert await ask(odd, "ACL", "WHOAMI") == b"odd"


async def test_a_server_that_repeats_arguments_does_not_make_us_repeat_them() -> None:
    """Unknown commands are answered with their arguments, and AUTH may be renamed away."""
    async with running("redis-7.0", "--rename-command", "AUTH", "") as server:
        with pytest.raises(ServerRefusedError, match="unknown command") as caught:
            await Dialer(replace(server.address, password=Secret(PASSWORD * 9))).dial()  # repeated cut, not whole
        assert_no_canary(str(caught.value), repr(caught.value))


async def test_a_proxy_that_repeats_the_password_does_not_make_us_repeat_it() -> None:
    """Whatever an answer to AUTH says, the password in it is covered."""

    async def echo(client: ByteStream) -> None:
        await client.receive()
        await client.send(b"-WRONGPASS not " + PASSWORD.encode() + b"\r\n")

    async with scripted(echo) as address:
        with pytest.raises(AuthError) as caught:
            await Dialer(replace(address, password=Secret(PASSWORD))).dial()
        assert_no_canary(str(caught.value))


async def test_a_unix_socket_works() -> None:
    """A server may be reached by its socket alone, with a password too; a missing socket is unreachable."""
    async with running(unix=True, password=PASSWORD) as server:
        assert await ask(server, "PING") == b"PONG"
        gone = replace(server.address, path=f"{server.folder}/gone.sock")
        with pytest.raises(UnreachableError, match="No such file"):
            await Dialer(gone).dial()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "no-such-host.invalid", "a..b", "x" * 70])
async def test_nobody_there_is_unreachable_with_the_reason(host: str) -> None:
    """A closed port, a name nobody knows and a name nobody can have."""
    port = await _free_port()
    with pytest.raises(UnreachableError, match="cannot connect") as caught:
        await Dialer(Address(host=host, port=port)).dial()
    assert "All connection attempts failed" not in caught.value.message
    assert caught.value.retryable


async def test_silence_is_unreachable_in_time() -> None:
    """A port that takes connections and says nothing costs the connect time limit."""

    async def silent(client: ByteStream) -> None:
        await anyio.sleep_forever()

    async with scripted(silent) as address:
        with anyio.fail_after(5), pytest.raises(UnreachableError, match=r"within 0\.2 s"):
            await Dialer(address, connect_timeout=0.2).dial()


async def test_http_is_foreign() -> None:
    """A web server at the port is named as something else, and is not tried again."""

    async def web(client: ByteStream) -> None:
        await client.receive()
        await client.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with scripted(web) as address:
        with pytest.raises(ForeignProtocolError, match="does not speak RESP") as caught:
            await Dialer(address).dial()
        assert "check the port" in caught.value.hint


async def test_an_answer_to_ping_that_is_none_is_foreign() -> None:
    """RESP alone makes no Redis."""

    async def other(client: ByteStream) -> None:
        await client.receive()
        await client.send(b"+HELLO\r\n")
        await anyio.sleep_forever()

    async with scripted(other) as address:
        with pytest.raises(ForeignProtocolError):
            await Dialer(address).dial()


async def test_a_balancer_without_a_server_may_be_tried_again() -> None:
    """It takes the connection and drops it: that is no verdict about the protocol."""

    async def drop(client: ByteStream) -> None:
        await client.receive()

    async with scripted(drop) as address:
        with pytest.raises(LinkError) as caught:
            await Dialer(address).dial()
        assert caught.value.retryable
    async with running() as server, proxy(server.address) as faulty:
        faulty.refusing = True
        with pytest.raises(LinkError) as caught:
            await Dialer(faulty.address).dial()
        assert caught.value.retryable


async def test_a_full_server_may_be_tried_again() -> None:
    """Too many clients is a state, not a verdict."""
    async with running("valkey-9.1", "--maxclients", "1") as server:
        link = await server.link()
        with pytest.raises(LinkError, match="max number of clients") as caught:
            await Dialer(server.address).dial()
        assert caught.value.retryable
        await link.close()


async def test_a_database_is_selected_and_a_missing_one_is_told() -> None:
    """The number of the call wins over the address's; neither is 0 by accident."""
    async with running("valkey-9.1", "--databases", "4") as server:
        await ask(server, "SET", "k", "three", db=3)
        link = await Dialer(replace(server.address, db=3)).dial()
        assert await link.command("GET", "k") == b"three"
        await link.close()
        assert await ask(replace(server.address, db=3), "GET", "k", db=0) is None
        with pytest.raises(ServerRefusedError, match="out of range"):
            await Dialer(replace(server.address, db=4)).dial()


async def test_the_connection_says_its_name() -> None:
    """An operator who looks at CLIENT LIST sees who is there, how many, and which of them write."""
    async with running() as server:
        dialer = Dialer(server.address, name="transfer-test")
        first, second = await dialer.dial(), await dialer.dial(writes=True)
        assert await first.command("CLIENT", "GETNAME") == b"transfer-test-1"
        assert await second.command("CLIENT", "GETNAME") == b"transfer-test-w2"
        await first.close()
        await second.close()


async def test_a_failed_dial_leaves_no_connection_open() -> None:
    """Whether refused, silent or cancelled: the socket is closed, since many tries may follow."""
    async with running(password="right") as server, proxy(server.address) as watching:  # noqa: S106
        with pytest.raises(AuthError):
            await Dialer(replace(watching.address, password=None)).dial()
        await watching.until(lambda seen: seen.connections == 1 and seen.live == 0)
    async with running() as server, proxy(server.address) as watching:
        with anyio.move_on_after(0.1):
            await Dialer(replace(watching.address, tls=True), connect_timeout=30).dial()
        await watching.until(lambda seen: seen.connections == 1 and seen.live == 0)


def test_certificate_files_that_cannot_be_used_are_named(tmp_path: Path, cacert: str) -> None:
    """Missing, a folder, something else, encrypted: a plain refusal, and never a question for a passphrase."""
    cert = FINE.issue_cert("client")
    plain, locked, chain = tmp_path / "plain.pem", tmp_path / "locked.pem", tmp_path / "cert.pem"
    cert.private_key_pem.write_to_path(str(plain))
    cert.cert_chain_pems[0].write_to_path(str(chain))
    key = load_pem_private_key(plain.read_bytes(), None)
    secret = CANARIES["tls key passphrase"].encode()
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(secret)))
    base = Address(tls=True, cacert=cacert, cert=str(chain))
    assert tls_context(replace(base, key=str(plain))).verify_mode is ssl.CERT_REQUIRED
    for address, error in [
        (replace(base, cacert=str(tmp_path / "none.pem")), FileMissingError),
        (replace(base, cacert=str(tmp_path)), TransferError),
        (replace(base, cacert=str(plain)), TlsError),
        (replace(base, key=str(tmp_path / "none.pem")), FileMissingError),
        (replace(base, key=str(cacert)), TlsError),
        (replace(base, key=str(locked)), TlsError),
    ]:
        with pytest.raises(error) as caught:
            tls_context(address)
        assert_no_canary(str(caught.value), caught.value.hint)
    assert "openssl pkey" in caught.value.hint


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("NOAUTH Authentication required.", AuthError),
        ("WRONGPASS invalid username-password pair or user is disabled.", AuthError),
        ("ERR invalid password", AuthError),
        ("ERR Client sent AUTH, but no password is set", AuthError),
        ("NOPERM this user has no permissions to run the 'select' command", PermissionDeniedError),
        ("ERR max number of clients reached", LinkError),
        ("DENIED Redis is running in protected mode", ServerRefusedError),
        ("ERR DB index is out of range", ServerRefusedError),
    ],
)
def test_an_error_reply_says_what_it_means(reply: str, error: type[TransferError]) -> None:
    """Each refusal has its own class, and with it its exit code and hint."""
    with pytest.raises(error):
        refuse(ErrorReply(reply), "redis://h:6379")
    refuse(b"OK", "redis://h:6379")
    refuse(None, "redis://h:6379")

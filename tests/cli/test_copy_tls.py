"""`copy` over TLS and with passwords from every place they may come from, as the command line gives them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from tests import oracle
from tests.canaries import CANARIES, assert_no_canary
from tests.cli.running import assert_failed, copy, keys_of, run
from tests.servers import ask, running, server_context, with_tls
from transfer.endpoint.redis.throwaway import ThrowawayServer, _free_port
from transfer.model.endpoint import Address

FINE, OTHER = trustme.CA(), trustme.CA()
SOURCE_PASSWORD, TARGET_PASSWORD = CANARIES["env source password"], CANARIES["env target password"]


@pytest.fixture
def cacert(tmp_path: Path) -> str:
    """The file of the authority that good certificates come from."""
    FINE.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


def secure(address: Address, host: str = "localhost", **options: str) -> str:
    """A rediss:// URL of *address*, password included."""
    password = address.password.reveal() if address.password else ""
    login = f":{quote(password, safe='')}@" if password else ""
    query = "&".join(f"{name}={quote(value)}" for name, value in options.items())
    return f"rediss://{login}{host}:{address.port}" + (f"?{query}" if query else "")


def plain(server: ThrowawayServer) -> str:
    """The URL without its password."""
    return f"redis://{server.address.host}:{server.address.port}"


@asynccontextmanager
async def filled_pair() -> AsyncIterator[tuple[ThrowawayServer, ThrowawayServer]]:
    """A source with keys and an empty target, each with its password."""
    async with running(password=SOURCE_PASSWORD) as source, running(password=TARGET_PASSWORD) as target:
        link = await source.link()
        for number in range(300):
            await link.command("SET", f"k{number}", "v" * number, *(("PX", 3_600_000) if number % 3 == 0 else ()))
        await link.command("SADD", "set", "a", "b")
        await link.command("SETRANGE", "large", 3 << 20, "x")  # of many TLS records
        await link.close()
        yield source, target


async def test_both_sides_may_speak_tls(tmp_path: Path, cacert: str) -> None:
    """?cacert= is enough; the copy is whole, and every later connection is verified as the first."""
    context = server_context(FINE)
    async with (
        filled_pair() as (source, target),
        with_tls(source.address, context) as front,
        with_tls(target.address, context) as back,
    ):
        said = await copy(secure(front, cacert=cacert), secure(back, cacert=cacert), state=tmp_path)
        assert (said.exit, said.result["verified"], said.result["keys"]["written"]) == (0, True, 302), said
        oracle.assert_same(source.address, target.address)

    assert said.lines[0]["source"]["place"].startswith("rediss://")
    assert_no_canary(said.out, said.err, folder=tmp_path)


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_certificate_nobody_vouches_for_gets_no_password(side: str, tmp_path: Path, cacert: str) -> None:
    """No authority of ours, another authority, another host: exit 4, and not one byte of AUTH was sent."""
    received = bytearray()
    async with filled_pair() as (source, target):
        server = source if side == "source" else target
        for context, options in (
            (server_context(FINE), {}),
            (server_context(OTHER), {"cacert": cacert}),
            (server_context(FINE, "elsewhere.example.org"), {"cacert": cacert}),
        ):
            async with with_tls(server.address, context, received=received) as front:
                url = secure(front, **options)
                places = (url, target.url) if side == "source" else (source.url, url)
                said = await copy(*places, "--debug", state=tmp_path)
            assert (said.exit, said.result["error"]["code"]) == (4, "E205"), said
            assert "the certificate was refused" in said.err
            assert f"where: rediss://:***@localhost:{front.port}" in said.err
            assert received == b""
            assert_no_canary(said.out, said.err, folder=tmp_path)
        assert await keys_of(target) == {}


async def test_an_authority_file_that_is_not_there_is_told_with_its_name(tmp_path: Path) -> None:
    """Exit 4 as for every file that is not there; nobody is trusted instead."""
    async with filled_pair() as (source, target), with_tls(source.address, server_context(FINE)) as front:
        said = await copy(secure(front, cacert="/nowhere/ca.pem"), target.url, state=tmp_path)

    assert_failed(said, 4, "E211", "/nowhere/ca.pem")


async def test_tls_and_plain_taken_for_each_other_are_told_apart(tmp_path: Path, cacert: str) -> None:
    """rediss:// to a plain port, redis:// to a TLS port: the hint names the other scheme."""
    async with filled_pair() as (source, target), with_tls(source.address, server_context(FINE)) as front:
        wrong = secure(source.address, "127.0.0.1", cacert=cacert)
        to_plain = await copy(wrong, target.url, "--connect-timeout", "1s", state=tmp_path)
        to_tls = await copy(f"redis://localhost:{front.port}", target.url, state=tmp_path)

    assert (to_plain.exit, "redis:// if it does not speak TLS" in to_plain.err) == (4, True), to_plain.err
    assert (to_tls.exit, "rediss:// if it expects TLS" in to_tls.err) == (4, True), to_tls.err


async def test_a_server_that_asks_who_we_are_is_shown_a_certificate(tmp_path: Path, cacert: str) -> None:
    """Mutual TLS with a real Redis: ?cert= and ?key= get in; without them the hint says that they are asked for."""
    ours = FINE.issue_cert("localhost", "127.0.0.1")
    files = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    ours.cert_chain_pems[0].write_to_path(files["cert"])
    ours.private_key_pem.write_to_path(files["key"])
    port = _free_port()
    tls = ("--tls-port", str(port), "--tls-cert-file", files["cert"], "--tls-key-file", files["key"])
    async with running("redis-7.0", *tls, "--tls-ca-cert-file", cacert) as source, running() as target:
        await ask(source, "SET", "k", "v")
        front = Address(host="localhost", port=port, password=source.address.password)
        without = await copy(secure(front, cacert=cacert), target.url, state=tmp_path)
        assert without.exit == 4
        assert "?cert=FILE&key=FILE" in without.err
        assert await keys_of(target) == {}
        said = await copy(secure(front, cacert=cacert, **files), target.url, state=tmp_path)
        assert (said.exit, said.result["verified"], await keys_of(target)) == (0, True, {0: 1}), said


async def test_passwords_come_from_the_url_the_environment_or_a_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any mixture; the file ends where its first line ends. What was used is shown nowhere."""
    secrets = tmp_path_factory.mktemp("secrets")
    (secrets / "source").write_text(SOURCE_PASSWORD + "\n")
    (secrets / "target").write_text(TARGET_PASSWORD + "\r\nnot this line")
    async with filled_pair() as (source, target):
        for source_url, target_url, environment in (
            (source.url, plain(target), {"TRANSFER_TARGET_PASSWORD": TARGET_PASSWORD}),
            (plain(source), target.url, {"TRANSFER_SOURCE_PASSWORD": SOURCE_PASSWORD}),
            (source.url, plain(target), {"TRANSFER_TARGET_PASSWORD_FILE": str(secrets / "target")}),
            (plain(source), target.url, {"TRANSFER_SOURCE_PASSWORD_FILE": str(secrets / "source")}),
        ):
            await ask(target, "FLUSHALL")
            said = await copy(source_url, target_url, state=tmp_path, **environment)
            assert (said.exit, await keys_of(target)) == (0, {0: 302}), said
            assert_no_canary(said.out, said.err, folder=tmp_path)


async def test_a_password_file_that_is_not_there_or_empty_is_told(tmp_path: Path) -> None:
    """Before anybody is dialled; there is no falling back to no password."""
    (tmp_path / "empty").write_text("\n")
    for name in ("nowhere", "empty"):
        path = str(tmp_path / name)
        said = await run(
            *("copy", "redis://127.0.0.1:1", "redis://127.0.0.1:1", "--json"),
            state=tmp_path / "state",
            TRANSFER_SOURCE_PASSWORD_FILE=path,
        )
        assert_failed(said, 4, "E211", path)
        assert said.result["job"] is None

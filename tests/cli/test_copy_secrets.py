"""Planted secrets and `copy`: runs that succeed and runs that fail in every way, and none of them tells.

Looked at after every run: both outputs, every file of the state directory with its name, argv of every child.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import anyio
import anyio.to_thread
import pytest
import trustme
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.text import TextReceiveStream
from cryptography.hazmat.primitives import serialization

from tests.canaries import CANARIES, assert_no_canary
from tests.cli.running import COMMAND, Said, environment_for, keys_of, run, transfer
from tests.servers import ask, running, server_context, with_tls
from transfer.endpoint.redis.throwaway import ThrowawayServer

NAME, VALUE = CANARIES["key name"], CANARIES["value"]
URL_PASSWORD, ACL_PASSWORD = CANARIES["url password"], CANARIES["acl user password"]
NOBODY = "redis://127.0.0.1:1"
LOUD = (
    ("--debug", "-v", "--json", "--hash-keys"),
    ("--debug", "-v", "--log-format", "json", "--hash-keys"),
)


def url(server: ThrowawayServer, login: str = "") -> str:
    return f"redis://{login}{server.address.host}:{server.address.port}"


def login(user: str, password: str) -> str:
    return f"{user}:{quote(password, safe='')}@"


def environment(folder: Path) -> dict[str, str]:
    """Source password by environment, target password by a file in *folder*."""
    path = folder / "password"
    path.write_text(CANARIES["password file content"] + "\n")
    return {
        "TRANSFER_SOURCE_PASSWORD": CANARIES["env source password"],
        "TRANSFER_TARGET_PASSWORD_FILE": str(path),
    }


REPLACING = ("--on-conflict", "replace", "--format", "logical")
"""Without an undo archive: that holds names and values, which is what it is for."""


def assert_silent(said: Said, state: Path) -> None:
    """No secret in what was said and kept, and nobody else may read what was kept."""
    assert_no_canary(said.out, said.err, folder=state)
    for path in state.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.fixture
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files that secrets are planted in, apart from what is looked at."""
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(autouse=True)
def _umask_of_nothing() -> Iterator[None]:
    """Files are private because they are made so, not because the umask made them."""
    before = os.umask(0)
    yield
    os.umask(before)


@asynccontextmanager
async def secret_pair(**target: str) -> AsyncIterator[tuple[ThrowawayServer, ThrowawayServer]]:
    """Servers with canaries as passwords; the source holds keys named and valued by canaries."""
    async with running(password=URL_PASSWORD) as one, running(**target) as two:
        await ask(one, "ACL", "SETUSER", "app", "on", f">{ACL_PASSWORD}", "~*", "&*", "+@all")
        for words in (
            ("SET", NAME, VALUE),
            ("HSET", f"{NAME}:hash", VALUE, VALUE),
            ("RPUSH", f"{NAME}:list", VALUE),
            ("XADD", f"{NAME}:stream", "*", VALUE, VALUE),
            ("SET", f"{NAME}:ttl", VALUE, "EX", 3_600),
        ):
            await ask(one, *words)
        yield one, two


@pytest.mark.parametrize("loud", LOUD)
async def test_a_copy_that_succeeds_tells_no_secret(loud: tuple[str, ...], tmp_path: Path, planted: Path) -> None:
    """Passwords from URL and environment, an ACL user, a password file; names hashed; also when it is run again."""
    async with secret_pair(password=CANARIES["env target password"]) as (source, target):
        by_environment = {"TRANSFER_TARGET_PASSWORD": CANARIES["env target password"]}
        for place, words, exit_code in (
            (url(source, login("", URL_PASSWORD)), (), 0),
            (url(source, login("app", ACL_PASSWORD)), ("--on-conflict", "skip", "--label", "again"), 0),
            (
                url(source, login("app", ACL_PASSWORD)),
                ("--on-conflict", "replace", "--format", "logical", "--allow", "no-undo"),
                0,
            ),
        ):
            said = await run("copy", place, url(target), *words, *loud, state=tmp_path, **by_environment)
            assert said.exit == exit_code, said
            assert_silent(said, tmp_path)
        assert await keys_of(target) == {0: 5}
    async with secret_pair(password=CANARIES["password file content"]) as (source, target):
        await ask(source, "CONFIG", "SET", "requirepass", CANARIES["env source password"])
        said = await run("copy", url(source), url(target), *loud, state=tmp_path, **environment(planted))
        assert said.exit == 0, said
        assert_silent(said, tmp_path)
    listed = transfer("jobs", "list", state=tmp_path)
    assert_no_canary(listed.out, listed.err)


@pytest.mark.parametrize("loud", LOUD)
async def test_conflicts_rejects_and_findings_tell_no_name_and_no_value(loud: tuple[str, ...], tmp_path: Path) -> None:
    """With --hash-keys names are hashed in the lists, in the store, and in what jobs shows of them later."""
    async with secret_pair() as (source, target):
        await ask(target, "SET", NAME, "another value")
        await ask(source, "CONFIG", "SET", "rdbcompression", "no")
        await ask(target, "CONFIG", "SET", "proto-max-bulk-len", 1 << 20)  # and raw: neither at once nor in pieces
        await ask(source, "SETRANGE", f"{NAME}:large", 2 << 20, VALUE)
        for number, name in enumerate((f"a:{NAME}", f"b:{NAME}")):  # two that come to one name
            await ask(source, "SET", name, number)
        words = ("--allow", "nonempty-target", "--max-memory", "4MiB", "--rename", "a::b:", "--format", "raw", *loud)
        said = await run("copy", source.url, target.url, *words, state=tmp_path)
        assert said.exit == 3, said
        assert all(code in said.out for code in ("E301", "E303", "E305"))
        assert_silent(said, tmp_path)
        compared = await run("verify", source.url, target.url, *loud, state=tmp_path)
        assert compared.exit == 6, compared
        assert_silent(compared, tmp_path)
    for job in transfer("jobs", "list", "--json", state=tmp_path).result["data"]:
        shown = transfer("jobs", "show", job["job"], state=tmp_path)
        assert_no_canary(shown.out, shown.err)


@pytest.mark.parametrize("loud", LOUD)
async def test_a_copy_that_fails_tells_no_secret(loud: tuple[str, ...], tmp_path: Path, planted: Path) -> None:
    """Wrong passwords, a refused certificate, nobody there, wrong words: whatever the exit code."""
    secrets = environment(planted)
    received = bytearray()
    async with (
        secret_pair() as (source, target),
        with_tls(source.address, server_context(trustme.CA()), received=received) as front,
    ):
        here = url(source, login("", URL_PASSWORD))
        for places, exit_code in (
            ((url(source, login("", ACL_PASSWORD)), target.url), 4),
            ((url(source, login("app", URL_PASSWORD)), target.url), 4),
            ((url(source), target.url), 4),
            ((here, NOBODY), 4),
            ((f"redis://{login('app', ACL_PASSWORD)}127.0.0.1:1", target.url), 4),
            ((f"rediss://{login('', URL_PASSWORD)}localhost:{front.port}", target.url), 4),
            ((f"{here}?passphrase={CANARIES['tls key passphrase']}", target.url), 2),
            ((f"redis://app:{ACL_PASSWORD}@{URL_PASSWORD}@127.0.0.1", target.url), 2),
            ((here, target.url, "--rate", "fast"), 2),
        ):
            used = secrets if places[0] == url(source) or NOBODY in places else {}
            said = await run("copy", *places, *loud, state=tmp_path, **used)
            assert said.exit == exit_code, said
            assert_silent(said, tmp_path)
        assert not received
        assert await keys_of(target) == {}


@pytest.mark.parametrize("loud", LOUD)
async def test_a_key_with_a_passphrase_is_told_without_it(loud: tuple[str, ...], tmp_path: Path, planted: Path) -> None:
    """It is refused with its file name; nobody is asked for the passphrase, and the environment's is not shown."""
    passphrase = CANARIES["tls key passphrase"]
    ours = trustme.CA().issue_cert("localhost")
    ours.cert_chain_pems[0].write_to_path(str(planted / "cert.pem"))
    key = serialization.load_pem_private_key(ours.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    (planted / "key.pem").write_bytes(locked)
    place = f"rediss://localhost:1?cert={planted / 'cert.pem'}&key={planted / 'key.pem'}"
    async with (
        running() as server,
        with_tls(server.address, server_context(trustme.CA())) as front,
    ):
        place = place.replace(":1?", f":{front.port}?")
        said = await run("copy", place, NOBODY, *loud, state=tmp_path, TLS_KEY_PASSPHRASE=passphrase)

    assert said.exit == 4, said
    assert "is encrypted" in said.err
    assert_silent(said, tmp_path)


@asynccontextmanager
async def under_way(
    source: ThrowawayServer, target: ThrowawayServer, words: tuple[str, ...], state: Path
) -> AsyncIterator[tuple[Process, list[str]]]:
    """A copy of 2,000 keys that has written some of them; out and err are whole when the block has ended."""
    link = await source.link()
    for number in range(2_000):
        await link.command("SET", f"{NAME}:{number}", VALUE)
    await link.close()
    place = url(source, login("app", ACL_PASSWORD))
    slowly = ("--rate", "500/s", "--batch", "20")
    command = await anyio.open_process(
        [*COMMAND, "copy", place, target.url, *slowly, *words], env=environment_for(state), stdin=subprocess.DEVNULL
    )
    heard = ["", ""]

    async def read(number: int, stream: ByteReceiveStream | None) -> None:
        assert stream is not None
        async for part in TextReceiveStream(stream):
            heard[number] += part

    async with anyio.create_task_group() as group:
        group.start_soon(read, 0, command.stdout)
        group.start_soon(read, 1, command.stderr)
        with anyio.fail_after(30):
            while not await keys_of(target):  # noqa: ASYNC110 - another process writes, it sets no event
                await anyio.sleep(0.02)
        yield command, heard


@pytest.mark.parametrize("loud", LOUD)
async def test_a_server_killed_in_mid_run_brings_no_secret_to_light(loud: tuple[str, ...], tmp_path: Path) -> None:
    """While it runs no child has one in its argv; the end without the source tells none either."""
    limits = ("--give-up-after", "1s", "--connect-timeout", "1s")
    async with secret_pair() as (source, target):
        async with under_way(source, target, (*limits, *loud), tmp_path) as (command, heard):
            assert_no_canary(*map(_argv, _children(command.pid)))
            await source.kill()
        said = Said(await command.wait(), *heard)

    assert said.exit == 4, said
    assert "error[E206]" in said.err
    assert_silent(said, tmp_path)


async def test_an_interrupted_copy_tells_no_secret(tmp_path: Path) -> None:
    """Ctrl-C with everything switched on: 130, and what was done."""
    async with secret_pair() as (source, target):
        async with under_way(source, target, LOUD[0], tmp_path) as (command, heard):
            command.send_signal(signal.SIGINT)
        said = Said(await command.wait(), *heard)
        there = (await keys_of(target))[0]

    assert (said.exit, said.result["keys"]["written"]) == (130, there), said
    assert_silent(said, tmp_path)


@pytest.mark.parametrize("loud", LOUD)
async def test_a_bug_that_holds_secrets_tells_none(loud: tuple[str, ...], tmp_path: Path) -> None:
    """A fault in the midst of the engine, with a password in its text: the crash file is private and clean."""
    broken = (
        "import transfer.job.engine as engine\n"
        "async def attempt(self, stop):\n"
        "    password = self.source.address.password.reveal()\n"
        "    raise RuntimeError(f'AUTH app {password} at redis://app:{password}@host')\n"
        "engine.Engine.attempt = attempt\n"
        "import sys; from transfer.cli.app import main; main(sys.argv[1:])\n"
    )
    async with secret_pair() as (source, target):
        place = url(source, login("app", ACL_PASSWORD))
        done = await anyio.to_thread.run_sync(
            lambda: subprocess.run(
                [sys.executable, "-c", broken, "copy", place, target.url, *loud],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env=environment_for(tmp_path),
            )
        )

    said = Said(done.returncode, done.stdout, done.stderr)
    crashes = _crashes(tmp_path)
    assert (said.exit, len(crashes)) == (1, 1), said
    assert "RuntimeError" in crashes[0]
    assert "AUTH app ***" in crashes[0]
    assert_silent(said, tmp_path)


def _crashes(state: Path) -> list[str]:
    return [path.read_text() for path in state.rglob("crash-*.txt")]


def _children(pid: int) -> list[int]:
    """Processes below *pid*, as the kernel lists them."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *_children(child)]
    return found


def _argv(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""

"""`copy` and the places it is given: who is refused, with what words, and that nothing was written there.

Preflight's own tests ask the planner; these ask the command, as a shell does.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import anyio
from anyio.abc import ByteStream, SocketAttribute

from tests import oracle
from tests.cli.running import assert_failed, copy, keys_of, run, transfer
from tests.clusters import cluster_node
from tests.servers import ask, need, running, serving
from transfer.endpoint.redis.throwaway import ThrowawayServer

SMALL = ("--maxmemory", "20mb", "--maxmemory-policy", "noeviction")
RIGHT = "a-fine-password"
VALUE_BYTES = 100_000
VALUES = 400
"""Together twice what a small target holds; random, so that no server packs them."""


@asynccontextmanager
async def pair(*options: str, version: str = "valkey-9.1") -> AsyncIterator[tuple[ThrowawayServer, ThrowawayServer]]:
    """A source with one key and an empty target, *options* are the target's."""
    need(version)
    async with running(version) as source, running(version, *options) as target:
        await ask(source, "SET", "user:1", "v")
        yield source, target


def url_as(server: ThrowawayServer, user: str, password: str) -> str:
    return f"redis://{user}:{quote(password, safe='')}@{server.address.host}:{server.address.port}"


async def fill_large(server: ThrowawayServer) -> None:
    link = await server.link()
    for number in range(VALUES):
        await link.command("SET", f"large:{number}", os.urandom(VALUE_BYTES))
    await link.close()


async def test_nobody_at_the_target_is_told_with_the_target(tmp_path: Path) -> None:
    """The source answers; the place in the error is the other one."""
    async with pair() as (source, _):
        said = await copy(source.url, "redis://127.0.0.1:1", state=tmp_path)

    assert_failed(said, 4, "E201", "where: redis://127.0.0.1:1 ")


async def test_a_host_that_no_name_server_knows_is_unreachable(tmp_path: Path) -> None:
    """`.invalid` is never given to anybody (RFC 2606)."""
    said = await copy("redis://nowhere.invalid", "redis://127.0.0.1:1", "--connect-timeout", "5s", state=tmp_path)

    assert_failed(said, 4, "E201", "where: redis://nowhere.invalid")


async def test_a_port_that_speaks_http_is_no_server_on_either_side(tmp_path: Path) -> None:
    """Exit 4, and it is said that the port speaks something else."""

    async def http(client: ByteStream) -> None:
        async with client:
            await client.receive()
            await client.send(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nConnection: close\r\n\r\n<html></html>")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.listeners[0].extra(SocketAttribute.local_port)  # noqa: S610 - not Django's
    async with pair() as (source, target), serving(listener, http):
        web = f"redis://127.0.0.1:{port}"
        for places in ((web, target.url), (source.url, web)):
            assert_failed(await copy(*places, state=tmp_path), 4, "E207", f"where: {web} ", "does not speak RESP")
        assert await keys_of(target) == {}


async def test_a_port_that_says_nothing_is_left_after_the_connect_timeout(tmp_path: Path) -> None:
    """The kernel accepts, nobody answers: a second is a second."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        async with pair() as (source, target):
            for places in ((url, target.url), (source.url, url)):
                began = time.monotonic()
                said = await copy(*places, "--connect-timeout", "1s", state=tmp_path)
                assert_failed(said, 4, "E201", "within 1 s", f"where: {url} ")
                assert 1 <= time.monotonic() - began < 8


async def test_a_wrong_password_is_refused_on_either_side_and_not_repeated(tmp_path: Path) -> None:
    """Exit 4 with the side's place; the password that was tried is in no output."""
    async with running(password=RIGHT) as source, running(password=RIGHT) as target:
        await ask(source, "SET", "user:1", "v")
        for places in (
            (url_as(source, "", "tried-in-vain"), target.url),
            (source.url, url_as(target, "", "tried-in-vain")),
            (url_as(source, "nobody", "tried-in-vain"), target.url),
        ):
            said = await copy(*places, "--debug", state=tmp_path)
            assert said.exit == 4
            assert said.result["error"]["code"] == "E202"
            assert "WRONGPASS" in said.err
            assert "tried-in-vain" not in said.out + said.err
        none = await copy(f"redis://127.0.0.1:{source.address.port}", target.url, state=tmp_path)
        assert_failed(none, 4, "E202", "NOAUTH")
        assert await keys_of(target) == {}


async def test_a_user_without_a_right_is_told_which(tmp_path: Path) -> None:
    """Side, user and command; a key pattern that does not fit is the same kind of no."""
    async with pair() as (source, target):
        await ask(source, "ACL", "SETUSER", "reader", "on", ">pw-r", "~*", "&*", "+@all", "-dump")
        await ask(target, "ACL", "SETUSER", "writer", "on", ">pw-w", "~*", "&*", "+@all", "-restore")
        await ask(source, "ACL", "SETUSER", "elsewhere", "on", ">pw-e", "~other:*", "&*", "+@all")
        reader, writer = url_as(source, "reader", "pw-r"), url_as(target, "writer", "pw-w")
        reading = await copy(reader, target.url, state=tmp_path)
        writing = await copy(source.url, writer, state=tmp_path)
        dry = await copy(source.url, writer, "--dry-run", state=tmp_path)
        pattern = await copy(url_as(source, "elsewhere", "pw-e"), target.url, state=tmp_path)
        assert_failed(reading, 4, "E203", "user reader of the source", "lacks DUMP")
        assert_failed(writing, 4, "E203", "user writer of the target", "lacks RESTORE")
        assert_failed(dry, 4, "E203", "lacks RESTORE")
        assert_failed(pattern, 4, "E203", "user elsewhere of the source", "for this key")
        assert await keys_of(target) == {}


async def test_a_server_is_not_copied_onto_itself_by_any_of_its_names(tmp_path: Path) -> None:
    """The same URL, another name of the host, a socket beside the port: one run id, exit 2."""
    async with running("valkey-9.1", "--unixsocket", "own.sock", password=RIGHT) as server:
        await ask(server, "SET", "k", "v")
        unix = f"unix://:{RIGHT}@{server.folder / 'own.sock'}"
        for other in (server.url, server.url.replace("127.0.0.1", "localhost"), unix):
            said = await copy(server.url, other, "--on-conflict", "replace", state=tmp_path)
            assert_failed(said, 2, "E103", "the same server")
        moved = await copy(f"{unix}?db=0", f"{server.url}/1", state=tmp_path)
        assert (moved.exit, await keys_of(server)) == (0, {0: 1, 1: 1}), moved


async def test_replicas_are_sources_in_step_and_never_targets(tmp_path: Path) -> None:
    """A replica as target: exit 4, its primary named. A replica source that lost its primary: exit 4."""
    async with pair() as (source, target), running() as primary:
        await ask(target, "CONFIG", "SET", "masterauth", _password(primary))
        await ask(primary, "CONFIG", "SET", "repl-diskless-sync-delay", 0)
        await ask(target, "REPLICAOF", "127.0.0.1", primary.address.port)
        with anyio.fail_after(20):
            while b"master_link_status:up" not in await ask(target, "INFO", "replication"):  # noqa: ASYNC110
                await anyio.sleep(0.02)
        into = await copy(source.url, target.url, state=tmp_path)
        assert_failed(into, 4, "E209", f"copy to its primary at 127.0.0.1:{primary.address.port}")
        await ask(target, "REPLICAOF", "127.0.0.1", 1)
        out_of = await copy(target.url, source.url, state=tmp_path)
        assert_failed(out_of, 4, "E210", "has lost the link to its primary 127.0.0.1:1")
        assert (await keys_of(primary), await keys_of(source)) == ({}, {0: 1})


def _password(server: ThrowawayServer) -> str:
    return server.address.password.reveal() if server.address.password else ""


async def test_a_cluster_node_is_refused_with_its_share(tmp_path: Path) -> None:
    """As source and as target: exit 5 with node, slots and share; verify refuses it too and takes the same consent."""
    async with cluster_node("valkey-9.1") as node, pair() as (plain, empty):
        await ask(node, "CLUSTER", "ADDSLOTSRANGE", 0, 8191)
        name = bytes(await ask(node, "CLUSTER", "MYID")).decode()
        for side, source, target in (("source", node, empty), ("target", plain, node)):
            said = await copy(source.url, target.url, state=tmp_path)
            assert_failed(said, 5, "E501", f"the {side} ", name, "slots 0-8191", "50.0%", "--allow one-shard")
        assert (await keys_of(node), await keys_of(empty)) == ({}, {})
        compared = await run("verify", node.url, empty.url, "--json", state=tmp_path)
        assert_failed(compared, 5, "E501", "the source ", name, "--allow one-shard")
        allowed = await run("verify", node.url, empty.url, "--allow", "one-shard", state=tmp_path)
        assert (allowed.exit, "SAME" in allowed.out) == (0, True), allowed


async def test_a_cluster_node_is_taken_when_told(tmp_path: Path) -> None:
    """With --allow one-shard keys of many slots go in and come out, and are verified."""
    async with cluster_node("valkey-9.1") as node, pair() as (plain, empty):
        await ask(node, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        with anyio.fail_after(20):
            while b"cluster_state:ok" not in await ask(node, "CLUSTER", "INFO"):  # noqa: ASYNC110
                await anyio.sleep(0.02)
        link = await plain.link()
        for number in range(200):  # of many slots
            await link.command("SET", f"k{number}", number, *(("PX", 3_600_000) if number % 3 == 0 else ()))
        await link.close()
        into = await copy(plain.url, node.url, "--allow", "one-shard", state=tmp_path)
        assert (into.exit, into.result["verified"], await keys_of(node)) == (0, True, {0: 201}), into
        out_of = await copy(node.url, empty.url, "--allow", "one-shard", state=tmp_path)
        assert (out_of.exit, out_of.result["verified"]) == (0, True), out_of
        assert oracle.values(empty.address) == oracle.values(plain.address)
        again = await copy(
            *(plain.url, node.url, "--allow", "one-shard", "--on-conflict", "replace", "--format", "logical"),
            state=tmp_path,
        )
        assert (again.exit, again.result["keys"]["written"]) == (0, 201), again


async def test_a_sentinel_port_is_no_place(tmp_path: Path) -> None:
    """Exit 5; what it watches is named, for that is the place that was meant."""
    async with pair() as (source, target), running("redis-7.0", "--sentinel") as sentinel:
        await ask(sentinel, "SENTINEL", "MONITOR", "orders", "127.0.0.1", source.address.port, 1)
        for places in ((sentinel.url, target.url), (source.url, sentinel.url)):
            said = await copy(*places, state=tmp_path)
            assert_failed(said, 5, "E502", f"orders at 127.0.0.1:{source.address.port}")
        assert await keys_of(target) == {}


async def test_a_target_too_small_is_told_before_the_first_write(tmp_path: Path) -> None:
    """Exit 5 with both sizes, in a dry run too."""
    async with pair(*SMALL) as (source, target):
        await fill_large(source)
        for more in ((), ("--dry-run",)):
            said = await copy(source.url, target.url, *more, state=tmp_path)
            assert_failed(said, 5, "E504", "maxmemory 20.0 MiB", "--on-full wait|stop")
        assert await keys_of(target) == {}


async def test_a_target_that_fills_up_ends_the_run_as_told_and_what_was_written_is_said(tmp_path: Path) -> None:
    """Stop at once, or wait and give up: exit 8 either way, and the counts are those of the target."""
    async with pair(*SMALL) as (source, target):
        await fill_large(source)
        for policy in (("--on-full", "stop"), ("--on-full", "wait", "--give-up-after", "3s")):
            await ask(target, "FLUSHALL")
            said = await copy(source.url, target.url, *policy, "--fresh", state=tmp_path)
            there = (await keys_of(target))[0]
            assert (said.exit, said.result["error"]["code"]) == (8, "E803"), said
            assert said.result["keys"]["written"] == there > 0
            assert said.result["verified"] is False
            assert any("waiting up to 3 s" in line["message"] for line in said.of("warning")) == ("wait" in policy)
        told = transfer("jobs", "show", said.result["job"], state=tmp_path).out
        assert f"written {there}" in told
        assert "error[E803]" in told
        await ask(target, "FLUSHALL")
        text = await run("copy", source.url, target.url, "--on-full", "stop", "--fresh", state=tmp_path)
        assert f"written {(await keys_of(target))[0]}" in text.out
        assert text.out.splitlines()[-1].endswith("stopped at a limit (exit 8)")


async def test_a_full_target_that_gets_room_is_filled_to_the_end(tmp_path: Path) -> None:
    """--on-full wait means wait: the run goes on when somebody raises maxmemory."""
    async with pair(*SMALL) as (source, target):
        await fill_large(source)
        async with anyio.create_task_group() as group:

            async def make_room() -> None:
                while b"errorstat_OOM" not in await ask(target, "INFO", "errorstats"):  # noqa: ASYNC110
                    await anyio.sleep(0.05)
                await ask(target, "CONFIG", "SET", "maxmemory", 0)

            group.start_soon(make_room)
            said = await copy(source.url, target.url, "--on-full", "wait", state=tmp_path)
            group.cancel_scope.cancel()
        assert (said.exit, said.result["verified"], await keys_of(target)) == (0, True, {0: VALUES + 1}), said


async def test_a_target_that_evicts_is_taken_only_when_told(tmp_path: Path) -> None:
    """Exit 5 with policy and limit; --allow evicting-target goes on."""
    async with pair("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as (source, target):
        refused = await copy(source.url, target.url, state=tmp_path)
        assert_failed(refused, 5, "E505", "allkeys-lru", "100.0 MiB", "--allow evicting-target")
        assert (refused.hazards, await keys_of(target)) == (["evicting-target"], {})
        taken = await copy(source.url, target.url, "--allow", "evicting-target", state=tmp_path)
        assert (taken.exit, await keys_of(target)) == (0, {0: 1}), taken


async def test_databases_that_do_not_fit_are_told_with_the_flag_that_maps_them(tmp_path: Path) -> None:
    """A number the target lacks: exit 5. All databases into one by its URL alone: exit 2, until '*:3' asks for it."""
    async with pair("--databases", "4") as (source, target):
        await ask(source, "SET", "other", "v", db=9)
        lacking = await copy(source.url, target.url, state=tmp_path)
        assert_failed(lacking, 5, "E503", "4 databases (0 to 3), not 9", "--db N:M")
        assert_failed(await copy(source.url, f"{target.url}/7", "--db", "9", state=tmp_path), 5, "E503", "not 7")
        folding = await copy(source.url, f"{target.url}/3", state=tmp_path)
        assert_failed(folding, 2, folding.result["error"]["code"], "--db '*:3'")
        assert await keys_of(target) == {}
        asked = await copy(source.url, f"{target.url}/3", "--db", "*:3", state=tmp_path)
        assert (asked.exit, await keys_of(target)) == (0, {3: 2}), asked


async def test_a_source_database_goes_into_its_own_number(tmp_path: Path) -> None:
    """`/2` into a URL without a database is database 2; the others stay where they are."""
    async with pair() as (source, target):
        await ask(source, "SET", "two", "v", db=2)
        said = await copy(f"{source.url}/2", target.url, state=tmp_path)
        assert (said.exit, await keys_of(target)) == (0, {2: 1}), said

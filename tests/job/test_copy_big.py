"""Large keys arrive whole, with their deadline, by whichever way; what cannot arrive is told by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests import oracle
from tests.faults import Reset, proxy
from tests.job.copying import copied
from tests.job.filling import beside
from tests.job.watching import Watching
from tests.servers import ask, running
from transfer.endpoint.redis.big.chunks import Chunks
from transfer.endpoint.redis.big.pieces import PieceReader
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.model.errors import TargetFullError
from transfer.model.report import Report, Verdict

IN_2099_MS = 4_070_908_800_000
ITEMS = 30_000
SMALL: dict[str, Any] = {"max_memory_bytes": 4 << 20}
"""Values above 1 MiB are large then."""
THROUGH, PIECES = 1 << 30, 1 << 20
"""--big-key: everything by one DUMP, or everything that is large in pieces."""
KINDS = ("string", "list", "set", "zset", "hash", "stream")


async def fill(server: ThrowawayServer, *kinds: str, items: int = ITEMS) -> None:
    """One key of each kind, named after it, with a deadline."""
    with oracle.client(server.address) as there, there.pipeline(transaction=False) as pipe:
        for start in range(0, items, 1000):
            numbers = range(start, start + 1000)
            for kind in kinds:
                _add(pipe, kind, numbers)
        for kind in kinds:
            pipe.pexpireat(kind, IN_2099_MS + len(kind))
        pipe.execute()


def _add(pipe: Any, kind: str, numbers: range) -> None:
    match kind:
        case "string":
            pipe.append(kind, b"%08d" % numbers[0] * 10_000)
        case "list":
            pipe.rpush(kind, *[b"item:%d:" % n + b"x" * (n % 50) for n in numbers])
        case "set":
            pipe.sadd(kind, *[b"member:%d" % n for n in numbers])
        case "zset":
            pipe.zadd(kind, {b"member:%d" % n: n / 3 for n in numbers})
        case "hash":
            pipe.hset(kind, mapping={b"field:%d" % n: b"\x00\xff%d" % n for n in numbers})
        case "stream":
            for n in numbers:
                pipe.xadd(kind, {b"n": n, b"data": b"x" * 100}, id=f"{n + 1}-{n % 3}")


async def commands(server: ThrowawayServer) -> set[str]:
    said = await ask(server, "INFO", "commandstats")
    return set(re.findall(r"cmdstat_([a-z|]+):", said.decode()))


async def temporaries(server: ThrowawayServer) -> list[bytes]:
    return list(await ask(server, "KEYS", "transfer:tmp:*"))


async def proved(source: Any, target: Any, state: Path, **asked: Any) -> Report:
    report = await copied(source, target, state, **(SMALL | asked))
    assert (report.exit, report.verified) == (0, True), report
    return report


@pytest.mark.parametrize("way", [THROUGH, PIECES])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_type_arrives_by_either_way(kind: str, way: int, tmp_path: Path) -> None:
    """The value, its deadline, and nothing beside it."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, kind)

        report = await proved(source, target, tmp_path, big_key_bytes=way)

        oracle.assert_same(source.address, target.address, tolerance_ms=0)
        assert report.keys.written == 1
        assert ("renamenx" in await commands(target)) == (way == PIECES)
        assert ("restore" in await commands(target)) or way == PIECES
        assert not await temporaries(target)


@pytest.mark.parametrize(("left", "right"), [("redis-6.2", "valkey-9.1"), ("redis-8.2", "redis-6.2")])
async def test_other_versions_take_large_keys_too(left: str, right: str, tmp_path: Path) -> None:
    """Where the payload is refused the pieces go; deadlines of before 7.0 come from TTLs."""
    async with running(left) as source, running(right) as target:
        await fill(source, *KINDS)

        report = await proved(source, target, tmp_path, big_key_bytes=THROUGH)

        oracle.assert_same(source.address, target.address)
        assert report.keys.written == len(KINDS)


@pytest.mark.parametrize("name", [b"a}b", b"{}x", b"{tag}:x", b"\xff\x00 x"])
async def test_odd_names_get_a_temporary_name(name: bytes, tmp_path: Path) -> None:
    """Braces and bytes that are no text."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "set")
        await ask(source, "RENAME", "set", name)

        await proved(source, target, tmp_path, big_key_bytes=PIECES)

        oracle.assert_same(source.address, target.address, tolerance_ms=0)


async def test_groups_and_pending_entries_come_along_in_pieces(tmp_path: Path) -> None:
    """Ids, counters, consumers, delivery times and counts, over several pages of pending entries."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "stream")
        await ask(source, "XDEL", "stream", "30000-2")
        for words in (("g", "0"), ("idle", "$"), ("none", "5-1")):
            await ask(source, "XGROUP", "CREATE", "stream", *words)
        for consumer in ("alice", "bob", "alice"):
            await ask(source, "XREADGROUP", "GROUP", "g", consumer, "COUNT", 1500, "STREAMS", "stream", ">")
        await ask(source, "XCLAIM", "stream", "g", "bob", 0, "1-0", "TIME", 1_600_000_000_000, "RETRYCOUNT", 7)
        await ask(source, "XGROUP", "CREATECONSUMER", "stream", "idle", "waiting")

        await proved(source, target, tmp_path, big_key_bytes=PIECES)

        oracle.assert_same(source.address, target.address, tolerance_ms=0)
        assert "xclaim" in await commands(target)


async def test_pending_entries_of_deleted_ids_travel_by_restore(tmp_path: Path) -> None:
    """Type commands would lose them, so the key goes whole although it is above --big-key."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "stream")
        await ask(source, "XGROUP", "CREATE", "stream", "g", "0")
        await ask(source, "XREADGROUP", "GROUP", "g", "c", "COUNT", 10, "STREAMS", "stream", ">")
        await ask(source, "XDEL", "stream", "3-2")

        await proved(source, target, tmp_path, big_key_bytes=PIECES)

        oracle.assert_same(source.address, target.address, tolerance_ms=0)
        assert len(await ask(target, "XPENDING", "stream", "g", "-", "+", 100)) == 10
        assert not await temporaries(target)


async def test_deadlines_of_fields_come_along_in_pieces_or_the_key_is_told(tmp_path: Path) -> None:
    """Where the target knows them; else the key is rejected by name and nothing of it is left."""
    async with running("redis-8.2") as source, running("redis-8.2") as target, running("redis-7.0") as old:
        await fill(source, "hash")
        await ask(source, "HPEXPIREAT", "hash", IN_2099_MS, "FIELDS", 2, "field:7", "field:8")

        await proved(source, target, tmp_path, big_key_bytes=PIECES)
        told = await copied(source, old, tmp_path, **SMALL, big_key_bytes=PIECES)

        found = await ask(target, "HPEXPIRETIME", "hash", "FIELDS", 3, "field:7", "field:8", "field:9")
        assert found == [IN_2099_MS, IN_2099_MS, -1]
        assert (told.exit, [reject.key for reject in told.rejects]) == (3, [b"hash"])
        assert await ask(old, "DBSIZE") == 0


@pytest.mark.parametrize("way", [THROUGH, PIECES])
@pytest.mark.parametrize("policy", ["fail", "skip", "replace"])
async def test_a_name_that_is_taken_follows_the_policy(policy: str, way: int, tmp_path: Path) -> None:
    """Equal is already there; another's stays, unless replace was asked for."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "set", "zset", "list")
        await fill(target, "zset", "list")
        await ask(target, "LSET", "list", ITEMS // 2, "another")
        await ask(target, "SET", "mine", "stays")

        report = await copied(source, target, tmp_path, **SMALL, big_key_bytes=way, on_conflict=policy)

        item = await ask(target, "LINDEX", "list", ITEMS // 2)
        replaced = policy == "replace"
        assert (item == b"another") != replaced
        assert report.keys.conflicts == (0 if replaced else 1)
        assert (report.keys.already, report.keys.written) == ((0, 3) if replaced else (1, 1))
        assert report.exit == {"fail": 3, "skip": 0, "replace": 0}[policy]
        assert await ask(target, "GET", "mine") == b"stays"
        assert await ask(target, "PEXPIRETIME", "set") == IN_2099_MS + 3
        assert not await temporaries(target)


async def test_a_name_taken_in_the_last_moment_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RENAMENX refuses; another's value keeps its lack of a deadline, and the temporary key goes."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "set")
        put = Chunks._put

        async def late(self: Chunks, *args: Any) -> Any:
            await ask(target, "SET", "set", "another")
            return await put(self, *args)

        monkeypatch.setattr(Chunks, "_put", late)
        report = await copied(source, target, tmp_path, **SMALL, big_key_bytes=PIECES)

        assert await ask(target, "GET", "set") == b"another"
        assert await ask(target, "PTTL", "set") == -1
        assert (report.exit, report.keys.conflicts) == (3, 1)
        assert not await temporaries(target)


async def test_a_key_written_while_it_is_read_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once: what arrives is the newer value, whole."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "set")
        end, times = PieceReader.end, [0]

        async def written(self: PieceReader) -> Any:
            times[0] += 1
            if times[0] == 1:
                await ask(source, "SADD", "set", "late")
            return await end(self)

        monkeypatch.setattr(PieceReader, "end", written)
        report = await proved(source, target, tmp_path, big_key_bytes=PIECES)

        assert await ask(target, "SISMEMBER", "set", "late") == 1
        assert report.keys.written == 1


async def test_a_key_that_changes_faster_than_it_is_read_is_told(tmp_path: Path) -> None:
    """After three readings; its neighbours arrive, nothing of it stays at the target."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "hash", "set")
        done = anyio.Event()

        async def work() -> Report:
            try:
                return await copied(source, target, tmp_path, **SMALL, big_key_bytes=PIECES)
            finally:
                done.set()

        async def write() -> None:
            link = await source.link()
            while not done.is_set():
                await link.command("HINCRBY", "hash", "count", 1)
            await link.close()

        report = await beside(work, write)

        assert [(reject.key, reject.code) for reject in report.rejects] == [(b"hash", "E302")]
        assert "faster than it can be read" in report.rejects[0].cause
        assert await ask(target, "KEYS", "*") == [b"set"]


@pytest.mark.parametrize("way", [THROUGH, PIECES])
@pytest.mark.parametrize("side", ["source", "target"])
async def test_links_that_break_in_the_middle_cost_nothing(side: str, way: int, tmp_path: Path) -> None:
    """Half of a RESTORE, or of the pieces, was sent: done again, whole, counted once, nothing left over."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "string", "zset")
        async with proxy((source if side == "source" else target).address) as between:
            towards = "replies" if side == "source" else "requests"
            between.arm(*[Reset(towards, after_bytes=at) for at in (200_000, 900_000, 1_500_000)])  # type: ignore[arg-type]
            ends = (between.address, target) if side == "source" else (source, between.address)

            report = await proved(*ends, tmp_path, big_key_bytes=way)

        oracle.assert_same(source.address, target.address, tolerance_ms=0)
        assert (report.keys.written + report.keys.repeated, report.keys.conflicts) == (2, 0)
        assert not await temporaries(target)


async def test_a_payload_that_the_target_does_not_take_at_once_goes_in_pieces(tmp_path: Path) -> None:
    """proto-max-bulk-len of the target decides, before a byte is sent."""
    async with running("redis-7.0") as source, running("redis-7.0", "--proto-max-bulk-len", "1mb") as target:
        await fill(source, "list", "stream")

        await proved(source, target, tmp_path, big_key_bytes=THROUGH)

        oracle.assert_same(source.address, target.address, tolerance_ms=0)


async def test_a_source_without_room_for_the_payload_is_read_in_pieces(tmp_path: Path) -> None:
    """DUMP would make it evict keys, or refuse its writers."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, "set")
        used = re.search(rb"used_memory:(\d+)", await ask(source, "INFO", "memory"))
        assert used is not None
        await ask(source, "CONFIG", "SET", "maxmemory", int(used[1]) + (1 << 20))

        await proved(source, target, tmp_path, big_key_bytes=THROUGH)

        assert "sscan" in await commands(source)


async def test_a_full_target_keeps_no_half_of_a_large_key(tmp_path: Path) -> None:
    """--on-full stop: the temporary key is gone, the run ends with 8."""
    async with running("redis-7.0") as source, running("redis-7.0", "--maxmemory", "2500kb") as target:
        await fill(source, "hash")

        with pytest.raises(TargetFullError):
            await copied(source, target, tmp_path, **SMALL, big_key_bytes=PIECES, on_full="stop")

        assert await ask(target, "DBSIZE") == 0


async def test_temporary_keys_are_neither_copied_nor_extra(tmp_path: Path) -> None:
    """Those of the source stay there, those of the target are said to be left over."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await ask(source, "SET", "k", 1)
        for server in (source, target):
            await ask(server, "SET", "transfer:tmp:20261122-1931-7f3a:1:{k}", "half")
        watching = Watching(consents=True)

        report = await copied(source, target, tmp_path, watching)

        assert (report.exit, report.verified, report.keys.read) == (0, True, 1)
        assert any("left at" in text for text in watching.warnings)
        assert any("not copied" in text for text in watching.warnings)


@pytest.mark.parametrize("kind", KINDS)
async def test_verify_finds_what_differs_in_a_large_value(kind: str, tmp_path: Path) -> None:
    """One byte, one item, one score, one entry."""
    spoil: dict[str, tuple[Any, ...]] = {
        "string": ("SETRANGE", "string", 1_000_000, "!"),
        "list": ("LSET", "list", 1000, "!"),
        "set": ("SMOVE", "set", "other", "member:7"),
        "zset": ("ZINCRBY", "zset", 1, "member:7"),
        "hash": ("HSET", "hash", "field:7", "!"),
        "stream": ("XDEL", "stream", "8-1"),
    }
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        await fill(source, kind)
        await fill(target, kind)
        await ask(target, *spoil[kind])
        watching = Watching(consents=True)

        await copied(source, target, tmp_path, watching, **SMALL, on_conflict="skip", verify="full")

        assert watching.report is not None
        assert watching.report.keys.conflicts == 1
        assert {finding.verdict for finding in watching.findings} <= {Verdict.VALUE}

"""Two live servers compared: what is equal, what differs, what changed meanwhile."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from tests.servers import running
from transfer.codec import resp
from transfer.endpoint.redis.big.pieces import Piece, PieceReader
from transfer.endpoint.redis.keyspace import LiveKeyspace
from transfer.endpoint.redis.large import read_large
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.throwaway import ThrowawayServer
from transfer.endpoint.redis.tracking import WriteTracker
from transfer.model.errors import ReplacedError
from transfer.model.report import DbTable, Finding, Verdict, VerifyResult
from transfer.model.selection import Mapping, Selection, TtlRule
from transfer.pipeline.buckets import BucketStore
from transfer.pipeline.ledger import Ledger
from transfer.verify.changes import ChangesNow, ChangesSinceCopy, NobodyKnows
from transfer.verify.march import March
from transfer.verify.sides import Changes, MarchOptions

FAR_MS = 4_000_000_000_000
QUICK = MarchOptions(pauses_s=(0.0, 0.0, 0.01))


class Pair:
    """Two servers, and what a comparison of them came to."""

    processes: tuple[ThrowawayServer, ThrowawayServer]

    def __init__(self, left: Server, right: Server) -> None:
        self.left, self.right = left, right
        self.sides = LiveKeyspace(left, page_keys=100), LiveKeyspace(right, page_keys=100)
        self.findings: list[Finding] = []
        self.tables: list[DbTable] = []

    async def both(self, *commands: tuple[Any, ...], db: int = 0) -> None:
        for server in (self.left, self.right):
            await send(server, *commands, db=db)

    async def compare(self, changes: Changes | None = None, **options: Any) -> VerifyResult:
        self.findings = []
        march = March(
            *self.sides,
            selection=options.pop("selection", Selection()),
            mapping=options.pop("mapping", Mapping({0: 0})),
            changes=changes or NobodyKnows(),
            new_records=lambda width: BucketStore(width, memory_bytes=1 << 20),
            options=options.pop("options", QUICK),
            on_finding=self.findings.append,
            **options,
        )
        result = await march.run()
        self.tables = march.tables
        return result

    def verdicts(self) -> dict[bytes, Verdict]:
        assert len({finding.key for finding in self.findings}) == len(self.findings)
        return {finding.key: finding.verdict for finding in self.findings}


async def send(server: Server, *commands: tuple[Any, ...], db: int = 0) -> None:
    async with server.link(db) as link:
        request = b"".join([resp.command(*words) for words in commands])
        for answer in await link.ask(request, len(commands)):
            assert not isinstance(answer, Exception), answer


@asynccontextmanager
async def pair(left: str = "redis-7.0", right: str = "redis-7.0") -> AsyncIterator[Pair]:
    async with running(left) as one, running(right) as other:
        found = Pair(await Server.open(one.address), await Server.open(other.address))
        found.processes = one, other
        try:
            yield found
        finally:
            for side in found.sides:
                await side.close()


EVERY_TYPE: tuple[tuple[Any, ...], ...] = (
    ("SET", "string", "value"),
    ("SET", "number", "12345"),
    ("SET", "text", "a" * 5000),
    ("SET", b"\x00\r\n{}", b"\xff\x00"),
    ("SET", "", "of the empty name"),
    ("SET", "dying", "x", "PXAT", FAR_MS),
    ("RPUSH", "list", *range(300)),
    ("SADD", "set", *[f"member:{n * 7919 % 1000}" for n in range(200)]),
    ("SADD", "small set", "a", "b", "17", "-4", "70000", "x" * 70),
    ("SADD", "integers", *range(40)),
    ("SADD", "long members", *[f"{'m' * 30}{n}" for n in range(200)]),
    ("HSET", "hash", *[part for n in range(300) for part in (f"field:{n}", n)]),
    ("HSET", "small hash", "a", "1", "b", "2"),
    ("ZADD", "zset", *[part for n in range(300) for part in (n / 3, f"m{n}")]),
    ("ZADD", "small zset", "1.5", "a", "inf", "b"),
    ("XADD", "stream", "1-1", "f", "v"),
    ("XADD", "stream", "2-1", "f", "w"),
    ("XGROUP", "CREATE", "stream", "group", "0"),
)


@pytest.mark.parametrize("right", ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1"])
async def test_servers_filled_alike_match_with_equal_digests(right: str) -> None:
    """Whatever order and encoding each server chose; commands that 6.2 lacks are told in its words."""
    async with pair("redis-7.0", right) as both:
        alike = [words for words in EVERY_TYPE if "PXAT" not in words]
        await both.both(*alike, ("SET", "dying", "x"), ("PEXPIREAT", "dying", FAR_MS))

        result = await both.compare()

        assert both.findings == []
        assert (result.checked, result.match) == (len(KEYS), len(KEYS))
        (row,) = both.tables
        assert row.keys == (len(KEYS),) * 2
        assert row.with_deadline == (1, 1)
        assert row.digest[0] == row.digest[1]


async def test_digests_stay_the_same_from_run_to_run_and_change_with_the_data() -> None:
    """A digest can be written down and compared later; a name, a value, a deadline all enter it."""
    async with pair() as both:
        await both.both(*EVERY_TYPE)
        seen = set()
        for change in (("PING",), ("SET", "string", "other"), ("PERSIST", "dying"), ("RENAME", "list", "tsil")):
            await both.both(change)
            await both.compare()
            first = both.tables
            await both.compare()
            assert both.tables == first
            seen.add(first[0].digest[0])
        assert len(seen) == 4


Difference = tuple[Verdict, tuple[tuple[Any, ...], ...], tuple[tuple[Any, ...], ...]]
DIFFERENCES: dict[str, Difference] = {
    "missing": (Verdict.MISSING, (("SET", "k", "v"),), ()),
    "extra": (Verdict.EXTRA, (), (("SET", "k", "v"),)),
    "type": (Verdict.TYPE, (("SET", "k", "v"),), (("RPUSH", "k", "v"),)),
    "string": (Verdict.VALUE, (("SET", "k", "v"),), (("SET", "k", "w"),)),
    "set": (Verdict.VALUE, (("SADD", "k", "a", "b"),), (("SADD", "k", "a", "c"),)),
    "hash": (Verdict.VALUE, (("HSET", "k", "a", "b"),), (("HSET", "k", "b", "a"),)),
    "list order": (Verdict.VALUE, (("RPUSH", "k", "a", "b"),), (("RPUSH", "k", "b", "a"),)),
    "score": (Verdict.VALUE, (("ZADD", "k", "1", "a"),), (("ZADD", "k", "1.0000000001", "a"),)),
    "stream group": (
        Verdict.VALUE,
        (("XADD", "k", "1-1", "a", "b"), ("XGROUP", "CREATE", "k", "g", "0")),
        (("XADD", "k", "1-1", "a", "b"), ("XGROUP", "CREATE", "k", "g", "1-1")),
    ),
    "no deadline": (Verdict.TTL, (("SET", "k", "v", "PXAT", FAR_MS),), (("SET", "k", "v"),)),
    "a deadline": (Verdict.TTL, (("SET", "k", "v"),), (("SET", "k", "v", "PXAT", FAR_MS),)),
    "another deadline": (
        Verdict.TTL,
        (("SET", "k", "v", "PXAT", FAR_MS),),
        (("SET", "k", "v", "PXAT", FAR_MS + 501),),
    ),
    "another deadline of a set": (
        Verdict.TTL,
        (("SADD", "k", *"abcdefgh"), ("PEXPIREAT", "k", FAR_MS)),
        (("SADD", "k", *"hgfedcba"), ("PEXPIREAT", "k", FAR_MS - 501)),
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
async def test_one_difference_is_one_finding_with_its_verdict(name: str) -> None:
    """Among keys that are equal, the one that is not is named, once.

    The digests differ too, unless only the time of a deadline does: they tell whether there is one.
    """
    verdict, left, right = DIFFERENCES[name]
    async with pair() as both:
        await both.both(*EVERY_TYPE)
        await send(both.left, ("PING",), *left)
        await send(both.right, ("PING",), *right)

        result = await both.compare()

        assert both.verdicts() == {b"k": verdict}
        assert result.differences() == 1
        there = verdict is not Verdict.EXTRA
        assert (result.checked, result.match) == (len(KEYS) + there, len(KEYS))
        (row,) = both.tables
        assert row.keys == (len(KEYS) + there, len(KEYS) + (verdict is not Verdict.MISSING))
        assert (row.digest[0] == row.digest[1]) is name.startswith("another deadline")


KEYS = {words[1] for words in EVERY_TYPE if words[0] != "XGROUP"}


async def test_a_deadline_within_the_tolerance_matches() -> None:
    """Clocks of servers are never quite the same."""
    async with pair() as both:
        await send(both.left, ("SET", "k", "v", "PXAT", FAR_MS))
        await send(both.right, ("SET", "k", "v", "PXAT", FAR_MS + 400))

        result = await both.compare()

        assert result.match == 1
        assert both.tables[0].digest[0] == both.tables[0].digest[1]


async def test_thousands_of_differences_are_each_told_once() -> None:
    """More than are held at once: the target is empty, then it holds nothing else."""
    async with pair() as both:
        await send(both.left, ("DEBUG", "POPULATE", 30_000, "left", 20))
        await send(both.right, ("DEBUG", "POPULATE", 25_000, "right", 20))

        result = await both.compare()

        assert (result.missing, result.extra, result.match, result.checked) == (30_000, 25_000, 0, 30_000)
        assert len(both.findings) == 55_000
        assert both.tables[0].keys == (30_000, 25_000)


async def test_names_that_scan_gives_twice_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """SCAN may repeat names on either side: counts, digests and findings stay exact."""
    monkeypatch.setattr("transfer.verify.rounds._SUSPECT_KEYS", 1)
    async with pair() as both:
        await both.both(*EVERY_TYPE, ("DEBUG", "POPULATE", 1_000, "k", 20))
        await send(both.left, ("SET", "missing", "x"), ("SET", "other", "x"))
        await send(both.right, ("SET", "extra", "x"), ("SET", "other", "y"))
        once = await both.compare()
        tables = both.tables
        for side in both.sides:
            side.pages = twice(side.pages)  # type: ignore[method-assign]

        result = await both.compare()

        assert both.tables == tables
        assert both.verdicts() == {b"missing": Verdict.MISSING, b"extra": Verdict.EXTRA, b"other": Verdict.VALUE}
        assert msgspec.structs.replace(result, seconds=0) == msgspec.structs.replace(once, seconds=0)


Pages = Callable[..., AsyncIterator[list[bytes]]]


def twice(pages: Pages) -> Pages:
    """A scan that gives every page of *pages* again after the next one."""

    async def repeated(*args: Any) -> AsyncIterator[list[bytes]]:
        before: list[bytes] = []
        async for page in pages(*args):
            yield page
            yield before
            before = page
        yield before

    return repeated


async def test_a_table_that_shrinks_while_it_is_scanned_loses_no_key() -> None:
    """Both sides lose most of their keys in the middle; what stays is counted exactly."""
    async with pair() as both:
        await both.both(("DEBUG", "POPULATE", 4_000, "keep", 20), ("DEBUG", "POPULATE", 60_000, "drop", 20))
        original, pages = both.sides[0].pages, 0

        async def shrinking(*args: Any) -> AsyncIterator[list[bytes]]:
            nonlocal pages
            async for page in original(*args):
                yield page
                pages += 1
                for start in range(0, 60_000, 2_000) if pages == 300 else ():
                    await both.both(("DEL", *[f"drop:{n}" for n in range(start, start + 2_000)]))

        both.sides[0].pages = shrinking  # type: ignore[method-assign,assignment]

        result = await both.compare()
        kept = await both.compare()

        assert result.differences() == 0
        assert result.checked >= 4_000
        assert both.tables[0].keys == (4_000, 4_000)
        assert kept.match == 4_000


async def test_a_difference_that_goes_away_is_excused() -> None:
    """What arrives at the target between two rounds was in flight."""
    async with pair() as both, anyio.create_task_group() as group:
        await send(both.left, *[("SET", f"k{n}", n) for n in range(500)])
        looked = anyio.Event()
        original = both.sides[1].dumps

        async def dumps(db: int, keys: list[bytes]) -> Any:
            moment = await original(db, keys)
            looked.set()
            return moment

        async def arrive() -> None:
            await looked.wait()
            await send(both.right, *[("SET", f"k{n}", n) for n in range(500)])

        both.sides[1].dumps = dumps  # type: ignore[method-assign]
        group.start_soon(arrive)

        result = await both.compare(options=MarchOptions(pauses_s=(0.2, 0.2, 0.2)))

        assert result.match == 500
        assert both.findings == []


async def test_keys_past_their_deadline_are_no_findings() -> None:
    """On neither side: one of the servers may have been quicker to forget."""
    async with pair() as both:
        await send(both.left, ("SET", "stays", "v"), *[("SET", f"l{n}", "v", "PX", 1 + n) for n in range(400)])
        await send(both.right, ("SET", "stays", "v"), *[("SET", f"r{n}", "v", "PX", 1 + n) for n in range(400)])

        result = await both.compare(options=MarchOptions(pauses_s=(0.1, 0.2, 0.2)))

        assert both.findings == []
        assert result.differences() == 0


@pytest.mark.parametrize(("holder", "ahead"), [(0, 1), (1, 0)], ids=["missing", "extra"])
async def test_a_key_that_the_other_clock_has_let_go_is_no_finding(holder: int, ahead: int) -> None:
    """One server's clock is past the deadline: there the key is rightly gone already."""
    async with pair() as both:
        servers = both.left, both.right
        await send(servers[holder], ("SET", "k", "v", "PX", 60_000))
        await both.compare()
        assert len(both.findings) == 1
        now_ms = both.sides[ahead].now_ms
        both.sides[ahead].now_ms = lambda: now_ms() + 120_000  # type: ignore[method-assign]

        result = await both.compare()

        assert both.findings == []
        assert result.checked == result.differences() == 0


async def test_who_knows_of_changes_is_asked_after_having_caught_up() -> None:
    """A write that was answered before the last look is never missed."""
    asked: list[str] = []

    class Knowing(NobodyKnows):
        async def catch_up(self) -> None:
            asked.append("catch up")

        def changed(self, key: bytes, db: int, name: bytes, payload: bytes | None, left_ms: int) -> bool:
            asked.append(f"{name.decode()} {payload is not None} {left_ms}")
            return True

    async with pair() as both:
        await send(both.left, ("SET", "k", "v", "PXAT", FAR_MS))

        result = await both.compare(Knowing())

    assert asked == ["catch up", f"k True {FAR_MS}"]
    assert (result.changed, result.differences()) == (1, 0)


async def test_writers_on_both_sides_make_changes_not_findings() -> None:
    """Trackers on both sides know every name that was written since the comparison began."""
    async with pair() as both:
        await both.both(*[("SET", f"k{n}", "v") for n in range(3_000)])
        await send(both.left, ("SET", "different", "1"))
        await send(both.right, ("SET", "different", "2"))
        left, right = WriteTracker(), WriteTracker()
        began = time.monotonic()
        async with left.running(both.left), right.running(both.right), anyio.create_task_group() as group:

            async def write(server: Server, word: str) -> None:
                async with server.link() as link:
                    for turn in range(1_000_000):
                        await link.command("SET", f"k{turn % 50}", f"{word}{turn}")

            group.start_soon(write, both.left, "left")
            group.start_soon(write, both.right, "right")
            result = await both.compare(ChangesNow(left, right, began))
            group.cancel_scope.cancel()

        assert result.changes_known_by == "tracking"
        assert result.changed > 0
        told = both.verdicts()
        assert told.pop(b"different") is Verdict.VALUE
        assert set(told.values()) == {Verdict.CHANGED}
        assert set(told) <= {b"k%d" % n for n in range(50)}


async def test_a_flush_in_the_middle_ends_in_changes() -> None:
    """Everything went away at the source; that is told, and nothing breaks."""
    async with pair() as both:
        await both.both(("DEBUG", "POPULATE", 5_000, "k", 20))
        left, right = WriteTracker(), WriteTracker()
        began = time.monotonic()
        original, pages = both.sides[0].dumps, 0

        async def dumps(db: int, keys: list[bytes]) -> Any:
            nonlocal pages
            pages += 1
            if pages == 10:
                await send(both.left, ("FLUSHALL",))
            return await original(db, keys)

        both.sides[0].dumps = dumps  # type: ignore[method-assign]
        async with left.running(both.left), right.running(both.right):
            result = await both.compare(ChangesNow(left, right, began))

        assert result.differences() == 0
        assert result.changed > 3_000
        assert {finding.detail for finding in both.findings} == {"EXTRA"}


class Copied:
    """The promise of a copy, by names."""

    def __init__(self, rejected: set[bytes], kept: set[bytes], wrote: Callable[[bytes], bool]) -> None:
        self._rejected, self._kept, self._wrote = rejected, kept, wrote

    def carried(self, left_db: int, keys: list[bytes]) -> list[bytes]:
        return keys

    def rejected(self, db: int, name: bytes) -> bool:
        return name in self._rejected

    def kept(self, db: int, name: bytes) -> bool:
        return name in self._kept

    def wrote(self, db: int, name: bytes) -> bool:
        return self._wrote(name)


async def test_after_a_copy_only_its_promises_count() -> None:
    """Rejected keys, values that were there before and keys of others are no findings; a lost key is."""
    async with pair() as both:
        await send(both.left, *[("SET", key, "new") for key in ("fine", "rejected", "kept", "lost", "wrong")])
        await send(
            both.right, ("SET", "fine", "new"), ("SET", "kept", "old"), ("SET", "theirs", "x"), ("SET", "wrong", "x")
        )
        promise = Copied({b"rejected"}, {b"kept"}, lambda name: name in (b"fine", b"lost", b"wrong"))

        result = await both.compare(promise=promise)

        assert both.verdicts() == {b"lost": Verdict.MISSING, b"wrong": Verdict.VALUE}
        assert (result.checked, result.match, result.not_from_source) == (5, 1, 2)
        assert both.tables[0].keys == (5, 3)


@pytest.mark.parametrize("known_by", ["tracking", "hashes", "nothing"])
async def test_a_source_that_went_on_is_told_from_a_copy_that_went_wrong(known_by: str) -> None:
    """By who wrote since the copy read, or by what it read; where nobody knows, the difference counts."""
    async with pair() as both, WriteTracker().running(both.left) as tracker:
        await both.both(*[("SET", key, "v") for key in ("fine", "deleted", "changed", "damaged")])
        names = [b"fine", b"deleted", b"changed", b"damaged"]
        await tracker.catch_up()
        started = time.monotonic()
        read = await both.sides[0].dumps(0, names)
        tracker.clean(names, started)
        ledger = Ledger()
        ledger.note(0, names, [payload for payload in read.payloads if payload is not None])
        await send(both.left, ("DEL", "deleted"), ("SET", "changed", "w"), ("SET", "created", "w"))
        await send(both.right, ("SET", "damaged", "x"))
        knowing: dict[str, Changes] = {
            "tracking": ChangesSinceCopy(tracker, [ledger]),
            "hashes": ChangesSinceCopy(None, [ledger]),
            "nothing": NobodyKnows(),
        }

        result = await both.compare(knowing[known_by], promise=Copied(set(), set(), names.__contains__))

        assert result.changes_known_by == known_by
        moved = {b"deleted": Verdict.EXTRA, b"changed": Verdict.VALUE, b"created": Verdict.MISSING}
        wanted = {name: verdict if known_by == "nothing" else Verdict.CHANGED for name, verdict in moved.items()}
        assert both.verdicts() == {**wanted, b"damaged": Verdict.VALUE}


async def test_filters_renames_and_database_maps_are_undone_on_the_way_back() -> None:
    """Only what was selected is looked at, under its new name and in its new database."""
    async with pair() as both:
        await send(both.left, ("SET", "user:1", "a"), ("SET", "user:2", "b"), ("SET", "log:1", "c"), db=3)
        await send(both.right, ("SET", "client:1", "a"), ("SET", "client:3", "z"), ("SET", "other", "z"), db=5)
        selection = Selection(match=(b"user:*",), exclude=(b"*:9",))
        mapping = Mapping({3: 5}, ((b"user:", b"client:"),))

        result = await both.compare(selection=selection, mapping=mapping)

        assert both.verdicts() == {b"client:2": Verdict.MISSING, b"client:3": Verdict.EXTRA}
        assert {finding.db for finding in both.findings} == {5}
        assert both.tables[0].db == 5
        assert (result.checked, both.tables[0].keys) == (2, (2, 2))


async def test_two_databases_folded_into_one_are_compared_with_it() -> None:
    """A key of the target is accounted for by whichever database it came from."""
    async with pair() as both:
        await send(both.left, ("SET", "a", "1"), db=0)
        await send(both.left, ("SET", "b", "2"), db=1)
        await send(both.right, ("SET", "a", "1"), ("SET", "b", "2"), ("SET", "c", "3"), db=0)

        await both.compare(mapping=Mapping({0: 0, 1: 0}))

        assert both.verdicts() == {b"c": Verdict.EXTRA}
        assert both.tables[0].keys == (2, 3)


async def test_a_sample_is_the_same_keys_on_both_sides() -> None:
    """Chosen by hash of the name, so nothing outside the sample is called missing or extra."""
    async with pair() as both:
        await both.both(("DEBUG", "POPULATE", 5_000, "k", 20))

        result = await both.compare(
            selection=Selection(sample=0.1), options=msgspec.structs.replace(QUICK, mode="sample")
        )

        assert result.mode == "sample"
        assert 400 < result.checked < 600
        assert both.tables[0].keys[0] == both.tables[0].keys[1]
        assert both.findings == []


async def test_types_are_selected_by_the_source() -> None:
    """A key of another type on the source is not looked at, wherever it is."""
    async with pair() as both:
        await send(both.left, *EVERY_TYPE)
        for types in (("hash",), ("hash", "set")):
            result = await both.compare(selection=Selection(types=types))
            assert result.missing == {1: 2, 2: 6}[len(types)]
            assert result.checked == result.missing


RULES: dict[str, tuple[TtlRule, Callable[[int, int], int | None]]] = {
    "drop": (TtlRule("drop"), lambda now, ms: None),
    "add": (TtlRule("add", 60_000), lambda now, ms: ms + 60_000),
    "cap": (TtlRule("cap", 60_000), lambda now, ms: now + 60_000),
    "rebase": (TtlRule("rebase"), lambda now, ms: ms),
}


@pytest.mark.parametrize("kind", RULES)
async def test_deadlines_are_compared_with_what_the_rule_gives(kind: str) -> None:
    """The rule's result matches with equal digests; a deadline that no rule gave is a finding."""
    rule, right_of = RULES[kind]
    async with pair() as both:
        at = both.left.now_ms() + 3_600_000
        there = right_of(both.right.now_ms(), at)
        await send(both.left, ("SET", "k", "v", "PXAT", at), ("SET", "forever", "v"))
        await send(both.right, ("SET", "k", "v", *(("PXAT", there) if there else ())), ("SET", "forever", "v"))

        await both.compare(mapping=Mapping({0: 0}, ttl=rule))

        assert both.findings == []
        assert both.tables[0].digest[0] == both.tables[0].digest[1]

        await send(both.right, ("SET", "k", "v", "PXAT", at + 100_000))
        await both.compare(mapping=Mapping({0: 0}, ttl=rule))
        assert both.verdicts() == {b"k": Verdict.TTL}


async def test_links_that_break_cost_a_repetition_and_no_key() -> None:
    """The servers close every connection in the middle, twice."""
    async with pair() as both:
        await both.both(("DEBUG", "POPULATE", 5_000, "k", 20))
        original, pages = both.sides[0].dumps, 0

        async def dumps(db: int, keys: list[bytes]) -> Any:
            nonlocal pages
            pages += 1
            if pages in (10, 20):
                for server in (both.left, both.right):
                    async with server.link() as link:
                        await link.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            return await original(db, keys)

        both.sides[0].dumps = dumps  # type: ignore[method-assign]

        result = await both.compare()

        assert (result.checked, result.match) == (5_000, 5_000)


async def test_a_server_that_was_replaced_ends_the_comparison() -> None:
    """Another process at the address is another place: nothing is concluded from it."""
    async with pair() as both:
        await both.both(("DEBUG", "POPULATE", 2_000, "k", 20))
        original = both.sides[0].dumps

        async def dumps(db: int, keys: list[bytes]) -> Any:
            both.sides[0].dumps = original  # type: ignore[method-assign]
            await both.processes[1].restart()
            return await original(db, keys)

        both.sides[0].dumps = dumps  # type: ignore[method-assign]

        with pytest.raises(ReplacedError, match="another process answers"):
            await both.compare(options=msgspec.structs.replace(QUICK, comparers=1))


async def test_strings_too_large_to_be_taken_are_compared_in_pieces() -> None:
    """Equal ones match, one byte far inside is found, and so is a value that only one side has."""
    async with pair("redis-7.0", "redis-6.2") as both:
        both.sides = LiveKeyspace(both.left, limit_bytes=1 << 20), LiveKeyspace(both.right, limit_bytes=1 << 20)
        equal = [(words, ("PEXPIREAT", words[1], FAR_MS)) for words in large("same", "differs", "alone")]
        await both.both(("SET", "small", "x"), *[command for commands in equal for command in commands])
        await send(both.right, ("SETRANGE", "differs", 8 << 20, "y"), ("DEL", "alone"))

        result = await both.compare()

        assert both.verdicts() == {b"differs": Verdict.VALUE, b"alone": Verdict.MISSING}
        assert (result.checked, result.match) == (4, 2)
        assert both.tables[0].with_deadline == (3, 2)


def large(*names: str) -> list[tuple[Any, ...]]:
    """Commands that make strings of 9 MiB."""
    return [("SETRANGE", name, (9 << 20) - 1, "x") for name in names]


async def test_a_value_much_larger_than_its_payload_is_compared_in_pieces() -> None:
    """Payloads are compressed; what a reply cannot hold is not taken for a difference."""
    async with pair("redis-7.0", "redis-6.2") as both:
        both.sides = tuple(
            LiveKeyspace(side, limit_bytes=8 << 20, cap_bytes=1 << 20) for side in (both.left, both.right)
        )  # type: ignore[assignment]
        await both.both(*[("RPUSH", name, *["x" * (20 << 10)] * 200) for name in ("same", "differs")])
        await send(both.right, ("LSET", "differs", 7, "y"))

        result = await both.compare()

        assert both.verdicts() == {b"differs": Verdict.VALUE}
        assert result.match == 1


async def test_what_is_too_large_to_be_compared_is_a_difference_that_says_so() -> None:
    """Nothing is called equal that was not compared: one item that passes every cap."""
    async with pair() as both:
        both.sides = LiveKeyspace(both.left, limit_bytes=1 << 20), LiveKeyspace(both.right, limit_bytes=1 << 20)
        await both.both(("SET", "small", "x"), ("RPUSH", "large", "x" * (30 << 20)))

        result = await both.compare()

        assert both.verdicts() == {b"large": Verdict.VALUE}
        assert "cannot be compared" in both.findings[0].detail
        assert result.match == 1


@pytest.mark.parametrize("repeated", [1, 3])
async def test_items_that_a_scan_repeats_do_not_count_twice(repeated: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSCAN may name a member again; the digest is that of the value all the same, in one pass or several."""
    async with pair() as both:
        await both.both(("SADD", "large", *range(9000)))
        async with both.left.link(0) as link:
            once = await read_large(link, b"large", both.left.features)
            original = PieceReader.pieces

            async def pieces(self: PieceReader) -> AsyncIterator[Piece]:
                async for piece in original(self):
                    for _ in range(repeated):
                        self.seen += piece.count
                        yield piece

            monkeypatch.setattr(PieceReader, "pieces", pieces)
            monkeypatch.setattr("transfer.endpoint.redis.large._HASHES_AT_ONCE", 2000)

            assert await read_large(link, b"large", both.left.features) == once


async def test_the_same_data_has_the_same_digest_whatever_its_pieces() -> None:
    """Other versions, another order, another size of pieces."""
    async with pair("redis-6.2", "valkey-9.1") as both:
        members = [b"m%d" % n for n in range(3000)]
        scores = [word for n in range(2000) for word in (n / 7, b"m%d" % n)]
        for server, order in ((both.left, members), (both.right, members[::-1])):
            await send(server, ("SADD", "set", *order), ("ZADD", "zset", *scores), ("RPUSH", "list", *members))
            await send(server, ("HSET", "hash", *members), ("SET", "string", b"".join(members)))
            await send(server, *[("XADD", "stream", f"{n + 1}-0", "f", n) for n in range(2500)])
        async with both.left.link(0) as here, both.right.link(0) as there:
            for key in (b"set", b"zset", b"list", b"hash", b"string", b"stream"):
                ours = await read_large(here, key, both.left.features, piece_bytes=1 << 12)
                theirs = await read_large(there, key, both.right.features)
                assert ours.kind == theirs.kind == key.decode()
                assert ours.same_data(theirs), key


async def test_memory_stays_bounded_with_large_values_on_both_sides() -> None:
    """100 values of 2 MiB on each side are never held together."""
    async with pair() as both:
        await both.both(("CONFIG", "SET", "rdbcompression", "no"))
        await both.both(*[("SETRANGE", f"large:{n}", 2 << 20, "x") for n in range(100)])
        sizes: list[int] = []
        for side in both.sides:
            side.dumps = measured(side.dumps, sizes)  # type: ignore[method-assign]

        result = await both.compare()

        assert result.match == 100
        assert sum(sizes) > 400 << 20
        assert max(sizes) <= 9 << 20


def measured(dumps: Callable[..., Any], sizes: list[int]) -> Callable[..., Any]:
    """*dumps*, writing down how many bytes it gave at once."""

    async def noted(db: int, keys: list[bytes]) -> Any:
        moment = await dumps(db, keys)
        sizes.append(sum(map(len, filter(None, moment.payloads))))
        return moment

    return noted


async def scans(server: Server) -> int:
    """How often SCAN was run."""
    async with server.link(0) as link:
        text: bytes = await link.command("INFO", "commandstats")
    rows = dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)
    return int(rows["cmdstat_scan"].split(",")[0].removeprefix("calls=")) if "cmdstat_scan" in rows else 0


async def test_two_still_servers_with_as_many_keys_are_named_once() -> None:
    """All of the left found at the right, as many there, nothing written: there can be no other key."""
    async with pair() as both:
        await both.both(*EVERY_TYPE)

        result = await both.compare()

        assert (result.checked, both.findings) == (len(KEYS), [])
        assert (await scans(both.left) > 0, await scans(both.right)) == (True, 0)


@pytest.mark.parametrize("change", ["another key instead", "one key more", "a write meanwhile"])
async def test_any_doubt_has_the_right_named_too(change: str) -> None:
    """The number of keys alone proves nothing."""
    async with pair() as both:
        await both.both(*EVERY_TYPE)
        if change == "another key instead":
            await send(both.right, ("DEL", "list"), ("SET", "foreign", "x"))
        elif change == "one key more":
            await send(both.right, ("SET", "foreign", "x"))
        else:
            both.sides = both.sides[0], WritingMeanwhile(both.right)

        await both.compare()

        assert await scans(both.right) > 0
        missing = {b"list": Verdict.MISSING} if change == "another key instead" else {}
        assert both.verdicts() == {b"foreign": Verdict.EXTRA} | missing


class WritingMeanwhile(LiveKeyspace):
    """Somebody adds a key and deletes one that was compared: as many as before."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, page_keys=100)

    async def dumps(self, db: int, keys: list[bytes]) -> Any:
        found = await super().dumps(db, keys)
        if b"dying" in keys:
            await send(self.server, ("SET", "foreign", "x"), ("DEL", "dying"))
        return found

"""Fill a server with sample data.

    manifest? -> names taken? -> manifests -> batches of commands over two links

Rule 1: nothing that fill did not write itself is overwritten.
Rule 2: manifests are written first, so that a run that was cut can be cleared.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from time import monotonic

import msgspec

from transfer.codec.resp import command
from transfer.endpoint.redis.sample import families
from transfer.endpoint.redis.sample.clear import clear
from transfer.endpoint.redis.sample.families import DBS, MANIFEST_KEY, Item
from transfer.endpoint.redis.sample.manifest import GENERATOR, Manifest, in_dbs, now_ms, read_manifest
from transfer.endpoint.redis.sample.requests import Commands, write
from transfer.endpoint.redis.sample.spread import accept, cut, lies_in, share_out
from transfer.endpoint.redis.sample.verify import verify
from transfer.model.errors import GuardError
from transfer.model.report import Verdict
from transfer.wire.dial import Dialer, refuse
from transfer.wire.link import Link

_COMMANDS_PER_SEND = 1_000
_FOREIGN = (Verdict.TYPE, Verdict.VALUE)


class Filled(msgspec.Struct, frozen=True):
    """What fill did. `dbs` is database -> keys."""

    seed: int
    keys: int
    commands: int
    seconds: float
    dbs: dict[int, int]


async def fill(dialer: Dialer, *, keys: int = families.DEFAULT_KEYS, seed: int = families.DEFAULT_SEED) -> Filled:
    """Write *keys* sample keys; over the same data of an earlier fill, write them anew.

    Raises:
        GuardError: names are taken by keys that fill did not write, or by data of another seed or size.
        DatabasesError: the server lacks one of the databases, and the address names none.
        UsageError: too few keys to hold every family.
    """
    began = monotonic()
    families.counted(keys)
    await _make_room(dialer, seed, keys)
    manifest = Manifest(generator=GENERATOR, seed=seed, keys=keys, filled_at_ms=await now_ms(dialer))
    dbs = await _write_manifests(dialer, manifest)
    total = len(dbs)

    def batches() -> Iterator[tuple[int, Commands]]:
        for db, found in groupby(families.items(seed, keys), key=lambda item: lies_in(dialer, item.db)):
            yield from ((db, commands) for commands in _requests(found, manifest, dbs, db))

    async def send(link: Link, db: int, commands: Commands) -> None:
        nonlocal total
        accept(await link.ask(commands.data, commands.replies), link)
        total += commands.replies

    await share_out(dialer, batches(), send)
    return Filled(seed, sum(dbs.values()), total, monotonic() - began, dbs)


async def _make_room(dialer: Dialer, seed: int, keys: int) -> None:
    """Take away our own earlier data if it is the same; refuse if any name is taken after that."""
    known = await read_manifest(dialer)
    if known is not None:
        if (known.seed, known.keys) != (seed, keys):
            raise GuardError(
                f"there are {known.keys:,} demo keys of seed {known.seed} already",
                where=str(dialer.address), hint="transfer demo clear URL takes them away", keys=known.keys,
            )  # fmt: skip
        changed = [finding for finding in (await verify(dialer)).findings if finding.verdict in _FOREIGN]
        if changed:
            raise _taken(dialer, len(changed), changed[0].db, changed[0].key)
        await clear(dialer)
    await _refuse_taken_names(dialer, keys)


async def _refuse_taken_names(dialer: Dialer, keys: int) -> None:
    taken: list[tuple[int, int, list[bytes]]] = []

    def batches() -> Iterator[tuple[int, list[bytes]]]:
        for db, named in groupby(families.names(keys), key=lambda pair: lies_in(dialer, pair[0])):
            yield from ((db, found) for found in cut((name for _, name in named), _COMMANDS_PER_SEND))
        yield from ((db, [MANIFEST_KEY]) for db in sorted({lies_in(dialer, db) for db in DBS}))

    async def look(link: Link, db: int, found: list[bytes]) -> None:
        answer = await link.command(b"EXISTS", *found)
        refuse(answer, link.where)
        if answer:
            taken.append((answer, db, found))

    await share_out(dialer, batches(), look)
    if taken:
        _, db, found = taken[0]
        link = await dialer.dial(db=db)
        there = await link.ask(b"".join(command(b"EXISTS", name) for name in found), len(found))
        await link.close()
        first = next((name for name, answer in zip(found, there, strict=True) if answer), found[0])
        raise _taken(dialer, sum(count for count, _, _ in taken), db, first)


def _taken(dialer: Dialer, count: int, db: int, key: bytes) -> GuardError:
    shown = key.decode(errors="backslashreplace")
    return GuardError(
        f"{count:,} names of the demo data are taken by keys that are not ours, the first in db {db}: {shown!r}",
        where=str(dialer.address), hint="fill another server, or an empty database: redis://host/3", keys=count,
    )  # fmt: skip


def _requests(found: Iterator[Item], manifest: Manifest, dbs: dict[int, int], db: int) -> Iterator[Commands]:
    """Requests of about a thousand commands each; counts the keys of *db* on the way."""
    parts: list[bytes] = []
    count = 0
    for item in found:
        data, commands = write(item, manifest.filled_at_ms + item.ttl_ms if item.ttl_ms else 0)
        parts.append(data)
        count += commands
        dbs[db] += 1
        if count >= _COMMANDS_PER_SEND:
            yield Commands(b"".join(parts), count)
            parts, count = [], 0
    if parts:
        yield Commands(b"".join(parts), count)


async def _write_manifests(dialer: Dialer, manifest: Manifest) -> dict[int, int]:
    """One in each database that will be used. Returns the keys written so far per database."""
    dbs: dict[int, int] = {}

    async def put(link: Link, db: int) -> None:
        refuse(await link.command("SET", MANIFEST_KEY, msgspec.json.encode(manifest)), link.where)
        dbs[db] = 1

    await in_dbs(dialer, put)
    return dbs

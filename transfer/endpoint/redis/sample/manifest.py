"""The manifest: one small key per database that says what fill wrote there and when.

Rule 1: all that is known of sample data is the manifest; two programs on different machines agree by it.
Rule 2: an address that names a database has all sample data in that one, else it lies where its family says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from transfer.endpoint.redis.sample.families import DBS, MANIFEST_KEY
from transfer.endpoint.redis.sample.spread import lies_in, select
from transfer.model.errors import GuardError, UsageError
from transfer.wire.dial import Dialer, refuse
from transfer.wire.link import ErrorReply, Link

GENERATOR = 1
"""Grows with every change of the generated data: another one cannot make the same items again."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `transfer:demo:manifest` holds, as JSON. `keys` counts everything, the manifests too."""

    generator: int
    seed: int
    keys: int
    filled_at_ms: int


async def read_manifest(dialer: Dialer) -> Manifest | None:
    """What the manifest of the first database that has one says, None where there is none.

    Raises:
        GuardError: something else lies under its name.
        UsageError: the data was written by another generation of this program.
    """
    found: list[Manifest] = []

    async def look(link: Link, db: int) -> None:
        data = await link.command("GET", MANIFEST_KEY)
        if data is None:
            return
        if isinstance(data, ErrorReply) and not str(data).startswith("WRONGTYPE"):
            refuse(data, link.where)
        try:
            found.append(msgspec.json.decode(data, type=Manifest))
        except (msgspec.DecodeError, TypeError):
            raise GuardError(
                f"{MANIFEST_KEY.decode()} in db {db} was not written by demo fill",
                where=link.where, hint="use another server, or an empty database: redis://host/3",
            ) from None  # fmt: skip

    await in_dbs(dialer, look)
    if found and found[0].generator != GENERATOR:
        raise UsageError(
            f"the demo data is of generation {found[0].generator}, this program makes {GENERATOR}",
            where=str(dialer.address), hint="use the release of transfer that filled it",
        )  # fmt: skip
    return found[0] if found else None


async def in_dbs(dialer: Dialer, work: Callable[[Link, int], Awaitable[None]]) -> None:
    """Do *work* in every database that holds demo data, one after another."""
    link = await dialer.dial()
    try:
        for db in sorted({lies_in(dialer, db) for db in DBS}):
            await select(link, db)
            await work(link, db)
    finally:
        await link.close()


async def now_ms(dialer: Dialer) -> int:
    """The server's clock."""
    link = await dialer.dial()
    try:
        seconds, microseconds = await link.command("TIME")
    finally:
        await link.close()
    return int(seconds) * 1000 + int(microseconds) // 1000

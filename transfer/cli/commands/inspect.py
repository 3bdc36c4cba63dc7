"""What is there: `inspect URL`.

    Server -> INFO, and a census of each database -> lines for people, data for programs

Numbers of a sampled database are what its sample says of all its keys; the lines and `sampled` tell so.
"""

from __future__ import annotations

import base64
import contextlib
from typing import Any

from transfer.cli.render.plan import memory_text, role_text, side_json, table
from transfer.endpoint.redis.census import SPANS, BigKey, Census, take_census
from transfer.endpoint.redis.server import Server
from transfer.model.endpoint import Address
from transfer.model.errors import DatabasesError
from transfer.model.units import show_bytes, some
from transfer.plan.look import Look, look_at
from transfer.report.names import hashed_name, printable, shown_name

_SPAN_ORDER = (*(name for name, _ in SPANS), "more", "none")


async def run_inspect(
    address: Address, *, connect_timeout_s: float = 10.0, timeout_s: float = 30.0, hash_keys: bool = False
) -> tuple[list[str], dict[str, Any], int]:
    """Lines, data and exit code. The URL's database, or all that hold keys.

    Raises:
        UnreachableError, AuthError, TlsError, PermissionDeniedError, LinkError.
        DatabasesError: the server has no such database.
    """
    server = await Server.open(address, name="transfer-inspect", connect_timeout=connect_timeout_s, timeout=timeout_s)
    look = await look_at(server, "source")
    wanted = sorted(look.keyspace) if address.db is None else [address.db]
    if address.db is not None and address.db >= look.side.databases:
        raise DatabasesError(f"the server has {look.side.databases} databases, not {address.db}", where=server.where)
    counts = {db: look.keyspace.get(db, (0, 0)) for db in wanted}
    censuses = [await take_census(server, db, keys) for db, (keys, _) in counts.items() if keys]
    biggest = sorted((big for census in censuses for big in census.biggest), reverse=True)[:10]
    lines = _head(look, counts)
    for census in censuses:
        lines += ["", *_census_lines(census, *counts[census.db])]
    if biggest:
        of = "among the keys sampled" if any(census.sampled for census in censuses) else "of all keys"
        lines += ["", *biggest_lines(biggest, f"biggest {of}", hash_keys=hash_keys)]
    return lines, _data(look, counts, censuses, biggest, hash_keys=hash_keys), 0


def scaled(count: int, seen: int, keys: int) -> int:
    """What *count* of *seen* keys comes to for all *keys*."""
    return round(count * keys / seen) if seen else 0


def _head(look: Look, counts: dict[int, tuple[int, int]]) -> list[str]:
    side, keys = look.side, sum(keys for keys, _ in counts.values())
    held = f"{len(counts)} of {side.databases} logical databases, {some(keys, 'key')}"
    lines = [
        f"{printable(side.place)}: {held}",
        f"  {side.identity.name}, {role_text(side)}, run id {printable(side.identity.run_id[:12])}",
        f"  {memory_text(side)}; data {show_bytes(side.dataset_bytes)}",
    ]
    if look.shard:
        lines.append(f"  node {look.shard.node_id or '?'} holds {look.shard.slots:,} of 16,384 slots")
    rows = [
        (str(db), f"{keys:,}", f"{deadlines:,}", f"{deadlines / keys:.1%}" if keys else "-")
        for db, (keys, deadlines) in counts.items()
    ]
    return [*lines, "", *table(("db", "keys", "with deadline", "share"), rows)] if rows else [*lines, "  no keys"]


def _census_lines(census: Census, keys: int, deadlines: int) -> list[str]:
    about = "~" if census.sampled else ""
    how = f"a sample of {census.seen:,} of {keys:,} keys" if census.sampled else f"all {some(census.seen, 'key')}"
    rows = []
    for kind, count in census.kinds.most_common():
        size = census.sizes[kind]
        whole = f"{about}{show_bytes(scaled(size, census.seen, keys) if census.sampled else size)}" if size else "-"
        number = scaled(count, census.seen, keys) if census.sampled else count
        mean = show_bytes(size / count) if size else "-"
        rows.append((printable(kind), f"{about}{number:,}", f"{count / census.seen:.1%}", whole, mean))
    shares = [f"{span_text(name)} {census.spans[name] / census.seen:.1%}" for name in _SPAN_ORDER if census.spans[name]]
    return [
        f"database {census.db}, {how}",
        *table(("type", "keys", "share", "memory", "each"), rows, left=1),
        f"  time to live: {', '.join(shares) or 'unknown'}",
    ]


def span_text(name: str) -> str:
    return {"none": "no deadline", "more": "above 30d"}.get(name, f"below {name}")


def biggest_lines(biggest: list[BigKey], head: str, *, hash_keys: bool) -> list[str]:
    name = hashed_name if hash_keys else shown_name
    rows = [(name(big.key), printable(big.kind), str(big.db), show_bytes(big.size_bytes)) for big in biggest]
    return [head, *table(("key", "type", "db", "memory"), rows, left=2)]


def _data(
    look: Look,
    counts: dict[int, tuple[int, int]],
    censuses: list[Census],
    biggest: list[BigKey],
    *,
    hash_keys: bool,
) -> dict[str, Any]:
    by_db = {census.db: census for census in censuses}
    return {
        **side_json(look.side),
        "keys": sum(keys for keys, _ in counts.values()),
        "dbs": [
            {"db": db, "keys": keys, "with_deadline": deadlines, **_census_data(by_db.get(db), keys)}
            for db, (keys, deadlines) in counts.items()
        ],
        "biggest": [big_data(big, hash_keys=hash_keys) for big in biggest],
    }


def _census_data(census: Census | None, keys: int) -> dict[str, Any]:
    """Counts as they were found; of a sample, `types` also says what they come to for all keys."""
    if census is None:
        return {"looked_at": 0, "sampled": False, "types": {}, "time_to_live": {}}
    types = {
        kind: {"keys": count, "share": round(count / census.seen, 6), "bytes": census.sizes[kind]}
        | (_estimates(count, census.sizes[kind], census.seen, keys) if census.sampled else {})
        for kind, count in census.kinds.most_common()
    }
    spans = {name: census.spans[name] for name in _SPAN_ORDER if census.spans[name]}
    return {"looked_at": census.seen, "sampled": census.sampled, "types": types, "time_to_live": spans}


def _estimates(count: int, size_bytes: int, seen: int, keys: int) -> dict[str, int]:
    return {"estimated_keys": scaled(count, seen, keys), "estimated_bytes": scaled(size_bytes, seen, keys)}


def big_data(big: BigKey, *, hash_keys: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"db": big.db, "type": big.kind, "bytes": big.size_bytes}
    if hash_keys:
        return entry | {"key_hash": hashed_name(big.key)}
    with contextlib.suppress(UnicodeDecodeError):
        entry["key"] = big.key.decode()
    return entry | {"key_b64": base64.b64encode(big.key).decode()}

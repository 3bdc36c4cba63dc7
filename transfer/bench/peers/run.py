"""Peers as ways: one function each, a Row out, WayError with what it said if it failed."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import anyio

from transfer.bench.data import requests
from transfer.bench.places import Side, url_of
from transfer.bench.process import Ran, run
from transfer.bench.ways import Row
from transfer.model.endpoint import Address
from transfer.model.errors import WayError

_SYNC_WITHIN_S = 900.0
_POLL_S = 0.01


async def script(way: str, source: Address, target: Address, **more: int) -> Row:
    """`loop`, `pipelines` or `migrate` of `peers/scripts.py`; *more* are its other arguments."""
    asked = {"way": way, "source": _with_secret(source), "target": _with_secret(target), "limit": 0, **more}
    words = [sys.executable, "-m", "transfer.bench.peers.scripts"]
    ran = _well(await run(words, stdin=json.dumps(asked).encode()), way)
    told = json.loads(ran.out.splitlines()[-1])
    seconds = told["ended"] - told["began"]
    row = {"wall_s": ran.wall_s, "seconds": seconds, "engine_cpu_s": ran.cpu_s, "keys": told["keys"]}
    row |= {"rss_mib": max(told["rss_mib"], ran.rss_mib), "began": told["began"], "ended": told["ended"]}
    if "scan_s" in told:
        row |= {"scan_s": told["scan_s"], "names_known_s": seconds - told["scan_s"]}
    return row


async def replicaof(source: Side, target: Side, diskless_load: str) -> Row:
    """From REPLICAOF until the replica says that its link is up; then it is made a primary again."""
    for name, value in (("repl-diskless-sync", "yes"), ("repl-diskless-sync-delay", "0")):
        await source.ask("CONFIG", "SET", name, value)
    await target.ask("CONFIG", "SET", "repl-diskless-load", diskless_load)
    began = time.monotonic()
    await target.ask("REPLICAOF", source.address.host, source.address.port)
    try:
        with anyio.fail_after(_SYNC_WITHIN_S):
            await _link_up(target)
    except TimeoutError:
        raise WayError(f"REPLICAOF: the link was not up within {_SYNC_WITHIN_S:g} s") from None
    finally:
        ended = time.monotonic()
        with anyio.CancelScope(shield=True):
            await target.ask("REPLICAOF", "NO", "ONE")
    return {"wall_s": ended - began, "seconds": ended - began, "began": began, "ended": ended}


async def _link_up(target: Side) -> None:
    while (await target.info("replication")).get("master_link_status") != "up":  # noqa: ASYNC110 - no event there
        await anyio.sleep(_POLL_S)


async def export_rdb(cli: str, source: Address) -> Row:
    """`redis-cli --rdb FILE`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "dump.rdb"
        ran = _well(await _cli(cli, source, "--rdb", str(file)), "redis-cli --rdb")
        size_bytes = file.stat().st_size
        whole = file.read_bytes()[:5] in (b"REDIS", b"VALKE") if size_bytes < 1 << 20 else True
    if not size_bytes or not whole:
        raise WayError("redis-cli --rdb wrote no RDB file")
    return _row(ran) | {"file_mib": size_bytes / 2**20}


async def export_zstd(cli: str, zstd: str, source: Address, level: int = 3) -> Row:
    """`redis-cli --rdb FILE`, then `zstd FILE`: what people do for a compressed backup."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "dump.rdb"
        saved = _well(await _cli(cli, source, "--rdb", str(file)), "redis-cli --rdb")
        packed = _well(await run([zstd, "-q", f"-{level}", str(file)]), "zstd")
        size_bytes = file.with_name("dump.rdb.zst").stat().st_size
    seconds = saved.wall_s + packed.wall_s
    row = {"wall_s": seconds, "seconds": seconds, "engine_cpu_s": saved.cpu_s + packed.cpu_s}
    return row | {"rss_mib": max(saved.rss_mib, packed.rss_mib), "file_mib": size_bytes / 2**20}


async def import_pipe(cli: str, target: Address, file: Path) -> Row:
    """`redis-cli --pipe < FILE`, a file of commands."""
    ran = _well(await _cli(cli, target, "--pipe", stdin=file), "redis-cli --pipe")
    if b"errors: 0" not in ran.out:
        raise WayError(f"redis-cli --pipe: {ran.complaint}")
    return _row(ran)


def write_commands(file: Path, keys: int, seed: int, values: str) -> None:
    """The first *keys* keys of the generator as a file for `--pipe`."""
    with file.open("wb") as out:
        for request, _ in requests(keys, seed, values):
            out.write(request)


async def shake(tool: str, source: Address, target: Address) -> Row:
    """RedisShake's scan reader with the COUNT it is fastest with."""
    config = (
        f'[scan_reader]\naddress = "{_at(source)}"\nscan = true\nksn = false\ncount = 1000\n'
        f'[redis_writer]\naddress = "{_at(target)}"\n[advanced]\ndir = "shake-data"\nlog_level = "warn"\n'
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "shake.toml").write_text(config)
        return _row(_well(await run([tool, "shake.toml"], folder=Path(folder)), "redis-shake"))


async def rdb_cli(tool: str, cli: str, source: Address, target: Address) -> Row:
    """librdb: an RDB file, made before the clock starts, restored with 1000 commands in flight."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "dump.rdb")
        _well(await _cli(cli, source, "--rdb", file), "redis-cli --rdb")
        words = [tool, file, "redis", "-h", target.host, "-p", str(target.port), "-r", "-l", "1000"]
        return _row(_well(await run(words, folder=Path(folder)), "rdb-cli"))


async def gunyu(tool: str, source: Address, target: Side, keys: int) -> Row:
    """It follows for ever: ended once the target holds all keys. Its checkpoints are keys too."""
    sides = (("input", source), ("output", target.address))
    config = "".join(f"{n}:\n  redis:\n    addresses: [{_at(a)}]\n    type: standalone\n" for n, a in sides)
    give_up = time.monotonic() + _SYNC_WITHIN_S

    async def all_there() -> bool:
        return await target.keys() >= keys or time.monotonic() > give_up

    with tempfile.TemporaryDirectory() as folder:
        cache = f"channel:\n  storer:\n    dirPath: {folder}/cache\n"
        (Path(folder) / "gunyu.yaml").write_text(config + cache)
        ran = await run([tool, "-conf", "gunyu.yaml"], folder=Path(folder), until=all_there)
    if await target.keys() < keys:
        raise WayError(f"gunyu: {ran.complaint}", exit=ran.exit)
    return _row(ran) | {"keys": keys}


async def full_check(tool: str, source: Address, target: Address) -> Row:
    """redis-full-check, whole values, one pass."""
    with tempfile.TemporaryDirectory() as folder:
        words = [tool, "-s", _at(source), "-t", _at(target), "--comparemode=1", "--comparetimes=1", "--qps=10000000"]
        ran = await run([*words, "--db=differences.db"], folder=Path(folder))
        return _row(_well(ran, "redis-full-check"))


async def _cli(cli: str, address: Address, *words: str, stdin: Path | bytes = b"") -> Ran:
    where = ["-s", address.path] if address.path else ["-h", address.host, "-p", str(address.port)]
    secret = {"REDISCLI_AUTH": address.password.reveal()} if address.password else {}
    return await run([cli, *where, *words], stdin=stdin, environment={**os.environ, **secret})


def _row(ran: Ran) -> Row:
    row = {"wall_s": ran.wall_s, "seconds": ran.wall_s, "engine_cpu_s": ran.cpu_s, "rss_mib": ran.rss_mib}
    return row | {"began": ran.began, "ended": ran.ended}


def _well(ran: Ran, name: str) -> Ran:
    if ran.exit:
        raise WayError(f"{name}: {ran.complaint}", exit=ran.exit)
    return ran


def _at(address: Address) -> str:
    return f"{address.host}:{address.port}"


def _with_secret(address: Address) -> str:
    """The URL with its password: for the input of a child alone."""
    url = url_of(address)
    if address.password is None:
        return url
    scheme, _, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    secret = quote(address.password.reveal(), safe="")
    return f"{scheme}://{user if at else ''}:{secret}@{host if at else rest}"

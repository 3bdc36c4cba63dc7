"""`tls`: the same servers over TLS and without.

The server program must have TLS built in, as Debian's redis-server has.
"""

from __future__ import annotations

import socket
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec

from transfer.bench import ours
from transfer.bench.data import fill
from transfer.bench.places import Pair, Side
from transfer.bench.questions import Answer, Asked, known, ratio
from transfer.bench.rounds import chosen, take_turns
from transfer.bench.ways import Way
from transfer.endpoint.redis.throwaway import throwaway
from transfer.model.endpoint import Address
from transfer.model.errors import UnreachableError, UsageError

INSTALL = "pip install 'keyspace-transfer[bench]'"


async def measure(asked: Asked) -> Answer:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates(folder)
        async with AsyncExitStack() as stack:
            here, there = [await _started(stack, asked.binary, folder) for _ in range(2)]
            pair = Pair(Side(here[0], ours=True), Side(there[0], ours=True))
            ways = [
                Way("copy, plain", partial(ours.copy, here[0], there[0]), ours=True),
                Way("copy, TLS", partial(ours.copy, here[1], there[1]), ours=True),
            ]
            ways = chosen(ways, asked.ways, {})
            await fill(pair.source.address, asked.keys, asked.seed, asked.values)
            await pair.measure()
            taken = await take_turns(ways, pair, asked.rounds, asked.say)
            pairs = {
                "TLS / plain": ratio(taken.median, "copy, TLS", "copy, plain"),
                "engine CPU, TLS / plain": ratio(taken.median, "copy, TLS", "copy, plain", "engine_cpu_s"),
            }
            data = {"keys": pair.keys, "data_mib": round(pair.data_bytes / 2**20, 1)}
            return Answer(taken, known(pairs), await pair.source.version(), data)


def certificates(folder: Path) -> None:
    """An authority and a certificate for 127.0.0.1: ca.pem, server.pem, server.key.

    Raises:
        UsageError: trustme is not installed.
    """
    try:
        import trustme
    except ImportError:
        raise UsageError("certificates for this benchmark are made by trustme", hint=INSTALL) from None
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "server.key")
    certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")


async def _started(stack: AsyncExitStack, binary: Path, folder: Path) -> tuple[Address, Address]:
    """A server that listens plainly and with TLS, and where."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    files = {"cert-file": "server.pem", "key-file": "server.key", "ca-cert-file": "ca.pem"}
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    for name, file in files.items():
        options += [f"--tls-{name}", str(folder / file)]
    try:
        server = await stack.enter_async_context(throwaway(binary, options=options))
    except UnreachableError as error:
        hint = "--server with a program that has TLS: apt-get install redis-server, then --server /usr/bin/redis-server"
        raise UsageError(f"{binary.name} did not start with TLS: {error.message}", hint=hint) from None
    secure = msgspec.structs.replace(
        server.address, scheme="rediss", tls=True, port=port, cacert=str(folder / "ca.pem")
    )
    return server.address, secure

"""Cluster nodes for tests: real servers whose port leaves room for the cluster bus, 10,000 above it."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.servers import running
from transfer.endpoint.redis.throwaway import ThrowawayServer


@asynccontextmanager
async def cluster_node(version: str, *options: str) -> AsyncIterator[ThrowawayServer]:
    """A node of a cluster of its own, which serves no slot yet."""
    async with running(version, "--cluster-enabled", "yes", *options, port=_low_port()) as node:
        yield node


def _low_port() -> int:
    """A free port below the ephemeral ones whose bus port is free as well."""
    for port in random.sample(range(20_000, 22_700), 50):
        with socket.socket() as one, socket.socket() as bus, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port
    raise AssertionError("no free port")

"""How a server packs small values and compresses texts: what its DUMP of one and the same value depends on.

CONFIG GET on both sides -> the same answers, the same payloads of the same values -> bodies may be compared as they are
"""

from __future__ import annotations

from transfer.endpoint.redis.server import Server
from transfer.model.errors import TransferError
from transfer.wire.link import Link

_SETTINGS = (
    *("rdbcompression", "list-compress-depth", "*-max-listpack-*", "*-max-ziplist-*", "*-max-intset-*"),
    *("list-max-*", "stream-node-max-*"),
)


async def packs_alike(left: Server, right: Server) -> bool:
    """Whether both servers are known to give the same payload for the same value, large sets and hashes apart."""
    if (left.identity.vendor, left.features.dump_version) != (right.identity.vendor, right.features.dump_version):
        return False
    try:
        here = await left.asked(_settings)
        return bool(here) and here == await right.asked(_settings)
    except TransferError:
        return False


async def _settings(link: Link) -> dict[bytes, bytes]:
    """What it says of these; {} where the user may not ask."""
    found: dict[bytes, bytes] = {}
    for name in _SETTINGS:
        answer = await link.command("CONFIG", "GET", name)
        if not isinstance(answer, list):
            return {}
        found |= dict(zip(answer[::2], answer[1::2], strict=True))
    return found

"""A cluster node behind a plain URL: what part of the keyspace it holds.

CLUSTER NODES, one line a node: id addr flags primary ping pong epoch state slot slot-slot [slot->-id] ...
"""

from __future__ import annotations

import msgspec

from transfer.model.plan import Hazard
from transfer.wire.link import Link

SLOTS = 16384


class Shard(msgspec.Struct, frozen=True):
    """`ranges` as the cluster writes them, `slots` their number; empty and 0 where the node does not tell."""

    node_id: str = ""
    ranges: tuple[str, ...] = ()
    slots: int = 0
    nodes: int = 0

    def hazard(self, side: str, where: str) -> Hazard:
        held = f"slots {', '.join(self.ranges)}" if self.ranges else "no slots"
        what = f"node {self.node_id}, {held}: {self.slots:,} of {SLOTS:,} ({self.slots / SLOTS:.1%})"
        return Hazard(
            "one-shard",
            f"the {side} {where} is one node of a cluster, and a plain URL reaches its shard alone: "
            + (what if self.node_id else "which slots, its user may not ask (CLUSTER NODES)"),
            exit_code=5,
            code="E501",
        )


async def shard_of(link: Link) -> Shard:
    """The shard of the node on this link; of a replica, that of its primary."""
    answer = await link.command("CLUSTER", "NODES")
    return parse_nodes(answer) if isinstance(answer, bytes) else Shard()


def parse_nodes(text: bytes) -> Shard:
    """The shard of the node that CLUSTER NODES marks `myself`."""
    rows = {row[0]: row for row in (line.split() for line in text.decode().splitlines()) if len(row) >= 8}
    own = next((row for row in rows.values() if "myself" in row[2].split(",")), None)
    if own is None:
        return Shard()
    holder = rows.get(own[3], own)
    ranges = tuple(word for word in holder[8:] if not word.startswith("["))
    return Shard(own[0], ranges, sum(map(_width, ranges)), len(rows))


def _width(word: str) -> int:
    first, _, last = word.partition("-")
    return int(last or first) - int(first) + 1

"""One large key on its way: what is known of it, and how it is to be copied."""

from __future__ import annotations

import msgspec

from transfer.codec import resp
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.big.pieces import PIECE_BYTES
from transfer.endpoint.redis.landing import Landing
from transfer.endpoint.redis.passing import refuse_passing
from transfer.wire.link import ErrorReply, Link

TOO_LARGE_CODE, UNREADABLE_CODE, REFUSED_CODE = "E303", "E302", "E204"
WHOLE_ONLY = ("raw", "restamp")
"""What --format says where no type commands are wanted: nothing goes in pieces."""
_DEFAULT_BULK_BYTES = 512 << 20
"""proto-max-bulk-len where the target does not tell."""
_DUMP_COPIES = 2
"""A payload stands twice in the source's memory for a moment: as it is made, and as a reply."""


class BigOptions(msgspec.Struct, frozen=True):
    """`above_bytes` of MEMORY USAGE a key goes in pieces; below, through one DUMP. `job` is part of temporary names."""

    above_bytes: int = 16 << 20
    piece_bytes: int = PIECE_BYTES
    cap_bytes: int = 32 << 20
    job: str = "none"
    writing: str = "auto"
    use: str = ""


class StoppedError(Exception):
    """The run is to stop: what was begun is dropped, and not counted."""


class Move(msgspec.Struct):
    """One key on its way; `lost` says that an answer of the target was lost, `stale` names temporary keys to remove."""

    db: int
    key: bytes
    landing: Landing
    to_db: int
    kind: str = ""
    size_bytes: int = 0
    lost: bool = False
    sent: bool = False
    in_pieces: bool = False
    only_whole: bool = False
    changes: int = 0
    breaks: int = 0
    rounds: int = 0
    stale: list[bytes] = msgspec.field(default_factory=list)

    async def look(self, source: Link, *, sized: bool) -> bool:
        """Learn type and size as of now; whether the key is there. *sized*: the server has MEMORY USAGE."""
        ask = resp.command("TYPE", self.key) + resp.command("STRLEN", self.key)
        ask += resp.command("MEMORY", "USAGE", self.key) if sized else b""
        kind, length, *usage = await source.ask(ask, 3 if sized else 2)
        if isinstance(kind, ErrorReply):
            await refuse_passing(source, [str(kind)])
            kind = "unknown"
        self.kind = kind.decode("ascii", "backslashreplace") if isinstance(kind, bytes) else str(kind)
        lengths = [answer for answer in (length, *usage) if isinstance(answer, int)]
        self.size_bytes = lengths[0] if self.kind == "string" and lengths else max(lengths, default=0)
        return self.kind != "none"


async def has_room(source: Link, size_bytes: int) -> bool:
    """Whether the source has memory for a payload beside its data: else it would evict, or refuse writers."""
    memory = await probe.memory(source)
    free = memory.maxmemory_bytes - memory.used_bytes
    return memory.maxmemory_bytes == 0 or free >= _DUMP_COPIES * size_bytes


async def most_bulk_bytes(target: Link) -> int:
    """What one bulk of a request may have at the target; users who may not ask are taken at the usual setting."""
    answer = await target.command("CONFIG", "GET", "proto-max-bulk-len")
    return int(answer[1]) if isinstance(answer, list) and len(answer) == 2 else _DEFAULT_BULK_BYTES

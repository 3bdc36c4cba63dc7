"""A server beside the work: how long it takes to answer, whether others use it, and whether its clock is stepped.

    Beside.open -> link of its own -> ping_ms, others, step_ms (again and again) -> close

Rule 1: the time our own process was at work while an answer may have lain there is taken off: it is not the server's.
Rule 2: others are connections that are not ours and asked something within `_RECENT_S`; replicas are none, a new
        connection that is gone again is one. Where we may not look, others are assumed.
"""

from __future__ import annotations

import time

from transfer.endpoint.redis.info import number, read_info
from transfer.endpoint.redis.server import Server
from transfer.model.errors import PermissionDeniedError, ServerRefusedError
from transfer.wire.link import Link

_RECENT_S = 5
_CROWD = 200
"""So many connections are not all ours; and the list of them is not asked for: a long one takes the server's time."""


class Beside:
    """One link to *server* that only looks."""

    def __init__(self, server: Server, link: Link) -> None:
        self._server = server
        self._link = link
        self._not_ours = 0
        self._seen_at: float | None = None
        self._before: tuple[int, int] | None = None

    @classmethod
    async def open(cls, server: Server) -> Beside:
        """Raises as `Dialer.dial`."""
        return cls(server, await server.dialer.dial(db=0))

    async def close(self) -> None:
        await self._link.close()

    async def ping_ms(self) -> float:
        """How long the server took to answer."""
        began, worked = time.perf_counter(), time.process_time()
        await self._link.command("PING")  # a refusal takes as long
        waited = time.perf_counter() - began
        return max(0.0, waited - (time.process_time() - worked)) * 1000

    async def step_ms(self) -> int:
        """As `Server.look_at_clock`."""
        return await self._server.look_at_clock(self._link)

    async def others(self) -> bool:
        """Whether anybody else uses the server."""
        try:
            info = await read_info(self._link, "clients", "stats")
        except (PermissionDeniedError, ServerRefusedError):
            return True
        first = self._before is None
        if self._came_and_went(info) or number(info, "connected_clients") > _CROWD:
            self._seen_at = time.monotonic()
            return True
        listed = await self._link.command("CLIENT", "LIST")
        if not isinstance(listed, bytes):
            return True
        lines, name = listed.decode("utf-8", "replace").splitlines(), self._server.dialer.name
        if any(_is_user(line, name, dialling=not first) for line in lines):
            self._seen_at = time.monotonic()
        return self._seen_at is not None and time.monotonic() - self._seen_at < _RECENT_S

    def _came_and_went(self, info: dict[str, str]) -> bool:
        """Whether the server accepted more connections, since the last look, than we dialled."""
        now = number(info, "total_connections_received"), self._server.dialer.dialled
        self._before = self._before or now
        foreign = now[0] - self._before[0] - (now[1] - self._before[1])
        more, self._not_ours = foreign > self._not_ours, max(foreign, self._not_ours)
        return more


def _is_user(line: str, our_name: str, *, dialling: bool) -> bool:
    """Whether a line of CLIENT LIST is of a client that works: not ours, no replica (S) nor primary (M).

    Where we may be *dialling*, one without a name that came this second may be ours, about to say it; whether it
    is, the count of all tells.
    """
    fields = dict(word.split("=", 1) for word in line.split(" ") if "=" in word)
    name = fields.get("name", "")
    ours = bool(our_name) and (name.startswith(f"{our_name}-") or (dialling and not name and fields.get("age") == "0"))
    idle = fields.get("idle", "0")
    recent = not idle.isdigit() or int(idle) <= _RECENT_S
    return not ours and recent and not set(fields.get("flags", "")) & {"S", "M"}

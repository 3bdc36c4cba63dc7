"""Reading from a replica of the source instead of from the source itself (--read-from replica).

    primary -> INFO replication -> replicas that are online, the closest first -> one that answers -> source of the copy
                     `-> again and again while the copy runs -> ReplicaLag: how far it is behind

Rule 1: credentials, TLS and the like are those of the primary's URL; host and port are what the replica announces.
Rule 2: one that is further behind than --max-replica-lag is a hazard in the plan; under way it is waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from transfer.endpoint.redis.replicas import Replica, replicas_of
from transfer.endpoint.redis.server import Server
from transfer.model.endpoint import Address
from transfer.model.errors import IncompatibleError, TransferError
from transfer.model.plan import CopyPlan, CopyRequest, Hazard
from transfer.model.units import show_bytes, show_ms

_MOST_HEADS = 1000

Open = Callable[[Address], Awaitable[Server]]


class Standby(msgspec.Struct, frozen=True):
    """A replica that is read from: its primary, and how it stood when it was chosen."""

    primary: Server
    server: Server
    seen: Replica


async def find_replica(primary: Server, open_server: Open) -> Standby:
    """The replica of *primary* that is the closest behind and answers.

    Raises:
        IncompatibleError: there is none online, or what answers there is no replica of this primary.
        TransferError: none of them can be reached; the failure of the closest.
    """
    if primary.identity.role != "master":
        what = f"the source is a replica itself, of {primary.identity.primary_host}:{primary.identity.primary_port}"
        raise IncompatibleError(what, where=primary.where, hint="leave out --read-from: it is read from")
    replicas = [replica for replica in await primary.asked(replicas_of) if replica.online]
    if not replicas:
        raise IncompatibleError(
            "the source has no replica online to read from", where=primary.where, hint="--read-from primary"
        )
    failures: list[TransferError] = []
    for seen in sorted(replicas, key=lambda replica: (replica.silent_s, replica.behind_bytes)):
        try:
            server = await open_server(_address(primary.address, seen))
        except TransferError as error:
            failures.append(error)
            continue
        if server.identity.role == "slave" and server.identity.replid == primary.identity.replid:
            return Standby(primary, server, seen)
        what = "what answers at the address that a replica announces is no replica of the source"
        failures.append(IncompatibleError(what, where=server.where, hint="--read-from primary"))
    raise failures[0]


def _address(primary: Address, replica: Replica) -> Address:
    return msgspec.structs.replace(primary, host=replica.host, port=replica.port, path="")


def tell_standby(plan: CopyPlan, standby: Standby, request: CopyRequest) -> None:
    """Put into *plan* where it reads, how far that is behind, and the hazard if it is too far."""
    seen, behind_ms = standby.seen, standby.seen.silent_s * 1000
    state = f"{show_bytes(seen.behind_bytes)} behind, heard of {show_ms(behind_ms)} ago"
    plan.choices["read-from"] = f"replica of {standby.primary.where}"
    plan.notes.append(f"read from the replica {standby.server.where}: {state}")
    if behind_ms > request.max_replica_lag_ms:
        text = f"the replica {standby.server.where} is {state}, more than --max-replica-lag "
        plan.hazards.append(Hazard("replica-lag", text + show_ms(request.max_replica_lag_ms)))


class ReplicaLag:
    """How long ago the primary held what a replica holds now, by looks at the primary.

    Good to about two seconds: a replica says once a second how far it is.
    """

    def __init__(self, replica: Address) -> None:
        self._at = (replica.host, replica.port)
        self._reached = -1
        self._heads: deque[tuple[float, int]] = deque(maxlen=_MOST_HEADS)

    def look(self, now_s: float, head: int, replicas: list[Replica]) -> float:
        """Seconds behind, *replicas* being those of a primary at offset *head*; one that is gone stays where it was."""
        ours = [it for it in replicas if it.online and (it.host, it.port) == self._at]
        if ours:
            self._reached = head - ours[0].behind_bytes
        self._heads.append((now_s, head))
        while len(self._heads) > 1 and self._heads[1][1] <= self._reached:
            self._heads.popleft()
        behind_s = now_s - self._heads[0][0] if self._reached < head else 0.0
        return max(behind_s, float(ours[0].silent_s) if ours else 0.0)

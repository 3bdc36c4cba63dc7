"""Who else of ours is connected to a server: every connection says its job, host and process by its name.

    transfer-JOB-HOST-PID-7    the seventh connection of that process there: reads, or looks
    transfer-JOB-HOST-PID-w8   the eighth: writes

    CLIENT LIST -> Neighbour ... -> foreign_writers: other jobs that write where we are about to
                                 -> end_older: what is left of an earlier process of this job (CLIENT KILL ID)

Rule 1: what a dead process sent may lie in the server's buffers still; until its connections are gone nothing may be
        written anew, or the late bytes would come over it.
Rule 2: where a user may not look, that is told as a sentence, never taken for an empty list.
Rule 3: a name says who, not whether it lives: that is asked of the caller, who knows the processes of this machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from enum import Enum

import anyio
import msgspec

from transfer.codec import resp
from transfer.endpoint.redis.info import granted
from transfer.endpoint.redis.server import Server
from transfer.model.errors import PermissionDeniedError, ServerRefusedError
from transfer.wire.link import Link

MOST_ANNOUNCED = 16
"""A job says of so many databases at most that it writes there; of one that says so many, others assume all."""
_NAME = re.compile(r"transfer-(\d{8}-\d{4}-[0-9a-f]{4})-(.+)-(\d+)-(w?)(\d+)")
_STRANGE = re.compile(r"[^!-~]")
_GONE_WITHIN_S = 2.0
_LOOK_EVERY_S = 0.05


class Neighbour(msgspec.Struct, frozen=True):
    """One connection of a job. *address* is its end as the server sees it, *age_s* in whole seconds."""

    job: str
    host: str
    pid: int
    id: int
    address: str
    db: int
    writes: bool
    age_s: int = 0
    name: str = ""

    def __str__(self) -> str:
        return f"job {self.job}, process {self.pid} on {self.host}, connected from {self.address}"


class Sighting(msgspec.Struct, frozen=True):
    """What a look found, the ids of those that are our own; where we may not look, *blind* says so."""

    found: tuple[Neighbour, ...] = ()
    own: frozenset[int] = frozenset()
    blind: str = ""


class Ended(msgspec.Struct, frozen=True):
    """How many connections are gone now, which are not, and a sentence where nobody could look."""

    gone: int = 0
    left: tuple[Neighbour, ...] = ()
    blind: str = ""


class Standing(Enum):
    """What is known of the process behind a connection."""

    ALIVE = "alive"
    DEAD = "dead"
    ELSEWHERE = "elsewhere"


Judge = Callable[[Neighbour], Standing]


def connection_name(job: str, host: str, pid: int) -> str:
    """What the names of a process' connections begin with; CLIENT SETNAME takes visible ASCII only."""
    return f"transfer-{job}-{_STRANGE.sub('_', host)}-{pid}"


def neighbour_of(line: str) -> Neighbour | None:
    """A line of CLIENT LIST; None where it is no connection of a job."""
    fields = dict(word.split("=", 1) for word in line.split(" ") if "=" in word)
    named = _NAME.fullmatch(fields.get("name", ""))
    if named is None or not fields.get("id", "").isdigit():
        return None
    job, host, pid, writes, _ = named.groups()
    db, age = (int(fields.get(field, "")) if fields.get(field, "").isdigit() else 0 for field in ("db", "age"))
    return Neighbour(
        job, host, int(pid), int(fields["id"]), fields.get("addr", ""), db, bool(writes), age, fields["name"]
    )


async def neighbours(server: Server, job: str = "") -> Sighting:
    """Every connection of *job* ("": of any job) at *server*, our own included.

    Raises:
        GaveUpError: nobody answered for the whole of the give-up time.
    """

    async def look(link: Link) -> Sighting:
        listed = bytes(granted(await link.command("CLIENT", "LIST"), "CLIENT LIST", link.where))
        seen = map(neighbour_of, listed.decode("utf-8", "replace").splitlines())
        found = tuple(one for one in seen if one is not None and job in ("", one.job))
        return Sighting(found, _own(found, server.dialer.open_names()))

    try:
        return await server.asked(look)
    except (PermissionDeniedError, ServerRefusedError) as error:
        return Sighting(blind=f"it could not be looked for other jobs at {server.where}: {error.message}")


def writers_beside(found: Iterable[Neighbour], job: str, dbs: Collection[int]) -> list[Neighbour]:
    """One connection for each process of other jobs that writes into one of *dbs*, as far as their names say."""
    writing: dict[tuple[str, str, int], list[Neighbour]] = {}
    for one in found:
        if one.writes and one.job != job:
            writing.setdefault((one.job, one.host, one.pid), []).append(one)
    return [many[0] for many in writing.values() if _meets({one.db for one in many}, dbs)]


async def foreign_writers(
    server: Server, job: str, dbs: Collection[int], judge: Judge
) -> tuple[list[Neighbour], list[Neighbour], str]:
    """(those that live or may live, those whose process is dead, a sentence where nobody could look)."""
    sighting = await neighbours(server)
    beside = writers_beside(sighting.found, job, dbs)
    dead = [one for one in beside if judge(one) is Standing.DEAD]
    return [one for one in beside if one not in dead], dead, sighting.blind


async def end_older(server: Server, job: str) -> Ended:
    """End every connection of *job* that is not of this process, and return once they are seen gone, or the time is up.

    Raises:
        GaveUpError: nobody answered for the whole of the give-up time.
    """
    return await end_connections(server, lambda one: one.job == job)


async def end_process(server: Server, other: Neighbour) -> Ended:
    """End every connection of the process that *other* is of. Where they come back it lives, and they are `left`."""
    who = (other.job, other.host, other.pid)
    return await end_connections(server, lambda one: (one.job, one.host, one.pid) == who)


async def end_connections(server: Server, condemned: Callable[[Neighbour], bool]) -> Ended:
    """CLIENT KILL ID, our own spared, and look until none is seen any more.

    Where KILL is refused they may still go by themselves.
    """
    ended: set[int] = set()
    until_s = anyio.current_time() + _GONE_WITHIN_S
    while True:
        sighting = await neighbours(server)
        left = [one for one in sighting.found if condemned(one) and one.id not in sighting.own]
        ids = {one.id for one in left}
        if sighting.blind or not left or anyio.current_time() > until_s:
            return Ended(len(ended - ids), tuple(left), sighting.blind)
        ended |= ids
        await server.asked(lambda link, ids=ids: _kill(link, ids))  # type: ignore[misc]
        await anyio.sleep(_LOOK_EVERY_S)


def _own(found: Iterable[Neighbour], names: Collection[str]) -> frozenset[int]:
    """The newest connection of each of our names: a new container may give us host and process id of the dead one."""
    newest: dict[str, int] = {}
    for one in found:
        if one.name in names:
            newest[one.name] = max(one.id, newest.get(one.name, 0))
    return frozenset(newest.values())


def _meets(theirs: Collection[int], dbs: Collection[int]) -> bool:
    return len(theirs) >= MOST_ANNOUNCED or len(dbs) > MOST_ANNOUNCED or not set(theirs).isdisjoint(dbs)


async def _kill(link: Link, ids: Collection[int]) -> None:
    """Answers do not matter: one that is gone already is refused, and the next look tells the rest."""
    await link.ask(b"".join(resp.command("CLIENT", "KILL", "ID", number) for number in ids), len(ids))

"""Before the first write: is anybody else of ours writing at the target?

    before anybody is asked for consent: look -> another job that lives -> LockedError (exit 11)
    end what an earlier process of this job left -> announce: a link in every database that will be written
      -> look -> another job that lives and writes into one of them -> LockedError (exit 11)
              -> a dead one of this machine -> its connections are ended, a warning

Rule 1: announcing comes before looking, so that of two that begin at the same moment at least one sees the other. The
        job that began first waits a moment for the other to leave; the other one leaves.
Rule 2: two jobs may write into different databases of one target. Which ones is told by the links they announce.
Rule 3: whether a process lives is known on this machine only; elsewhere it is taken to live. A dead one whose
        connections come back after they were ended lives (in another container of the same name).
Rule 4: the look before consent announces nothing and ends nothing: consent may be refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection

import anyio

from transfer.endpoint.redis.neighbours import (
    MOST_ANNOUNCED,
    Neighbour,
    Standing,
    connection_name,
    end_older,
    end_process,
    foreign_writers,
)
from transfer.endpoint.redis.server import Server
from transfer.job.identity import is_alive, process_age_s
from transfer.model.errors import LockedError

_YIELDS_WITHIN_S = 2.0
_LOOK_EVERY_S = 0.1
_YOUNGER_S = 3
"""A process that is younger than a connection by more than this is another one of the same number."""


def own_name(job: str) -> str:
    """What the names of this process' connections begin with."""
    return connection_name(job, socket.gethostname(), os.getpid())


async def refuse_neighbours(target: Server, job: str, dbs: Collection[int], warn: Callable[[str], None]) -> None:
    """Returns once *job* may write into *dbs* of *target*, which others can see from then on.

    Raises:
        LockedError: another job writes there, or an earlier process of this one holds connections that cannot be ended.
        GaveUpError: the target did not answer for the whole of the give-up time.
    """
    try:
        await _end_own(target, job, warn)
        await target.announce(sorted(dbs)[:MOST_ANNOUNCED])
        await _refuse_others(target, job, dbs, warn)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await target.withdraw()
        raise


async def refuse_living(target: Server, job: str, dbs: Collection[int]) -> None:
    """Returns where no other job is known to live that writes into *dbs* of *target*; leaves nothing behind there.

    Raises: as `refuse_neighbours`.
    """
    until_s = anyio.current_time() + _YIELDS_WITHIN_S
    while True:
        living, _, _ = await foreign_writers(target, job, dbs, standing)
        if not living:
            return
        await _yield_or_refuse(target, job, living, until_s)


async def _end_own(target: Server, job: str, warn: Callable[[str], None]) -> None:
    ended = await end_older(target, job)
    if ended.blind:
        warn(ended.blind)
    if ended.left:
        raise LockedError(
            f"an earlier process of this job is still connected to the target, and could not be ended: {ended.left[0]}",
            where=target.where,
            hint=f"CLIENT KILL ID {ended.left[0].id} at the target, by a user who may, then go on",
        )
    if ended.gone:
        warn(f"{ended.gone} connections that an earlier process of this job had left at the target were ended")


async def _refuse_others(target: Server, job: str, dbs: Collection[int], warn: Callable[[str], None]) -> None:
    until_s = anyio.current_time() + _YIELDS_WITHIN_S
    told: set[str] = set()
    while True:
        living, dead, _ = await foreign_writers(target, job, dbs, standing)
        living += [one for one in dead if not await _is_ended(target, one, warn, told)]
        if not living:
            return
        await _yield_or_refuse(target, job, living, until_s)


async def _yield_or_refuse(target: Server, job: str, living: list[Neighbour], until_s: float) -> None:
    """Those that began later are given a moment to leave."""
    if any(one.job < job for one in living) or anyio.current_time() > until_s:
        raise _locked(target, living[0])
    await anyio.sleep(_LOOK_EVERY_S)


async def _is_ended(target: Server, dead: Neighbour, warn: Callable[[str], None], told: set[str]) -> bool:
    """Whether all connections of a dead process are gone; those that stay or come back are of a living one."""
    ended = await end_process(target, dead)
    if ended.left:
        return False
    if dead.job not in told:
        told.add(dead.job)
        warn(f"{ended.gone} connections at the target were ended, their process is dead: {dead}")
    return True


def standing(one: Neighbour) -> Standing:
    """What this machine knows of the process behind a connection."""
    if connection_name(one.job, one.host, one.pid) != connection_name(one.job, socket.gethostname(), one.pid):
        return Standing.ELSEWHERE
    age_s = process_age_s(one.pid)
    young = age_s is not None and age_s + _YOUNGER_S < one.age_s
    return Standing.ALIVE if is_alive(one.pid, "") and not young else Standing.DEAD


def _locked(target: Server, other: Neighbour) -> LockedError:
    return LockedError(
        f"another job writes to the target: {other}",
        where=target.where,
        hint=f"wait until it has ended; transfer jobs list on {other.host} tells of it",
        other=other.job,
        host=other.host,
        pid=other.pid,
        address=other.address,
    )

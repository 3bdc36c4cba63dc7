"""After another process answered: which side it was, and whether to go on with it.

A new source process voids cursors; a new target process puts in doubt what the old one acknowledged. Both
mean that everything is read again and what is equal is skipped.

A server that holds keys, and none of those that were there or were acknowledged, is a stranger: nothing is
written to it, nothing read from it. An empty target may have been restarted without its data; it is gone on with.
An empty source gives nothing: the run stops as it is, until the source has its data again (EmptiedSourceError). Who is
refused is not known as ours afterwards: the run, and the one that resumes it, go by who answered before.
"""

from __future__ import annotations

from transfer.endpoint.redis import probe
from transfer.endpoint.redis.landmarks import Names, any_there, longest_life_ms, some_names
from transfer.endpoint.redis.server import Server
from transfer.job.engine import Engine
from transfer.model.endpoint import Identity
from transfer.model.errors import RESUME, EmptiedSourceError, ReplacedError

_PASSING_MS = 5_000
"""A deadline so near may pass while it is asked for."""
SOONER = ("keep", "cap")
"""Rules for deadlines by which a key that lives at the target lives at the source, too."""


async def note_names(engine: Engine) -> None:
    """Before the first key is copied: some names of both sides, to recognise them by, and what the source held.

    Raises:
        GaveUpError: a server does not answer.
    """
    engine.landmarks.source = await engine.source.asked(some_names)
    engine.landmarks.target = await engine.target.asked(some_names)
    if not engine.landmarks.held:
        life_ms = await engine.source.asked(lambda link: longest_life_ms(link, engine.landmarks.source))
        engine.landmarks.until_ms = life_ms and engine.source.now_ms() + life_ms
        engine.landmarks.held = sum(db.keys for db in engine.plan.dbs)
        engine.landmarks.lasting = sum(db.keys - db.with_deadline for db in engine.plan.dbs)


async def refuse_emptied(before: Identity, engine: Engine) -> None:
    """Return unless the source is another process than *before*, empty, and held keys that must still be there.

    Raises:
        EmptiedSourceError: it is.
        GaveUpError: it does not answer.
    """
    source, marks = engine.source, engine.landmarks
    if source.identity.run_id == before.run_id or source.identity.continues(before):
        return
    soon_ms = source.now_ms() + _PASSING_MS
    alive = marks.until_ms > soon_ms or (engine.mapping.ttl.kind in SOONER and bool(marks.alive(soon_ms)))
    if not (marks.lasting or alive) or any(keys for keys, _ in (await source.asked(probe.keyspace)).values()):
        return
    raise EmptiedSourceError(
        f"the source held {marks.held:,} keys and came back as another process with 0: it was restarted without its "
        f"data (run id {source.identity.run_id[:12]}, was {before.run_id[:12]})",
        where=source.where,
    )


class Replacement:
    """Looks at both servers anew, adopts who answers, and says what that means. A source that is a file is None."""

    def __init__(self, source: Server | None, target: Server, engine: Engine) -> None:
        self._source = source
        self._target = target
        self._engine = engine

    async def adopt(self, error: ReplacedError) -> list[str]:
        """Sentences for people.

        Raises:
            ReplacedError, EmptiedSourceError: the run cannot go on with who answers.
            ReadOnlyTargetError: a replica answers at the target for the whole of the give-up time.
            LinkError: nobody answers for the whole of the give-up time.
        """
        marks, said = self._engine.landmarks, []
        sides = [("target", self._target, marks.at_target())]
        if self._source is not None:
            sides.insert(0, ("source", self._source, marks.at_source()))
        for name, server, names in sides:
            before = server.identity
            await server.adopt_when_up(writable=name == "target")
            if _is_another(server.identity, before, name):
                said.append(_sentence(name, before, server))
                try:
                    await refuse_stranger(name, before, server, names)
                    if name == "source":
                        await refuse_emptied(before, self._engine)
                except ReplacedError:
                    server.identity = before
                    raise
        if not said:
            said.append(f"{error.message}; the server known from before answers again: everything is read again")
        return said


def _is_another(now: Identity, before: Identity, side: str) -> bool:
    """Another process or role, or a target with another history: as a replica it may have taken over another's data."""
    return (now.run_id, now.role) != (before.run_id, before.role) or (side == "target" and now.replid != before.replid)


async def refuse_stranger(side: str, before: Identity, server: Server, names: Names) -> None:
    """Return unless *server* has another history than *before*, and holds keys, none of which is among *names*.

    Raises:
        ReplacedError: it has.
        GaveUpError: it does not answer.
    """
    if before.replid and server.identity.continues(before):
        return
    held = sum(keys for keys, _ in (await server.asked(probe.keyspace)).values())
    if held and not await server.asked(lambda link: any_there(link, names)):
        known = f"none of {len(names)} that the {side} held" if names else f"the {side} held none that we know of"
        raise ReplacedError(
            f"another server answers at the {side}: it holds {held:,} keys, and {known}",
            where=server.where,
            hint=f"once the right server answers there: {RESUME}",
        )


def _sentence(side: str, before: Identity, server: Server) -> str:
    now = server.identity
    follow = "the same data's history" if now.continues(before) else "a new history"
    if (now.run_id, now.role) == (before.run_id, before.role):
        said = f"the {side} was a replica meanwhile ({follow})"
        return f"{said}: everything is read again, keys that are equal are skipped"
    return (
        f"the {side} was replaced by another process ({now.name}, run id {now.run_id[:12]}, was {before.run_id[:12]}, "
        f"{follow}): everything is read again, keys that are equal are skipped"
    )

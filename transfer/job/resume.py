"""Taking up what an earlier process of a job left: who answers now, and how much of its work still holds.

    trail -> the same processes answer                    -> go on at the positions, of a full sync in its file
          -> the source or the target is another process  -> everything is read again, equal keys are skipped
          -> the source is another process, with keys of others only -> refused: nothing of theirs is copied
          -> the target holds nothing that was acknowledged -> refused: it is not the place this job writes to

What was written and rejected is remembered in any case: so a key that this job wrote is never taken for another's,
and changes at the source since then are told from faults of the copy.
"""

from __future__ import annotations

import msgspec

from transfer.endpoint.redis import probe
from transfer.endpoint.redis.fullsync.kept import is_sound
from transfer.endpoint.redis.fullsync.source import PARTITION
from transfer.endpoint.redis.landmarks import Names, any_there, lasting_page
from transfer.endpoint.redis.leftovers import remove_named
from transfer.endpoint.redis.server import Server
from transfer.job.engine import Engine
from transfer.job.replacement import SOONER, refuse_emptied, refuse_stranger
from transfer.job.trail import Facts, Trail
from transfer.model.endpoint import Identity
from transfer.model.errors import ReplacedError
from transfer.model.plan import CopyRequest, DbPlan
from transfer.model.record import DONE, NO_DEADLINE
from transfer.model.report import Reject
from transfer.model.units import some

_PASSING_MS = 5_000
"""A deadline so near may pass while it is asked for."""
_PAGES, _ENOUGH = 20, 100


class _Planned(msgspec.Struct):
    """What is wanted of a stored plan."""

    dbs: list[DbPlan] = msgspec.field(default_factory=list)


class Taken(msgspec.Struct):
    """What was taken up, and sentences for people about it. Times in ms, `writes_before` as the source counted."""

    began_ms: int
    writes_before: int
    seconds: float
    said: list[str]


def for_planning(request: CopyRequest, trail: Trail) -> CopyRequest:
    """*request* as preflight should see it now that the target holds keys of this job: that is no hazard.

    Nor has a full sync that was kept to find room once more.
    """
    return msgspec.structs.replace(
        request,
        allow=request.allow | {"nonempty-target"},
        on_full=request.on_full or "wait",
        approved_plan="",
        kept_bytes=trail.sync_note.held_bytes(),
    )


def with_planned(dbs: list[DbPlan], stored: str | None) -> list[DbPlan]:
    """*dbs* and those of the *stored* plan that are empty at the source by now: the target holds keys of theirs."""
    before = msgspec.json.decode(stored or "{}", type=_Planned).dbs
    known = {db.source_db for db in dbs}
    gone = [msgspec.structs.replace(db, keys=0, with_deadline=0) for db in before if db.source_db not in known]
    return sorted([*dbs, *gone], key=lambda db: db.source_db)


async def take_up(
    facts: Facts, trail: Trail, source: Server, target: Server, engine: Engine, rejects: list[Reject]
) -> Taken:
    """Fill *engine* with what *facts*, the trail and *rejects* tell.

    Raises:
        ReplacedError: the target holds none of the keys that were acknowledged and must still be there.
            Nor does another process at the source hold any of the keys that were copied.
        EmptiedSourceError: the source came back without its data.
        GaveUpError: a server does not answer.
    """
    engine.recall(facts, rejects)
    await _refuse_another_source(facts, engine)
    unknown = await recognise(facts, engine)
    await remove_named(target, trail.temporaries())
    said = [text for text in (moved("source", facts.source, source), moved("target", facts.target, target)) if text]
    if said:
        engine.go_on({})
        return Taken(facts.began_ms, 0, facts.seconds, said + unknown)
    wrote = max(0, await source.asked(probe.writes_seen) - facts.writes_before)
    count = some(facts.counts.read, "key")
    if await _goes_on(trail, engine):
        told = f"going on after {count}; the source was written to {wrote:,} times since the job began"
    else:
        told = f"{count} were read before: a new full sync begins, and what is equal is skipped"
    return Taken(facts.began_ms, facts.writes_before, facts.seconds, [told, *unknown])


async def _goes_on(trail: Trail, engine: Engine) -> bool:
    """Have *engine* go on at the positions of *trail*; no where they are of a full sync that is not there any more."""
    after = trail.positions()
    if PARTITION not in after:
        engine.go_on(after)
        return bool(after) or engine.route != "psync"
    kept = trail.sync_note.read()
    if kept is None or not (after[PARTITION] == DONE or await is_sound(kept)):
        engine.go_on({})
        return False
    engine.go_on(after, kept)
    return True


async def _refuse_another_source(facts: Facts, engine: Engine) -> None:
    """Refuse a source that came back without its data, or that holds keys of others only.

    It is known by names that were acknowledged and must still be there; where none were kept (--hash-keys), by hashes.
    """
    source, marks = engine.source, engine.landmarks
    await refuse_emptied(facts.source, engine)
    if source.identity.run_id == facts.source.run_id:
        return
    known = marks.alive(source.now_ms() + _PASSING_MS) if engine.mapping.ttl.kind in SOONER else marks.marks()
    names = {there for there, _, _ in known}
    if not names and marks.lasting and facts.counts.written and await _names_found_again(engine):
        return
    if names or (marks.lasting and facts.counts.written):
        await refuse_stranger("source", facts.source, source, names)


async def recognise(facts: Facts, engine: Engine) -> list[str]:
    """Refuse a target that holds nothing of what it acknowledged; a sentence where nothing is left to know it by.

    Only names count that must still be there: their deadlines at the target have not passed.
    """
    target = engine.target
    alive_ms = target.now_ms() + _PASSING_MS
    names = {here for _, here, until_ms in facts.marks if until_ms == NO_DEADLINE or until_ms > alive_ms}
    if not names and engine.source_is_live:
        names = await _names_found_again(engine)
    if names and not await target.asked(lambda link: any_there(link, names)):
        raise ReplacedError(
            f"the target holds none of {len(names)} keys that it had acknowledged to this job: it is another server, "
            "or was emptied",
            where=target.where,
            hint="give it back its data, or begin anew: the same copy with --fresh",
        )
    if names or not facts.counts.written:
        return []
    why = "those that were looked at have reached their deadlines"
    if engine.request.hash_keys:
        why = "names were not kept (--hash-keys)"
        why += ", and no key that was copied and has no deadline was found at the source" * engine.source_is_live
    return [f"no key is left to recognise the target by: {why}"]


async def _names_found_again(engine: Engine) -> Names:
    """Where no names were kept: keys without deadlines at the source whose hashes are among what was written."""
    found: Names = set()
    for db, target_db in sorted(engine.mapping.dbs.items()):
        cursor = b"0"
        for _ in range(_PAGES):
            cursor, page = await engine.source.asked(lambda link, at=cursor: lasting_page(link, at), db)  # type: ignore[misc]
            names = [engine.mapping.name(key) for key in page]
            found |= {(target_db, name) for name in names if engine.written.value_hash(target_db, name) is not None}
            if cursor == b"0" or len(found) >= _ENOUGH:
                break
    return found


def moved(side: str, before: Identity, server: Server) -> str:
    now = server.identity
    if now.run_id == before.run_id and now.role == before.role and (now.role == "master" or now.continues(before)):
        return ""
    history = "the same data's history" if now.continues(before) else "another history"
    return (
        f"the {side} is another process than before ({now.name}, run id {now.run_id[:12]}, was {before.run_id[:12]}, "
        f"{history}): everything is read again, keys that are equal are skipped"
    )

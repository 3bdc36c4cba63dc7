"""How two servers stand to each other: what no consent can mend, and what needs it.

Look of the source, Look of the target -> refusal (an error) | Hazards, warnings, notes
"""

from __future__ import annotations

from collections.abc import Iterable

from transfer.model.endpoint import Address, Identity
from transfer.model.errors import (
    ReadOnlyTargetError,
    ReplicaSourceError,
    SamePlaceError,
    SentinelError,
    TargetSizeError,
)
from transfer.model.plan import CopyPlan, CopyRequest, DbPlan, Hazard, narrows
from transfer.model.units import show_bytes, some
from transfer.plan.look import Look

_MOST_NAMED = 10
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104 - compared, not bound


def refuse_same(source: Look, target: Look, request: CopyRequest, dbs: dict[int, int]) -> None:
    """Raise SamePlaceError where both sides are the same data. One server's two databases are two places."""
    here, there = source.side.identity, target.side.identity
    if here.run_id and here.run_id == there.run_id:
        shared = sorted(set(dbs).intersection(dbs.values()))
        if shared:
            raise SamePlaceError(
                f"source and target are the same server ({here.name}, run id {here.run_id[:12]}), database "
                + ", ".join(map(str, shared)),
                where=target.side.place,
                hint="give two servers, or two databases of one: /1 and /2",
            )
        return
    if relation := _replication(here, there, request.source, request.target):
        raise SamePlaceError(
            f"{relation}: they hold the same data (replication id {here.replid[:12] or '?'})",
            where=target.side.place,
        )


def _replication(source: Identity, target: Identity, source_at: Address, target_at: Address) -> str:
    """How one follows the other, "" if it does not. A replica that never synced knows only its primary's address."""
    same_history = bool(source.replid) and source.replid == target.replid
    follows = [one.role == "slave" for one in (source, target)]
    if follows == [True, True]:
        same_primary = _host(source.primary_host, source.primary_port) == _host(
            target.primary_host, target.primary_port
        )
        return "both sides are replicas of one primary" if same_history or same_primary else ""
    if follows[1] and (same_history or _primary_is(target, source_at)):
        return "the target replicates from the source"
    if follows[0] and (same_history or _primary_is(source, target_at)):
        return "the source replicates from the target"
    return ""


def _primary_is(replica: Identity, address: Address) -> bool:
    return not address.path and _host(replica.primary_host, replica.primary_port) == _host(address.host, address.port)


def _host(name: str, port: int) -> tuple[str, int]:
    return ("localhost" if name in _LOOPBACK else name.lower()), port


def refuse_roles(source: Look, target: Look) -> None:
    """Raise ReadOnlyTargetError for a replica as target, ReplicaSourceError for a source replica out of step."""
    refuse_replica(target)
    refuse_lost(source)


def refuse_sentinel(look: Look) -> None:
    """Raise SentinelError where one answers."""
    if look.side.identity.mode == "sentinel":
        raise SentinelError("a Sentinel answers: it holds no keys", where=look.side.place)


def lacks(look: Look, commands: Iterable[str]) -> str:
    """That the user of a server may not run *commands*, in words."""
    return f"user {look.user} of the {look.role} {look.side.place} lacks {', '.join(commands)}"


def refuse_replica(target: Look) -> None:
    """Raise ReadOnlyTargetError for a replica as target."""
    there = target.side.identity
    if there.role == "slave":
        primary = f"{there.primary_host}:{there.primary_port}"
        raise ReadOnlyTargetError(
            f"the target is a replica, of {primary}, and takes no writes",
            where=target.side.place,
            hint=f"copy to its primary at {primary}",
            primary=primary,
        )


def refuse_lost(source: Look) -> None:
    """Raise ReplicaSourceError for a source replica out of step."""
    here = source.side.identity
    if here.role == "slave" and (not here.link_up or here.syncing):
        state = "is still receiving the data of" if here.syncing else "has lost the link to"
        primary = f"{here.primary_host}:{here.primary_port}"
        raise ReplicaSourceError(
            f"the source is a replica that {state} its primary {primary}", where=source.side.place, primary=primary
        )


def functions_left(request: CopyRequest, source: Look, dbs: dict[int, int]) -> str:
    """Why functions, which are no database's, do not travel: only where all that the source holds is copied they do."""
    whole = not narrows(request) and source.keyspace.keys() <= dbs.keys()
    return "" if whole else "only a part of the source is copied"


def place_functions(plan: CopyPlan, source: Look, *, left: str, no_functions: str = "") -> None:
    """Say in *plan* what becomes of the source's function libraries.

    Args:
        left: why they are left out, "" if they are not.
        no_functions: why the target refuses all of them, "" if it does not.
    """
    count = len(source.libraries)
    if not count:
        return
    named = f"{count} function librar{'y' if count == 1 else 'ies'} ({', '.join(source.libraries[:_MOST_NAMED])})"
    if left:
        plan.not_copied.append(f"{named}: {left}")
    elif no_functions:
        plan.stranded = source.libraries
        plan.notes.append(f"{named} do{'es' * (count == 1)} not travel: {no_functions}")
    else:
        plan.functions = source.libraries
        plan.notes.append(f"{named} travel{'s' * (count == 1)} ahead of the keys")


def needed_bytes(source: Look, dbs: list[DbPlan]) -> int:
    """The source's data, by the share of keys that the selected databases hold."""
    return round(source.side.dataset_bytes * sum(db.keys for db in dbs) / source.keys) if source.keys else 0


def changed_bytes(target: Look, dbs: list[DbPlan]) -> int:
    """The target's data, by the share of keys that are there in the databases that are written to."""
    held = sum({db.target_db: db.target_keys for db in dbs}.values())
    return round(target.side.dataset_bytes * held / target.keys) if target.keys else 0


def size_warning(source: Look, target: Look, dbs: list[DbPlan], request: CopyRequest) -> str:
    """What to say about room at the target, "" if there is enough.

    Raises:
        TargetSizeError: there is too little, and nothing in the request says that this was seen.
    """
    limit = target.side.maxmemory_bytes
    free = max(0, limit - target.side.used_memory_bytes)
    wanted = needed_bytes(source, dbs)
    if not limit or wanted <= free:
        return ""
    text = (
        f"the source holds {show_bytes(wanted)} of data, the target has {show_bytes(free)} free "
        f"of its maxmemory {show_bytes(limit)}"
    )
    if request.on_full or narrows(request) or target.memory.evicts:
        return text + (
            ", filters may make it fit" if narrows(request) else f", when full: {request.on_full or 'evicts'}"
        )
    raise TargetSizeError(text, where=target.side.place, wanted_bytes=wanted, free_bytes=free, maxmemory_bytes=limit)


def target_hazards(target: Look, later: tuple[int, int], dbs: list[DbPlan], request: CopyRequest) -> list[Hazard]:
    """What at the target needs consent; *later* is its unrest half a second after the look."""
    place, found = target.side.place, []
    held = {db.target_db: db.target_keys for db in dbs if db.target_keys}
    if held and not request.on_conflict:
        listed = ", ".join(f"database {db}: {keys:,} key{'s' * (keys != 1)}" for db, keys in sorted(held.items()))
        found.append(Hazard("nonempty-target", f"the target {place} is not empty ({listed})"))
    if target.memory.evicts:
        found.append(
            Hazard(
                "evicting-target",
                f"the target {place} evicts keys when it is full, also those just copied: maxmemory-policy "
                f"{target.memory.policy}, maxmemory {show_bytes(target.memory.maxmemory_bytes)}",
                exit_code=5,
                code="E505",
            )
        )
    changes, blocked = later
    if changes > target.changes:
        found.append(
            Hazard(
                "busy-target",
                f"others write to the target {place}: {some(changes - target.changes, 'change')} in 0.5 s",
            )
        )
    elif blocked or target.blocked:
        waiting = max(blocked, target.blocked)
        found.append(
            Hazard("busy-target", f"{some(waiting, 'client')} of the target {place} waiting in a blocking command")
        )
    return found


def touch(source: Look) -> tuple[list[Hazard], list[str]]:
    """What reading does to the source's LRU / LFU: a hazard where it decides what is evicted, else at most a note."""
    if source.side.features.no_touch:
        return [], []
    policy = source.memory.policy
    said = f"reading counts as use at the source ({source.side.identity.name} has no CLIENT NO-TOUCH for us)"
    if source.memory.evicts and ("lru" in policy or "lfu" in policy):
        return [Hazard("touch", f"{said}, and its maxmemory-policy {policy} evicts by use")], []
    return [], [f"{said}; nothing is evicted by use there"]

"""Which logical databases are copied, and into which: pure, from words and INFO keyspace.

    URL /N            that database, into the target URL's or the same number
    --db N, N:M       these; --db '*:M' all others into M
    neither           every database that holds keys, each into its own number

Rule 1: two source databases come into one only where '*:M' asks for it.
Rule 2: all databases into one that only the target URL names is refused: it would fold without being asked.
"""

from __future__ import annotations

from collections.abc import Collection

from transfer.model.errors import DatabasesError, FoldError, UsageError
from transfer.model.plan import CopyRequest


def map_databases(request: CopyRequest, filled: Collection[int]) -> dict[int, int]:
    """Source database -> target database; *filled* are those of the source that hold keys.

    Raises:
        UsageError: the words contradict each other, or all databases would go into `/N`.
        FoldError: a database has two targets, or two have the same without '*:M'.
    """
    named, star = _named(request)
    if request.source.db is not None:
        chosen = [request.source.db]
        if odd := sorted(set(named) - set(chosen)):
            raise UsageError(
                f"the source URL names database {chosen[0]}, --db names {_listed(odd)}",
                hint="leave the /N of the source URL away",
            )
    elif request.dbs:
        everything = any(db is None for db, _ in request.dbs)
        chosen = sorted({*named, *(filled if everything else ())})
    else:
        if request.target.db is not None:
            raise _unasked_fold(request, filled)
        return {db: db for db in sorted(filled) or [0]}
    return _targets(request, chosen, named, star)


def _named(request: CopyRequest) -> tuple[dict[int, int | None], int | None]:
    """--db as source -> target (None: not said), and the M of '*:M'."""
    named: dict[int, int | None] = {}
    star: int | None = None
    for source, target in request.dbs:
        if source is None:
            if star not in (None, target):
                raise FoldError(f"--db gives all databases two targets, {star} and {target}")
            star = target
        elif named.setdefault(source, target) != target:
            raise FoldError(f"--db gives database {source} two targets")
    return named, star


def _targets(request: CopyRequest, chosen: list[int], named: dict[int, int | None], star: int | None) -> dict[int, int]:
    stated = request.target.db
    dbs: dict[int, int] = {}
    asked_to_fold: set[int] = set()
    for db in chosen:
        said = named.get(db)
        if said is None and db not in named and star is not None:
            said = star
            asked_to_fold.add(db)
        if None not in (said, stated) and said != stated:
            raise UsageError(
                f"the target URL names database {stated}, --db sends {db} into {said}",
                hint="leave the /N of the target URL away",
            )
        dbs[db] = said if said is not None else stated if stated is not None else db
    _refuse_folds(dbs, asked_to_fold)
    return dbs or {0: star or 0}


def _refuse_folds(dbs: dict[int, int], asked: set[int]) -> None:
    for target in sorted(set(dbs.values())):
        meeting = [db for db, goes in dbs.items() if goes == target]
        if len(meeting) > 1 and not asked.intersection(meeting):
            raise FoldError(
                f"databases {_listed(meeting)} would all go into {target}", hint=f"--db '*:{target}' asks for that"
            )


def refuse_missing(dbs: dict[int, int], source_has: int, target_has: int, source: str, target: str) -> None:
    """Raise DatabasesError if a side has no such database: they are numbered from 0."""
    for numbers, count, where, side in (
        (dbs.keys(), source_has, source, "source"),
        (dbs.values(), target_has, target, "target"),
    ):
        beyond = sorted({db for db in numbers if db >= count})
        if beyond:
            raise DatabasesError(
                f"the {side} has {count} database{'s' * (count != 1)} (0 to {count - 1}), not {_listed(beyond)}",
                where=where,
                has=count,
                missing=beyond,
                hint="" if side == "target" else "transfer inspect URL shows the databases that are there",
            )


def _unasked_fold(request: CopyRequest, filled: Collection[int]) -> UsageError:
    target = request.target.db
    return UsageError(
        f"the source URL names no database, so all are meant ({_listed(sorted(filled)) or 'none'} hold keys), "
        f"and the target URL names {target}",
        where=str(request.target),
        hint=f"--db '*:{target}' puts all into {target}; /N after the source's host chooses one",
    )


def _listed(numbers: Collection[int]) -> str:
    return ", ".join(map(str, numbers))

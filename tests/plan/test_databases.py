"""Which logical databases go where, decided by words alone."""

from __future__ import annotations

import pytest

from transfer.model.endpoint import Address
from transfer.model.errors import DatabasesError, FoldError, UsageError
from transfer.model.plan import CopyRequest
from transfer.plan.databases import map_databases, refuse_missing

FILLED = (0, 2, 5)


def asked(source: int | None, target: int | None, *dbs: tuple[int | None, int | None]) -> dict[int, int]:
    request = CopyRequest(source=Address(db=source), target=Address(db=target), dbs=dbs)
    return map_databases(request, FILLED)


@pytest.mark.parametrize(
    ("source", "target", "dbs", "expected"),
    [
        (None, None, (), {0: 0, 2: 2, 5: 5}),
        (2, None, (), {2: 2}),
        (7, None, (), {7: 7}),
        (2, 3, (), {2: 3}),
        (None, None, ((2, None),), {2: 2}),
        (None, 3, ((2, None),), {2: 3}),
        (None, None, ((2, 4), (5, 6)), {2: 4, 5: 6}),
        (None, None, ((None, 3),), {0: 3, 2: 3, 5: 3}),
        (None, 3, ((None, 3),), {0: 3, 2: 3, 5: 3}),
        (2, None, ((None, 3),), {2: 3}),
        (2, None, ((2, 9),), {2: 9}),
        (None, None, ((None, 3), (5, 4)), {0: 3, 2: 3, 5: 4}),
    ],
)
def test_words_choose_databases(
    source: int | None,
    target: int | None,
    dbs: tuple[tuple[int | None, int | None], ...],
    expected: dict[int, int],
) -> None:
    """A URL names one, none means all that hold keys, --db chooses and sends."""
    assert asked(source, target, *dbs) == expected


def test_an_empty_source_is_still_a_plan() -> None:
    """Nothing to copy is not an error: database 0 stands for it."""
    assert map_databases(CopyRequest(source=Address(), target=Address()), ()) == {0: 0}


@pytest.mark.parametrize("target", [0, 3])
def test_all_databases_into_a_url_with_one_are_refused(target: int) -> None:
    """It would fold databases without having been asked; the hint says how to ask."""
    with pytest.raises(UsageError) as caught:
        asked(None, target)

    assert f"'*:{target}'" in caught.value.hint
    assert "0, 2, 5 hold keys" in caught.value.message


@pytest.mark.parametrize(
    ("source", "target", "dbs"),
    [
        (None, None, ((0, 1), (2, 1))),
        (None, None, ((0, 1), (0, 2))),
        (None, 3, ((0, None), (2, None))),
        (None, None, ((None, 1), (None, 2))),
    ],
)
def test_a_fold_that_was_not_asked_for_is_refused(
    source: int | None, target: int | None, dbs: tuple[tuple[int | None, int | None], ...]
) -> None:
    """Two databases into one, or one into two, is said with '*:N' or not at all."""
    with pytest.raises(FoldError):
        asked(source, target, *dbs)


@pytest.mark.parametrize(("source", "target", "db"), [(2, None, (5, None)), (2, 3, (2, 4)), (None, 3, (2, 4))])
def test_contradicting_words_are_refused(source: int | None, target: int | None, db: tuple[int, int | None]) -> None:
    """URL and --db that name different databases cannot both be meant."""
    with pytest.raises(UsageError):
        asked(source, target, db)


def test_a_database_that_is_not_there_is_named_with_how_many_there_are() -> None:
    """Databases are numbered from 0: sixteen of them end at 15."""
    with pytest.raises(DatabasesError, match=r"target has 16 databases \(0 to 15\), not 16, 20"):
        refuse_missing({0: 16, 1: 20}, 16, 16, "redis://a", "redis://b")
    with pytest.raises(DatabasesError, match=r"source has 1 database \(0 to 0\), not 3"):
        refuse_missing({3: 0}, 1, 16, "redis://a", "redis://b")

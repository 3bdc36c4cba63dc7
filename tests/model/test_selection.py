"""What passes, and what becomes of names and deadlines: decided by bytes alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transfer.model.record import NO_DEADLINE
from transfer.model.selection import Mapping, Selection, TtlRule

NAMES = [b"user:%d" % number for number in range(2_000)]


def test_a_key_passes_that_any_match_takes_and_no_exclude() -> None:
    """Several of a kind widen it; --exclude has the last word."""
    selection = Selection(match=(b"user:*", b"driver:*"), exclude=(b"*:9",))

    assert selection.names([b"user:1", b"user:9", b"driver:2", b"session:3"]) == [b"user:1", b"driver:2"]


def test_without_a_filter_nothing_is_asked_per_key() -> None:
    """The very list comes back: the hot path pays nothing."""
    assert Selection().names(NAMES) is NAMES


def test_a_sample_is_the_same_keys_every_time() -> None:
    """By hash of the name: two runs, two machines and a smaller sample agree."""
    tenth, fifth = Selection(sample=0.1).names(NAMES), Selection(sample=0.2).names(NAMES)

    assert tenth == Selection(sample=0.1).names(NAMES)
    assert set(tenth) < set(fifth)
    assert 120 < len(tenth) < 280


def test_one_glob_can_be_left_to_the_server() -> None:
    """Two cannot: SCAN takes one MATCH."""
    assert Selection(match=(b"a*",)).pushed_match() == b"a*"
    assert Selection(match=(b"a*", b"b*")).pushed_match() is None
    assert Selection().pushed_match() is None


def test_keys_that_live_less_are_left_out_and_those_without_a_deadline_stay() -> None:
    """--min-ttl looks at the time that remains."""
    selection = Selection(min_ttl_ms=1_000)

    assert selection.lives_long_enough(NO_DEADLINE, now_ms=5_000)
    assert selection.lives_long_enough(6_000, now_ms=5_000)
    assert not selection.lives_long_enough(5_999, now_ms=5_000)


@pytest.mark.parametrize(
    ("rule", "at_target"),
    [
        (TtlRule(), 60_000),
        (TtlRule("drop"), NO_DEADLINE),
        (TtlRule("rebase"), 65_000),
        (TtlRule("cap", 30_000), 45_000),
        (TtlRule("cap", 300_000), 60_000),
        (TtlRule("add", 30_000), 90_000),
    ],
)
def test_a_deadline_follows_its_rule(rule: TtlRule, at_target: int) -> None:
    """A deadline of 60 s; the source's clock says 10 s, the target's 15 s."""
    assert rule.apply(60_000, source_now_ms=10_000, target_now_ms=15_000) == at_target


@given(
    kind=st.sampled_from(["keep", "drop", "rebase", "cap", "add"]),
    deadline_ms=st.integers(1, 1 << 50),
    source_ms=st.integers(0, 1 << 50),
    target_ms=st.integers(1, 1 << 50),
    amount_ms=st.integers(1, 1 << 40),
)
def test_no_rule_turns_a_deadline_into_none_but_drop_nor_none_into_a_deadline(
    kind: str, deadline_ms: int, source_ms: int, target_ms: int, amount_ms: int
) -> None:
    """A TTL of 0 would mean `never` to RESTORE, so it must not come out of anything."""
    rule = TtlRule(kind, amount_ms)
    moved = rule.apply(deadline_ms, source_ms, target_ms)

    assert rule.apply(NO_DEADLINE, source_ms, target_ms) == NO_DEADLINE
    assert moved == NO_DEADLINE if kind == "drop" else moved > 0


def test_the_first_prefix_that_fits_renames() -> None:
    """Only the prefix, only once."""
    mapping = Mapping({0: 0}, renames=((b"user:", b"person:"), (b"u", b"x")))

    assert mapping.name(b"user:user:1") == b"person:user:1"
    assert mapping.name(b"u2") == b"x2"
    assert mapping.name(b"other") == b"other"


def test_a_mapping_knows_when_two_keys_could_become_one() -> None:
    """Renames can, and two databases into one; the rest cannot."""
    everything, users = Selection(), Selection(match=(b"user:*", b"user:a[bc]"))
    assert not Mapping({0: 0, 1: 1}).can_fold(everything)
    assert Mapping({0: 3, 1: 3}).can_fold(users)
    assert Mapping({0: 0}, renames=((b"a", b"b"),)).can_fold(everything)
    assert not Mapping({0: 0}, renames=((b"user:", b"u:"),)).can_fold(users)
    assert Mapping({0: 0}, renames=((b"user:a", b"u:"),)).can_fold(users)
    assert Mapping({0: 0}, renames=((b"user:", b"u:"),)).can_fold(Selection(match=(b"user:*", b"u*")))


@given(
    name=st.binary(max_size=6),
    renames=st.lists(st.tuples(st.binary(max_size=2), st.binary(max_size=2)), max_size=3).map(tuple),
)
def test_every_key_is_among_the_origins_of_what_it_becomes(
    name: bytes, renames: tuple[tuple[bytes, bytes], ...]
) -> None:
    """Verify walks from the target back to the source: it must find every name that could have come here."""
    mapping = Mapping({0: 0}, renames=renames)
    origins = mapping.origins(mapping.name(name))

    assert name in origins
    assert all(mapping.name(origin) == mapping.name(name) for origin in origins)
    assert len(origins) == len(set(origins))

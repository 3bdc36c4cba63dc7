"""Names of temporary keys: their slot, and their removal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers import ask, running
from transfer.endpoint.redis.big.temporary import slot_of, temporary_name
from transfer.endpoint.redis.leftovers import remove_temporaries
from transfer.endpoint.redis.server import Server
from transfer.model.selection import Selection, is_temporary


@given(name=st.one_of(st.binary(min_size=1, max_size=40), st.text("ab{}", min_size=1).map(str.encode)))
def test_a_temporary_name_has_the_slot_of_the_final_one(name: bytes) -> None:
    """Whatever braces the name holds; and it is known as temporary."""
    temporary = temporary_name("20261122-1931-7f3a", 3, name)

    assert slot_of(temporary) == slot_of(name)
    assert is_temporary(temporary)
    assert not Selection(match=(b"*",)).names([temporary])


@pytest.mark.parametrize(
    "name", [b"transfer:tmp:", b"transfer:tmp:a:1", b"transfer:tmp:a:x:{k}", b"my:transfer:tmp:a:1:{k}"]
)
def test_names_of_others_are_no_temporary_names(name: bytes) -> None:
    """Only the whole shape is ours."""
    assert not is_temporary(name)
    assert Selection().names([name]) == [name]


async def test_the_slot_is_the_one_a_cluster_counts() -> None:
    """CLUSTER KEYSLOT says the same."""
    async with running("redis-7.0", "--cluster-enabled", "yes") as server:
        for name in (b"k", b"{a}b", b"{}x", b"a}b", b"{{x}}", b"\xff\x00", temporary_name("j", 1, b"a}b")):
            assert await ask(server, "CLUSTER", "KEYSLOT", name) == slot_of(name)


async def test_removal_takes_those_of_one_job_in_every_database() -> None:
    """Another job's keys stay, and everything else."""
    async with running("redis-7.0") as process:
        for db in (0, 3):
            for number in range(1500):
                await ask(process, "SET", temporary_name("gone", number, b"k"), 1, db=db) if number % 500 == 0 else None
            await ask(process, "MSET", temporary_name("stays", 1, b"k"), 1, "k", 2, db=db)
        server = await Server.open(process.address)

        assert await remove_temporaries(server, "gone") == 6
        assert await remove_temporaries(server, "gone") == 0

        for db in (0, 3):
            assert await ask(process, "DBSIZE", db=db) == 2
        with pytest.raises(ValueError, match="no job id"):
            await remove_temporaries(server, "*")

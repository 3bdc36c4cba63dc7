"""Footers of DUMP payloads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transfer.codec.dump import footer_mask, is_whole, restamped, stamp

versions = st.integers(1, 99)


@given(bodies=st.lists(st.binary(min_size=1, max_size=300), max_size=5), old=versions, new=versions)
def test_a_payload_stamped_anew_is_the_body_stamped(bodies: list[bytes], old: int, new: int) -> None:
    """What is made without reading the body is what reading it comes to."""
    assert restamped([stamp(body, old) for body in bodies], footer_mask(old, new)) == [stamp(it, new) for it in bodies]


@given(body=st.binary(min_size=2, max_size=100), at=st.integers(0, 99), old=versions, new=versions)
def test_a_payload_that_was_altered_stays_altered(body: bytes, at: int, old: int, new: int) -> None:
    """A new stamp makes nothing whole that was not."""
    dump = bytearray(stamp(body, old))
    dump[at % len(body)] ^= 1

    assert not is_whole(restamped([bytes(dump)], footer_mask(old, new))[0])

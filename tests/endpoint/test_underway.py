"""Names that are on their way are not read a second time at once."""

from transfer.endpoint.redis.underway import Underway


def test_a_name_is_given_once_until_it_was_acknowledged() -> None:
    """Twice in one page, in the next page, in another database, and after it arrived."""
    underway = Underway()

    assert underway.enter(0, [b"a", b"b", b"a"]) == [b"a", b"b"]
    assert underway.enter(0, [b"b", b"c"]) == [b"c"]
    assert underway.enter(1, [b"a"]) == [b"a"]
    underway.leave(0, [b"a"])
    assert underway.enter(0, [b"a", b"b", b"c", b"d"]) == [b"a", b"d"]

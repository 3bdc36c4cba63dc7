"""What an error reply to a write means for the key it answered: one table.

Texts: redis/src/server.c createSharedObjects, cluster.c verifyDumpPayload and restoreCommand.
"""

from __future__ import annotations

from enum import Enum, auto


class ReplyClass(Enum):
    """What to do about an error reply."""

    BUSY_KEY = auto()  # the key exists: compare, then the conflict policy decides
    PAYLOAD = auto()  # this server cannot load these bytes: write the value in another way
    FULL = auto()  # no memory: wait or stop, as told
    WAIT = auto()  # the server cannot now, and will later
    READ_ONLY = auto()  # it became a replica: stop
    DENIED = auto()  # the ACL forbids it
    REDIRECT = auto()  # a cluster node that does not serve this slot
    OTHER = auto()


_TABLE: tuple[tuple[str, ReplyClass], ...] = (
    ("BUSYKEY", ReplyClass.BUSY_KEY),
    ("ERR DUMP payload version", ReplyClass.PAYLOAD),
    ("ERR Bad data format", ReplyClass.PAYLOAD),
    ("ERR Unsupported foreign data type", ReplyClass.PAYLOAD),
    ("OOM", ReplyClass.FULL),
    ("LOADING", ReplyClass.WAIT),
    ("BUSY ", ReplyClass.WAIT),
    ("TRYAGAIN", ReplyClass.WAIT),
    ("CLUSTERDOWN", ReplyClass.WAIT),
    ("MASTERDOWN", ReplyClass.WAIT),
    ("NOREPLICAS", ReplyClass.WAIT),
    ("MISCONF", ReplyClass.WAIT),
    ("READONLY", ReplyClass.READ_ONLY),
    ("NOPERM", ReplyClass.DENIED),
    ("NOAUTH", ReplyClass.DENIED),
    ("MOVED", ReplyClass.REDIRECT),
    ("ASK", ReplyClass.REDIRECT),
)


def classify(text: str) -> ReplyClass:
    """The class of an error reply's text."""
    for prefix, kind in _TABLE:
        if text.startswith(prefix):
            return kind
    return ReplyClass.OTHER

"""What an error reply, or a connection that fails, means and what is done about it: the one table.

    reply text -> RULES, first prefix that fits -> Rule: class, action while we dial, action in mid-run, what to do
    TransferError -> `passes`: whether dialling again may mend it

Reads, writes, the first dial and every later one decide by this table; docs/faults.md shows it, a test compares.
Texts: redis/src/server.c createSharedObjects and rejectCommand, cluster.c verifyDumpPayload and restoreCommand.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from transfer.model.errors import ReplacedError, TransferError


class ReplyClass(Enum):
    """What an error reply is about."""

    BUSY_KEY = auto()  # the key exists: compare, then the conflict policy decides
    PAYLOAD = auto()  # this server cannot load these bytes: write the value in another way
    FULL = auto()  # no memory: wait or stop, as told
    LOADING = auto()  # it reads its data; one that had answered before lost what it held
    WAIT = auto()  # the server cannot now, and will later
    HELD = auto()  # it refuses writes until somebody or something mends it
    READ_ONLY = auto()  # it became a replica
    LINK = auto()  # the connection failed; what was sent is in doubt
    AUTH = auto()  # it does not know us
    DENIED = auto()  # the ACL forbids the command
    DENIED_KEY = auto()  # the ACL forbids this key
    REDIRECT = auto()  # a cluster node that does not serve this slot
    OTHER = auto()


class Action(Enum):
    """What to do. RETRY, PAUSE and RESOLVE end after --give-up-after without progress."""

    RETRY = "retry"  # the same again, with backoff and jitter
    PAUSE = "pause and tell"  # the same again after growing pauses, and people are told what it waits for
    RESOLVE = "re-resolve"  # dial anew, look who answers; everything is read again, what is equal is skipped
    STOP = "stop"
    KEY = "its key only"  # compare, rebuild or reject that key; the run goes on


class Rule(msgspec.Struct, frozen=True):
    """A row of the table. `dialling`: in answer to the first questions on a new link; `running`: to a read or write."""

    prefix: str
    kind: ReplyClass
    dialling: Action
    running: Action
    advice: str = ""


_SAVE = "make the target able to save again (its log says why), or CONFIG SET stop-writes-on-bgsave-error no there"
RULES: tuple[Rule, ...] = (
    Rule("LOADING", ReplyClass.LOADING, Action.RETRY, Action.RESOLVE),
    Rule("BUSY ", ReplyClass.WAIT, Action.RETRY, Action.RETRY, "SCRIPT KILL there ends a script that runs too long"),
    Rule("TRYAGAIN", ReplyClass.WAIT, Action.RETRY, Action.RETRY),
    Rule("CLUSTERDOWN", ReplyClass.WAIT, Action.RETRY, Action.RETRY),
    Rule("MASTERDOWN", ReplyClass.WAIT, Action.RETRY, Action.RETRY),
    Rule("NOMASTERLINK", ReplyClass.WAIT, Action.RETRY, Action.RETRY),
    Rule("ERR max number of clients", ReplyClass.WAIT, Action.RETRY, Action.RETRY, "CONFIG SET maxclients there"),
    Rule("NOREPLICAS", ReplyClass.HELD, Action.PAUSE, Action.PAUSE, "bring its replicas back"),
    Rule("MISCONF", ReplyClass.HELD, Action.PAUSE, Action.PAUSE, _SAVE),
    Rule(
        "OOM",
        ReplyClass.FULL,
        Action.PAUSE,
        Action.PAUSE,
        "CONFIG SET maxmemory there, or delete what is not needed; --on-full stop ends the run at once",
    ),
    Rule("READONLY", ReplyClass.READ_ONLY, Action.RESOLVE, Action.RESOLVE, "REPLICAOF NO ONE there, or its primary"),
    Rule("connection reset", ReplyClass.LINK, Action.RETRY, Action.RETRY),
    Rule("timeout", ReplyClass.LINK, Action.RETRY, Action.RETRY),
    Rule("NOAUTH", ReplyClass.AUTH, Action.STOP, Action.STOP),
    Rule("WRONGPASS", ReplyClass.AUTH, Action.STOP, Action.STOP),
    Rule("ERR AUTH", ReplyClass.AUTH, Action.STOP, Action.STOP),
    Rule("ERR Client sent AUTH", ReplyClass.AUTH, Action.STOP, Action.STOP),
    Rule("ERR invalid password", ReplyClass.AUTH, Action.STOP, Action.STOP),
    Rule("DENIED", ReplyClass.OTHER, Action.STOP, Action.STOP),
    Rule("NOPERM", ReplyClass.DENIED, Action.STOP, Action.STOP),
    Rule("NOPERM of a key", ReplyClass.DENIED_KEY, Action.STOP, Action.KEY),
    Rule("MOVED", ReplyClass.REDIRECT, Action.STOP, Action.STOP),
    Rule("ASK", ReplyClass.REDIRECT, Action.STOP, Action.STOP),
    Rule("BUSYKEY", ReplyClass.BUSY_KEY, Action.STOP, Action.KEY),
    Rule("ERR DUMP payload version", ReplyClass.PAYLOAD, Action.STOP, Action.KEY),
    Rule("ERR Bad data format", ReplyClass.PAYLOAD, Action.STOP, Action.KEY),
    Rule("ERR Unsupported foreign data type", ReplyClass.PAYLOAD, Action.STOP, Action.KEY),
)
_REST = Rule("anything else", ReplyClass.OTHER, Action.STOP, Action.KEY)
_DENIED_KEY = next(rule for rule in RULES if rule.kind is ReplyClass.DENIED_KEY)
_OF_EXEC = "EXECABORT Transaction discarded because of: "
_ALL_KEYS = frozenset({Action.RETRY, Action.PAUSE, Action.RESOLVE, Action.STOP})
_MENDED = frozenset({Action.RETRY, Action.PAUSE, Action.RESOLVE})


def rule_of(text: str) -> Rule:
    """The row for the text of an error reply; of a transaction's the one it names as its cause."""
    text = text.removeprefix(_OF_EXEC)
    found = next((rule for rule in RULES if text.startswith(rule.prefix)), _REST)
    # Redis 6 and 7: "... has no permissions to run the 'x' command" | "... to access one of the keys"
    return _DENIED_KEY if found.kind is ReplyClass.DENIED and " to run the " not in text else found


def classify(text: str) -> ReplyClass:
    """The class of an error reply's text."""
    return rule_of(text).kind


def waits(text: str) -> bool:
    """Whether the same is to be asked again later, on a link that goes on."""
    return rule_of(text).running in (Action.RETRY, Action.PAUSE)


def of_all_keys(text: str) -> bool:
    """Whether a refusal holds for every key, so there is no use in trying them one by one; a command is not all."""
    rule = rule_of(text)
    return rule.running in _ALL_KEYS and rule.kind is not ReplyClass.DENIED


def passes(error: TransferError) -> bool:
    """Whether a new link, later, may answer otherwise; another process at the address is for the run to look at."""
    if isinstance(error, ReplacedError):
        return False
    reply = error.facts.get("reply")
    return error.retryable or (isinstance(reply, str) and rule_of(reply).dialling in _MENDED)


def tells(error: TransferError) -> str:
    """What people are told while *error* is waited out; "" where it passes without them."""
    reply = error.facts.get("reply")
    rule = rule_of(reply) if isinstance(reply, str) else _REST
    if rule.dialling not in (Action.PAUSE, Action.RESOLVE):
        return ""
    return f"{error.message} ({rule.advice})"

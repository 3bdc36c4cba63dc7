"""Every failure a user can meet, as one tree.

    TransferError (E100, exit 1)
    ├── UsageError (E101, exit 2)
    │   ├── PlaceError (E102, exit 2)
    │   ├── SamePlaceError (E103, exit 2)
    │   ├── GuardError (E104, exit 2)
    │   └── FoldError (E105, exit 2)
    ├── WayError (E106, exit 1)
    ├── UnsettledError (E107, exit 1)
    ├── LinkError (E200, exit 4)
    │   ├── UnreachableError (E201, exit 4)
    │   ├── GaveUpError (E206, exit 4)
    │   ├── ForeignProtocolError (E207, exit 4)
    │   └── OversizedReplyError (E208, exit 4)
    ├── AuthError (E202, exit 4)
    ├── PermissionDeniedError (E203, exit 4)
    ├── TlsError (E205, exit 4)
    ├── ReadOnlyTargetError (E209, exit 4)
    ├── ReplicaSourceError (E210, exit 4)
    ├── FileMissingError (E211, exit 4)
    ├── ServerRefusedError (E212, exit 4)
    ├── RefusedError (E204, exit 3)
    │   ├── ConflictError (E301, exit 3)
    │   ├── UnreadableKeyError (E302, exit 3)
    │   ├── TooLargeError (E303, exit 3)
    │   └── FoldedKeyError (E305, exit 3)
    ├── ReplacedError (E213, exit 4)
    │   └── EmptiedSourceError (E215, exit 4)
    ├── FullSyncError (E214, exit 4)
    ├── IncompatibleError (E500, exit 5)
    │   ├── ClusterNodeError (E501, exit 5)
    │   ├── SentinelError (E502, exit 5)
    │   ├── DatabasesError (E503, exit 5)
    │   ├── TargetSizeError (E504, exit 5)
    │   └── EvictingTargetError (E505, exit 5)
    ├── LimitError (E800, exit 8)
    │   ├── RejectLimitError (E801, exit 8)
    │   ├── DurationLimitError (E802, exit 8)
    │   ├── TargetFullError (E803, exit 8)
    │   └── StateFullError (E804, exit 8)
    ├── LockedError (E1100, exit 11)
    ├── FormatError (E1200, exit 12)
    │   ├── CutError (E1201, exit 12)
    │   ├── ChecksumError (E1202, exit 12)
    │   ├── UnknownFormError (E1203, exit 12)
    │   └── WrongKeyError (E1204, exit 12)
    └── InterruptedRunError (E1300, exit 130)
        └── CancelledRunError (E1301, exit 130)

Rule 1: the numbers are attributes as well as words.
Rule 2: `hint` names the next command to run.
Rule 3: no secret is ever part of a message; places are given redacted.
"""

from __future__ import annotations

from typing import ClassVar

RESUME = "transfer resume ID"
"""Stands in hints for the command that goes on with the run's own job."""
AGAIN = "run the same command again"
RESUME_HINT = f"{RESUME} goes on where it stopped"


class TransferError(Exception):
    """A failure with a code, an exit code and a hint.

    Attributes:
        where: the place (redacted), database or key it happened at, "" if nowhere.
        hint: what to do next, a command where there is one.
        facts: the numbers of the message, by name.
    """

    code: ClassVar[str] = "E100"
    exit_code: int = 1
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = "run again with --debug for the whole story"

    def __init__(self, message: str, *, where: str = "", hint: str = "", **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint or self.default_hint
        self.facts = facts


class UsageError(TransferError):
    """The words of the command do not fit together."""

    code, exit_code = "E101", 2
    default_hint = "transfer --help"


class PlaceError(UsageError):
    """A place (URL or file name) cannot be understood."""

    code = "E102"
    default_hint = (
        "a server reads redis://host[:port][/db], with user:password and an at sign before the host where it asks for "
        "them; a file ends in .xfer, .xfer.age, .rdb, .jsonl or .txt"
    )


class SamePlaceError(UsageError):
    """Source and target are the same data, or one replicates from the other."""

    code = "E103"
    default_hint = "give two servers that do not replicate from each other; transfer doctor SRC DST shows who answers"


class GuardError(UsageError):
    """A hazard in the plan was not accepted."""

    code = "E104"
    default_hint = "accept each hazard by name with --allow NAME"


class FoldError(UsageError):
    """A mapping folds two source keys, or two databases, into one."""

    code = "E105"
    default_hint = "choose a --rename or --db mapping that keeps names apart"


class WayError(TransferError):
    """One way of a benchmark did not do its work; a peer's is told as a line, one of ours ends the benchmark."""

    code = "E106"
    default_hint = "run the same way by hand, or leave it out with --way"


class UnsettledError(TransferError):
    """A fault of this program: keys were read, and it lost sight of them. What was acknowledged stands."""

    code = "E107"
    default_hint = f"{RESUME_HINT}: these keys are read again"


class LinkError(TransferError):
    """A connection failed; the same work may be tried again on a new one."""

    code, exit_code, retryable = "E200", 4, True
    default_hint = "transfer doctor URL"


class UnreachableError(LinkError):
    """Nobody answers at this address."""

    code = "E201"


class GaveUpError(LinkError):
    """No progress was made for the whole of --give-up-after."""

    code, retryable = "E206", False
    default_hint = RESUME_HINT


class ForeignProtocolError(LinkError):
    """What answers at this port does not speak RESP."""

    code, retryable = "E207", False
    default_hint = "check the port; rediss:// if the server expects TLS"


class OversizedReplyError(LinkError):
    """A reply passed the cap on resident bytes; the link was closed."""

    code = "E208"


class AuthError(TransferError):
    """The server did not accept who we say we are."""

    code, exit_code = "E202", 4
    default_hint = "set TRANSFER_SOURCE_PASSWORD / TRANSFER_TARGET_PASSWORD (or ..._FILE), or user:password in the URL"


class PermissionDeniedError(TransferError):
    """The ACL user lacks the right to commands that are needed."""

    code, exit_code = "E203", 4
    default_hint = "transfer doctor URL lists every right that is needed"


class TlsError(TransferError):
    """The TLS handshake or the certificate failed; nothing was sent over it."""

    code, exit_code = "E205", 4
    default_hint = "?cacert=FILE names the authority to trust; the host of the URL must be in the certificate"


class ReadOnlyTargetError(TransferError):
    """The target refuses writes: it is a replica."""

    code, exit_code = "E209", 4
    default_hint = "give the address of its primary; transfer doctor URL names it"


class ReplicaSourceError(TransferError):
    """The source is a replica that has lost, or not yet reached, its primary."""

    code, exit_code = "E210", 4
    default_hint = "wait until its link is up, or read from the primary"


class FileMissingError(TransferError):
    """A file that was named is not there or cannot be read."""

    code, exit_code = "E211", 4
    default_hint = "check the path"


class ServerRefusedError(TransferError):
    """The server answered with an error that no retry can mend."""

    code, exit_code = "E212", 4
    default_hint = "transfer doctor URL"


class RefusedError(TransferError):
    """Some keys were refused; the rest arrived."""

    code, exit_code = "E204", 3
    default_hint = "transfer jobs show ID lists them with their causes"


class ConflictError(RefusedError):
    """The target holds another value under the name, and keeps it (--on-conflict fail)."""

    code = "E301"
    default_hint = "--on-conflict replace writes over it, --on-conflict skip only counts it"


class UnreadableKeyError(RefusedError):
    """The source refused to give this key."""

    code = "E302"
    default_hint = "transfer doctor URL lists the rights that are missing"


class TooLargeError(RefusedError):
    """The value fits into no RESTORE that the target takes, and cannot go in pieces."""

    code = "E303"
    default_hint = "the cause says what is too large; --format auto takes pieces where one RESTORE cannot"


class FoldedKeyError(RefusedError):
    """Another source key was already written under the same name."""

    code = "E305"
    default_hint = "choose a --rename or --db mapping that keeps names apart"


class ReplacedError(TransferError):
    """Another server process answers at an address than the one we knew."""

    code, exit_code, retryable = "E213", 4, True
    default_hint = "transfer doctor URL shows who answers"


class EmptiedSourceError(ReplacedError):
    """The source came back as another process and without the data that it held."""

    code = "E215"
    default_hint = (
        f"give the source its data back, then {RESUME}; the same copy with --fresh, if it is meant to be empty"
    )


class FullSyncError(TransferError):
    """The source gave no full sync, or not all of it; a copy goes on by SCAN."""

    code, exit_code = "E214", 4
    default_hint = "--route scan needs no full sync"


class IncompatibleError(TransferError):
    """This pair of servers, or this kind of server, cannot do it."""

    code, exit_code = "E500", 5
    default_hint = "transfer doctor SRC DST"


class ClusterNodeError(IncompatibleError):
    """A cluster node stands behind a plain URL: it holds one shard only."""

    code = "E501"
    default_hint = "--allow one-shard takes this shard alone"


class SentinelError(IncompatibleError):
    """A Sentinel stands behind a plain URL: it holds no keys."""

    code = "E502"
    default_hint = "give the address of the primary it watches"


class DatabasesError(IncompatibleError):
    """The target lacks a logical database that is needed."""

    code = "E503"
    default_hint = "map it with --db N:M, or raise `databases` at the target"


class TargetSizeError(IncompatibleError):
    """The target's maxmemory is too small for the source's data."""

    code = "E504"
    default_hint = "raise maxmemory, narrow with --match or --db, or say --on-full wait|stop to go until it is full"


class EvictingTargetError(IncompatibleError):
    """The target evicts keys when it is full, also those just copied."""

    code = "E505"
    default_hint = "CONFIG SET maxmemory-policy noeviction at the target, or --allow evicting-target"


class LimitError(TransferError):
    """A limit that was set was reached; the run can go on later."""

    code, exit_code = "E800", 8
    default_hint = RESUME_HINT


class RejectLimitError(LimitError):
    """More keys were rejected than --max-rejects allows."""

    code = "E801"


class DurationLimitError(LimitError):
    """--max-duration has passed."""

    code = "E802"


class TargetFullError(LimitError):
    """The target has no memory left and --on-full says stop."""

    code = "E803"


class StateFullError(LimitError):
    """The state directory cannot be written: its disk is full, or fails."""

    code = "E804"
    default_hint = f"make room there, or mend the disk; then {RESUME}"


class LockedError(TransferError):
    """Another run holds what this one needs."""

    code, exit_code = "E1100", 11
    default_hint = "transfer jobs list"


class FormatError(TransferError):
    """Bytes are not what their format promises."""

    code, exit_code = "E1200", 12
    default_hint = "transfer verify FILE tells whether it is whole"


class CutError(FormatError):
    """The bytes end before what they began."""

    code = "E1201"


class ChecksumError(FormatError):
    """A checksum does not hold: some byte before it is not what was written."""

    code = "E1202"


class UnknownFormError(FormatError):
    """An opcode, value type or version that this program does not know; what follows cannot be told apart."""

    code = "E1203"


class WrongKeyError(FormatError):
    """Nothing that was given opens an encrypted file."""

    code = "E1204"
    default_hint = "give --identity FILE with a key that the file was encrypted to"


class InterruptedRunError(TransferError):
    """Ctrl-C, SIGTERM or `jobs pause`: the run drained what was in flight and stopped."""

    code, exit_code = "E1300", 130
    default_hint = RESUME_HINT


class CancelledRunError(InterruptedRunError):
    """`jobs cancel`: the run drained what was in flight and ended for good; what was written stays."""

    code = "E1301"
    default_hint = "transfer jobs show ID tells what was written; transfer jobs clean ID removes what else it left"

"""The promises between rooms. Who keeps them lives by place, in `endpoint/` and `pipeline/`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from transfer.model.endpoint import Features, Identity
from transfer.model.plan import CopyPlan, Hazard
from transfer.model.record import Batch, Span
from transfer.model.report import Finding, Progress, Reject, Report
from transfer.model.value import ReadValue, Value


class Origin(Protocol):
    """What a sink must know of the place that its records come from."""

    identity: Identity
    features: Features

    @property
    def where(self) -> str: ...

    def now_ms(self) -> int:
        """The clock that its deadlines are judged by."""


class KeyLedger(Protocol):
    """Remembers, in 16 bytes a key, what this run did with which key. Bounded: spills to disk."""

    def note(self, db: int, keys: list[bytes], values: list[bytes], deadlines: Sequence[int] | None = None) -> None:
        """Remember *keys* of logical database *db* with the hash of each value's bytes, and of *deadlines* if given."""

    def note_hash(self, db: int, key: bytes, value_hash: bytes) -> None:
        """Remember *key* with a hash made elsewhere: xxh3-64 of the value, seeded with its deadline + 1."""

    def value_hash(self, db: int, key: bytes) -> bytes | None:
        """The hash noted last for this key, None if it was never noted."""


class HashLedger(KeyLedger, Protocol):
    """A ledger that also takes what it hashed before: for what is to be remembered only once it was written."""

    def hashed(
        self, db: int, keys: list[bytes], values: list[bytes], deadlines: Sequence[int] | None = None
    ) -> tuple[bytes, bytes]:
        """What `note` remembers of these: hashes of names, and of values, each in one."""

    def add(self, hashes: bytes, values: bytes) -> None:
        """Remember what `hashed` gave."""


class Journal(Protocol):
    """Outlives the process: what is about to be sent, and what was written of it."""

    def sent(self, hashes: bytes, values: bytes) -> int:
        """Records, as a HashLedger hashes them, that are about to be sent; the number to tell `landed`."""

    def landed(self, number: int) -> None:
        """All records of this number were written."""


class Source(Protocol):
    """A place that can be read in batches."""

    async def read(self, emit: Callable[[Batch], Awaitable[None]], after: Mapping[str, str]) -> None:
        """Read everything selected, calling *emit* once per batch; *emit* blocks while queues are full.

        *after* holds the cursor of partitions to go on from, acknowledged up to there; none: from the start.

        Raises:
            ReplacedError: another server process answers; positions are void.
            LinkError: the place was out of reach for the whole of the give-up time.
        """


class Sink(Protocol):
    """A place that can be written in batches."""

    async def write(self, batch: Batch) -> None:
        """Make *batch* durable at this place, then return; the fate of each record is in the run's Tally.

        Returning is the acknowledgement: the caller settles `batch.span` and never sends the
        batch again. Writing the same batch twice leaves the place as writing it once.

        Raises:
            ReplacedError: another server process answers; what it acknowledged is in doubt.
            LinkError: the place was out of reach for the whole of the give-up time.
            TargetFullError: the place has no room and the run was told to stop then.
        """


class Observer(Protocol):
    """Who is told what a run does, in this order: job_started, planned, consent, then the rest as it comes.

    No method raises for a reader that went away, and none but `consent` waits for anybody.
    """

    def job_started(self, job: str, command: str) -> None:
        """The row of *job* is in the store; nothing was said before."""

    def planned(self, plan: CopyPlan) -> None:
        """Preflight is done. For a dry run this is all there is."""

    async def consent(self, plan: CopyPlan, hazards: list[Hazard]) -> bool:
        """Whether to go on although *hazards*, those that no flag accepted, hold. Asks only on a terminal."""

    def progress(self, snapshot: Progress) -> None:
        """Call as often as convenient; what is shown is throttled here."""

    def finding(self, finding: Finding) -> None:
        """One key differs, finally: not before its re-reads are done."""

    def reject(self, reject: Reject) -> None:
        """One key could not be copied."""

    def warning(self, text: str) -> None:
        """Something a person should know that changes no exit code."""

    def finished(self, report: Report) -> None:
        """The end, with what was reached; call it also before raising for a run that failed under way."""


RejectListener = Callable[[Reject], None]
FindingListener = Callable[[Finding], None]
WarningListener = Callable[[str], None]
SameValue = Callable[[Value, Value], bool]


class ValuesOf(Protocol):
    """Values of source keys, each read in one moment with its deadline."""

    async def __call__(self, db: int, keys: list[bytes], *, dumps: bool = False) -> list[ReadValue]:
        """One ReadValue per key, in order; *dumps*: with the payload that stands for the value."""


class Budget(Protocol):
    """Bounded memory for payloads in flight."""

    total_bytes: int

    async def acquire(self, size_bytes: int) -> None:
        """Wait until *size_bytes* fit, then hold them."""

    def correct(self, held_bytes: int, actual_bytes: int) -> None:
        """Replace an estimate by what it came to."""

    def release(self, size_bytes: int) -> None:
        """Give bytes back."""


class Spans(Protocol):
    """Keeps how far a source was read, partition by partition."""

    def open(self, partition: str, cursor: str) -> None:
        """*partition* is read from *cursor* on. All partitions of a database are opened before one of them is read."""

    def begin(self, partition: str, cursor: str) -> Span:
        """The names that come next in *partition*; *cursor* is where to go on after them."""

    def read(self, span: Span, keys: int) -> None:
        """*keys* of the span's names are to be copied; the others have their fate elsewhere or are not wanted."""

    def settle(self, span: Span, keys: int) -> None:
        """*keys* of the span have their fate."""

    def unsettled(self) -> int:
        """How many keys were begun and have no fate yet."""


class Portion(Protocol):
    """How much one request or batch may hold."""

    @property
    def most_keys(self) -> int:
        """Keys, at most, as of now."""

    @property
    def most_bytes(self) -> int:
        """Bytes of their values, at most, as of now; a larger key stands alone."""


class Throttle(Portion, Protocol):
    """How much may be asked of a server at once; each request is made inside `async with`, and waits there."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *failure: object) -> None: ...


class Unthrottled:
    """No limit."""

    most_keys = most_bytes = 1 << 40

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *failure: object) -> None:
        pass


UNTHROTTLED = Unthrottled()

ReadListener = Callable[[list[bytes], float], None]

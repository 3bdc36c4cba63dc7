"""The promises between rooms. Who keeps them lives by place, in `endpoint/` and `pipeline/`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from transfer.model.record import Batch, Position
from transfer.model.report import Finding, KeyCounts, Reject


class KeyLedger(Protocol):
    """Remembers, in 16 bytes a key, what this run did with which key. Bounded: spills to disk."""

    def note(self, db: int, keys: list[bytes], values: list[bytes]) -> None:
        """Remember *keys* of logical database *db* with the hash of each value's bytes."""

    def value_hash(self, db: int, key: bytes) -> bytes | None:
        """The hash noted last for this key, None if it was never noted."""


class Source(Protocol):
    """A place that can be read in batches."""

    async def read(self, emit: Callable[[Batch], Awaitable[None]], after: Mapping[str, Position]) -> None:
        """Read everything selected, calling *emit* once per batch; *emit* blocks while queues are full.

        *after* holds the acknowledged position of partitions to go on from.

        Raises:
            ReplacedError: another server process answers; positions are void.
            LinkError: the place was out of reach for the whole of the give-up time.
        """


class Sink(Protocol):
    """A place that can be written in batches."""

    async def write(self, batch: Batch) -> KeyCounts:
        """Make *batch* durable at this place, then return where each record went.

        Returning is the acknowledgement: the caller records `batch.position` and never sends the
        batch again. Writing the same batch twice leaves the place as writing it once.

        Raises:
            ReplacedError: another server process answers; what it acknowledged is in doubt.
            LinkError: the place was out of reach for the whole of the give-up time.
            TargetFullError: the place has no room and the run was told to stop then.
        """


RejectListener = Callable[[Reject], None]
FindingListener = Callable[[Finding], None]

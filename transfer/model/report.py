"""What a run says at its end: counts, verdicts, findings, and the exit code they come to."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from transfer.model.units import some

EXIT_ORDER = (12, 10, 9, 4, 8, 6, 3, 7)
"""If several hold, the first of these is the exit code (any other failure stands alone)."""


class Verdict(StrEnum):
    """What the comparison of one key came to."""

    MATCH = "MATCH"
    MISSING = "MISSING"
    EXTRA = "EXTRA"
    TYPE = "TYPE"
    VALUE = "VALUE"
    TTL = "TTL"
    CHANGED = "CHANGED"


class Finding(msgspec.Struct, frozen=True):
    """One key that is not the same on both sides. `db` and `key` are those of the target."""

    verdict: Verdict
    db: int
    key: bytes
    detail: str = ""


class Reject(msgspec.Struct, frozen=True):
    """One key that could not be copied, and why. `db` and `key` are those of the source."""

    db: int
    key: bytes
    code: str
    cause: str


class KeyCounts(msgspec.Struct):
    """Where every key that was read went: read is the sum of all the others.

    `already`: it was there, equal. `repeated`: this run had written it before (SCAN met it twice, or a
    batch was sent again). `conflicts`: another value was there and stayed. `expired`: its deadline
    passed on the way. `gone`: SCAN named it, reading found nothing.
    """

    read: int = 0
    written: int = 0
    already: int = 0
    repeated: int = 0
    conflicts: int = 0
    expired: int = 0
    gone: int = 0
    rejected: int = 0

    def adds_up(self) -> bool:
        parts = self.written + self.already + self.repeated + self.conflicts + self.expired + self.gone
        return self.read == parts + self.rejected


class DbTable(msgspec.Struct):
    """One row of the table at the end of a run: the two sides of one logical database, or the one that was read."""

    db: int
    keys: tuple[int, ...]
    with_deadline: tuple[int, ...]
    digest: tuple[str, ...]


class VerifyResult(msgspec.Struct):
    """Outcome of a comparison. `checked` counts keys of the source side, each once.

    `rejected`: keys that the copy had rejected and that differ therefore; they are no findings again. `lossy`: equal
    but for what the target cannot hold (--allow lossy); no matches, and no findings. `places`: 1 where one was read,
    not two compared; `in_pieces` of its values were too large to be taken whole.
    """

    mode: str = "full"
    checked: int = 0
    match: int = 0
    missing: int = 0
    extra: int = 0
    type: int = 0
    value: int = 0
    ttl: int = 0
    changed: int = 0
    not_from_source: int = 0
    rejected: int = 0
    lossy: int = 0
    seconds: float = 0.0
    changes_known_by: str = "tracking"  # tracking | hashes | file | files | nothing
    digest: str = "pair"  # what the digests of the tables are made of: pair | payloads | canonical 1
    places: int = 2
    in_pieces: int = 0

    def differences(self) -> int:
        return self.missing + self.extra + self.type + self.value + self.ttl

    def count(self, verdict: Verdict) -> None:
        name = verdict.value.lower()
        setattr(self, name, getattr(self, name) + 1)


class AsOf(msgspec.Struct, frozen=True):
    """What moment the copy is of. A SCAN copy is of an interval, never of an instant.

    `exceptions`: so many keys of an `instant` were read later, since their values were too large to be held.
    `to_ms` is None where it is not known: of an archive whose end is missing.
    """

    kind: str  # instant | interval
    from_ms: int = msgspec.field(name="from")
    to_ms: int | None = msgspec.field(name="to")
    writes_meanwhile: int
    exceptions: int = 0


class Missing(msgspec.Struct, frozen=True):
    """What a damaged archive lacks, as its end tells; `str()` of it is for people.

    `keys_had` in `blocks_had` whole blocks are there. `dbs`: database -> keys that are not, None where nobody knows;
    `blocks` that are not, None likewise.
    """

    keys_had: int
    blocks_had: int
    blocks: int | None = None
    dbs: dict[int, int] | None = None

    @property
    def keys(self) -> int | None:
        """Those that are not there."""
        return None if self.dbs is None else sum(self.dbs.values())

    def __str__(self) -> str:
        had = f"{some(self.keys_had, 'key')} in {some(self.blocks_had, 'whole block')} are there"
        if self.dbs is None:
            return f"{had}; how many are missing is not known, since what tells it, at the end, is missing, too"
        if not self.keys:
            return f"no key is missing: {had}, which are all"
        where = ", ".join(f"db {db}: {keys:,}" for db, keys in sorted(self.dbs.items()))
        within = f" in {some(self.blocks, 'block')}" if self.blocks is not None else ""
        return f"{some(self.keys or 0, 'key')}{within} missing ({where}); {had}"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a phase stands. `share` is 0..1, None while unknown, as `total_keys` and `eta_s` are."""

    phase: str  # copy | export | import | verify
    share: float | None = None
    keys: int = 0
    total_keys: int | None = None
    bytes: int = 0
    keys_per_s: float = 0.0
    bytes_per_s: float = 0.0
    eta_s: float | None = None
    rejected: int = 0


class FunctionCounts(msgspec.Struct):
    """Where every function library went: read is the sum of all the others. `not_copied` says why some did not."""

    read: int = 0
    written: int = 0
    replaced: int = 0
    already: int = 0
    conflicts: int = 0
    rejected: int = 0
    not_copied: list[str] = msgspec.field(default_factory=list)


class Report(msgspec.Struct, kw_only=True):
    """The `result` line and the summary are both made from this.

    `restarts`: how often a server was replaced; `resumed`: how often another process took over. `damage`: what of a
    file could not be used (--salvage), a line for each place. `lossy`: keys that were written without what the target
    cannot hold; `not_copied` names them. `causes`: why keys were rejected, and how many so, by this process.
    """

    command: str
    job: str
    exit: int = 0
    route: str = "scan"
    seconds: float = 0.0
    as_of: AsOf | None = None
    keys: KeyCounts = msgspec.field(default_factory=KeyCounts)
    bytes_read: int = 0
    bytes_written: int = 0
    peak_rss_bytes: int = 0
    restarts: int = 0
    resumed: int = 0
    verified: bool = False
    verify: VerifyResult | None = None
    dbs: list[DbTable] = msgspec.field(default_factory=list)
    rejects: list[Reject] = msgspec.field(default_factory=list)
    not_copied: list[str] = msgspec.field(default_factory=list)
    functions: FunctionCounts | None = None
    lossy: int = 0
    causes: dict[str, int] = msgspec.field(default_factory=dict)
    notes: list[str] = msgspec.field(default_factory=list)
    damage: list[str] = msgspec.field(default_factory=list)
    missing: Missing | None = None
    data: Any = None


def worst(codes: list[int]) -> int:
    """The exit code when several outcomes hold; 0 when none does."""
    present = [code for code in codes if code]
    ranked = [code for code in EXIT_ORDER if code in present]
    others = [code for code in present if code not in EXIT_ORDER]
    return (others or ranked or [0])[0]

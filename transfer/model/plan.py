"""What is asked for, and what will be done about it."""

from __future__ import annotations

import hashlib

import msgspec

from transfer.model.endpoint import Address, Features, Identity
from transfer.model.units import show_ms

LOSSY = "lossy"
"""Hazard: keys are written without what the target cannot hold."""
NO_UNDO, CHANGED_SINCE, CLEAR = "no-undo", "changed-since", "clear"
"""Hazards: keys are changed without their pre-images being kept; an undo writes over what others wrote since; keys are
deleted because `clear` was said."""
BIG_KEY_BYTES = 16 << 20
"""--big-key where it is not given: DUMP of a set of this size takes 80 ms of the source's thread (measured)."""


DEFAULT_LEVEL = 3
"""--level of zstd: a third smaller than a plain RDB at some hundred MB/s."""


class CopyRequest(msgspec.Struct, kw_only=True):
    """The words of `copy` and `verify` after parsing; units as the names say.

    `dbs` holds (source, target) pairs as `--db` gave them: None on the left is `*`, None on the right
    is "the same number".
    """

    source: Address
    target: Address
    alone: bool = False
    """Only the source is looked at; the target is the same."""
    match: tuple[bytes, ...] = ()
    exclude: tuple[bytes, ...] = ()
    types: tuple[str, ...] = ()
    dbs: tuple[tuple[int | None, int | None], ...] = ()
    keys_from: str = ""
    sample: float = 1.0
    renames: tuple[tuple[bytes, bytes], ...] = ()
    ttl: str = "keep"
    ttl_amount_ms: int = 0
    min_ttl_ms: int = 0
    on_conflict: str = ""  # fail | skip | replace; "" is fail, not named
    format: str = "auto"  # auto | raw | restamp | logical
    rate_keys_per_s: int = 0
    bwlimit_bytes_per_s: int = 0
    pace: str = "polite"  # polite | max
    max_source_latency_ms: int = 5
    max_target_lag_bytes: int = 64 << 20
    read_from: str = "primary"  # primary | replica
    max_replica_lag_ms: int = 10_000
    keep_idle: str = "auto"  # auto | on | off
    route: str = "auto"  # auto | scan | psync
    workers: int = 0  # 0: chosen
    batch: int = 0  # 0: chosen
    max_memory_bytes: int = 256 << 20
    big_key_bytes: int = BIG_KEY_BYTES
    max_duration_ms: int = 0
    max_rejects: str = "1000"
    on_full: str = ""  # wait | stop; "" is wait, not named
    max_skew_ms: int = 1_000
    verify: str = "full"  # full | none | sample
    verify_sample: float = 1.0
    ttl_tolerance_ms: int = 500
    digest: str = "pair"
    level: int = DEFAULT_LEVEL
    salvage: bool = False
    encrypt_to: tuple[str, ...] = ()
    identity: str = ""
    trial_restore: bool = False
    connect_timeout_ms: int = 10_000
    timeout_ms: int = 30_000
    give_up_after_ms: int = 300_000
    allow: frozenset[str] = frozenset()
    state_dir: str = ""
    spill_dir: str = ""
    kept_bytes: int = 0
    """What lies there of a full sync that an earlier process of the job began: room for another one."""
    undo_dir: str = ""
    delete_extra: bool = False
    clears: bool = False
    hash_keys: bool = False
    label: str = ""
    dry_run: bool = False
    fresh: bool = False
    approved_plan: str = ""


def narrows(request: CopyRequest) -> bool:
    """Whether filters leave out keys of the databases that are copied."""
    named = bool(request.match or request.exclude or request.types or request.keys_from)
    return named or request.sample < 1 or request.min_ttl_ms > 0


def allows_loss(request: CopyRequest, target: Features) -> bool:
    """Whether hashes are written without the deadlines of their fields, since the target has no such thing."""
    return LOSSY in request.allow and not target.field_ttl


class Hazard(msgspec.Struct, frozen=True):
    """Something in the plan that needs consent by name (`--allow NAME`)."""

    name: str
    message: str
    exit_code: int = 2
    code: str = "E104"


class DbPlan(msgspec.Struct, frozen=True):
    """One logical database: where it goes and what both sides hold now (INFO keyspace)."""

    source_db: int
    target_db: int
    keys: int
    with_deadline: int
    target_keys: int


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One place as preflight found it. Memory in bytes; `maxmemory` 0 is no limit. `about`: of a file, in words."""

    place: str
    identity: Identity
    features: Features
    databases: int
    used_memory_bytes: int
    dataset_bytes: int
    maxmemory_bytes: int
    maxmemory_policy: str
    clock_offset_ms: int
    """Server clock minus ours."""
    about: str = ""


class CopyPlan(msgspec.Struct, kw_only=True):
    """What a copy will do; printed before it, and all there is to --dry-run.

    `writing` is raw (RESTORE), restamp (RESTORE of payloads stamped or encoded anew) or logical (type commands);
    `changes_known_by` says how a difference is
    told from a change at the source: tracking | hashes. `keeps_use`: idletime | freq, carried with each key, or "".
    `act`: copy | undo | clear. `route`: scan | psync | rdb.
    `functions`: names of the libraries that travel ahead of the keys; `stranded`: of those that the target cannot have.
    `not_copied`: what else is known not to travel, a line each.
    """

    source: Side
    target: Side
    dbs: list[DbPlan]
    writing: str
    changes_known_by: str
    skew_ms: int
    act: str = "copy"
    keeps_use: str = ""
    route: str = "scan"
    functions: list[str] = msgspec.field(default_factory=list)
    stranded: list[str] = msgspec.field(default_factory=list)
    not_copied: list[str] = msgspec.field(default_factory=list)
    hazards: list[Hazard] = msgspec.field(default_factory=list)
    warnings: list[str] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    choices: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def keys(self) -> int:
        return sum(db.keys for db in self.dbs)

    def fingerprint(self) -> str:
        """`sha256:...` over what was chosen and for whom; counts and clocks do not enter."""
        stable = {
            "source": [self.source.place, self.source.identity.replid or self.source.identity.run_id],
            "target": [self.target.place, self.target.identity.replid or self.target.identity.run_id],
            "dbs": [[db.source_db, db.target_db] for db in self.dbs],
            "writing": self.writing,
            "hazards": sorted(hazard.name for hazard in self.hazards),
            "functions": sorted(self.functions),
            "choices": dict(sorted(self.choices.items())),
        }
        return "sha256:" + hashlib.sha256(msgspec.json.encode(stable, order="deterministic")).hexdigest()


def skew_hazard(skew_ms: int, request: CopyRequest) -> Hazard | None:
    """What a target's clock *skew_ms* ahead of the source's does to deadlines, if that is more than was allowed."""
    if abs(skew_ms) <= request.max_skew_ms or request.ttl in ("rebase", "drop"):
        return None
    ahead, when = ("ahead of", "early") if skew_ms > 0 else ("behind", "late")
    text = (
        f"the target's clock is {show_ms(abs(skew_ms))} {ahead} the source's, more than --max-skew "
        f"{show_ms(request.max_skew_ms)}: deadlines would come that much too {when} "
        "(--ttl rebase keeps what remains of each)"
    )
    return Hazard("clock-skew", text)

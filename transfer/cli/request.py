"""Words into a CopyRequest: what the flags say, checked and in the units of the engine.

    flags -> durations, sizes, rates, shares (`model/units`) -> names and globs as bytes -> CopyRequest

Rule 1: names, globs and prefixes come from argv with os.fsencode: the bytes that were typed, UTF-8 or not.
Rule 2: every error is a UsageError that says which flag, and what it reads like.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from transfer.cli.options import (
    Acting,
    Allow,
    Bounds,
    Change,
    Check,
    Conflict,
    DryRun,
    Extent,
    GiveUp,
    Keep,
    Names,
    Pace,
    Proof,
    Rename,
    Store,
    Waits,
    What,
)
from transfer.cli.options_files import Opening, Packing, Rescue, Sealing, Trial
from transfer.cli.request_files import identity_file, on_trial, recipients, zstd_level
from transfer.model.endpoint import Address
from transfer.model.errors import FileMissingError, UsageError
from transfer.model.plan import NO_UNDO, CopyRequest
from transfer.model.units import bytes_per_s, duration_ms, keys_per_s, share, size_bytes
from transfer.report.log import keep_secret
from transfer.wire.url import parse_address, with_password

HAZARDS = (
    "nonempty-target",
    "replace",
    "delete-extra",
    "clear",
    "evicting-target",
    "busy-target",
    "one-shard",
    "fork",
    "sentinel",
    "touch",
    "replica-lag",
    "clock-skew",
    "lossy",
    "fuzzy-backup",
    "no-backup",
    NO_UNDO,
    "evictable-state",
    "insecure",
    "overwrite",
    "changed-since",
    "trust-file",
    "danger",
)
"""Every name `--allow` takes; a plan names those it has."""

TYPES = ("string", "list", "set", "zset", "hash", "stream")
_TYPE_WORDS = {"sorted-set": "zset", "sortedset": "zset", "strings": "string", "lists": "list", "sets": "set"}
_TYPE_WORDS |= {"hashes": "hash", "streams": "stream", "zsets": "zset"}

_DB = re.compile(r"(\*|[0-9]{1,9})(?::([0-9]{1,9}))?")
_LEAST_MEMORY_BYTES = 1 << 20

T = TypeVar("T")


def copy_request(
    source: str,
    target: str,
    *,
    what: What,
    rename: Rename,
    change: Change = Change(),  # noqa: B008 - frozen, as are all below
    conflict: Conflict = Conflict(),  # noqa: B008
    pace: Pace = Pace(),  # noqa: B008
    extent: Extent,
    bounds: Bounds = Bounds(),  # noqa: B008
    check: Check = Check(),  # noqa: B008
    proof: Proof,
    dry_run: DryRun = DryRun(),  # noqa: B008
    keep: Keep,
    store: Store,
    waits: Waits,
    give_up: GiveUp,
    consent: Allow = Allow(),  # noqa: B008
    names: Names,
    packing: Packing = Packing(),  # noqa: B008
    sealing: Sealing = Sealing(),  # noqa: B008
    rescue: Rescue = Rescue(),  # noqa: B008
    opening: Opening = Opening(),  # noqa: B008
    trial: Trial = Trial(),  # noqa: B008
) -> CopyRequest:
    """What `copy` and `verify` were asked for.

    Raises:
        UsageError: a word cannot be understood; the message names its flag.
        PlaceError: a place cannot be understood.
        FileMissingError: a password file or the file of --keys-from cannot be read.
    """
    ttl, ttl_amount_ms = _ttl(change.ttl)
    verify, verify_sample = _verify(check.verify)
    if conflict.delete_extra and what.keys_from:
        raise UsageError("--delete-extra does not go with --keys-from", hint="--match names what is to be the same")
    return CopyRequest(
        source=place(source, "source"),
        target=place(target, "target"),
        **_filters(what),
        **_run_fields(extent, dry_run, keep, store, waits, give_up, consent, names),
        renames=tuple(map(_rename, rename.rename)),
        ttl=ttl,
        ttl_amount_ms=ttl_amount_ms,
        min_ttl_ms=_of("--min-ttl", duration_ms, change.min_ttl) if change.min_ttl else 0,
        on_conflict=conflict.on_conflict or "",
        delete_extra=conflict.delete_extra,
        format=conflict.format,
        keep_idle=conflict.keep_idle,
        route=conflict.route,
        pace=pace.pace,
        max_source_latency_ms=_above_zero("--max-source-latency", duration_ms, pace.max_source_latency, "5ms"),
        max_target_lag_bytes=_above_zero("--max-target-lag", size_bytes, pace.max_target_lag, "64MiB"),
        read_from=pace.read_from,
        max_replica_lag_ms=_above_zero("--max-replica-lag", duration_ms, pace.max_replica_lag, "10s"),
        rate_keys_per_s=_above_zero("--rate", keys_per_s, pace.rate),
        bwlimit_bytes_per_s=_above_zero("--bwlimit", bytes_per_s, pace.bwlimit),
        workers=_at_least_one("--workers", pace.workers),
        batch=_at_least_one("--batch", pace.batch),
        big_key_bytes=_above_zero("--big-key", size_bytes, bounds.big_key, "16MiB"),
        max_rejects=_max_rejects(bounds.max_rejects),
        on_full=bounds.on_full or "",
        max_skew_ms=_of("--max-skew", duration_ms, bounds.max_skew),
        verify=verify,
        verify_sample=verify_sample,
        ttl_tolerance_ms=_of("--ttl-tolerance", duration_ms, proof.ttl_tolerance),
        digest=proof.digest,
        level=zstd_level(packing.level, target),
        salvage=rescue.salvage,
        encrypt_to=recipients(sealing, target, keeps_undo=_writes_over(conflict, consent)),
        trial_restore=on_trial(trial, target),
        identity=identity_file(opening),
    )


def act_request(
    source: Address,
    target: Address,
    said: Acting,
    *,
    what: What | None = None,
    undo_dir: str = "",
    opening: Opening = Opening(),  # noqa: B008
    sealing: Sealing = Sealing(),  # noqa: B008
) -> CopyRequest:
    """What `undo` (of the archive *source*) and `clear` (of *what* at *target*) were asked for.

    *undo_dir*: where archives are, if no flag says it. Raises as `copy_request`.
    """
    fields = _run_fields(
        said.extent, said.dry_run, said.keep, said.store, said.waits, said.give_up, said.consent, said.names
    )
    fields["undo_dir"] = fields["undo_dir"] or undo_dir
    fields["identity"] = identity_file(opening)
    fields["encrypt_to"] = recipients(sealing, "", keeps_undo=NO_UNDO not in fields["allow"])
    if what is None:
        return CopyRequest(source=source, target=target, on_conflict="replace", **fields)
    return CopyRequest(source=source, target=target, clears=True, **fields, **_filters(what))


def _writes_over(conflict: Conflict, consent: Allow) -> bool:
    """Whether what is at the target is kept before it is changed, as `job.undo.keeps_undo` has it."""
    changes = conflict.on_conflict == "replace" or conflict.delete_extra
    return changes and NO_UNDO not in allowed_hazards(consent.allow)


def _run_fields(
    extent: Extent,
    dry_run: DryRun,
    keep: Keep,
    store: Store,
    waits: Waits,
    give_up: GiveUp,
    consent: Allow,
    names: Names,
) -> dict[str, Any]:
    """The fields of a request that say how a job is run, whatever it does."""
    connect_timeout_ms, timeout_ms = waits_ms(waits)
    return {
        "max_memory_bytes": _memory(extent.max_memory),
        "max_duration_ms": _above_zero("--max-duration", duration_ms, extent.max_duration),
        "connect_timeout_ms": connect_timeout_ms,
        "timeout_ms": timeout_ms,
        "give_up_after_ms": _above_zero("--give-up-after", duration_ms, give_up.give_up_after),
        "allow": allowed_hazards(consent.allow),
        "state_dir": store.state,
        "spill_dir": spill_folder(keep.spill_dir),
        "undo_dir": keep.undo_dir,
        "hash_keys": names.hash_keys,
        "label": keep.label,
        "dry_run": dry_run.dry_run,
        "approved_plan": _plan_hash(dry_run.approved_plan),
        "fresh": dry_run.fresh,
    }


def _filters(what: What) -> dict[str, Any]:
    """The fields of a request that say which keys."""
    return {
        "match": tuple(map(os.fsencode, what.match)),
        "exclude": tuple(map(os.fsencode, what.exclude)),
        "types": tuple(dict.fromkeys(_type(word) for word in what.type)),
        "dbs": tuple(dict.fromkeys(map(_db, what.db))),
        "keys_from": _keys_from(what.keys_from),
        "sample": _of("--sample", share, what.sample) if what.sample else 1.0,
    }


def pace_changes(pace: str | None, max_source_latency: str, rate: str, bwlimit: str) -> dict[str, str | int]:
    """What `jobs pace` asks for: only what was named; `none` lifts a limit (0).

    Raises:
        UsageError: a word cannot be understood; the message names its flag.
    """
    changes: dict[str, str | int] = {"pace": pace} if pace else {}
    if max_source_latency:
        changes["max_source_latency_ms"] = _above_zero("--max-source-latency", duration_ms, max_source_latency, "5ms")
    for name, read, text in (("rate", keys_per_s, rate), ("bwlimit", bytes_per_s, bwlimit)):
        if text:
            changes[name] = 0 if text == "none" else _above_zero(f"--{name}", read, text)
    return changes


def place(text: str, role: str) -> Address:
    """A place argument as an Address with its password; *role* is source or target."""
    if text.startswith("-") and text != "-":
        raise UsageError(f"unknown option {text.partition('=')[0]}", hint="options that begin with - : --help")
    address = with_password(parse_address(text), role)
    keep_secret(address.password)
    return address


def waits_ms(waits: Waits) -> tuple[int, int]:
    """(first connection, one answer)"""
    return (
        _above_zero("--connect-timeout", duration_ms, waits.connect_timeout),
        _above_zero("--timeout", duration_ms, waits.timeout),
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean NAME?`, or "" where nothing is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _of(flag: str, read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except UsageError as error:
        raise UsageError(f"{flag}: {error.message}", hint=error.hint) from None


def _above_zero(flag: str, read: Callable[[str], int], text: str, without: str = "no limit") -> int:
    """0 for an empty text, which means no limit; an explicit 0 is refused. *without*: what holds without the flag."""
    value = _of(flag, read, text) if text else 0
    if text and value <= 0:
        raise UsageError(f"{flag}: {text!r} is nothing", hint=f"leave {flag} out for {without}")
    return value


def _at_least_one(flag: str, value: int | None) -> int:
    if value is not None and value < 1:
        raise UsageError(f"{flag}: {value} is less than 1", hint=f"leave {flag} out and it is chosen")
    return value or 0


def _memory(text: str) -> int:
    value = _of("--max-memory", size_bytes, text)
    if value < _LEAST_MEMORY_BYTES:
        raise UsageError(f"--max-memory: {text!r} is less than 1MiB", hint="a size reads like 256MiB")
    return value


def _type(word: str) -> str:
    name = _TYPE_WORDS.get(word.lower(), word.lower())
    if name not in TYPES:
        hint = nearest(name, TYPES) or "types: " + " ".join(TYPES)
        raise UsageError(f"--type: {word!r} is not a type of Redis", hint=hint)
    return name


def _db(text: str) -> tuple[int | None, int | None]:
    found = _DB.fullmatch(text)
    if not found or (found[1] == "*" and found[2] is None):
        raise UsageError(
            f"--db: {text!r} is no database", hint="--db 0, --db 0:3 (0 into 3) or --db '*:3' (all into 3)"
        )
    return (None if found[1] == "*" else int(found[1])), (None if found[2] is None else int(found[2]))


def spill_folder(path: str) -> str:
    """The folder of --spill-dir, "" for none. Raises UsageError: it cannot be used."""
    folder = os.path.isdir(path)
    if path and not (folder and os.access(path, os.W_OK | os.X_OK)):
        absent = "is no folder" if os.path.exists(path) else "is not there"
        wrong = "cannot be written to" if folder else absent
        raise UsageError(f"--spill-dir: {path!r} {wrong}", hint="name a folder that you may write to")
    return path


def _keys_from(path: str) -> str:
    if path.startswith("-") and path != "-":
        raise UsageError(f"--keys-from: needs a file name or -, not {path}", hint="--keys-from ./" + path.lstrip("-"))
    if path and path != "-" and not os.access(path, os.R_OK):
        raise FileMissingError("the file of --keys-from is not there or cannot be read", where=path)
    return path


def _rename(text: str) -> tuple[bytes, bytes]:
    """(old prefix, new prefix). The colon between them is the only one, or the one after which both end in a colon."""
    raw = os.fsencode(text)
    colons = [found.start() for found in re.finditer(rb"(?<!\\):", raw)]
    splits = [(raw[:at], raw[at + 1 :]) for at in colons]
    if len(splits) > 1:
        splits = [(old, new) for old, new in splits if old.endswith(b":") and new.endswith(b":")]
    if len(splits) != 1:
        said = "has no colon" if not colons else "may be read in several ways"
        hint = "--rename OLD:NEW; a colon inside a prefix reads \\: (or both end in one: user::person:)"
        raise UsageError(f"--rename: {text!r} {said}", hint=hint)
    old, new = (part.replace(b"\\:", b":") for part in splits[0])
    if old == new:
        raise UsageError(f"--rename: {text!r} renames nothing", hint="--rename OLD:NEW")
    return old, new


def _ttl(text: str) -> tuple[str, int]:
    kind, equals, amount = text.partition("=")
    if kind in ("keep", "drop", "rebase") and not equals:
        return kind, 0
    if kind in ("cap", "add") and amount:
        return kind, _above_zero("--ttl", duration_ms, amount)
    hint = nearest(kind, ("keep", "drop", "rebase", "cap=30d", "add=1h")) or "keep, drop, rebase, cap=30d or add=1h"
    raise UsageError(f"--ttl: {text!r} is no rule", hint=hint)


def _verify(text: str) -> tuple[str, float]:
    kind, equals, amount = text.partition("=")
    if kind in ("full", "none") and not equals:
        return kind, 1.0
    if kind == "sample" and amount:
        return kind, _of("--verify", share, amount)
    hint = nearest(kind, ("full", "sample=1%", "none")) or "full, sample=1% or none"
    raise UsageError(f"--verify: {text!r} is no way to verify", hint=hint)


def _max_rejects(text: str) -> str:
    if text.endswith("%"):
        _of("--max-rejects", share, text)
    elif not re.fullmatch(r"[0-9]{1,18}", text):
        raise UsageError(f"--max-rejects: {text!r} is neither a number nor a share", hint="--max-rejects 1000 or 0.1%")
    return text


def allowed_hazards(values: tuple[str, ...]) -> frozenset[str]:
    """The hazards that `--allow` names. Raises UsageError for a name that no hazard has."""
    given = [name for value in values for name in re.split(r"[,\s]+", value) if name]
    for name in given:
        if name not in HAZARDS:
            hint = nearest(name, HAZARDS) or "the plan names the hazards it has: --dry-run"
            raise UsageError(f"--allow: there is no hazard {name!r}", hint=hint)
    return frozenset(given)


def _plan_hash(text: str) -> str:
    if text and not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        hint = "copy --dry-run --json prints it as plan: sha256:..."
        raise UsageError("--approved-plan: this is not the hash of a plan", hint=hint)
    return text

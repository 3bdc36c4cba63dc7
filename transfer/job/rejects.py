"""Keys that a job could not copy, to be copied again: which they are, and what was asked for then.

store -> rejected_keys {db: [names]} -+
store -> stored_request -------------- -> CopyRequest of just those keys -> run_copy
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from transfer.job.store import Job, JobStore
from transfer.model.endpoint import Address
from transfer.model.errors import UsageError
from transfer.model.plan import CopyRequest
from transfer.wire.url import parse_address, with_password

_KEPT = (
    "ttl",
    "ttl_amount_ms",
    "format",
    "on_conflict",
    "keep_idle",
    "max_memory_bytes",
    "max_skew_ms",
    "ttl_tolerance_ms",
    "connect_timeout_ms",
    "timeout_ms",
    "give_up_after_ms",
    "on_full",
    "pace",
    "label",
)
"""What a retry takes over; filters are left out, since keys are named."""
_HIDDEN = {"source": "TRANSFER_SOURCE_PASSWORD", "target": "TRANSFER_TARGET_PASSWORD"}


def rejected_keys(store: JobStore, job: Job) -> dict[int, list[bytes]]:
    """Names at the source of the keys that *job* rejected, each once, by logical database.

    Raises:
        UsageError: the job kept no names, or is no copy.
    """
    if job.command != "copy":
        raise UsageError(f"{job.job} was a {job.command}, which copies nothing", hint="transfer jobs list")
    if _words(job).get("hash_keys"):
        raise UsageError(
            f"{job.job} ran with --hash-keys: the names of its keys were not kept",
            hint="run the same copy again: keys that are equal already are skipped",
        )
    found: dict[int, dict[bytes, None]] = {}
    for reject in store.rejects(job.job):
        found.setdefault(reject.db, {})[reject.key] = None
    return {db: list(names) for db, names in sorted(found.items())}


def stored_request(job: Job) -> CopyRequest:
    """What *job* was asked for, without the filters that chose its keys.

    Raises:
        UsageError: a password belongs to it, which the store does not keep, and the environment does not hold it.
    """
    words = _words(job)
    kept = {name: words[name] for name in _KEPT if name in words}
    renames = tuple((_bytes(old), _bytes(new)) for old, new in words.get("renames", ()))
    plain = CopyRequest(source=_place(job.source, "source"), target=_place(job.target, "target"))
    allow = frozenset(words.get("allow", ()))
    return msgspec.structs.replace(plain, **kept, renames=renames, allow=allow, dbs=_databases(job))


def _place(shown: str, role: str) -> Address:
    """The place that the store shows without its password, with the one of the environment."""
    bare = shown.replace("://:***@", "://").replace(":***@", "@")
    address = with_password(parse_address(bare), role)
    if bare != shown and address.password is None:
        hint = f"give it anew as {_HIDDEN[role]} (or ..._FILE)"
        raise UsageError(f"the password of the {role} is not kept: {shown}", hint=hint)
    return address


def _words(job: Job) -> dict[str, Any]:
    return dict(msgspec.json.decode(job.request)) if job.request else {}


def _databases(job: Job) -> tuple[tuple[int | None, int | None], ...]:
    """Where each database went, as the plan said."""
    plan = msgspec.json.decode(job.plan) if job.plan else {"dbs": []}
    return tuple((row["source_db"], row["target_db"]) for row in plan["dbs"])


def _bytes(text: str) -> bytes:
    """What the store wrote with bytes escaped; a backslash of the name's own before `xNN` cannot be told apart."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), text.encode())

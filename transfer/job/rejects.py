"""Keys that a job could not copy, to be copied again: which they are, and what was asked for then.

store -> rejected_keys {db: [names]} -+
store -> claim.restored ---------------+-> CopyRequest of just those keys -> run_copy
"""

from __future__ import annotations

from typing import Any

import msgspec

from transfer.job.rows import Job
from transfer.job.store import JobStore
from transfer.model.errors import UsageError
from transfer.model.plan import CopyRequest


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


def of_names(request: CopyRequest, names: dict[int, list[bytes]], path: str) -> CopyRequest:
    """*request*, as it was stored, for just the keys *names*, which the file *path* holds."""
    return msgspec.structs.replace(
        request,
        match=(),
        exclude=(),
        types=(),
        sample=1.0,
        min_ttl_ms=0,
        rate_keys_per_s=0,
        max_duration_ms=0,
        keys_from=path,
        delete_extra=False,
        route="scan",
        dbs=tuple(pair for pair in request.dbs if pair[0] is None or pair[0] in names),
        approved_plan="",
        fresh=False,
        dry_run=False,
    )


def _words(job: Job) -> dict[str, Any]:
    return dict(msgspec.json.decode(job.request)) if job.request else {}

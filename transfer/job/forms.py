"""How the file of an export is to be written, by its ending; and what it says of itself before the keys.

name.rdb  -> RdbForm: AUX as servers write them, functions
name.xfer -> ArchiveForm: who made it, of which server, when, with what filters; no addresses, no secrets
"""

from __future__ import annotations

import transfer
from transfer.codec.archive import items
from transfer.endpoint.archive.form import ArchiveForm
from transfer.endpoint.file.sink import Form
from transfer.endpoint.rdb.form import RdbForm
from transfer.endpoint.redis.server import Server
from transfer.model.endpoint import ARCHIVE_SCHEME, RDB_SCHEME
from transfer.model.plan import CopyPlan, CopyRequest
from transfer.pipeline.buckets import BucketStore

_FILTERS = ("match", "exclude", "type", "keys-from", "sample", "min-ttl", "rename", "ttl")
"""Names in the plan's choices that say which keys an archive holds, and what became of them."""


def form_of(request: CopyRequest, plan: CopyPlan, source: Server, functions: list[bytes], began_ms: int) -> Form:
    """An export of *source* that began at *began_ms* into `request.target`."""
    if request.target.scheme == RDB_SCHEME:
        return RdbForm(source.features.dump_version, _notes(source), functions)
    assert request.target.scheme == ARCHIVE_SCHEME
    facts = items.Facts(_facts(plan), functions)
    return ArchiveForm(
        _head(plan, source, began_ms), facts, request.level, lambda: BucketStore(0, spill_dir=request.spill_dir)
    )


def _notes(source: Server) -> dict[bytes, bytes]:
    """Who saved it and when, as servers say it."""
    aux = {_version_name(source).encode(): _version(source).encode(), b"redis-bits": b"64"}
    aux[b"ctime"] = b"%d" % (source.now_ms() // 1000)
    return aux


def _head(plan: CopyPlan, source: Server, began_ms: int) -> items.Head:
    kind = "interval" if plan.route != "psync" else "instant"
    filters = [f"{name}: {plan.choices[name]}" for name in _FILTERS if plan.choices.get(name) not in (None, "", "keep")]
    return items.Head(
        made_by=f"transfer {transfer.__version__}",
        created_ms=source.now_ms(),
        vendor=source.identity.vendor,
        server_version=_version(source),
        as_of=items.AsOf(kind, began_ms),  # type: ignore[arg-type]  # one of its two words
        filters=filters,
    )


def _facts(plan: CopyPlan) -> dict[str, str]:
    side = plan.source
    return {
        "redis-bits": "64",
        "used-mem": str(side.used_memory_bytes),
        "maxmemory": str(side.maxmemory_bytes),
        "maxmemory-policy": side.maxmemory_policy,
    }


def _version_name(source: Server) -> str:
    return "valkey-ver" if source.identity.vendor == "valkey" else "redis-ver"


def _version(source: Server) -> str:
    return ".".join(map(str, source.identity.version))

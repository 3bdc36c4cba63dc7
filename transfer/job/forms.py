"""How the file of an export is to be written, by its ending; and what it says of itself before the keys.

name.rdb  -> RdbForm: AUX as servers write them, functions
name.xfer -> ArchiveForm: who made it, of which server, when, with what filters; no addresses, no secrets
name.jsonl -> JsonlForm
-         -> the archive, to standard output        name.xfer.age -> the same, through age
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import transfer
from transfer.codec.archive import items
from transfer.endpoint.archive.form import ArchiveForm
from transfer.endpoint.file.age import AgeReader, AgeWriter, Recipients, own_key, recipients_of
from transfer.endpoint.file.newfile import NewFile
from transfer.endpoint.file.outstream import OutStream
from transfer.endpoint.file.sink import Form, OutFile
from transfer.endpoint.jsonl.form import JsonlForm
from transfer.endpoint.rdb.form import RdbForm
from transfer.endpoint.redis.server import Server
from transfer.model.endpoint import JSONL_SCHEME, RDB_SCHEME
from transfer.model.plan import CopyPlan, CopyRequest
from transfer.pipeline.buckets import BucketStore

_FILTERS = ("match", "exclude", "type", "keys-from", "sample", "min-ttl", "rename", "ttl")
"""Names in the plan's choices that say which keys an archive holds, and what became of them."""


class Making(NamedTuple):
    """How a file is written, and what opens a new one."""

    form: Form
    opened: Callable[[str], OutFile]


def making_of(request: CopyRequest, plan: CopyPlan, source: Server, functions: list[bytes], began_ms: int) -> Making:
    """An export of *source* that began at *began_ms* into `request.target`.

    What is encrypted is encrypted for a key of this process as well, which nobody else has and which ends with it:
    by that it is read back and compared.
    """
    path = Path(request.target.path)
    if request.target.scheme == RDB_SCHEME:
        return Making(RdbForm(source.features.dump_version, _notes(source), functions), partial(NewFile, path))
    if request.target.scheme == JSONL_SCHEME:
        return Making(JsonlForm(), partial(NewFile, path))
    head, facts = _head(plan, source, began_ms), items.Facts(_facts(plan), functions)
    form = partial(ArchiveForm, head, facts, request.level, lambda: BucketStore(0, spill_dir=request.spill_dir))
    if request.target.is_stdio:
        return Making(form(), lambda job: OutStream())
    if not request.encrypt_to:
        return Making(form(), partial(NewFile, path))
    ours, identities = own_key()
    recipients = [*recipients_of(request.encrypt_to), *ours]
    seal = partial(_age_writer, recipients)
    return Making(form(lambda path: cast(BinaryIO, AgeReader(path, identities))), partial(NewFile, path, seal=seal))


def _age_writer(recipients: Recipients, out: BinaryIO) -> AgeWriter:
    return AgeWriter(out, recipients)


def _notes(source: Server) -> dict[bytes, bytes]:
    """Who saved it and when, as servers say it."""
    named = b"valkey-ver" if source.identity.vendor == "valkey" else b"redis-ver"
    aux = {named: source.identity.number.encode(), b"redis-bits": b"64"}
    aux[b"ctime"] = b"%d" % (source.now_ms() // 1000)
    return aux


def _head(plan: CopyPlan, source: Server, began_ms: int) -> items.Head:
    kind = "interval" if plan.route != "psync" else "instant"
    filters = [f"{name}: {plan.choices[name]}" for name in _FILTERS if plan.choices.get(name) not in (None, "", "keep")]
    return items.Head(
        made_by=f"transfer {transfer.__version__}",
        created_ms=source.now_ms(),
        vendor=source.identity.vendor,
        server_version=source.identity.number,
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

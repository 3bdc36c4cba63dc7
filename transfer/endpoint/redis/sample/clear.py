"""Take sample data away, and nothing else.

    manifest -> the same items again -> WATCH, read, still ours? -> MULTI UNLINK EXEC -> manifests

Rule 1: what holds another value than fill gave it belongs to whoever changed it and stays.
Rule 2: between looking and removing nobody can slip in: WATCH makes the removal void and we look again.
Rule 3: manifests go last, so that a run that was cut can be done again.
"""

from __future__ import annotations

import msgspec

from transfer.codec.resp import EXEC, MULTI, command
from transfer.endpoint.redis.sample.families import MANIFEST_KEY, Item
from transfer.endpoint.redis.sample.manifest import Manifest, in_dbs, read_manifest
from transfer.endpoint.redis.sample.requests import is_ours
from transfer.endpoint.redis.sample.spread import accept, batches, read_all, share_out
from transfer.wire.dial import Dialer
from transfer.wire.link import Link

_TRIES = 5


class Cleared(msgspec.Struct):
    """What clear did: `changed` keys hold another value than fill gave them and stay, `gone` were gone before."""

    removed: int = 0
    changed: int = 0
    gone: int = 0


async def clear(dialer: Dialer) -> Cleared:
    """Remove what fill wrote and nobody changed since; no manifest, nothing to remove.

    Raises:
        UsageError: the data was written by another generation of this program.
    """
    manifest = await read_manifest(dialer)
    cleared = Cleared()
    if manifest is None:
        return cleared

    async def remove(link: Link, db: int, found: list[Item]) -> None:
        for _ in range(_TRIES):
            if await _remove(link, found, cleared):
                return
        cleared.changed += len(found)

    await share_out(dialer, batches(dialer, manifest.seed, manifest.keys), remove)
    await _remove_manifests(dialer, manifest, cleared)
    return cleared


async def _remove(link: Link, found: list[Item], cleared: Cleared) -> bool:
    """Unlink those of *found* that are still ours; False if one of them changed while we looked."""
    watch = command(b"WATCH", *(item.key for item in found))
    (_, *replies) = await read_all(link, watch, found)
    ours = [item.key for item, answers in zip(found, replies, strict=True) if is_ours(item, answers)]
    gone = sum(answers[-1] == -2 for answers in replies)
    removal = command(b"UNLINK", *ours) if ours else command(b"PING")
    answers = await link.ask(MULTI + removal + EXEC, 3)
    if answers[-1] is None:
        return False
    accept(answers, link)
    cleared.removed += answers[-1][0] if ours else 0
    cleared.gone += gone
    cleared.changed += len(found) - len(ours) - gone
    return True


async def _remove_manifests(dialer: Dialer, manifest: Manifest, cleared: Cleared) -> None:
    async def remove(link: Link, db: int) -> None:
        if await link.command("GET", MANIFEST_KEY) == msgspec.json.encode(manifest):
            cleared.removed += await link.command("UNLINK", MANIFEST_KEY)

    await in_dbs(dialer, remove)

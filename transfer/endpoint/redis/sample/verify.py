"""Compare sample data with what its seed says.

manifest -> the same items again -> read -> judge -> counts per family, findings
"""

from __future__ import annotations

import msgspec

from transfer.codec.resp import TIME
from transfer.endpoint.redis.sample import families
from transfer.endpoint.redis.sample.families import MANIFEST_KEY, Item
from transfer.endpoint.redis.sample.manifest import Manifest, in_dbs, read_manifest
from transfer.endpoint.redis.sample.requests import judge
from transfer.endpoint.redis.sample.spread import batches, lies_in, read_all, share_out
from transfer.model.report import Finding, Verdict
from transfer.wire.dial import Dialer
from transfer.wire.link import Link, Reply

_KEPT_FINDINGS = 1_000
_CLOCK_SLACK_MS = 1_000  # a key may be gone a moment before its deadline by the clock read in the same request


class FamilyCount(msgspec.Struct):
    """One family: how many keys there should be, hold what they should, have expired since, are otherwise."""

    expected: int = 0
    same: int = 0
    expired: int = 0
    different: int = 0


class Verified(msgspec.Struct):
    """What verify found; `findings` are the first thousand, `different` counts all."""

    manifest: Manifest | None
    families: dict[str, FamilyCount] = msgspec.field(default_factory=dict)
    findings: list[Finding] = msgspec.field(default_factory=list)

    @property
    def different(self) -> int:
        return sum(count.different for count in self.families.values())

    def note(self, family: str, finding: Finding) -> None:
        self.families[family].different += 1
        if len(self.findings) < _KEPT_FINDINGS:
            self.findings.append(finding)


async def verify(dialer: Dialer) -> Verified:
    """Compare every sample key with what its seed says: value, groups and pending counts, deadline.

    Raises:
        UsageError: the data was written by another generation of this program.
    """
    manifest = await read_manifest(dialer)
    verified = Verified(manifest)
    if manifest is None:
        verified.families[MANIFEST_KEY.decode()] = FamilyCount(1, different=1)
        verified.findings.append(Finding(Verdict.MISSING, lies_in(dialer, 0), MANIFEST_KEY, "there is no demo data"))
        return verified

    async def check(link: Link, db: int, found: list[Item]) -> None:
        (moment, *replies) = await read_all(link, TIME, found)
        now_ms = int(moment[0]) * 1000 + int(moment[1]) // 1000
        for item, answers in zip(found, replies, strict=True):
            _judge(verified, db, item, answers, now_ms)

    for family, count in families.counted(manifest.keys):
        verified.families[family.name] = FamilyCount(count)
    await share_out(dialer, batches(dialer, manifest.seed, manifest.keys), check)
    await _check_manifests(dialer, verified)
    return verified


def _judge(verified: Verified, db: int, item: Item, answers: list[Reply], now_ms: int) -> None:
    assert verified.manifest is not None
    expire_at_ms = verified.manifest.filled_at_ms + item.ttl_ms if item.ttl_ms else 0
    verdict, detail = judge(item, answers, expire_at_ms, now_ms)
    if verdict is Verdict.MATCH:
        verified.families[item.family].same += 1
    elif verdict is Verdict.MISSING and 0 < expire_at_ms <= now_ms + _CLOCK_SLACK_MS:
        verified.families[item.family].expired += 1
    else:
        verified.note(item.family, Finding(verdict, db, item.key, detail))


async def _check_manifests(dialer: Dialer, verified: Verified) -> None:
    count = verified.families[MANIFEST_KEY.decode()] = FamilyCount()

    async def look(link: Link, db: int) -> None:
        count.expected += 1
        data = await link.command("GET", MANIFEST_KEY)
        if data == msgspec.json.encode(verified.manifest):
            count.same += 1
            return
        verdict = Verdict.MISSING if data is None else Verdict.VALUE
        verified.note(MANIFEST_KEY.decode(), Finding(verdict, db, MANIFEST_KEY))

    await in_dbs(dialer, look)

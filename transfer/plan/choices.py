"""The choices of a request as text, for the plan: what would be done differently if they were others.

They enter the plan's fingerprint, so nothing of the moment (counts, clocks) is in them.
"""

from __future__ import annotations

from transfer.model.plan import BIG_KEY_BYTES, CopyRequest
from transfer.report.names import shown_name


def choices_of(request: CopyRequest, writing: str, *, loses: str = "") -> dict[str, str]:
    """Name of the flag -> what it says; flags that were not given and change nothing are left out.

    *loses*: why parts of keys are left out, "" if none are.
    """
    said = {
        "conflicts": _conflicts(request.on_conflict),
        "format": f"{request.format} ({_FORMATS[writing]})",
        "verify": f"sample of {request.verify_sample:g}" if request.verify == "sample" else request.verify,
        "ttl": _ttl(request),
    }
    if request.verify != "none" and request.ttl_tolerance_ms != 500:
        said["ttl-tolerance"] = exact_ms(request.ttl_tolerance_ms)
    if request.verify != "none" and request.digest != "pair":
        said["digest"] = request.digest
    said["max-skew"] = exact_ms(request.max_skew_ms)
    said["max-rejects"] = request.max_rejects
    said["on-full"] = request.on_full or "wait"
    if loses:
        said["lossy"] = "hashes are written without the deadlines of their fields: " + loses
    if request.delete_extra:
        said["extra"] = "keys of the target that the source does not have are deleted"
    said |= {name: text for name, text in filters_of(request).items() if text}
    said |= {name: text for name, text in _pace(request).items() if text}
    return said


_FORMATS = {
    "raw": "RESTORE, in another form where a payload is refused",
    "restamp": "RESTORE of payloads stamped or encoded anew",
    "logical": "by type commands",
}


def _conflicts(policy: str) -> str:
    return {
        "skip": "skip: keys that hold another value stay as they are",
        "replace": "replace: keys that hold another value are overwritten",
    }.get(policy, "fail: keys that hold another value stay and are listed")


def _ttl(request: CopyRequest) -> str:
    return f"{request.ttl} {exact_ms(request.ttl_amount_ms)}" if request.ttl in ("cap", "add") else request.ttl


def filters_of(request: CopyRequest) -> dict[str, str]:
    """What the filters say, "" where they say nothing."""
    return {
        "match": ", ".join(map(shown_name, request.match)),
        "exclude": ", ".join(map(shown_name, request.exclude)),
        "type": ", ".join(request.types),
        "keys-from": request.keys_from,
        "sample": f"{request.sample:g} of the keys, by hash of their names" if request.sample < 1 else "",
        "min-ttl": exact_ms(request.min_ttl_ms) if request.min_ttl_ms else "",
        "rename": ", ".join(f"{shown_name(old)} -> {shown_name(new)}" for old, new in request.renames),
    }


def _pace(request: CopyRequest) -> dict[str, str]:
    polite = f"polite: while others use the source, {exact_ms(request.max_source_latency_ms)} above its idle latency"
    return {
        "pace": polite if request.pace == "polite" else "max: nobody is spared",
        "rate": f"{request.rate_keys_per_s} keys/s" if request.rate_keys_per_s else "",
        "bwlimit": f"{_exact(request.bwlimit_bytes_per_s, _SIZES)}/s" if request.bwlimit_bytes_per_s else "",
        "big-key": _exact(request.big_key_bytes, _SIZES) if request.big_key_bytes != BIG_KEY_BYTES else "",
        "max-duration": exact_ms(request.max_duration_ms) if request.max_duration_ms else "",
    }


_TIMES = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), (" B", 1))


def exact_ms(ms: int) -> str:
    """A duration as it would be typed, without loss: `30d`, `90m`, `1500ms`."""
    return _exact(ms, _TIMES)


def _exact(count: int, units: tuple[tuple[str, int], ...]) -> str:
    unit, size = next((unit, size) for unit, size in units if count % size == 0 and (count or size == 1))
    return f"{count // size}{unit}"

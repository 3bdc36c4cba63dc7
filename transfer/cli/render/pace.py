"""The pace of a run as it is now, in one line."""

from __future__ import annotations

from typing import Any

from transfer.model.units import show_bytes, show_count


def pace_text(pace: dict[str, Any] | None) -> str:
    """`polite (others use the source: 320 keys at once, PING 0.4 ms, idle 0.1 ms), rate 50k keys/s`."""
    if pace is None:
        return "not told yet"
    parts = [f"{pace['pace']}{_regulated(pace)}"]
    parts += [f"rate {show_count(pace['rate'])} keys/s"] if pace["rate"] else []
    parts += [f"bwlimit {show_bytes(pace['bwlimit'])}/s"] if pace["bwlimit"] else []
    if "target" in pace["held"]:
        parts.append(f"waiting for a replica of the target, {show_bytes(pace['target_lag_bytes'])} behind")
    if "replica" in pace["held"]:
        parts.append("waiting for the replica that is read from")
    return ", ".join(parts)


def _regulated(pace: dict[str, Any]) -> str:
    if pace["pace"] != "polite":
        return ""
    allowed = f"up to {pace['max_source_latency_ms']:g} ms above idle"
    if not pace["others"]:
        return f" (alone on the source: full speed; else {allowed})"
    seen = ", ".join(
        f"{name} {pace[field]:g} ms"
        for name, field in (("PING", "latency_ms"), ("idle", "idle_ms"))
        if pace.get(field) is not None
    )
    return f" (others use the source: {pace['keys_at_once']:g} keys at once, {seen}, {allowed})"

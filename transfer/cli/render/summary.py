"""The end of a run in text: the table of both sides, the counts, and what was proved.

Report -> table per database -> counts -> amounts -> verdict        (lists of lines, nothing printed here)
"""

from __future__ import annotations

from collections.abc import Callable

from transfer.cli.told import with_state
from transfer.model.report import AsOf, DbTable, Finding, KeyCounts, Reject, Report, VerifyResult
from transfer.model.units import show_bytes, show_count, show_moment, show_ms, some
from transfer.report.names import hashed_name, printable, shown_name, without_quoted

Paint = Callable[[str, str], str]
"""(text, style) -> text"""

LISTED_MOST = 100
"""Findings and rejects that text lists; the others are counted. JSON lists every one."""

_STYLES = {"CHANGED": "yellow", "TTL": "yellow"}


def summary_lines(report: Report, paint: Paint) -> list[str]:
    """Everything but findings, rejects and the last line."""
    copied = report.command != "verify"
    parts = [table_lines(report.dbs, paint)]
    parts += [[counts_line(report.keys), *_amounts(report)]] if copied else []
    parts += [verdict_lines(report, paint), [f"note: {printable(note)}" for note in _notes(report)]]
    lines: list[str] = []
    for part in parts:
        lines += ["", *part] if part else []
    return lines


def table_lines(dbs: list[DbTable], paint: Paint) -> list[str]:
    """Two lines a database, source above target, so that a difference stands in one column; one line of one place."""
    if not dbs:
        return []
    if len(dbs[0].keys) == 1:
        head = paint(f"{'db':>3}  {'keys':>15}  {'with deadline':>15}  digest", "bold")
        return [
            head,
            *(f"{it.db:>3}  {it.keys[0]:>15,}  {it.with_deadline[0]:>15,}  {it.digest[0] or '-'}" for it in dbs),
        ]
    lines = [paint(f"{'db':>3}  {'side':<6}  {'keys':>15}  {'with deadline':>15}  digest", "bold")]
    for row in dbs:
        mark = _mark(row, paint)
        for side, name in enumerate(("source", "target")):
            counts = f"{row.keys[side]:>15,}  {row.with_deadline[side]:>15,}"
            db = str(row.db) if side == 0 else ""
            lines.append(f"{db:>3}  {name:<6}  {counts}  {row.digest[side] or '-':<32}{mark if side else ''}")
    return lines


def _mark(row: DbTable, paint: Paint) -> str:
    """Whether both sides are the same. Digests are of deadlines as --ttl promises them, counts of those there are."""
    digested, kept = any(row.digest), row.with_deadline[0] == row.with_deadline[1]
    if row.keys[0] != row.keys[1] or row.digest[0] != row.digest[1] or not (digested or kept):
        return paint("  differs", "yellow")
    if not digested:
        return ""
    return paint("  same" if kept else "  same, without deadlines as asked", "green")


def counts_line(keys: KeyCounts) -> str:
    """`read 5 = written 4 + already 1`: all that are not zero, and they add up."""
    parts = {name: getattr(keys, name) for name in keys.__struct_fields__ if name != "read"}
    shown = [f"{name} {count:,}" for name, count in parts.items() if count or name == "written"]
    return f"read {keys.read:,} = " + " + ".join(shown)


def verdict_lines(report: Report, paint: Paint) -> list[str]:
    """What was proved, in capitals, with its numbers."""
    found = report.verify
    if found is None:
        return [paint("NOT VERIFIED", "yellow") + "  nothing was compared"]
    if found.places == 1:
        return _alone_lines(found, paint)
    head, took = _head(report, found, paint), show_ms(found.seconds * 1000)
    proved = f"{found.match:,} of {found.checked:,} keys match"
    if found.rejected and not found.match and not found.differences() and not found.changed:
        proved = f"nothing was proved, {found.rejected:,} of {found.checked:,} keys were rejected"
    lines = [f"{head}  {found.mode}: {proved}, in {took}"]
    names = ("missing", "extra", "type", "value", "ttl", "changed")
    counted = [f"{name} {getattr(found, name):,}" for name in names if getattr(found, name)]
    if counted:
        lines.append("  " + ", ".join(counted))
    if found.digest != "pair":
        lines.append(canonical_line(found.digest))
    if found.changed:
        lines.append(f"  changed: written at the source since it was read (known by {found.changes_known_by})")
    if found.changes_known_by == "nothing" and found.differences():
        lines.append(
            "  whether these keys changed at the source meanwhile cannot be told here: they count as differences"
        )
    if found.lossy:
        keys = "1 key is" if found.lossy == 1 else f"{found.lossy:,} keys are"
        lines.append(f"  {keys} equal but for deadlines of fields, which the target cannot hold (--allow lossy)")
    if found.rejected:
        lines.append(f"  {found.rejected:,} rejected: listed above, not proved")
    if found.not_from_source:
        lines.append(f"  {some(found.not_from_source, 'key')} of the target not from this source, left alone")
    return lines


def canonical_line(digest: str) -> str:
    """What digests of this kind are good for."""
    return f"  digests: {digest}, the same for equal data on any server, version and day"


def _alone_lines(found: VerifyResult, paint: Paint) -> list[str]:
    """Of one place that was read."""
    head = paint("NOT ALL READABLE", "red") if found.differences() else paint("READABLE", "green")
    canonical, took = found.digest.startswith("canonical"), show_ms(found.seconds * 1000)
    done = "read and decoded" if canonical else "read"
    lines = [f"{head}  {found.mode}: {found.match:,} of {some(found.checked, 'key')} {done}, in {took}"]
    if canonical:
        lines.append(canonical_line(found.digest))
    else:
        lines.append("  digests: of payloads as this server packs them; --digest canonical makes comparable ones")
    if found.in_pieces:
        values = some(found.in_pieces, "large value", "was", "were")
        same = "" if canonical else ": digests compare with those of servers read with the same --max-memory"
        lines.append(f"  {values} hashed in pieces{same}")
    return lines


def finding_lines(findings: list[Finding], total: int, paint: Paint, hash_keys: bool) -> list[str]:
    """One line a finding: verdict, database, name, detail."""
    lines = []
    for item in findings:
        verdict = paint(f"{item.verdict.value:<7}", _STYLES.get(item.verdict.value, "red"))
        lines.append(f"{verdict}  db{item.db}  {_name(item.key, hash_keys)}{_tail(item.detail, hash_keys)}")
    return lines + _more(total - len(findings), "findings", "--json lists every one")


def reject_lines(rejects: list[Reject], total: int, paint: Paint, hash_keys: bool, job: str) -> list[str]:
    """One line a rejected key: code, database, name, cause."""
    lines = []
    for item in rejects:
        code = paint(f"{item.code:<7}", "red")
        lines.append(f"{code}  db{item.db}  {_name(item.key, hash_keys)}{_tail(item.cause, hash_keys)}")
    return lines + _more(total - len(rejects), "rejected keys", with_state(f"transfer jobs show {job}"))


def outcome(exit_code: int) -> str:
    """What an exit code of a run means, in words."""
    words = {
        0: "done",
        3: "done, but not every key was copied",
        6: "done, and there are differences",
        7: "done, but keys changed meanwhile",
        8: "stopped at a limit",
        130: "interrupted",
        143: "ended by SIGTERM",
    }
    return words.get(exit_code, "failed")


def _head(report: Report, found: VerifyResult, paint: Paint) -> str:
    if found.differences():
        return paint("DIFFERENT", "red")
    if found.changed:
        return paint("CHANGED MEANWHILE", "yellow")
    if not report.verified or (found.rejected and not found.match):
        return paint("NOT VERIFIED", "yellow")
    if found.rejected:
        return paint("PARTLY VERIFIED", "yellow")
    if found.lossy:
        return paint("SAME BUT FOR LOSSES" if report.command == "verify" else "VERIFIED BUT FOR LOSSES", "yellow")
    return paint("SAME" if report.command == "verify" else "VERIFIED", "green")


def _amounts(report: Report) -> list[str]:
    if not report.seconds:
        return []
    rate = show_count(report.keys.read / report.seconds)
    amounts = f"{show_bytes(report.bytes_read)} read, {show_bytes(report.bytes_written)} written"
    line = (
        f"{show_ms(report.seconds * 1000)}, {rate} keys/s, {amounts}, peak memory {show_bytes(report.peak_rss_bytes)}"
    )
    lines = [line + (f", {report.restarts} restarts" if report.restarts else "")]
    return lines + ([_as_of_line(report.as_of)] if report.as_of is not None else [])


def _as_of_line(as_of: AsOf) -> str:
    """What moment the data is of."""
    writes = f"{as_of.writes_meanwhile:,} write{'s' * (as_of.writes_meanwhile != 1)} at the source meanwhile"
    if as_of.to_ms is None:
        return f"as of an interval that began {show_moment(as_of.from_ms)}; when it ended is not known"
    if as_of.kind == "interval":
        return f"as of an interval of {show_ms(as_of.to_ms - as_of.from_ms)}, not of one instant: {writes}"
    later = as_of.exceptions
    but = f", but for {later:,} large key{'s' * (later != 1)} read later" if later else ""
    return f"as of one instant, {show_moment(as_of.from_ms)}{but}"


def _notes(report: Report) -> list[str]:
    said = [f"not copied: {text}" for text in report.not_copied[:LISTED_MOST]]
    return [*report.notes, *said, *_more(len(report.not_copied) - len(said), "not copied", "--json lists them")]


def _name(key: bytes, hash_keys: bool) -> str:
    return hashed_name(key) if hash_keys else shown_name(key)


def _tail(text: str, hash_keys: bool) -> str:
    return f"  {printable(without_quoted(text) if hash_keys else text)}" if text else ""


def _more(count: int, what: str, where: str) -> list[str]:
    return [f"... and {count:,} more {what}: {where}"] if count > 0 else []

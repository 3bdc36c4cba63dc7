"""What a run leaves out is said at its end: which server versions ran, how many tests were skipped and why."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from tests import servers


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Server versions that ran and skips by reason, of all workers together."""
    ran = sorted(servers.ran | _ran_in_workers)
    missing = [version for version in servers.VERSIONS if version not in ran]
    terminalreporter.section("servers")
    terminalreporter.line(f"ran: {', '.join(ran) or 'none'}; not run: {', '.join(missing) or 'none'}")
    reasons = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    terminalreporter.line(f"skipped: {sum(reasons.values())}")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"  {count} x {reason}")


_ran_in_workers: set[str] = set()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker process hands its versions to the one that prints."""
    workeroutput: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput["versions"] = sorted(servers.ran)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect the versions of a worker that ends."""
    _ran_in_workers.update(getattr(node, "workeroutput", {}).get("versions", ()))


def _reason(report: Any) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text).removeprefix("Skipped: ")

"""What holds for every test, and what is said at the end of a run.

Every test: no planted password in what it printed, in its traceback, or in any file below its tmp_path.
The end:    which server versions ran, how many tests were skipped and why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from tests import servers
from tests.canaries import assert_no_canary


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Look for planted passwords after every test; `tests.servers.running` plants one in every server."""
    report = yield
    if call.when == "call":
        folder = getattr(item, "funcargs", {}).get("tmp_path")
        told = [text for _, text in report.sections] + [report.longreprtext]
        try:
            assert_no_canary(*told, folder=folder, but=("key name", "value", *_planted_on_purpose(item)))
        except AssertionError as leak:
            report.outcome, report.longrepr = "failed", str(leak)
    return report


def _planted_on_purpose(item: pytest.Item) -> tuple[str, ...]:
    """A test that writes password files itself says which, by `@pytest.mark.plants(...)`."""
    return tuple(name for mark in item.iter_markers("plants") for name in mark.args)


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

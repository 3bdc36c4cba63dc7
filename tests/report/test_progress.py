"""The progress line is part of the contract; a bar is for terminals only."""

from __future__ import annotations

import io

import pytest

from tests.report.test_meter import Clock
from transfer.model.report import Progress
from transfer.report.progress import Bar, NoProgress, PlainLines, progress_line, progress_on

HALF_WAY = Progress(
    phase="copy",
    share=0.62,
    keys=6_200_000,
    total_keys=10_000_000,
    bytes=4_402_341_478,
    keys_per_s=310_000,
    bytes_per_s=212 << 20,
    eta_s=12,
    rejected=0,
)


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_the_line_is_the_one_of_the_contract() -> None:
    """Scripts read it off a log."""
    assert (
        progress_line(HALF_WAY)
        == "copy 62% | 6.2M/10.0M keys | 4.1 GiB | 310k keys/s 212 MiB/s | eta 0:00:12 | rejected 0"
    )


def test_what_is_unknown_is_a_question_mark() -> None:
    """Not 0%, not `None`."""
    assert (
        progress_line(Progress(phase="verify"))
        == "verify ?% | 0 keys | 0 B | 0 keys/s 0 B/s | eta -:--:-- | rejected 0"
    )


def test_hundred_per_cent_is_said_only_when_all_is_done() -> None:
    """99.9 % is 99 %."""
    assert progress_line(Progress(phase="copy", share=0.999)).startswith("copy 99%")
    assert progress_line(Progress(phase="copy", share=1.0)).startswith("copy 100%")


def test_off_a_terminal_there_is_one_line_every_few_seconds() -> None:
    """However often it is told."""
    said: list[Progress] = []
    clock = Clock()
    lines = PlainLines(said.append, every_s=5, clock=clock)
    for _ in range(120):
        clock.now_s += 0.1
        lines.update(HALF_WAY)

    assert len(said) == 2


def test_a_terminal_gets_a_bar_and_keeps_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `stop` the cursor is where it was and the line is wiped."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    screen = Terminal()
    bar = progress_on(screen, quiet=False)
    assert isinstance(bar, Bar)
    bar.update(HALF_WAY)
    bar.stop()
    bar.stop()

    assert "62%" in screen.getvalue()
    assert "310k keys/s" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K")


def test_a_file_a_dumb_terminal_and_quiet_get_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE_COLOR does not make a file a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(progress_on(io.StringIO(), quiet=False), PlainLines)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress_on(Terminal(), quiet=False), PlainLines)
    assert isinstance(progress_on(Terminal(), quiet=True), NoProgress)

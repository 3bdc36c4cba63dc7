"""Every command that the documents show is run here, against real servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.make_cli import page
from tests.servers import ask, running

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```sh([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_MAKE = re.compile(r"make ([a-z]+)")


def _commands(text: str) -> Iterator[str]:
    """Each command line of each `sh` block; a block may say `skip: reason`."""
    for remark, body in _BLOCK.findall(text):
        if not remark.strip().startswith("skip:"):
            yield from body.replace("\\\n", " ").strip().splitlines()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
async def test_every_command_shown_works(document: Path, tmp_path: Path) -> None:
    """In the order shown, on two servers that hold something; `make` words are looked up in the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TRANSFER_STATE": str(tmp_path),
        "NO_COLOR": "1",
    }
    async with running() as source, running() as target:
        await ask(source, "SET", "user:1", "{}", "EX", 10_000)
        await ask(source, "SET", "config:system", "{}")
        await ask(source, "RPUSH", "queue:1", "a", "b")
        environment |= {"SRC": source.url, "DST": target.url}
        for line in _commands(document.read_text()):
            if verb := _MAKE.fullmatch(line.strip()):
                assert f"\n{verb.group(1)}:" in makefile, line
                continue
            done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (line, done.stdout[-500:], done.stderr[-1500:])


def test_the_command_line_page_is_fresh() -> None:
    """docs/cli.md is what `--help` says: python docs/make_cli.py > docs/cli.md."""
    assert (ROOT / "docs" / "cli.md").read_text() == page()


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Relative links name files that are there."""
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / link).exists(), link

"""Every command that the documents show is run here, against real servers."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from docs.make_cli import page
from tests.servers import ask, running

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```sh([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MAKEFILE = (ROOT / "Makefile").read_text()
_MAKE = re.compile(r"make ([a-z]+)")


def _commands(text: str) -> Iterator[str]:
    """Each command line of each `sh` block; a block may say `skip: reason`."""
    for remark, body in _BLOCK.findall(text):
        if not remark.strip().startswith("skip:"):
            yield from body.replace("\\\n", " ").strip().splitlines()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("commands", [list(_commands(page.read_text())) for page in PAGES], ids=[p.name for p in PAGES])
async def test_every_command_shown_works(commands: list[str], tmp_path: Path) -> None:
    """In the order shown, on two servers that hold something; `make` words are looked up in the Makefile."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TRANSFER_STATE": str(tmp_path),
        "NO_COLOR": "1",
    }
    async with running() as source, running() as target:
        await ask(source, "SET", "user:ann", "{}", "EX", 10_000)
        await ask(source, "SET", "note:1", "{}")
        await ask(source, "RPUSH", "list:1", "a", "b")
        environment |= {"SRC": source.url, "DST": target.url}
        for line in commands:
            if verb := _MAKE.fullmatch(line.strip()):
                assert f"\n{verb.group(1)}:" in MAKEFILE, line
                continue
            done = await anyio.run_process(["bash", "-c", line], env=environment, cwd=tmp_path, check=False)
            assert done.returncode == 0, (line, done.stdout[-500:], done.stderr[-1500:])


def test_the_command_line_page_is_fresh() -> None:
    """docs/cli.md is what `--help` says: python docs/make_cli.py > docs/cli.md."""
    assert (ROOT / "docs" / "cli.md").read_text() == page()


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Relative links name files that are there."""
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / link).exists(), link

"""Make docs/demo.svg: what `transfer demo` prints, run here and now.

python docs/make_picture.py
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

_COLUMNS = 96


def main() -> None:
    environment = os.environ | {"COLUMNS": str(_COLUMNS), "FORCE_COLOR": "1"}
    command = [sys.executable, "-m", "transfer", "demo"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ transfer demo", style="bold"))
    console.print(Text.from_ansi(done.stdout))
    Path(__file__).with_name("demo.svg").write_text(console.export_svg(title="transfer demo"))


if __name__ == "__main__":
    main()

"""`transfer completion SHELL`: a script for the shell to load."""

from __future__ import annotations

import os
import sys
from pathlib import PurePath
from typing import Literal

from transfer.model.errors import UsageError


def completion(shell: Literal["bash", "zsh", "fish"] | None = None, /) -> int:
    """Print a completion script for bash, zsh or fish.

    bash: transfer completion bash > ~/.local/share/bash-completion/completions/transfer
    zsh:  transfer completion zsh > a directory of $fpath, as _transfer
    fish: transfer completion fish > ~/.config/fish/completions/transfer.fish

    Parameters
    ----------
    shell
        bash, zsh or fish (default: that of $SHELL).
    """
    from transfer.cli.app import build_app

    name = shell or PurePath(os.environ.get("SHELL", "")).name
    if name not in ("bash", "zsh", "fish"):
        raise UsageError(f"there is no completion for {name or 'this shell'}", hint="transfer completion bash|zsh|fish")
    script = build_app().generate_completion(shell=name)  # type: ignore[arg-type]
    sys.stdout.write(script if script.endswith("\n") else script + "\n")
    return 0

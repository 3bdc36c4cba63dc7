"""An archive on standard output: written as it is made, never taken back.

Writes wait for who reads; they are made in a thread, so that nothing else does.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from transfer.endpoint.file.newfile import file_failures


class OutStream:
    """As `newfile.NewFile`, of a descriptor that somebody reads from."""

    waits = True

    def __init__(self, descriptor: int | None = None) -> None:
        self.path = self.part = Path("-")
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        with file_failures(self.path):
            while left:
                left = left[os.write(self._descriptor, left) :]
        self.size_bytes += len(data)

    def sync(self) -> None:
        """What was written is with the reader, or in the pipe."""

    def read_back(self) -> None:
        """It cannot be."""

    def keep(self) -> None:
        """It has no name."""

    def drop(self) -> None:
        """Nothing can be taken back: without its end the archive is known to be cut."""

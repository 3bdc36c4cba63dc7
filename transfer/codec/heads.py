"""RESP replies head by head, so that a large body can pass through without being held.

    reply := mark (1 byte) rest CRLF        "$" rest is the length of a body, which follows with CRLF behind it
                                            "*" rest is how many replies follow as its elements

Rule 1: any cut of the same bytes gives the same heads and the same body.
Rule 2: what is held is one piece as it was fed, and a head that is not whole; a head that grows past `_MOST_HEAD`
        is refused, and so is a length nobody can mean, before anything is held for it.
"""

from __future__ import annotations

import re

import msgspec

from transfer.model.errors import FormatError

_MOST_HEAD = 64 << 10
_MARKS = frozenset(b"+-:$*")
_NUMBER = re.compile(rb"-?[0-9]{1,18}")
_MOST_LENGTH = 1 << 40
NONE = -1
"""The length of what is not there."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """One line of a reply: `mark` is its first byte as text, `rest` what stands behind it."""

    mark: str
    rest: bytes

    @property
    def number(self) -> int:
        """The integer, the length or the count that this head says.

        Raises:
            FormatError: it is none, or out of all bounds.
        """
        if self.mark not in ":$*" or not _NUMBER.fullmatch(self.rest):
            raise FormatError(f"a reply begins with {self.mark}{self.rest[:40]!r}, which is no number")
        found = int(self.rest)
        if self.mark != ":" and not NONE <= found <= _MOST_LENGTH:
            raise FormatError(f"a reply declares a length of {found:,}", length=found)
        return found


class HeadReader:
    """Takes bytes as they come; gives heads, and bodies in pieces."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    @property
    def empty(self) -> bool:
        """Whether everything that was fed has been taken."""
        return self._at >= len(self._data)

    def head(self) -> Head | None:
        """The next head, None while it is not whole.

        Raises:
            FormatError: what comes is not RESP.
        """
        if self.empty:
            return None
        if self._data[self._at] not in _MARKS:
            raise FormatError(f"a reply begins with {self._data[self._at : self._at + 16]!r}")
        end = self._data.find(b"\r\n", self._at)
        if (len(self._data) if end < 0 else end) - self._at > _MOST_HEAD:
            raise FormatError(f"the head of a reply is longer than {_MOST_HEAD:,} bytes")
        if end < 0:
            return None
        found = Head(chr(self._data[self._at]), self._data[self._at + 1 : end])
        self._at = end + 2
        return found

    def body(self, most: int) -> bytes:
        """Up to *most* bytes of what is there, as they are; b"" if nothing is."""
        piece = self._data[self._at : self._at + most]
        self._at += len(piece)
        return piece

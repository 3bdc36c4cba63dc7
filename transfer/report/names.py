"""Names and texts of others, made safe to show.

Key names, server replies and URLs come from outside. Whatever is shown of them passes here:

    key bytes -> `shown_name` (text for people) -> typed again -> `name_of` | `hashed_name` (--hash-keys)
    any text  -> `printable` (no control or formatting character reaches a terminal)
              -> `without_quoted` (--hash-keys: what it quotes of names and values is left out)

Rule 1: nothing that a key is called can move a cursor, end a line, change a colour or turn the reading direction.
Rule 2: two different names are shown differently.
"""

from __future__ import annotations

import os
import re

import xxhash

_SHOWN_MOST_BYTES = 400
"""A longer name is cut, with its length and hash: names may have 512 MiB."""


def hashed_name(key: bytes) -> str:
    """`h:` and 16 hex digits of xxh3_64: the same key, the same hash, in every output."""
    return f"h:{xxhash.xxh3_64_hexdigest(key)}"


def shown_name(key: bytes) -> str:
    """A name for people: as it is where plain, else in quotes with escapes (`"a\\x00b"`)."""
    if len(key) > _SHOWN_MOST_BYTES:
        return f"{shown_name(key[:64])}... ({len(key):,} bytes, {hashed_name(key)})"
    try:
        text = key.decode()
    except UnicodeDecodeError:
        text = key.decode("ascii", "surrogateescape")
    plain = text and '"' not in text and "\\" not in text and " " not in text and text.isprintable()
    return text if plain else '"' + "".join(map(_escaped, text)) + '"'


_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))", re.DOTALL)
_NAMED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b'"': b'"', b"\\": b"\\"}


def name_of(text: str) -> bytes:
    """The name that somebody typed: as it stands, or in double quotes with the escapes of `shown_name`.

    Raises:
        ValueError: in quotes stands a backslash that begins no such escape.
    """
    name = os.fsencode(text)
    if len(name) < 2 or not name.startswith(b'"') or not name.endswith(b'"'):
        return name
    inside = name[1:-1]
    if b"\\" in _ESCAPE.sub(b"", inside):
        raise ValueError("a backslash at the end")
    return _ESCAPE.sub(_meant, inside)


def _meant(escape: re.Match[bytes]) -> bytes:
    byte, *wide, other = escape.groups()
    if byte:
        return bytes((int(byte, 16),))
    if char := wide[0] or wide[1]:
        return chr(int(char, 16)).encode()
    if other not in _NAMED:
        raise ValueError(f"\\{other.decode('latin-1')} is no escape")
    return _NAMED[other]


_QUOTED = re.compile(r"""b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
"""What repr() makes of bytes or a string: how details and causes show names, members and values."""


def without_quoted(text: str) -> str:
    """*text* with `(hidden)` for everything in quotes."""
    return _QUOTED.sub("(hidden)", text)


def printable(text: str, keep: str = "") -> str:
    """*text* with everything a terminal might obey as an escape; the characters of *keep* stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, kept by surrogateescape
        return f"\\x{code - 0xDC00:02x}"
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return named.get(char) or (
        f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )

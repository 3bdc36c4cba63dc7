"""Planted secrets: whatever a test plants of them must turn up nowhere it can be read."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

CANARIES: dict[str, str] = {
    "url password": "canary-url-Kx7!pQ@2",
    "env source password": "canary-env-source-9vRt#4",
    "env target password": "canary-env-target-Zb3%8w",
    "password file content": "canary-file-Lm5/u6Yh",
    "acl user password": "canary-acl-Td1:e0Ns",
    "tls key passphrase": "canary-tls-Wq8&j7Fc",
    "key name": "canary-key-name-Hs2=g5Bv",
    "value": "canary-value-Pd6+r9Xk",
}

PASSWORDS = tuple(name for name in CANARIES if name not in ("key name", "value"))
"""What may never be shown. Names and values of keys are secret too where `--hash-keys` is said."""


def assert_no_canary(*texts: str | bytes, folder: Path | None = None, but: tuple[str, ...] = ()) -> None:
    """No planted secret, as it is or quoted or in base64, in *texts* nor in any file or file name below *folder*.

    *but* names canaries that may be there, such as the key name in a listing of keys.
    """
    places = [(f"text {number}", text) for number, text in enumerate(texts)]
    if folder is not None:
        places += [(str(path), str(path.relative_to(folder))) for path in sorted(folder.rglob("*"))]
        places += [(str(path), path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file()]
    found = [f"{name} in {place}" for place, text in places for name in _canaries_in(text) if name not in but]
    assert not found, f"planted secrets turned up: {found}"


def _canaries_in(text: str | bytes) -> list[str]:
    data = text.encode(errors="surrogateescape") if isinstance(text, str) else text
    return [name for name, secret in CANARIES.items() if any(form in data for form in _forms(secret))]


def _forms(secret: str) -> tuple[bytes, ...]:
    """As written, percent-encoded, as the words after the common prefix (wrapped output), in base64."""
    plain = secret.encode()
    return (plain, quote(secret, safe="").encode(), base64.b64encode(plain), secret.rsplit("-", 1)[1].encode())

"""Logs: what happened inside, to stderr, for people or for machines.

    log().info("reconnected", where=...) -> level -> redacted -> console line | JSON line

Rule 1: no password passes. What looks like the login of a URL, every Secret, and every secret text that was
        handed to `keep_secret` is replaced, in messages, values and tracebacks alike.
Rule 2: names of keys are bytes; they are shown escaped, or hashed with --hash-keys.
Rule 3: structlog is imported by `configure_log`, not before.
"""

from __future__ import annotations

import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

from transfer.model.endpoint import Secret
from transfer.report.names import hashed_name, printable, shown_name

LEVELS = {"error": 40, "warning": 30, "info": 20, "debug": 10}

_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s\"'<>]*)@")
"""Greedy up to the last @ of the word: a password that holds /, @ or : unescaped is covered as well."""

_secrets: set[str] = set()
_LEAST_SECRET_LENGTH = 4
"""Shorter secrets are not searched for: replacing every `a` of a text would say what the secret is."""


def keep_secret(secret: Secret | str | None) -> None:
    """Never show this text from now on, wherever it turns up."""
    text = secret.reveal() if isinstance(secret, Secret) else secret or ""
    if len(text) >= _LEAST_SECRET_LENGTH:
        _secrets.add(text)


def redacted(text: str) -> str:
    """*text* without logins of URLs and without any secret that is known."""
    text = _LOGIN.sub(_without_password, text)
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def _without_password(found: re.Match[str]) -> str:
    name, colon, _ = found.group(2).partition(":")
    return f"{found.group(1)}{name}{':***' if colon else ''}@"


def configure_log(
    *, level: str = "warning", form: str = "", hash_keys: bool = False, stream: TextIO | None = None
) -> None:
    """Send logs of *level* and above to *stream* (stderr) as `console` or `json`; "" is console."""
    import structlog

    out = stream or sys.stderr
    renderer: Any = structlog.processors.JSONRenderer(ensure_ascii=True)
    if form != "json":
        colours = out.isatty()
        renderer = structlog.dev.ConsoleRenderer(
            colors=colours, exception_formatter=structlog.dev.plain_traceback, sort_keys=False
        )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _Redact(hash_keys),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


def quiet_unless_configured() -> None:
    """Where nobody configured logs (the engine used as a library), only warnings are told, on stderr."""
    import structlog

    if not structlog.is_configured():
        configure_log()


class _Redact:
    """The last processor before the renderer; nothing is added after it."""

    def __init__(self, hash_keys: bool) -> None:
        self._hash_keys = hash_keys

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {name: self._safe(value) for name, value in event.items()}

    def _safe(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, bytes):
            return hashed_name(value) if self._hash_keys else shown_name(value)
        if isinstance(value, dict):
            return {str(self._safe(name)): self._safe(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._safe(inner) for inner in value]
        return printable(redacted(str(value)), keep="\n")

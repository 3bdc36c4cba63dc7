"""Places: a URL or a file name in, an Address out.

    redis|rediss|valkey|valkeys://[user[:password]@]host[:6379][/db][?cacert=&cert=&key=]
    unix://[user[:password]@]/path.sock[?db=0]
    name.rdb  name.xfer  name.xfer.age  name.jsonl  name.txt  -

Rule 1: what is not understood is refused, with the nearest match; nothing is ignored.
Rule 2: no message repeats a password, nor a part of a URL that may be one.
Rule 3: every part is percent-decoded once, so `quote(part, safe="")` brings any text through.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import msgspec

from transfer.model.endpoint import AGE_ENDING, ARCHIVE_SCHEME, FILE_SCHEMES, STDIO, Address, Secret
from transfer.model.errors import FileMissingError, PlaceError, UsageError

_TCP = {"redis": False, "rediss": True, "valkey": False, "valkeys": True}
"""Scheme -> TLS."""

_LATER = ("redis+cluster", "rediss+cluster", "redis+sentinel", "rediss+sentinel", "s3", "gs", "az")
_LATER_ENDINGS = (".csv", ".parquet")
_TLS_OPTIONS = ("cacert", "cert", "key")
_ROLES = {"source": "TRANSFER_SOURCE_PASSWORD", "target": "TRANSFER_TARGET_PASSWORD"}

_LINE_LIMIT = 1 << 16
"""Characters of a password at most: a device or a wrong file is not read to its end."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DIGITS = re.compile(r"[0-9]{1,9}")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST = re.compile(r"[^\s\[\]:%,;\\\"'<>^`{|}/?#@]+")


def parse_address(text: str) -> Address:
    """The server or the file that *text* names.

    Raises:
        PlaceError: it names none, or a kind of place that is not served yet; the hint says what was meant, perhaps.
    """
    found = _SCHEME.match(text)
    if not found:
        if text == STDIO:
            return Address(scheme=ARCHIVE_SCHEME, host="", port=0, path=STDIO)
        plain = text.lower().removesuffix(AGE_ENDING)
        ending = plain.rpartition(".")[2]
        if ending not in FILE_SCHEMES or (ending != ARCHIVE_SCHEME and plain != text.lower()):
            raise _no_url(text)
        return _file(text, ending)
    scheme = found.group(1).lower()
    if scheme in _LATER:
        raise PlaceError(f"{scheme}:// is not served yet", hint="give the URL of one server: redis://host:6379")
    if scheme not in (*_TCP, "unix"):
        raise PlaceError(f"unknown scheme {scheme}://", hint=_nearest(scheme, (*_TCP, "unix", *_LATER), "{}://"))
    _refuse_oddities(text)
    rest, _, query = text[found.end() :].partition("?")
    return _unix(rest, query) if scheme == "unix" else _tcp(scheme, rest, query)


def with_password(address: Address, role: str) -> Address:
    """*address* with the password that the environment holds for *role* ("source" or "target"), if it has none itself.

    `TRANSFER_SOURCE_PASSWORD` holds it, or `TRANSFER_SOURCE_PASSWORD_FILE` names a file whose first line it is.

    Raises:
        UsageError: both are set.
        FileMissingError: the file cannot be read.
    """
    if address.is_file or address.password is not None:
        return address
    found = environment_secret(_ROLES[role])
    return msgspec.structs.replace(address, password=found) if found is not None else address


def environment_secret(name: str) -> Secret | None:
    """What the variable *name* holds, or the first line of the file that `<name>_FILE` names; None: neither is set.

    Raises:
        UsageError: both are set.
        FileMissingError: the file cannot be read.
    """
    plain, file = os.environ.get(name, ""), os.environ.get(f"{name}_FILE", "")
    if plain and file:
        raise UsageError(f"{name} and {name}_FILE are both set", hint=f"unset {name} or unset {name}_FILE")
    if not plain and not file:
        return None
    return Secret(plain or _first_line(Path(file), f"{name}_FILE"))


def _file(text: str, scheme: str) -> Address:
    """A file by its absolute path, since a job may be resumed from another folder."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PlaceError("the name of a file is not UTF-8", hint="a link to it with another name serves") from None
    return Address(scheme=scheme, host="", port=0, path=str(Path(text).absolute()))


def _first_line(path: Path, named_by: str) -> str:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            line = file.readline(_LINE_LIMIT).removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise FileMissingError(f"{named_by}: cannot read {path}: {error.strerror}", where=str(path)) from None
    if not line:
        raise FileMissingError(f"{named_by}: {path} has no password in its first line", where=str(path))
    return line


def _no_url(text: str) -> PlaceError:
    if text.startswith("@") or text.lower().endswith(_LATER_ENDINGS):
        kind = "profiles" if text.startswith("@") else "files of this kind"
        return PlaceError(f"{kind} are not served as a place yet", hint="give the URL of a server: redis://host:6379")
    head = re.match(r"[A-Za-z]+(?=:/?[^/])", text)
    if head and head.group().lower() in (*_TCP, "unix"):
        return PlaceError(f"a place reads {head.group().lower()}://..., with two slashes")
    return PlaceError("this is neither a URL nor a file name with a known ending")


def _refuse_oddities(text: str) -> None:
    if "#" in text:
        raise PlaceError("a place has no fragment (#)", hint="write %23 for a # that belongs to a name or password")
    if any(char.isspace() or not char.isprintable() for char in text):
        raise PlaceError("a place holds a space or a control character", hint="write %20 for a space")
    if _BAD_ESCAPE.search(text):
        raise PlaceError("a % is not followed by two hex digits", hint="write %25 for a % in a name or password")
    if b"\x00" in unquote_to_bytes(text):
        raise PlaceError("a place holds a NUL byte (%00)")


def _tcp(scheme: str, rest: str, query: str) -> Address:
    authority, slash, db = rest.partition("/")
    username, password, host_port = _login(authority)
    host, port = _host_port(host_port)
    tls = _TCP[scheme]
    options = _options(query, _TLS_OPTIONS if tls else (), others=_TLS_OPTIONS)
    if options.get("key") and not options.get("cert"):
        raise PlaceError("?key= needs ?cert= beside it")
    return Address(
        scheme=scheme,
        host=host,
        port=port,
        db=_db(db) if slash and db else None,
        username=username,
        password=password,
        tls=tls,
        cacert=options.get("cacert", ""),
        cert=options.get("cert", ""),
        key=options.get("key", ""),
    )


def _unix(rest: str, query: str) -> Address:
    login, at, path = rest.rpartition("@") if "@" in rest.partition("/")[0] else ("", "", rest)
    username, password, _ = _login(f"{login}@") if at else ("", None, "")
    if not path.startswith("/") or path.endswith("/"):
        raise PlaceError("a unix socket is named by its absolute path", hint="unix:///path/to/server.sock?db=0")
    options = _options(query, ("db",), others=("db",))
    db = _db(options["db"]) if "db" in options else None
    return Address(scheme="unix", path=_text(path), db=db, username=username, password=password)


def _login(authority: str) -> tuple[str, Secret | None, str]:
    """(username, password, what follows the @)"""
    login, at, rest = authority.rpartition("@")
    if "@" in login:
        raise PlaceError("there is more than one @ before the host", hint="write %40 for an @ in a name or password")
    name, colon, password = login.partition(":")
    if ":" in password:
        raise PlaceError("there is more than one : before the @", hint="write %3A for a : in a name or password")
    if at and not login:
        raise PlaceError("there is nothing before the @", hint="write user:password@host, or the host alone")
    return _text(name), Secret(_password(password)) if colon and password else None, rest


def _host_port(text: str) -> tuple[str, int]:
    """An empty host is localhost, an empty port 6379."""
    if text.startswith("["):
        host, closed, tail = text[1:].partition("]")
        if not closed or not re.fullmatch(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%25[\w.-]+)?", host):
            raise PlaceError("an IPv6 address in brackets is not complete", hint="redis://[::1]:6379")
    else:
        host, colon, port = text.partition(":")
        tail = colon + port
        if ":" in port:
            raise PlaceError("an IPv6 address needs brackets, a port is one number", hint="redis://[::1]:6379")
    host = _text(host)
    if "," in host:
        raise PlaceError("several hosts in one place are not served yet", hint="give the URL of one server")
    if not text.startswith("[") and host and not _HOST.fullmatch(host):
        raise PlaceError("a host name cannot hold such characters", hint="a server reads redis://host[:port][/db]")
    if tail and not tail.startswith(":"):
        raise PlaceError("after the ] comes :port or nothing", hint="redis://[::1]:6379")
    return host or "localhost", _port(tail.removeprefix(":"))


def _port(text: str) -> int:
    if not text:
        return 6379
    if not _DIGITS.fullmatch(text) or not 0 < int(text) < 65536:
        raise PlaceError(
            "a port is a number from 1 to 65535",
            hint="redis://host:6379/0; a password with / or : in it needs %2F or %3A",
        )
    return int(text)


def _db(text: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise PlaceError(
            "a logical database is a number from 0 on",
            hint="redis://host:6379/0; no /db means all of them; a / in a password reads %2F",
        )
    return int(text)


def _options(query: str, known: tuple[str, ...], *, others: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in known:
            raise _unknown_option(name, known, others)
        if name in found:
            raise PlaceError(f"the option ?{name}= is given twice")
        if not value:
            raise PlaceError(f"the option ?{name}= has no value")
        found[name] = _text(value)
    return found


def _unknown_option(name: str, known: tuple[str, ...], others: tuple[str, ...]) -> PlaceError:
    """The name itself is shown only if it looks like one: a ? in a password puts the rest of the password here."""
    if name == "db":
        return PlaceError("?db= is for unix sockets", hint="with a host the database is the path: redis://host:6379/0")
    if name in others:
        return PlaceError(f"the option ?{name}= is for TLS", hint="rediss:// or valkeys:// speak TLS")
    shown = f" ?{name}=" if difflib.get_close_matches(name.lower(), others) else ""
    return PlaceError(f"unknown option{shown}", hint=_nearest(name, others, "?{}="))


def _nearest(word: str, known: Iterable[str], form: str) -> str:
    names = list(known)
    near = difflib.get_close_matches(word.lower(), names, n=1)
    if near:
        return f"did you mean {form.format(near[0])} ?"
    return "known: " + " ".join(form.format(name) for name in names)


def _text(part: str) -> str:
    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise PlaceError("a part of the place is not UTF-8 once its %XX are read") from None


def _password(part: str) -> str:
    """Bytes that are no UTF-8 survive as surrogates, as they do in the environment."""
    return unquote(part, errors="surrogateescape")

"""Places that are servers: every spelling that is promised, and a plain no to the rest."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.canaries import CANARIES, assert_no_canary
from transfer.model.endpoint import Address, Secret
from transfer.model.errors import FileMissingError, PlaceError, TransferError, UsageError
from transfer.wire.url import parse_address, with_password

SECRET = CANARIES["url password"]
QUOTED = quote(SECRET, safe="")

_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
_hosts = st.sampled_from(
    ["localhost", "10.0.0.8", "cache.example.org", "::1", "2001:db8::7", "cache_1", "bücher.example"]
)


def _quoted(text: str) -> str:
    return quote(text, safe="")


@settings(deadline=None)
@given(
    scheme=st.sampled_from(["redis", "rediss", "valkey", "valkeys"]),
    host=_hosts,
    port=st.integers(1, 65535) | st.none(),
    db=st.integers(0, 10**6) | st.none(),
    username=st.just("") | _texts,
    password=st.none() | _texts,
    files=st.dictionaries(st.sampled_from(["cacert", "cert"]), _texts),
)
def test_what_was_written_is_what_is_read(
    scheme: str,
    host: str,
    port: int | None,
    db: int | None,
    username: str,
    password: str | None,
    files: dict[str, str],
) -> None:
    """Any name, password and file comes through, however odd, once it is percent-encoded."""
    tls = scheme in ("rediss", "valkeys")
    files = files if tls else {}
    login = _quoted(username) + (f":{_quoted(password)}" if password else "")
    url = f"{scheme}://" + (f"{login}@" if login else "") + (f"[{host}]" if ":" in host else host)
    url += (f":{port}" if port else "") + (f"/{db}" if db is not None else "")
    url += "?" + "&".join(f"{name}={_quoted(file)}" for name, file in files.items()) if files else ""

    seen = parse_address(url)

    assert seen == Address(
        scheme=scheme,
        host=host,
        port=port or 6379,
        db=db,
        username=username,
        password=Secret(password) if password else None,
        tls=tls,
        cacert=files.get("cacert", ""),
        cert=files.get("cert", ""),
    )


@settings(deadline=None)
@given(path=_texts, db=st.integers(0, 63) | st.none(), password=st.none() | _texts)
def test_a_socket_path_comes_through(path: str, db: int | None, password: str | None) -> None:
    """A unix socket may lie anywhere; its database is an option, since the path is taken."""
    login = f":{_quoted(password)}@" if password else ""
    seen = parse_address(f"unix://{login}/run/{_quoted(path)}" + (f"?db={db}" if db is not None else ""))
    assert (seen.path, seen.db, seen.tls) == (f"/run/{path}", db, False)
    assert seen.password == (Secret(password) if password else None)


@pytest.mark.parametrize(
    ("url", "host", "port", "db"),
    [
        ("redis://", "localhost", 6379, None),
        ("redis:///3", "localhost", 6379, 3),
        ("redis://h/", "h", 6379, None),
        ("redis://h:7000", "h", 7000, None),
        ("REDIS://h", "h", 6379, None),
        ("redis://[::1]", "::1", 6379, None),
        ("redis://[fe80::1%25eth0]:7000/0", "fe80::1%eth0", 7000, 0),
        ("redis://:@h", "h", 6379, None),
    ],
)
def test_what_is_left_out_has_its_usual_value(url: str, host: str, port: int, db: int | None) -> None:
    """No host is this machine, no port 6379, no database all of them."""
    seen = parse_address(url)
    assert (seen.host, seen.port, seen.db, seen.password) == (host, port, db, None)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "neither a URL nor a file"),
        ("localhost:6379", "neither a URL nor a file"),
        ("redis:/h", "two slashes"),
        ("redis:h", "two slashes"),
        ("reids://h", "did you mean redis:// ?"),
        ("redis+tls://h", "unknown scheme"),
        ("valkyes://h", "did you mean valkeys:// ?"),
        ("http://h", "unknown scheme http://"),
        ("redis://h:0", "1 to 65535"),
        ("redis://h:65536", "1 to 65535"),
        ("redis://h:+80", "1 to 65535"),
        ("redis://h:٦٣٧٩", "1 to 65535"),
        ("redis://::1", "brackets"),
        ("redis://[::1", "not complete"),
        ("redis://[::1]x", "after the ]"),
        ("redis://[h]", "not complete"),
        ("redis://h/-1", "number from 0"),
        ("redis://h/one", "number from 0"),
        ("redis://h/1/2", "number from 0"),
        ("redis://h/1.0", "number from 0"),
        ("redis://h#1", "no fragment"),
        ("redis://h h", "space"),
        ("redis://h\n", "control character"),
        ("redis://h%00", "NUL"),
        ("redis://h%2", "two hex digits"),
        ("redis://%ff", "not UTF-8"),
        ("redis://a@b@h", "more than one @"),
        ("redis://a:b:c@h", "more than one :"),
        ("redis://@h", "nothing before the @"),
        ("redis://h%2Fx", "cannot hold"),
        ("redis://h1,h2", "several hosts"),
        ("redis://h?db=1", "is the path"),
        ("redis://h?cacert=/a", "is for TLS"),
        ("rediss://h?cacrt=/a", "did you mean ?cacert= ?"),
        ("rediss://h?timeout=3", "unknown option"),
        ("rediss://h?cert=/a&cert=/b", "given twice"),
        ("rediss://h?cert=", "no value"),
        ("rediss://h?key=/a", "needs ?cert="),
        ("unix://run/x.sock", "absolute path"),
        ("unix:///", "absolute path"),
        ("unix:///x.sock?db=-1", "number from 0"),
        ("unix:///x.sock?dbs=1", "did you mean ?db= ?"),
        ("unix:///x.sock?cacert=/a", "unknown option"),
    ],
)
def test_what_is_not_understood_is_refused(url: str, says: str) -> None:
    """A misspelt place never becomes another place; the message or its hint says what is wrong."""
    with pytest.raises(PlaceError) as caught:
        parse_address(url)
    assert says in f"{caught.value.message} | {caught.value.hint}"


def test_an_rdb_file_is_a_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its absolute path, whatever characters; passwords of the environment are not for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFER_SOURCE_PASSWORD", "secret")
    for text in ("dump.rdb", "./a b#c?.RDB", "/var/lib/redis/dump.rdb", "all.xfer", "all.xfer.age", "a.jsonl"):
        found = with_password(parse_address(text), "source")
        assert (found.is_file, str(found), found.password) == (True, str((tmp_path / text).absolute()), None)
    with pytest.raises(PlaceError, match="UTF-8"):
        parse_address("\udcff.rdb")


@pytest.mark.parametrize(
    "place",
    [
        "redis+cluster://h1,h2:7000",
        "rediss+cluster://h",
        "redis+sentinel://h1,h2/service/0",
        "s3://bucket/key.xfer",
        "gs://bucket/key.rdb",
        "az://bucket/key.rdb",
        "a.csv",
        "a.parquet",
        "@production",
    ],
)
def test_what_comes_later_says_so(place: str) -> None:
    """A place of the contract that is not served yet is no misspelling."""
    with pytest.raises(PlaceError, match="not served"):
        parse_address(place)


@pytest.mark.parametrize(
    "url",
    [
        f"reids://:{QUOTED}@h",
        f"redis://:{QUOTED}@h:x",
        f"redis://:{QUOTED}@h/x",
        f"redis://:{QUOTED}@h?x={QUOTED}",
        f"redis://:{QUOTED}@h?{QUOTED}",
        f"redis://:{QUOTED}@h#x",
        f"redis://:{QUOTED}@h h",
        f"redis://:{QUOTED}@a@h",
        f"redis://:{QUOTED}:a@h",
        f"redis://:{SECRET}@h",
        f"redis://:a/{SECRET}@h",
        f"redis://:{QUOTED}/a@h",
        f"redis://[{QUOTED}/a@h",
        f"redis://h:1{QUOTED}",
        f"redis://:a?{SECRET}@h",
        f"redis://:a:{SECRET}@h",
        f"redis://:a%{SECRET}@h",
        f"unix://:{QUOTED}@x",
        f"unix://:{QUOTED}@/x?y=1",
        f"redis+cluster://:{QUOTED}@h",
        f"redis:/:{QUOTED}@h",
        f":{SECRET}@h",
        f"{SECRET}.csv",
    ],
)
def test_no_refusal_repeats_a_password(url: str) -> None:
    """Not in the message, nor in the hint, the place or the facts: a typing error must not publish a password."""
    with pytest.raises(PlaceError) as caught:
        parse_address(url)
    error = caught.value
    assert_no_canary(error.message, error.hint, error.where, repr(error), repr(error.facts))


@settings(deadline=None)
@given(url=st.from_regex(r"(redis|rediss|unix|valkey)://[ -~]{0,40}", fullmatch=True))
def test_any_text_is_an_address_or_a_refusal(url: str) -> None:
    """No text ends in another exception than the one that is promised."""
    try:
        parse_address(url)
    except PlaceError as error:
        assert error.hint  # noqa: PT017


def test_an_address_is_shown_without_its_password() -> None:
    """`str` and `repr` of an address are safe for logs."""
    for url in (f"rediss://u:{QUOTED}@h/2", f"unix://:{QUOTED}@/run/x.sock?db=1"):
        address = parse_address(url)
        assert_no_canary(str(address), repr(address), f"{address.password}")
        assert "***" in str(address)


def test_the_environment_fills_in_a_missing_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each side has its own variable; a password in the URL is never replaced."""
    monkeypatch.setenv("TRANSFER_SOURCE_PASSWORD", CANARIES["env source password"])
    monkeypatch.setenv("TRANSFER_TARGET_PASSWORD", CANARIES["env target password"])
    address = parse_address("redis://user@h/2")
    assert with_password(address, "source").password == Secret(CANARIES["env source password"])
    assert with_password(address, "target").password == Secret(CANARIES["env target password"])
    assert with_password(address, "source").username == "user"
    own = parse_address("redis://:own@h")
    assert with_password(own, "source") == own


def test_without_any_password_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without a password is no mistake."""
    monkeypatch.delenv("TRANSFER_SOURCE_PASSWORD", raising=False)
    monkeypatch.delenv("TRANSFER_SOURCE_PASSWORD_FILE", raising=False)
    address = parse_address("redis://h")
    assert with_password(address, "source") is address


@pytest.mark.plants("password file content")
@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\nsecond line\n"])
def test_a_password_file_is_its_first_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str) -> None:
    """Editors and `kubectl` end files differently; spaces belong to the password."""
    secret = f" {CANARIES['password file content']} "
    (tmp_path / "password").write_bytes((secret + ending).encode())
    monkeypatch.setenv("TRANSFER_TARGET_PASSWORD_FILE", str(tmp_path / "password"))
    assert with_password(parse_address("redis://h"), "target").password == Secret(secret)


@pytest.mark.parametrize("content", [None, b"", b"\nsecond"])
def test_a_password_file_that_gives_none_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None
) -> None:
    """A file that is not there, or begins empty, never means 'no password'."""
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("TRANSFER_SOURCE_PASSWORD_FILE", str(path))
    with pytest.raises(FileMissingError, match="TRANSFER_SOURCE_PASSWORD_FILE"):
        with_password(parse_address("redis://h"), "source")


@pytest.mark.plants("password file content")
def test_two_passwords_for_one_side_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Which of them is meant is not guessed, and neither is shown."""
    (tmp_path / "password").write_text(CANARIES["password file content"])
    monkeypatch.setenv("TRANSFER_SOURCE_PASSWORD", CANARIES["env source password"])
    monkeypatch.setenv("TRANSFER_SOURCE_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(UsageError) as caught:
        with_password(parse_address("redis://h"), "source")
    assert_no_canary(str(caught.value), caught.value.hint)
    assert isinstance(caught.value, TransferError)

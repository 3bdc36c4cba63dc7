"""Logs say what happened and never a secret."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from tests.canaries import CANARIES, PASSWORDS, assert_no_canary
from transfer.model.endpoint import Address, Secret
from transfer.report.log import configure_log, keep_secret, redacted
from transfer.report.names import hashed_name


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_json_logs_are_one_object_a_line() -> None:
    """For the machines that collect them; names of keys are escaped."""
    out = io.StringIO()
    configure_log(level="info", form="json", stream=out)
    structlog.get_logger().info("reconnected", attempt=3, key=b"a\x00", place=Address(host="h"))

    said = json.loads(out.getvalue())
    assert (said["event"], said["level"], said["attempt"], said["key"]) == ("reconnected", "info", 3, '"a\\x00"')
    assert said["place"] == "redis://h:6379"
    assert said["timestamp"].endswith("Z")


def test_a_level_leaves_out_what_is_below() -> None:
    """-v shows more, --debug everything."""
    out = io.StringIO()
    configure_log(level="warning", form="json", stream=out)
    log = structlog.get_logger()
    log.info("no")
    log.warning("yes")

    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["yes"]


def test_names_are_hashed_where_that_was_asked_for() -> None:
    """The same hash as in findings and in the store."""
    out = io.StringIO()
    configure_log(level="info", form="json", hash_keys=True, stream=out)
    structlog.get_logger().info("met twice", keys=[CANARIES["key name"].encode()])

    assert json.loads(out.getvalue())["keys"] == [hashed_name(CANARIES["key name"].encode())]


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_planted_secret_passes(form: str) -> None:
    """In messages, values, URLs, objects and tracebacks."""
    out = io.StringIO()
    configure_log(level="debug", form=form, stream=out)
    log = structlog.get_logger()
    for name in PASSWORDS:
        secret = CANARIES[name]
        log.info(f"dial redis://app:{secret}@host:6379/0", url=f"rediss://:{quote(secret, safe='')}@host")
        log.info("secret", secret=Secret(secret), inside={"deep": [Secret(secret)]})
        log.info("address", address=Address(password=Secret(secret)))
        keep_secret(Secret(secret))
        try:
            raise ValueError(f"cannot log in with {secret}")
        except ValueError:
            log.exception("failed", said=f"-WRONGPASS {secret}")

    assert out.getvalue().count("failed") >= len(PASSWORDS)
    assert_no_canary(out.getvalue())


@given(
    password=st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="\"'<>"), min_size=4, max_size=12)
)
@example("p@ss/wo:rd")
def test_the_login_of_a_url_goes_whatever_it_holds(password: str) -> None:
    """A password with @, / or : that nobody escaped as well."""
    said = redacted(f"see xx://user:{password}@host:6379/0 there")

    assert said == "see xx://user:***@host:6379/0 there"


def test_a_text_without_secrets_stays_as_it_is() -> None:
    """Redaction is no reason to lose words."""
    for text in ("redis://host:6379/0", "unix:///run/redis.sock", "mail me @ home", "redis://user@host"):
        assert redacted(text) == text

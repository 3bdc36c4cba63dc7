"""`rejects show` and `retry`: keys that a run could not copy are named whole, and copied again alone."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.cli.running import copy, run
from tests.servers import ask, running

ODD = b"odd\n\xff\\name"


async def test_rejected_keys_are_shown_and_copied_again_by_name(tmp_path: Path) -> None:
    """Of two databases, mapped and renamed as before; names of any bytes; other keys are left alone."""
    async with running() as source, running() as target:
        for db in (0, 2):
            await ask(source, "SET", ODD, f"new{db}", db=db)
            await ask(source, "SET", "fine", "1", db=db)
        await ask(target, "SET", b"ab" + ODD[2:], "theirs", db=0)
        await ask(target, "SET", b"ab" + ODD[2:], "theirs", db=5)
        words = ("--db", "0", "--db", "2:5", "--rename", "od:ab")
        first = await copy(source.url, target.url, *words, "--allow", "nonempty-target", state=tmp_path)
        assert first.exit == 3, first
        job = first.result["job"]
        await ask(target, "DEL", "fine")

        shown = await run("rejects", "show", job, "--json", state=tmp_path)
        rows = shown.result["data"]["rejects"]
        text = await run("rejects", "show", job, state=tmp_path)
        again = await run("rejects", "retry", job, "--on-conflict", "replace", "--json", state=tmp_path)

        assert [(row["db"], base64.b64decode(row["key_b64"]), row["code"]) for row in rows] == [
            (0, ODD, "E301"),
            (2, ODD, "E301"),
        ]
        assert "\\xff" in text.out
        assert "\n\\xff" not in text.out
        assert again.exit == 0, again
        assert again.result["keys"]["written"] == 2
        assert again.result["verify"]["checked"] == 2
        assert again.result["job"] != job
        assert await ask(target, "GET", b"ab" + ODD[2:], db=0) == b"new0"
        assert await ask(target, "GET", b"ab" + ODD[2:], db=5) == b"new2"
        assert await ask(target, "EXISTS", "fine") == 0


async def test_a_retry_says_how_many_arrived(tmp_path: Path) -> None:
    """In text: those that are still refused are not counted."""
    async with running() as source, running() as target:
        for name in ("a", "b"):
            await ask(source, "SET", name, "ours")
            await ask(target, "SET", name, "theirs")
        first = await copy(source.url, target.url, "--allow", "nonempty-target", state=tmp_path)
        await ask(target, "DEL", "a")

        again = await run("rejects", "retry", first.result["job"], state=tmp_path)

        assert again.exit == 3
        assert "1 of 2 rejected keys arrived this time" in again.out + again.err


async def test_a_password_is_asked_for_by_its_name(tmp_path: Path) -> None:
    """The store keeps none: exit 2 names the variable, and with it the retry works."""
    async with running() as source, running("valkey-9.1", "--requirepass", "pw-of-test") as target:
        secret = {"TRANSFER_TARGET_PASSWORD": "pw-of-test"}
        await ask(source, "SET", "a", "ours")
        first = await copy(source.url, target.url, state=tmp_path, **secret)
        assert first.exit == 0, first
        await ask(source, "SET", "a", "newer")
        second = await copy(source.url, target.url, "--allow", "nonempty-target", state=tmp_path, **secret)
        assert second.exit == 3, second

        refused = await run("rejects", "retry", second.result["job"], state=tmp_path)
        given = await run(
            "rejects", "retry", second.result["job"], "--on-conflict", "replace", state=tmp_path, **secret
        )

        assert refused.exit == 2
        assert "TRANSFER_TARGET_PASSWORD" in refused.err
        assert given.exit == 0, given


async def test_hashed_names_cannot_be_copied_again(tmp_path: Path) -> None:
    """--hash-keys keeps no names: it is said, exit 2; so is that there is nothing to do."""
    async with running() as source, running() as target:
        await ask(source, "SET", "a", "ours")
        await ask(target, "SET", "a", "theirs")
        hashed = await copy(source.url, target.url, "--hash-keys", "--allow", "nonempty-target", state=tmp_path)
        whole = await copy(source.url, target.url, "--on-conflict", "replace", state=tmp_path)

        refused = await run("rejects", "retry", hashed.result["job"], state=tmp_path)
        nothing = await run("rejects", "retry", whole.result["job"], state=tmp_path)

        assert (refused.exit, nothing.exit) == (2, 2)
        assert "--hash-keys" in refused.err
        assert "nothing to copy again" in nothing.err

"""`transfer inspect PLACE`, `transfer doctor URL [URL]`: the words; what they find is in `inspect.py`, `doctor.py`."""

from __future__ import annotations

import base64
from typing import Annotated

from transfer.cli.effect import refuse_all
from transfer.cli.options import PLACE, Names, Store, Talk, Unasked, Waits
from transfer.cli.options_files import OneKey, Opening
from transfer.cli.outcome import run_and_tell
from transfer.cli.request import place, waits_ms
from transfer.model.endpoint import ARCHIVE_SCHEME, Address
from transfer.model.errors import UsageError


def inspect(
    url: Annotated[str, PLACE],
    /,
    *,
    waits: Waits = Waits(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
    names: Names = Names(),  # noqa: B008
    one: OneKey = OneKey(),  # noqa: B008
    opening: Opening = Opening(),  # noqa: B008
    store: Store = Store(),  # noqa: B008
    unasked: Unasked = Unasked(),  # noqa: B008
) -> int:
    """What is there: versions, memory, keys per database, types, deadlines, big keys. Nothing is written.

    Parameters
    ----------
    url
        One server, or a file: name.xfer, name.rdb, name.jsonl.
    """
    from transfer.cli.commands.inspect import run_inspect
    from transfer.cli.commands.inspect_file import run_inspect_file

    connect_ms, timeout_ms = waits_ms(waits)
    address, hashed = place(url, "source"), names.hash_keys
    if one != OneKey():
        return _one_key(address, one, talk)
    if address.is_file:
        refuse_all((waits,), "a file is read here")
        return run_and_tell("inspect", talk, lambda: run_inspect_file(address.path, opening.identity, hash_keys=hashed))
    refuse_all((opening,), "it is no encrypted archive")
    return run_and_tell(
        "inspect",
        talk,
        lambda: run_inspect(
            address, hash_keys=hashed, connect_timeout_s=connect_ms / 1000, timeout_s=timeout_ms / 1000
        ),
    )


def _one_key(address: Address, one: OneKey, talk: Talk) -> int:
    from transfer.cli.commands.inspect_key import run_inspect_key

    key, db = _named(one), one.db or 0
    if address.scheme != ARCHIVE_SCHEME or address.encrypted or key is None:
        raise UsageError("--key and --db are for one key of an archive", hint="transfer inspect name.xfer --key NAME")
    return run_and_tell("inspect", talk, lambda: run_inspect_key(address.path, key, db))


def _named(one: OneKey) -> bytes | None:
    """The name that was given, None if none was. Raises UsageError: it cannot be understood, or there are two."""
    if one.key is not None and one.key_b64 is not None:
        raise UsageError("--key and --key-b64 name one key in two ways", hint="leave one of them out")
    if one.key_b64 is None:
        return None if one.key is None else _as_shown(one.key)
    try:
        return base64.b64decode(one.key_b64, validate=True)
    except ValueError:
        hint = "--json shows names so, as key_b64; printf %s NAME | base64 -w0"
        raise UsageError("--key-b64: this is no base64", hint=hint) from None


def _as_shown(text: str) -> bytes:
    from transfer.report.names import name_of

    try:
        return name_of(text)
    except ValueError as error:
        hint = "in quotes as names are shown: --key '\"a\\x00b\"'"
        raise UsageError(f"--key: {error}", hint=hint) from None


def doctor(
    source: Annotated[str, PLACE],
    target: Annotated[str | None, PLACE] = None,
    /,
    *,
    waits: Waits = Waits(),  # noqa: B008 - frozen
    talk: Talk = Talk(),  # noqa: B008
    store: Store = Store(),  # noqa: B008
    unasked: Unasked = Unasked(),  # noqa: B008
) -> int:
    """Who answers, and may we do what is needed; with two servers, what will travel and how. Nothing is written.

    Parameters
    ----------
    source
        One server.
    target
        A second one, to which the first shall be copied.
    """
    from transfer.cli.commands.doctor import run_doctor

    connect_ms, timeout_ms = waits_ms(waits)
    one, two = place(source, "source"), place(target, "target") if target is not None else None
    _refuse_files(one, two)
    return run_and_tell(
        "doctor", talk, lambda: run_doctor(one, two, connect_timeout_s=connect_ms / 1000, timeout_s=timeout_ms / 1000)
    )


def _refuse_files(one: Address, two: Address | None) -> None:
    """A file cannot be asked anything; each kind of question has a command of its own."""
    file = one if one.is_file else two
    if file is None or not file.is_file:
        return
    hint = f"transfer verify {file} tells whether it is whole, transfer inspect {file} what is in it"
    if two is not None:
        act = "import" if one.is_file else "export"
        hint = f"transfer {act} {one} {two} --dry-run tells what would be done"
    raise UsageError(f"doctor asks servers, and {file} is a file", hint=hint)

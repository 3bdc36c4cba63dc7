"""Passwords of places that the job store remembers: it keeps that there was one, and not which."""

from __future__ import annotations

import getpass
import sys

import msgspec

from transfer.model.endpoint import Address, Secret
from transfer.model.errors import UsageError
from transfer.model.plan import CopyRequest
from transfer.report.log import keep_secret
from transfer.wire.url import with_password


def with_passwords(request: CopyRequest, *, no_input: bool) -> CopyRequest:
    """A stored request with its passwords, from the environment or, unless *no_input*, from the terminal.

    Raises:
        UsageError: there was one, and nobody gives it now.
    """
    return msgspec.structs.replace(
        request,
        source=with_stored_password(request.source, "source", no_input),
        target=with_stored_password(request.target, "target", no_input),
    )


def with_stored_password(address: Address, role: str, no_input: bool) -> Address:
    """*address*, out of the job store, with its password if it had one. *role* is source or target.

    Raises:
        UsageError: it had one, and nobody gives it now.
    """
    if address.password is None:
        return address
    found = with_password(msgspec.structs.replace(address, password=None), role)
    if found.password is None:
        if no_input or not sys.stdin.isatty():
            name = f"TRANSFER_{role.upper()}_PASSWORD"
            raise UsageError(
                f"the password of the {role} is not kept in the job store", where=str(address), hint=f"set {name}"
            )
        found = msgspec.structs.replace(address, password=Secret(getpass.getpass(f"password of {address}: ")))
    keep_secret(found.password)
    return found

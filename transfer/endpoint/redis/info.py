"""INFO as a table of fields, many sections in one round trip.

    INFO server, INFO replication ... -> "field:value" lines -> one dict

Sections are asked one by one, in one request: INFO takes several of them only since 7.0. A section that a server
does not have is empty.
"""

from __future__ import annotations

from transfer.codec import resp
from transfer.model.errors import PermissionDeniedError
from transfer.wire.dial import refuse
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.understood import foreign


async def read_info(link: Link, *sections: str) -> dict[str, str]:
    """Every field of *sections*.

    Raises:
        PermissionDeniedError: the user may not run INFO.
        ServerRefusedError, LinkError.
    """
    request = b"".join(resp.command("INFO", section) for section in sections)
    fields: dict[str, str] = {}
    for answer in await link.ask(request, len(sections)):
        if not isinstance(granted(answer, "INFO", link.where), bytes):
            raise foreign(link.where, "INFO", type(answer).__name__)
        fields |= parse_info(answer)
    return fields


def parse_info(text: bytes) -> dict[str, str]:
    """`field:value` lines of an INFO reply; section titles are left out."""
    lines = text.decode("utf-8", "backslashreplace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def pairs_of(value: str) -> dict[str, str]:
    """`keys=3,expires=1` -> `{"keys": "3", "expires": "1"}`."""
    return dict(part.split("=", 1) for part in value.split(",") if "=" in part)


def number(fields: dict[str, str], name: str, default: int = 0) -> int:
    """The whole number in field *name*; *default* where it is missing or something else."""
    value = fields.get(name, "")
    return int(value) if value.lstrip("-").isdigit() else default


def granted(answer: Reply, command: str, where: str) -> Reply:
    """*answer* itself, if it is no error.

    Raises:
        PermissionDeniedError: it says that the user lacks the right to *command*, which is named.
        AuthError, ServerRefusedError: another error reply.
    """
    if isinstance(answer, ErrorReply) and str(answer).startswith("NOPERM"):
        raise PermissionDeniedError(f"the user may not run {command}: {answer}", where=where, commands=[command])
    refuse(answer, where)
    return answer

"""Function libraries of a server, as their code."""

from __future__ import annotations

from transfer.wire.link import ErrorReply, Link


async def library_codes(link: Link) -> list[bytes]:
    """The code of every library; none where the server has no functions or we may not ask."""
    answer = await link.command("FUNCTION", "LIST", "WITHCODE")
    if isinstance(answer, ErrorReply) or not isinstance(answer, list):
        return []
    rows = [dict(zip(row[::2], row[1::2], strict=False)) for row in answer if isinstance(row, list)]
    return [bytes(row[b"library_code"]) for row in rows if b"library_code" in row]

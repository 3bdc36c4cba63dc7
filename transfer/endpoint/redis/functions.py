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


async def bring_libraries(link: Link, codes: list[bytes], *, replace: bool) -> list[str]:
    """Load each library that is not there yet; *replace*: also over another one. What was refused, in words."""
    there, refused = set(await library_codes(link)), []
    for code in codes:
        if code in there:
            continue
        answer = await link.command("FUNCTION", "LOAD", *(("REPLACE",) if replace else ()), code)
        if isinstance(answer, ErrorReply):
            head = code.partition(b"\n")[0][:80].decode("ascii", "backslashreplace")
            refused.append(f"a function library ({head}): {answer}")
    return refused

"""Function libraries: read from one server, loaded into another, ahead of the keys.

    source: FUNCTION LIST WITHCODE -> libraries -> there, with the same code -> already
    target: FUNCTION LIST WITHCODE --'          -> there, with other code    -> conflict | FUNCTION LOAD REPLACE
                                                -> not there                 -> FUNCTION LOAD -> written | refused

Rule 1: code travels, not FUNCTION DUMP, whose version another server refuses: a dump holds nothing but that code.
Rule 2: what does not travel is told by name with the reason, and never ends a copy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from transfer.codec.resp import command
from transfer.endpoint.redis.server import Server
from transfer.model.report import FunctionCounts
from transfer.wire.link import ErrorReply, Link


class Library(msgspec.Struct, frozen=True):
    """One library by name, with the code that FUNCTION LOAD takes."""

    name: bytes
    code: bytes


class FunctionsRefusedError(Exception):
    """The server does not list its libraries: the text is its answer."""


async def libraries_of(link: Link) -> list[Library]:
    """Every library of a server.

    Raises:
        FunctionsRefusedError: it has no functions (before 7.0), or we may not ask.
    """
    answer = await link.command("FUNCTION", "LIST", "WITHCODE")
    if isinstance(answer, ErrorReply) or not isinstance(answer, list):
        raise FunctionsRefusedError(str(answer))
    return [_library(row) for row in answer]


def why_no_functions(answer: str) -> str:
    """What the refusal of FUNCTION LIST means, after the name of the server."""
    return "has no functions" if "unknown command" in answer.lower() else f"refuses: {answer}"


def _library(row: list[Any]) -> Library:
    facts = dict(zip(row[::2], row[1::2], strict=True))
    return Library(facts[b"library_name"], facts[b"library_code"])


def library_of(code: bytes) -> Library:
    """A library by its code alone, which begins with `#!engine name=NAME`."""
    words = code.partition(b"\n")[0].split()
    return Library(next((word[5:] for word in words if word.startswith(b"name=")), b""), code)


Keep = Callable[[bytes, bytes | None, bytes | None], Awaitable[None]]
"""Told of a library, by name, what code it has and what it is to have, before it is written; None: none."""


async def copy_functions(source: Server, target: Server, on_conflict: str, keep: Keep | None = None) -> FunctionCounts:
    """Bring every library of *source* to *target*; *on_conflict* is fail, skip or replace, "" is fail.

    Raises:
        GaveUpError: a server did not answer.
    """
    try:
        here = await source.asked(libraries_of)
    except FunctionsRefusedError:
        return FunctionCounts()
    return await place_libraries(here, target, on_conflict, keep)


async def place_libraries(
    here: list[Library], target: Server, on_conflict: str, keep: Keep | None = None
) -> FunctionCounts:
    """Bring the libraries *here* to *target*, as `copy_functions`."""
    counts = FunctionCounts(read=len(here))
    if not here:
        return counts
    try:
        there = {library.name: library.code for library in await target.asked(libraries_of)}
    except FunctionsRefusedError as error:
        counts.rejected = len(here)
        cause = f"{target.identity.name} {why_no_functions(str(error))}"
        counts.not_copied = [f"{_named(library)}: {cause}" for library in here]
        return counts
    wanted = [library for library in here if there.get(library.name) != library.code]
    counts.already = len(here) - len(wanted)
    for library in wanted:
        taken = library.name in there
        if taken and on_conflict != "replace":
            counts.conflicts += 1
            counts.not_copied.append(f"{_named(library)}: the target holds other code under this name; it stays")
        else:
            if keep is not None:
                await keep(library.name, there.get(library.name), library.code)
            await _load(target, library, counts, over=taken)
    return counts


async def _load(target: Server, library: Library, counts: FunctionCounts, *, over: bool) -> None:
    if refusal := await load_library(target, library.code):
        counts.rejected += 1
        counts.not_copied.append(f"{_named(library)}: the target refuses it: {refusal[:200]}")
    elif over:
        counts.replaced += 1
    else:
        counts.written += 1


async def load_library(target: Server, code: bytes) -> str:
    """Why *target* refuses *code*, "" if it has it now, in place of what had its name."""
    # REPLACE also where it is new: sent again after a lost answer it changes nothing
    return await _refusal(target, command("FUNCTION", "LOAD", "REPLACE", code))


async def delete_library(target: Server, name: bytes) -> str:
    """Why *target* keeps the library, "" if it is gone."""
    refusal = await _refusal(target, command("FUNCTION", "DELETE", name))
    return "" if "not found" in refusal.lower() else refusal


async def _refusal(target: Server, request: bytes) -> str:
    async def ask(link: Link) -> str:
        answer = (await link.ask(request, 1))[0]
        return str(answer) if isinstance(answer, ErrorReply) else ""

    return await target.asked(ask)


def _named(library: Library) -> str:
    return library_named(library.name)


def library_named(name: bytes) -> str:
    """For people."""
    return f"function library {name.decode('utf-8', 'backslashreplace')}"

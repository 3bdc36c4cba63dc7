"""Put back the function libraries that a job wrote, as its archive tells.

archive -> what was there, what the job left -> there now? -> kept in the undo's own archive -> LOAD | DELETE
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from transfer.codec.archive.undo import LibraryNote
from transfer.endpoint.redis.functions import (
    FunctionsRefusedError,
    Keep,
    delete_library,
    libraries_of,
    library_named,
    load_library,
    why_no_functions,
)
from transfer.endpoint.redis.server import Server


class LibrariesUndone(msgspec.Struct):
    """How many have their code of before again, and what is to be said of the others."""

    restored: int = 0
    left: list[str] = msgspec.field(default_factory=list)


async def undo_libraries(
    told: Mapping[bytes, LibraryNote], target: Server, keep: Keep | None, *, always: bool
) -> LibrariesUndone:
    """Put back what is *told* of each library, where the present code is what the job left; *always*: everywhere.

    Raises:
        StateFullError: what is there cannot be kept.
    """
    done = LibrariesUndone()
    if not told:
        return done
    try:
        there = {library.name: library.code for library in await target.asked(libraries_of)}
    except FunctionsRefusedError as error:
        done.left = [f"{library_named(name)}: the target {why_no_functions(str(error))}" for name in told]
        return done
    for name, note in told.items():
        present = there.get(name)
        if present == note.before:
            continue
        if present != note.after and not always:
            done.left.append(f"{library_named(name)}: others changed it since, it stays (--allow changed-since)")
            continue
        if keep is not None:
            await keep(name, present, note.before)
        refusal = await (load_library(target, note.before) if note.before else delete_library(target, name))
        if refusal:
            done.left.append(f"{library_named(name)}: the target refuses it: {refusal[:200]}")
        else:
            done.restored += 1
    return done

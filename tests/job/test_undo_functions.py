"""Function libraries that a job writes are kept before, and put back by `undo`."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread

from tests.job.test_undo import replace, undo
from tests.servers import ask, running
from transfer.codec.archive.items import AsOf, Head
from transfer.endpoint.archive.undo import UndoArchive, libraries
from transfer.endpoint.redis.throwaway import ThrowawayServer


def code(name: str, answer: int) -> bytes:
    return f"#!lua name={name}\nredis.register_function('{name}', function() return {answer} end)".encode()


async def codes(server: ThrowawayServer) -> dict[bytes, bytes]:
    return {row[1]: row[row.index(b"library_code") + 1] for row in await ask(server, "FUNCTION", "LIST", "WITHCODE")}


async def test_an_undo_puts_libraries_back_and_can_itself_be_undone(tmp_path: Path) -> None:
    """Replaced ones have their code again, new ones are gone; what others changed since stays and is told (exit 7)."""
    async with running("redis-7.0") as source, running("redis-7.0") as target:
        for name in ("same", "over", "new", "theirs"):
            await ask(source, "FUNCTION", "LOAD", code(name, 1))
        for name, answer in (("same", 1), ("over", 2), ("theirs", 2), ("own", 2)):
            await ask(target, "FUNCTION", "LOAD", code(name, answer))
        before = await codes(target)

        done = await anyio.to_thread.run_sync(replace, source, target, tmp_path)
        after = await codes(target)
        assert (done.exit, done.result["functions"]["replaced"]) == (0, 2), done
        await ask(target, "FUNCTION", "LOAD", "REPLACE", code("theirs", 3))
        undone = await anyio.to_thread.run_sync(undo, done.result["job"], tmp_path)

        assert (undone.exit, undone.result["verified"]) == (7, False), undone
        assert "theirs" in undone.result["not_copied"][0]
        assert await codes(target) == before | {b"theirs": code("theirs", 3)}
        words = "--allow", "changed-since"
        again = await anyio.to_thread.run_sync(lambda: undo(undone.result["job"], tmp_path))
        assert again.exit == 0, again
        assert await codes(target) == after | {b"theirs": code("theirs", 3)}
        last = await anyio.to_thread.run_sync(lambda: undo(done.result["job"], tmp_path, *words))
        assert last.exit == 0, last
        assert await codes(target) == before


async def test_a_resumed_job_keeps_the_code_that_was_there_before_its_first_write(tmp_path: Path) -> None:
    """Written again it is not captured as its own pre-image; what others wrote between counts as theirs."""
    head, folder = Head("tests", 1, "redis", "7.0.15", AsOf("interval", 1)), tmp_path / "undo" / "job"
    for told in ([(b"a", b"0", b"1"), (b"b", None, b"1")], [(b"a", b"1", b"2"), (b"b", b"other", b"2")]):
        archive = UndoArchive(folder, head)
        for note in told:
            await archive.library(*note)
        archive.close()

    found = {name: (note.before, note.after) for name, note in libraries(folder).items()}

    assert found == {b"a": (b"0", b"2"), b"b": (b"other", b"2")}

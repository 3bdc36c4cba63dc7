"""After another process answered: which side it was, and whether to go on with it.

A new source process voids cursors; a new target process puts in doubt what the old one acknowledged. Both
mean that everything is read again and what is equal is skipped. A target that shows none of the keys it
acknowledged, and holds others, is a stranger: nothing is written to it.
"""

from __future__ import annotations

from transfer.codec import resp
from transfer.endpoint.redis import probe
from transfer.endpoint.redis.server import Server
from transfer.job.engine import Engine
from transfer.model.endpoint import Identity
from transfer.model.errors import ReadOnlyTargetError, ReplacedError


class Replacement:
    """Looks at both servers anew, adopts who answers, and says what that means."""

    def __init__(self, source: Server, target: Server, engine: Engine) -> None:
        self._source = source
        self._target = target
        self._engine = engine

    async def adopt(self, error: ReplacedError) -> list[str]:
        """Sentences for people.

        Raises:
            ReplacedError, ReadOnlyTargetError: the run cannot go on with who answers.
            LinkError: nobody answers for the whole of the give-up time.
        """
        said = []
        for name, server in (("source", self._source), ("target", self._target)):
            before = server.identity
            await server.adopt_when_up()
            if server.identity.run_id != before.run_id or server.identity.role != before.role:
                said.append(_sentence(name, before, server))
                if name == "target":
                    await self._check_target(before)
        if not said:
            said.append(f"{error.message}; the server known from before answers again")
        return said

    async def _check_target(self, before: Identity) -> None:
        now = self._target.identity
        if now.role != "master":
            raise ReadOnlyTargetError(f"a replica answers at the target now ({now.name})", where=self._target.where)
        if before.replid in (now.replid, now.replid2):
            return
        async with self._target.link() as link:
            spaces = await probe.keyspace(link)
        held = sum(spaces.get(db, (0, 0))[0] for db in set(self._engine.mapping.dbs.values()))
        recent = self._engine.recent()
        if held and recent and not await self._any_there(recent):
            raise ReplacedError(
                f"another server answers at the target: it holds {held:,} keys, and none of the last {len(recent)} "
                "that were acknowledged",
                where=self._target.where,
            )

    async def _any_there(self, recent: list[tuple[int, bytes]]) -> bool:
        for db in {db for db, _ in recent}:
            names = [name for at, name in recent if at == db]
            async with self._target.link(db) as link:
                if any(answer == 1 for answer in await link.ask(resp.each(b"EXISTS", names), len(names))):
                    return True
        return False


def _sentence(side: str, before: Identity, server: Server) -> str:
    now = server.identity
    follow = "the same data's history" if before.replid in (now.replid, now.replid2) else "a new history"
    return (
        f"the {side} was replaced by another process ({now.name}, run id {now.run_id[:12]}, was {before.run_id[:12]}, "
        f"{follow}): everything is read again, keys that are equal are skipped"
    )

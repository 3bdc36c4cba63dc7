"""A large value that is whole under a temporary name, on its way to its own: what that holds is captured before.

read in pieces -> what is to be there -> WATCH name, capture -> MULTI [PEXPIREAT tmp] UNLINK name, RENAME tmp EXEC
"""

from __future__ import annotations

from transfer.codec import resp
from transfer.codec.fingerprint import Intended, of_pieces
from transfer.endpoint.redis.captured import CapturedWriter
from transfer.endpoint.redis.landing import Landing
from transfer.endpoint.redis.large import read_large
from transfer.endpoint.redis.looking import Change
from transfer.model.endpoint import Features
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import ErrorReply, Link, Reply


async def put_in_place(
    captured: CapturedWriter, link: Link, db: int, aside: bytes, landing: Landing, features: Features, *, deadline: bool
) -> Reply:
    """Give the value at *aside* its name, its deadline too if that is not there yet (*deadline*).

    Returns the answer to the rename, MOVED where somebody wrote to the name between, or an error.
    """
    value = await read_large(link, aside, features)
    if value.problem:
        return ErrorReply(value.problem)
    commands = [resp.command("UNLINK", landing.name), resp.command("RENAME", aside, landing.name)]
    if deadline and landing.expire_at_ms != NO_DEADLINE:
        commands.insert(0, resp.command("PEXPIREAT", aside, landing.expire_at_ms))

    async def act() -> Reply:
        answers = await link.ask(resp.transaction(b"".join(commands)), len(commands) + 2)
        done = answers[-1]
        if isinstance(done, list):
            return done[-1]
        return next((answer for answer in answers if isinstance(answer, ErrorReply)), None)

    change = Change(landing.name, (), Intended(of_pieces(value.digest), landing.expire_at_ms))
    return await captured.over(link, db, change, act)

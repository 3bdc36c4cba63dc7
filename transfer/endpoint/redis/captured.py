"""Changes to keys of a target, none of which is made before its pre-image is on the disk.

    changes -> groups -> WATCH names, deadlines, DUMPs -> Captures: taken | open: did it take? | new
                            -> archive: pre-images and what is intended, fsync
                            -> MULTI ... EXEC -> nil: somebody wrote between: captured again, newer
                                              -> done: `took` is noted

Rule 1: what is read is watched before: EXEC carries out nothing where a name was written since, or expired.
Rule 2: a group is at most 8 MiB of values: a pre-image that cannot be held is named, and its key stays as it is.
Rule 3: without an answer nothing is known; what stands there tells when the same is asked for again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from transfer.codec import fingerprint as prints
from transfer.codec import resp
from transfer.codec.archive.items import Columns
from transfer.codec.archive.undo import IntendedColumns
from transfer.codec.dump import FOOTER_BYTES
from transfer.codec.fingerprint import NOTHING, Intended, alike, same_value
from transfer.endpoint.archive.undo import Held
from transfer.endpoint.redis.captures import Captures
from transfer.endpoint.redis.looking import ALREADY, GROUP_KEYS, MOVED, OTHERS, Change, Found, Looker
from transfer.endpoint.redis.server import Server
from transfer.model.crash import crash, point
from transfer.wire.link import ErrorReply, Link, Reply

CHANGED = point("undo.changed", "the target has changed captured keys, which is not noted")
_SEND_BYTES = 1 << 20
TOO_LARGE = "what it holds is too large to be captured for undo: --allow no-undo writes over it without"

Act = Callable[[list[int]], Awaitable[list[Reply] | None]]
"""Changes those places of a group; their answers, None if nothing was changed since somebody wrote."""


class CapturedWriter(Looker):
    """Changes keys of one server for one job. Several tasks may call it at once, each with a link of its own.

    *captures*: None keeps nothing. *limit_bytes*: larger values are not captured. *exact*: the server packs values as
    who made the payloads does.
    """

    def __init__(
        self, target: Server, captures: Captures | None, *, limit_bytes: int, exact: bool, group_keys: int = GROUP_KEYS
    ) -> None:
        super().__init__(target, limit_bytes=limit_bytes, group_keys=group_keys)
        self._exact = exact
        self._captures = captures

    def intended(self, dump: bytes, expire_at_ms: int) -> Intended:
        """What stands there once *dump* is restored."""
        return Intended(prints.fingerprint(dump, exact=self._exact), expire_at_ms)

    async def _write(self, link: Link, db: int, changes: list[Change]) -> list[Reply]:
        async def act(places: list[int]) -> list[Reply] | None:
            parts = [piece for place in places for piece in changes[place].command]
            request = resp.joined([resp.MULTI, *parts, resp.EXEC], _SEND_BYTES)
            replies = await link.ask_parts(request, len(places) + 2)
            done = replies[-1]
            if isinstance(done, list):
                return done
            if done is None:
                return None
            return _discarded(replies[1:-1], done)

        return await self.around(link, db, changes, act)

    async def over(self, link: Link, db: int, change: Change, act: Callable[[], Awaitable[Reply]]) -> Reply:
        """Capture what *change* is about, then have *act* make it: its answer, None if nothing was changed."""
        await self._portions(link, db, [change])

        async def one(places: list[int]) -> list[Reply] | None:
            answer = await act()
            return None if answer is None else [answer]

        return (await self.around(link, db, [change], one))[0]

    async def around(self, link: Link, db: int, changes: list[Change], act: Act) -> list[Reply]:
        """Capture what *changes* are about, then have *act* make those that may be made, in one transaction."""
        found = await self._look(link, db, changes)
        answers: list[Reply] = [None] * len(changes)
        for place, (change, now) in enumerate(zip(changes, found, strict=True)):
            if type(now) is not Found or now.dump == b"" or change.expected is not None or change.intended is NOTHING:
                answers[place] = self._verdict(db, change, now)
            elif change.spares_equal and self._stands(db, change, now):
                answers[place] = ALREADY
        going = [place for place, answer in enumerate(answers) if answer is None]
        if not going:
            await link.command("UNWATCH")
            return answers
        kept = await self._capture(db, changes, found, going) if self._captures is not None else []
        try:
            done = await act(going)
        except BaseException:
            self._doubt(db, changes, kept)
            raise
        crash(CHANGED)
        self._settle(db, changes, kept, dict(zip(going, done or [], strict=False)))
        for place, answer in zip(going, done if done is not None else [MOVED] * len(going), strict=True):
            answers[place] = answer
        return answers

    def _verdict(self, db: int, change: Change, found: Found | ErrorReply) -> Reply:
        """An answer where nothing is to be done, else None."""
        if isinstance(found, ErrorReply):
            return found
        known = change.expected is not None or change.intended == NOTHING
        if known and self._holds(found, change.intended):
            return ALREADY
        if change.expected is not None and not any(self._holds(found, one) for one in change.expected):
            return OTHERS
        known = self._captures is None or self._captures.taken(db, change.name)
        return ErrorReply(TOO_LARGE) if found.dump == b"" and not known and not self._took(db, change, found) else None

    def _stands(self, db: int, change: Change, now: Found) -> bool:
        """Whether others put there what *change* would; packed otherwise it counts where servers pack otherwise."""
        if not now.dump or change.dump is None or (self._exact and len(now.dump) != len(change.dump)):
            return False
        same = alike(now.dump, now.expire_at_ms, change.dump, change.intended.expire_at_ms, self._tolerance_ms)
        if not same and (self._exact or not self._holds(now, change.intended)):
            return False
        captures = self._captures
        return captures is None or ((db, change.name) not in captures.open and not captures.taken(db, change.name))

    @property
    def _kept(self) -> Captures:
        assert self._captures is not None
        return self._captures

    async def _capture(
        self, db: int, changes: list[Change], found: list[Found | ErrorReply], going: list[int]
    ) -> list[tuple[int, list[int]]]:
        """Keep what is to be kept before the change: number and places of what was new, and of what was known."""
        captures, new, known = self._kept, list[int](), list[int]()
        taken = captures.which_taken(db, [changes[place].name for place in going])
        if taken or captures.open:
            for place in going:
                took = changes[place].name in taken or self._took(db, changes[place], found[place])
                (known if took else new).append(place)
        else:
            new = going
        order = sorted(new, key=lambda place: found[place].dump is None)  # type: ignore[union-attr]
        number = again = 0
        if order:
            number = await self._append(db, changes, found, order)
        if known:
            names = [changes[place].name for place in known]
            intended = [changes[place].intended for place in known]
            again = await captures.archive.again(db, names, intended)
        return [(number, order), (again, known)]

    async def _append(self, db: int, changes: list[Change], found: list[Found | ErrorReply], order: list[int]) -> int:
        columns = Columns(db, self._target.features.dump_version, [], [], [])
        absent: list[bytes] = []
        for place in order:
            name, now = changes[place].name, found[place]
            assert isinstance(now, Found)
            if now.dump is None:
                absent.append(name)
            else:
                columns.keys.append(name)
                columns.bodies.append(now.dump[:-FOOTER_BYTES])
                columns.deadlines.append(now.expire_at_ms)
        intended = IntendedColumns.of([changes[place].intended for place in order])
        return await self._kept.archive.capture(db, Held(columns, absent), intended)

    def _doubt(self, db: int, changes: list[Change], kept: list[tuple[int, list[int]]]) -> None:
        """No answer came: what stands there will tell."""
        for number, order in kept:
            names, intended = [changes[place].name for place in order], [changes[place].intended for place in order]
            self._kept.doubt(db, number, names, intended)

    def _took(self, db: int, change: Change, found: Found | ErrorReply) -> bool:
        """Whether an earlier attempt, of which no answer came, was carried out; then it is noted."""
        assert isinstance(found, Found)
        for number, place, intended in self._kept.open.get((db, change.name), ()):
            timely = found.dump is not None and change.dump is not None and found.expire_at_ms == intended.expire_at_ms
            if self._holds(found, intended) or (
                timely and intended == change.intended and same_value(found.dump or b"", change.dump or b"")
            ):
                self._kept.archive.took(number, [place])
                self._kept.take(db, [change.name])
                return True
        return False

    def _settle(
        self,
        db: int,
        changes: list[Change],
        kept: list[tuple[int, list[int]]],
        done: dict[int, Reply],
    ) -> None:
        """Note what was changed."""
        for number, order in kept:
            if not order:
                continue
            took = [at for at, place in enumerate(order) if _made(done.get(place))]
            names = [changes[place].name for place in order]
            if took:
                self._kept.archive.took(number, None if len(took) == len(order) else took)
                self._kept.take(db, [names[at] for at in took])


def _made(answer: Reply) -> bool:
    """Whether a change was made, by the answer to it, None for none."""
    return answer is not None and answer is not MOVED and not isinstance(answer, ErrorReply)


def _discarded(queued: list[Reply], done: Reply) -> list[Reply]:
    """The answers to changes of a transaction that was refused: the rest of them was not tried."""
    if not any(isinstance(reply, ErrorReply) for reply in queued):
        return [done] * len(queued)
    return [reply if isinstance(reply, ErrorReply) else MOVED for reply in queued]

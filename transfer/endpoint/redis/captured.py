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

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import msgspec

from transfer.codec import fingerprint as prints
from transfer.codec import resp
from transfer.codec.archive.items import Columns
from transfer.codec.dump import FOOTER_BYTES
from transfer.codec.fingerprint import NOTHING, Intended, alike, by_pieces, matches, same_value
from transfer.endpoint.archive.undo import Held
from transfer.endpoint.redis.big.through import body_hash
from transfer.endpoint.redis.captures import Captures
from transfer.endpoint.redis.large import read_large
from transfer.endpoint.redis.passing import refuse_passing
from transfer.endpoint.redis.reading import MomentReader
from transfer.endpoint.redis.server import Server
from transfer.endpoint.redis.sizes import PayloadSizes
from transfer.model.crash import crash, point
from transfer.model.errors import OversizedReplyError
from transfer.model.ports import UNTHROTTLED
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.understood import understood

_CHANGED = point("undo.changed", "the target has changed captured keys, which is not noted")
GROUP_KEYS = 192
"""To watch n names costs a server n * n / 2 comparisons: 3 us a key at 256 (measured)."""
_SEND_BYTES = 1 << 20
_LARGE_CAP_BYTES = 32 << 20
"""A payload as large as this is held, of one key at a time, to be captured or compared."""
_TOLERANCE_MS = 50
"""How far off a deadline may be that was read without PEXPIRETIME (before 7.0)."""
MOVED, ALREADY, OTHERS = (b"(moved)", b"(already)", b"(others)")
"""Instead of an answer: somebody wrote between; it holds what it is to hold; it holds what nobody expected."""
TOO_LARGE = "what it holds is too large to be captured for undo: --allow no-undo writes over it without"


class Change(msgspec.Struct, gc=False):
    """One key to change by *command*, in pieces, so that it holds *intended*.

    *dump*: the payload it is to hold, where there is one. *expected*: it is changed only where it holds one of these
    (None: whatever it holds). *spares_equal*: it is not changed where it holds that payload until then already.
    """

    name: bytes
    command: Sequence[bytes]
    intended: Intended = NOTHING
    dump: bytes | None = None
    expected: list[Intended] | None = None
    spares_equal: bool = False


class Found(msgspec.Struct, gc=False):
    """What stands under a name: its payload, None for nothing, empty for a large one; until when.

    `large` is the digest of what was read piece by piece.
    """

    dump: bytes | None
    expire_at_ms: int
    large: bytes = b""


Act = Callable[[list[int]], Awaitable[list[Reply] | None]]
"""Changes those places of a group; their answers, None if nothing was changed since somebody wrote."""


class Looker:
    """Tells of keys of one server whether they hold what they are to hold. Several tasks may call it at once.

    *limit_bytes*: larger values are not read.
    """

    def __init__(self, target: Server, *, limit_bytes: int, group_keys: int = GROUP_KEYS) -> None:
        self._target = target
        self._limit_bytes = limit_bytes
        self._group_keys = 1 if target.features.transaction_keys == 1 else group_keys
        self._sizes: defaultdict[int, PayloadSizes] = defaultdict(PayloadSizes)
        self._large_turn = anyio.Lock()

    async def write(self, link: Link, db: int, changes: list[Change]) -> list[Reply]:
        """Make *changes* (here: none); the answer to each, or MOVED, ALREADY, OTHERS.

        Raises:
            LinkError: the link broke; the same may be asked for again.
            StateFullError: a pre-image could not be kept; its group was not changed.
        """
        answers: list[Reply] = []
        for at in range(0, len(changes), self._group_keys):
            some = changes[at : at + self._group_keys]
            for portion in await self._portions(link, db, some):
                too_large = self._sizes[db].too_large
                large = bool(too_large) and any(change.name in too_large for change in portion)
                async with self._large_turn if large else UNTHROTTLED:
                    answers += await self._write(link, db, portion)
        return answers

    async def _write(self, link: Link, db: int, changes: list[Change]) -> list[Reply]:
        found = await self._look(link, db, changes)
        await link.command("UNWATCH")
        return [
            now if isinstance(now, ErrorReply) else ALREADY if self._holds(now, change.intended) else OTHERS
            for change, now in zip(changes, found, strict=True)
        ]

    def _holds(self, found: Found, wanted: Intended) -> bool:
        tolerance_ms = 0 if self._target.features.pexpiretime else _TOLERANCE_MS
        return matches(found.dump, found.expire_at_ms, wanted, self._target.now_ms(), tolerance_ms, found.large)

    async def _portions(self, link: Link, db: int, changes: list[Change]) -> list[list[Change]]:
        """*changes* cut so that what they are about can be held."""
        reader = MomentReader(link, self._target.features, self._sizes[db], limit_bytes=self._limit_bytes)
        with understood(link.where, "a question about sizes"):
            portions = await reader.portions([change.name for change in changes])
        cut, at = [], 0
        for names in portions:
            cut.append(changes[at : at + len(names)])
            at += len(names)
        return cut

    def _pieces(self, change: Change) -> bool:
        """Whether what is under the name of *change* is to be read piece by piece, to be compared."""
        return by_pieces(change.intended) or (change.expected is not None and any(map(by_pieces, change.expected)))

    async def _look(self, link: Link, db: int, changes: list[Change]) -> list[Found | ErrorReply]:
        """What stands under the names of *changes*, all of which are watched from now on."""
        names, too_large = [change.name for change in changes], self._sizes[db].too_large
        held = [name for name in names if name not in too_large] if too_large else names
        watched, found = await self._read(link, db, names, held)
        if isinstance(watched, ErrorReply):
            return [watched] * len(names)
        known = dict(zip(held, found, strict=True))
        for change in changes:
            if change.name in too_large or self._pieces(change):
                known[change.name] = await self._read_large(db, change, known.get(change.name))
        return [known[name] for name in names]

    async def _read(
        self, link: Link, db: int, watched: list[bytes], names: list[bytes]
    ) -> tuple[Reply, list[Found | ErrorReply]]:
        """The answer to WATCH of *watched*, and what stands under *names*, in one request; if refused, nothing."""
        exact, count, before = self._target.features.pexpiretime, len(names), link.received_bytes
        watch = resp.command(b"WATCH", *watched)
        if not names:
            (answer,) = await link.ask(watch, 1)
            await refuse_passing(link, [str(answer)] if isinstance(answer, ErrorReply) else [])
            return answer, []
        lives = resp.each(b"PEXPIRETIME" if exact else b"PTTL", names)
        lives = lives if exact else resp.TIME + lives + resp.TIME
        try:
            asked = watch + lives + resp.each(b"DUMP", names)
            answer, *replies = await link.ask(asked, 1 + 2 * count + (0 if exact else 2))
        except OversizedReplyError:
            self._sizes[db].distrust(names, link.cap_bytes)
            raise
        refused = ErrorReply in set(map(type, (answer, *replies)))
        errors = [str(reply) for reply in (answer, *replies) if isinstance(reply, ErrorReply)] if refused else []
        await refuse_passing(link, errors)
        if isinstance(answer, ErrorReply):
            return answer, []
        with understood(link.where, "a read of what is to be changed"):
            found = _found(replies, count, exact=exact, refused=refused)
        sizes = [len(dump) for dump in replies[-count:] if type(dump) is bytes]
        self._sizes[db].learn(sizes, link.received_bytes - before)
        return answer, found

    async def _read_large(self, db: int, change: Change, now: Found | ErrorReply | None) -> Found | ErrorReply:
        """What the watched name of *change* holds; *now* if that is known, but for what it is in pieces.

        Over links of their own: these reads are transactions, which would end the watch.
        """
        if now is None:
            now = await self._read_alone(db, change.name)
        if isinstance(now, ErrorReply) or now.dump is None or not self._pieces(change):
            return now
        async with self._link_for(db) as link:
            value = await read_large(link, change.name, self._target.features)
        if value.problem:
            return ErrorReply(value.problem)
        return Found(now.dump, now.expire_at_ms, prints.of_pieces(value.digest))

    async def _read_alone(self, db: int, name: bytes) -> Found | ErrorReply:
        """What a large key holds, if its payload is not larger than can be held for one key at a time."""
        try:
            async with self._link_for(db) as link:
                moment = await MomentReader(link, self._target.features).read([name])
        except OversizedReplyError:
            async with self._link_for(db) as link:
                digest, _, deadline = await body_hash(link, name, self._target.features, FOOTER_BYTES)
            return Found(b"", deadline, prints.of_body(digest))
        if name in moment.refused:
            return ErrorReply(moment.refused[name])
        dump = moment.payloads[0]
        return Found(dump, moment.deadlines[0] if dump is not None else NO_DEADLINE)

    @asynccontextmanager
    async def _link_for(self, db: int) -> AsyncIterator[Link]:
        link = await self._target.redial(db, cap_bytes=_LARGE_CAP_BYTES)
        try:
            yield link
        finally:
            await link.close()


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
        crash(_CHANGED)
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
        tolerance_ms = 0 if self._target.features.pexpiretime else _TOLERANCE_MS
        if not now.dump or change.dump is None:
            return False
        same = alike(now.dump, now.expire_at_ms, change.dump, change.intended.expire_at_ms, tolerance_ms)
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
        intended = [changes[place].intended for place in order]
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


def _found(replies: list[Reply], count: int, *, exact: bool, refused: bool) -> list[Found | ErrorReply]:
    """Deadlines and payloads, in order; an error where there is one (only if some are *refused*)."""
    deadlines, dumps = replies[:-count], replies[-count:]
    if not exact:
        before, *lives, after = deadlines
        clock_ms = (_clock_ms(before) + _clock_ms(after)) // 2
        deadlines = [clock_ms + life if type(life) is int and life >= 0 else life for life in lives]
    pairs = zip(dumps, deadlines, strict=True)
    if not refused:
        if any(dump is not None and len(dump) <= FOOTER_BYTES for dump in dumps):
            raise ValueError("a payload that is none")
        return [Found(dump, until if until >= 0 and dump is not None else NO_DEADLINE) for dump, until in pairs]
    return [
        next((one for one in pair if isinstance(one, ErrorReply)), None) or Found(pair[0], max(NO_DEADLINE, pair[1]))
        for pair in pairs
    ]


def _made(answer: Reply) -> bool:
    """Whether a change was made, by the answer to it, None for none."""
    return answer is not None and answer is not MOVED and not isinstance(answer, ErrorReply)


def _discarded(queued: list[Reply], done: Reply) -> list[Reply]:
    """The answers to changes of a transaction that was refused: the rest of them was not tried."""
    if not any(isinstance(reply, ErrorReply) for reply in queued):
        return [done] * len(queued)
    return [reply if isinstance(reply, ErrorReply) else MOVED for reply in queued]


def _clock_ms(answer: list[bytes]) -> int:
    return int(answer[0]) * 1000 + int(answer[1]) // 1000

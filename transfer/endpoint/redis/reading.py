"""Reading many keys, each with its deadline in one moment, without filling the server's memory.

    keys -> portions (8 MiB each) -> groups (64 keys) -> MULTI { deadlines, payloads } EXEC -> Moment
                ^ MEMORY USAGE, only where values are large

Rule 1: payload and deadline of a key come out of one transaction.
Rule 2: what was asked for and not yet read stays below 8 MiB; one larger key is asked for alone.
Rule 3: one key that is refused or too large is named; it never costs the others.
"""

from __future__ import annotations

from itertools import accumulate

import msgspec

from transfer.codec import resp
from transfer.codec.dump import FOOTER_BYTES
from transfer.endpoint.redis.passing import refuse_passing
from transfer.endpoint.redis.sizes import Care, PayloadSizes
from transfer.model.endpoint import Features
from transfer.model.errors import OversizedReplyError, PermissionDeniedError, ServerRefusedError
from transfer.model.record import NO_DEADLINE
from transfer.wire.link import ErrorReply, Link, Reply
from transfer.wire.understood import foreign, understood

UNREAD_BYTES = 8 << 20
_EXACT_SAMPLES = 1000
"""Elements that MEMORY USAGE looks at where 5 told too little: about a millisecond; all of millions take seconds."""
_CLOCK_LOOKS = 3
"""Before 7.0 a group is read again, this many times in all, while its two TIMEs differ."""


class Moment(msgspec.Struct):
    """What keys held when they were read, in the order they were asked for.

    A payload is None where the key was gone, refused or too large; `refused` says why, `too_large` how
    many bytes. The deadline of such a key means nothing. `sizes` of the payloads in bytes, 0 where there is none.
    `uses`: OBJECT IDLETIME or FREQ of each, where the reader asks for it, else empty.
    """

    payloads: list[bytes | None]
    deadlines: list[int]
    sizes: list[int]
    refused: dict[bytes, str] = msgspec.field(default_factory=dict)
    too_large: dict[bytes, int] = msgspec.field(default_factory=dict)
    uses: list[int] = msgspec.field(default_factory=list)

    def __iadd__(self, other: Moment) -> Moment:
        self.payloads += other.payloads
        self.deadlines += other.deadlines
        self.sizes += other.sizes
        self.refused |= other.refused
        self.too_large |= other.too_large
        self.uses += other.uses
        return self


async def prepare(link: Link, features: Features) -> None:
    """Keep this link's reads from counting as use of the keys (LRU, LFU), where the server can."""
    if features.no_touch:
        await link.command("CLIENT", "NO-TOUCH", "ON")


def read_request(keys: list[bytes], pexpiretime: bool, *, strings: bool = False, use: str = "") -> tuple[bytes, int]:
    """One group's request and how many replies it gets, the last of EXEC. *use* (idletime | freq) comes before DUMP."""
    words = [b"$%d\r\n%b\r\n" % (len(key), key) for key in keys]
    many = b"*%d\r\n$4\r\nMGET\r\n%b" % (1 + len(words), b"".join(words)) if strings else b""
    values, count = (many, 1) if strings else (_DUMP + _DUMP.join(words), len(keys))
    if use:
        values, count = _USES[use] + _USES[use].join(words) + values, count + len(keys)
    if pexpiretime:
        return resp.transaction(_PEXPIRETIME + _PEXPIRETIME.join(words) + values), len(keys) + count + 2
    return resp.transaction(resp.TIME + _PTTL + _PTTL.join(words) + resp.TIME + values), len(keys) + count + 4


def parse_reply(reply: list[Reply], count: int, pexpiretime: bool) -> tuple[list[Reply], list[Reply], bool]:
    """EXEC's array for *count* keys -> payloads or MGET's answer, absolute deadlines, whether these are exact."""
    if pexpiretime:
        return reply[count:], reply[:count], True
    first, last = (int(s) * 1000 + int(us) // 1000 for s, us in (reply[0], reply[count + 1]))
    ttls = reply[1 : count + 1]
    deadlines = [first + ttl if ttl >= 0 else NO_DEADLINE for ttl in ttls]
    return reply[count + 2 :], deadlines, first == last or max(ttls) < 0


class MomentReader:
    """Reads payloads and deadlines over one link.

    *sizes* holds what was learnt of the server's values and outlives the link: after an
    OversizedReplyError, reading the same keys again over a new link with the same *sizes* asks more
    carefully each time and ends with the culprit in `Moment.too_large`.

    Args:
        limit_bytes: keys estimated larger than this are never asked for (0: no limit). Sizes are
            estimated only where values have shown to be large.
        use: idletime | freq: how the server counts use of a key, told along with it.
    """

    def __init__(
        self,
        link: Link,
        features: Features,
        sizes: PayloadSizes | None = None,
        *,
        limit_bytes: int = 0,
        use: str = "",
    ) -> None:
        self.link = link
        self.features = features
        self.sizes = sizes if sizes is not None else PayloadSizes()
        self.limit_bytes = limit_bytes
        self.use = use

    async def read(self, keys: list[bytes]) -> Moment:
        """Read all of *keys*; the whole answer is held in memory.

        Raises:
            LinkError: the link broke or the server is busy for now; the keys may be read again.
            OversizedReplyError: a reply passed the link's cap; read again over a new link.
            PermissionDeniedError, ServerRefusedError: no key can be read.
        """
        moment = Moment([], [], [])
        for portion in await self.portions(keys):
            moment += await self.read_portion(portion)
        return moment

    async def portions(self, keys: list[bytes], most_bytes: int = UNREAD_BYTES) -> list[list[bytes]]:
        """*keys* cut, in order, into lists whose payloads are expected to stay below *most_bytes* (8 MiB) each."""
        sizes, most_bytes = self.sizes, min(most_bytes, UNREAD_BYTES)
        if not keys:
            return []
        if sizes.care is Care.NONE or not self.features.memory_usage:
            step = sizes.keys_within(most_bytes) if sizes.care < Care.ALONE else 1
            return [keys] if len(keys) <= step else [keys[at : at + step] for at in range(0, len(keys), step)]
        estimates = await self._estimate(keys)
        if self.limit_bytes:
            sizes.mark_too_large(keys, estimates, self.limit_bytes)
        return _packed(keys, estimates, 1 if sizes.care is Care.ALONE else len(keys), most_bytes)

    async def read_portion(self, keys: list[bytes], *, strings: bool = False) -> Moment:
        """Read *keys*, one of the lists `portions` gave, with one request.

        Where they are taken for *strings* a payload is the string itself, and None if the key holds another type,
        is gone or cannot be read so: that one is to be read again as what it is.
        """
        known = self.sizes.too_large
        too_large = {key: known[key] for key in keys if key in known} if known else {}
        if too_large:
            return await self._read_without(keys, Moment([], [], [], {}, too_large), strings)
        before = self.link.received_bytes
        try:
            with understood(self.link.where, "a read of keys"):
                moment = await self._ask(keys, strings)
        except OversizedReplyError:
            self.sizes.distrust(keys, self.link.cap_bytes)
            raise
        self.sizes.learn(moment.sizes, self.link.received_bytes - before)
        return moment

    async def _estimate(self, keys: list[bytes]) -> list[int]:
        if self.sizes.care >= Care.EXACT:
            request = b"".join([resp.command(b"MEMORY", b"USAGE", key, b"SAMPLES", _EXACT_SAMPLES) for key in keys])
        else:
            request = b"".join([_MEMORY_USAGE % (len(key), key) for key in keys])
        replies = await self.link.ask(request, len(keys))
        return [size if type(size) is int else 0 for size in replies]

    async def _ask(self, keys: list[bytes], strings: bool) -> Moment:
        exact, step = self.features.pexpiretime, min(self.features.transaction_keys, self.sizes.keys_together)
        groups = [keys[at : at + step] for at in range(0, len(keys), step)]
        requests = [read_request(group, exact, strings=strings, use=self.use) for group in groups]
        replies = await self.link.ask(b"".join([request for request, _ in requests]), sum(n for _, n in requests))
        moment, read = Moment([], [], []), self._strings if strings else self._group
        ends = accumulate(count for _, count in requests)
        for group, (_, count), end in zip(groups, requests, ends, strict=True):
            moment += await read(group, replies[end - count : end])
        return moment

    async def _group(self, keys: list[bytes], replies: list[Reply]) -> Moment:
        uses: list[int] = []
        for look in range(_CLOCK_LOOKS):
            if look:
                request, count = read_request(keys, self.features.pexpiretime, use=self.use)
                replies = await self.link.ask(request, count)
            if not isinstance(replies[-1], list):
                return await self._aborted(keys, replies)
            seen = self._take_uses(replies[-1], len(keys)) if self.use else []
            uses = uses or seen  # the first look itself counts as use where there is no NO-TOUCH
            payloads, deadlines, exact = parse_reply(replies[-1], len(keys), self.features.pexpiretime)
            if exact:
                break
        if _ONLY_VALUES.issuperset(map(type, payloads)):
            moment = Moment(payloads, deadlines, _sizes(payloads), uses=uses)
        else:
            moment = _with_refusals(keys, payloads, deadlines, uses)
        return self._checked(moment, len(keys), FOOTER_BYTES + 1)

    def _checked(self, moment: Moment, count: int, least_bytes: int) -> Moment:
        """*moment*, if it holds *count* keys and no payload that is shorter than any can be."""
        short = min(moment.sizes, default=least_bytes) < least_bytes and any(
            payload is not None and len(payload) < least_bytes for payload in moment.payloads
        )
        whole = len(moment.payloads) == len(moment.deadlines) == count
        if short or not whole or not _DEADLINES.issuperset(map(type, moment.deadlines)):
            raise foreign(self.link.where, "a read of keys", "not what DUMP and PEXPIRETIME say")
        return moment

    def _take_uses(self, reply: list[Reply], count: int) -> list[int]:
        """What OBJECT said, taken out of *reply*, where it stands before the payloads; 0 for a key that is gone."""
        at = count if self.features.pexpiretime else count + 2
        uses = reply[at : at + count]
        del reply[at : at + count]
        return [use if type(use) is int else 0 for use in uses]

    async def _strings(self, keys: list[bytes], replies: list[Reply]) -> Moment:
        """A group that MGET was to read; where it could not, every key is left to be read as what it is."""
        if isinstance(replies[-1], list):
            (values,), deadlines, exact = parse_reply(replies[-1], len(keys), self.features.pexpiretime)
            if exact and isinstance(values, list):
                return self._checked(Moment(values, deadlines, _sizes(values)), len(keys), 0)
        else:
            await refuse_passing(self.link, {str(answer) for answer in replies if _is_error(answer)})
        return Moment([None] * len(keys), [NO_DEADLINE] * len(keys), [0] * len(keys))

    async def _aborted(self, keys: list[bytes], replies: list[Reply]) -> Moment:
        """EXEC was refused: name the keys whose commands were refused when queued, read the others."""
        refused: dict[bytes, str] = {}
        clocks = 0 if self.features.pexpiretime else 1
        queued = replies[1 + clocks : 1 + clocks + len(keys)], replies[-1 - len(keys) : -1]
        for column in queued:
            refused |= {key: str(answer) for key, answer in zip(keys, column, strict=True) if _is_error(answer)}
        causes = set(refused.values()) or {str(replies[-1])}
        await refuse_passing(self.link, causes)
        if not refused or len(refused) == len(keys) > 1:
            kind = PermissionDeniedError if "NOPERM" in str(causes) else ServerRefusedError
            raise kind(f"the server refused to read keys: {min(causes)}", where=self.link.where)
        return await self._read_without(keys, Moment([], [], [], refused, {}))

    async def _read_without(self, keys: list[bytes], left_out: Moment, strings: bool = False) -> Moment:
        """Read *keys* but for those *left_out* names, which get empty places."""
        others = [key for key in keys if key not in left_out.refused and key not in left_out.too_large]
        found = await self.read_portion(others, strings=strings) if others else Moment([], [], [])
        held = dict(zip(others, zip(found.payloads, found.deadlines, strict=True), strict=True))
        both = [held.get(key, (None, NO_DEADLINE)) for key in keys]
        payloads = [payload for payload, _ in both]
        uses = dict(zip(others, found.uses, strict=True)) if found.uses else {}
        return Moment(
            payloads,
            [deadline for _, deadline in both],
            _sizes(payloads),
            left_out.refused | found.refused,
            left_out.too_large | found.too_large,
            [uses.get(key, 0) for key in keys] if self.use else [],
        )


_PEXPIRETIME, _PTTL, _DUMP = (b"*2\r\n$%d\r\n%b\r\n" % (len(name), name) for name in (b"PEXPIRETIME", b"PTTL", b"DUMP"))
"""Heads of commands; joining the keys by them is twice as fast as building each command."""
_USES = {use: b"*3\r\n$6\r\nOBJECT\r\n$%d\r\n%b\r\n" % (len(use), use.encode()) for use in ("idletime", "freq")}
_MEMORY_USAGE = b"*3\r\n$6\r\nMEMORY\r\n$5\r\nUSAGE\r\n$%d\r\n%b\r\n"
_ONLY_VALUES = frozenset({bytes, type(None)})
_DEADLINES = frozenset({int, ErrorReply})
"""An error stands there where the user may not ask for the deadline; the payload's error is told then."""


def _is_error(reply: Reply) -> bool:
    return isinstance(reply, ErrorReply)


def _sizes(payloads: list[bytes | None]) -> list[int]:
    """Bytes of each, 0 for None."""
    try:
        return list(map(len, payloads))  # type: ignore[arg-type]  # None is rare
    except TypeError:
        return [0 if payload is None else len(payload) for payload in payloads]


def _with_refusals(keys: list[bytes], replies: list[Reply], deadlines: list[int], uses: list[int]) -> Moment:
    """Error replies among the payloads become refusals by name."""
    refused = {key: str(reply) for key, reply in zip(keys, replies, strict=True) if _is_error(reply)}
    payloads = [None if _is_error(reply) else reply for reply in replies]
    return Moment(payloads, deadlines, _sizes(payloads), refused, uses=uses)


def _packed(keys: list[bytes], estimates: list[int], most_keys: int, most_bytes: int) -> list[list[bytes]]:
    """Consecutive keys, together below *most_bytes* by their estimates; a larger key stands alone."""
    portions: list[list[bytes]] = []
    held = most_bytes + 1
    for key, size in zip(keys, estimates, strict=True):
        held += size
        if held > most_bytes or len(portions[-1]) >= most_keys:
            portions.append([])
            held = size
        portions[-1].append(key)
    return portions

"""What a server really holds, told by a small client of its own: shares no code with the engine.

    server -> Client (blocking socket, RESP2) -> snapshot: (db, key) -> Held -> compare -> lost altered extra deadline

Rule 1: nothing of `transfer`, hiredis or redis-py stands between a server and a verdict.
Rule 2: values are compared as what they are: lists in order, sets and hashes without one, scores as doubles (-0 is 0).
Rule 3: a deadline is an absolute time; a key whose time has come by the end of the second look is lost to nobody.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import redis

    from transfer.model.endpoint import Address

Content = dict[bytes, tuple[Any, int]]
"""key -> (value as a Python object, absolute deadline in ms or -1)"""
Name = tuple[int, bytes]
Words = Sequence[bytes | str | int]

NO_DEADLINE = -1
_PAGE = 1000


class Secret(Protocol):
    """A password that has to be asked for."""

    def reveal(self) -> str:
        """The password."""


class Place(Protocol):
    """Where a server listens."""

    path: str
    host: str
    port: int
    password: Any


class ReplyError(Exception):
    """An error reply."""


class Client:
    """One connection that speaks RESP2 and waits for each answer."""

    def __init__(self, place: Place, db: int = 0, timeout_s: float = 60.0) -> None:
        if place.path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(timeout_s)
            self._socket.connect(place.path)
        else:
            self._socket = socket.create_connection((place.host, place.port), timeout_s)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb", 1 << 20)
        if place.password:
            self.ask("AUTH", place.password.reveal())
        if db:
            self.ask("SELECT", db)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        self._replies.close()
        self._socket.close()

    def ask(self, *words: bytes | str | int) -> Any:
        """One command. Raises ReplyError."""
        (reply,) = self.pipe([words])
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def pipe(self, commands: Iterable[Words]) -> list[Any]:
        """Many commands at once; error replies stand among the answers."""
        packed = [_packed(words) for words in commands]
        self._socket.sendall(b"".join(packed))
        return [self._reply() for _ in packed]

    def must(self, commands: Iterable[Words]) -> list[Any]:
        """As `pipe`, and no answer may be an error."""
        replies = self.pipe(commands)
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise reply
        return replies

    def _reply(self) -> Any:
        line = self._replies.readline()
        if line[-2:] != b"\r\n":
            raise ConnectionError("the server hung up")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._replies.read(size + 2)[:-2]
        if kind == b"*":
            count = int(rest)
            return None if count < 0 else [self._reply() for _ in range(count)]
        if kind == b":":
            return int(rest)
        return ReplyError(rest.decode(errors="replace")) if kind == b"-" else rest


def _packed(words: Words) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Held(NamedTuple):
    """One key: what it is, what it holds, until when."""

    kind: bytes
    value: Any
    deadline: int
    fields: dict[bytes, int] | None = None
    """Deadlines of the fields of a hash that have one; None where the server knows no such thing."""


@dataclass
class Snapshot:
    """Everything a server held, and its own time when the last key had been read."""

    keys: dict[Name, Held] = field(default_factory=dict)
    until_ms: int = 0


@dataclass
class Differences:
    """Where two servers differ, by (db, key)."""

    lost: list[Name] = field(default_factory=list)
    altered: list[Name] = field(default_factory=list)
    extra: list[Name] = field(default_factory=list)
    deadline: list[Name] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.altered or self.extra or self.deadline)

    def without(self, names: set[Name]) -> Differences:
        """Without those of *names*, which are accounted for elsewhere."""
        lists = (self.lost, self.altered, self.extra, self.deadline)
        return Differences(*([name for name in names_of if name not in names] for names_of in lists))

    def told(self) -> str:
        """Numbers, and the first names of each kind."""
        rows = (("lost", self.lost), ("altered", self.altered), ("extra", self.extra), ("deadline", self.deadline))
        return "; ".join(f"{len(names)} {kind}: {names[:3]}" for kind, names in rows if names) or "equal"


def snapshot(place: Place, dbs: Iterable[int] | None = None) -> Snapshot:
    """Every key of *dbs* (default: of all). Several reads, so not of one moment where somebody writes."""
    with Client(place) as client:
        found = Snapshot()
        timed_fields = _knows(client, "HPEXPIRETIME")
        exact = _knows(client, "PEXPIRETIME")
        for db in _dbs(client) if dbs is None else dbs:
            client.ask("SELECT", db)
            for names in _pages(client):
                for name, held in _held(client, names, exact=exact, timed_fields=timed_fields):
                    found.keys[db, name] = held
        found.until_ms = _now_ms(client.ask("TIME"))
        return found


def compare(left: Snapshot, right: Snapshot, tolerance_ms: int = 5) -> Differences:
    """What *right* lacks, has otherwise, has beyond, or keeps for another time, compared with *left*."""
    differences = Differences()
    now_ms = max(left.until_ms, right.until_ms)
    for name, here in left.keys.items():
        there = right.keys.get(name)
        if there is None:
            if not 0 <= here.deadline <= now_ms + tolerance_ms:
                differences.lost.append(name)
        elif here.kind != there.kind or here.value != there.value:
            differences.altered.append(name)
        elif not _same_time(here.deadline, there.deadline, tolerance_ms) or not _same_fields(here, there, tolerance_ms):
            differences.deadline.append(name)
    for name, there in right.keys.items():
        if name not in left.keys and not 0 <= there.deadline <= now_ms + tolerance_ms:
            differences.extra.append(name)
    return differences


def compared(left: Place, right: Place, tolerance_ms: int = 5) -> Differences:
    """Two servers as they are now."""
    return compare(snapshot(left), snapshot(right), tolerance_ms)


def contents(address: Place, db: int = 0) -> Content:
    """Every key of one database. Deadlines before 7.0 are TIME + PTTL, good to a few milliseconds."""
    found = snapshot(address, (db,))
    return {key: (_plain(held), held.deadline) for (_, key), held in found.keys.items()}


def values(address: Place, db: int = 0) -> dict[bytes, Any]:
    return {key: value for key, (value, _) in contents(address, db).items()}


def assert_same(left: Place, right: Place, dbs: tuple[int, ...] = (0,), tolerance_ms: int = 5) -> None:
    """Fails unless both servers hold the same keys, values and deadlines in *dbs*."""
    differences = compare(snapshot(left, dbs), snapshot(right, dbs), tolerance_ms)
    assert not differences, differences.told()


def client(address: Address, db: int = 0) -> redis.Redis:
    """redis-py, for tests that write: no verdict rests on it."""
    import redis

    password = address.password.reveal() if address.password else None
    if address.path:
        return redis.Redis(unix_socket_path=address.path, db=db, password=password, protocol=2)
    return redis.Redis(host=address.host, port=address.port, db=db, password=password, protocol=2)


def double_bits(text: bytes) -> int:
    """A score as the bits of its double; every zero is the same."""
    score = float(text)
    assert not math.isnan(score)
    return int.from_bytes(struct.pack(">d", score + 0.0 if score else 0.0))


def _knows(client: Client, command: str) -> bool:
    return client.ask("COMMAND", "INFO", command)[0] is not None


def _dbs(client: Client) -> list[int]:
    rows = client.ask("INFO", "keyspace").decode().splitlines()
    return sorted(int(row[2:].partition(":")[0]) for row in rows if row.startswith("db"))


def _pages(client: Client) -> Iterable[list[bytes]]:
    """Every name once."""
    cursor, seen = b"0", set()
    while True:
        cursor, names = client.ask("SCAN", cursor, "COUNT", _PAGE)
        fresh = [name for name in dict.fromkeys(names) if name not in seen]
        seen.update(fresh)
        yield fresh
        if cursor == b"0":
            return


_READ: dict[bytes, tuple[Words, Words]] = {
    b"string": (("GET",), ()),
    b"list": (("LRANGE",), (0, -1)),
    b"set": (("SMEMBERS",), ()),
    b"hash": (("HGETALL",), ()),
    b"zset": (("ZRANGE",), (0, -1, "WITHSCORES")),
    b"stream": (("XINFO", "STREAM"), ("FULL", "COUNT", 0)),
}


def _held(client: Client, names: list[bytes], *, exact: bool, timed_fields: bool) -> Iterable[tuple[bytes, Held]]:
    kinds = client.must([("TYPE", name) for name in names])
    reads: list[Words] = []
    for name, kind in zip(names, kinds, strict=True):
        before, after = _READ.get(kind, (("DUMP",), ()))
        reads.append((*before, name, *after))
    replies = client.pipe(reads)
    deadlines = _deadlines(client, names, exact)
    timed = _field_deadlines(client, names, kinds, replies) if timed_fields else {}
    for name, kind, reply, deadline in zip(names, kinds, replies, deadlines, strict=True):
        if isinstance(reply, ReplyError) and "no such key" not in str(reply):
            raise reply
        if kind == b"none" or deadline == -2 or reply in (None, []) or isinstance(reply, ReplyError):
            continue  # its time came meanwhile
        fields = timed.get(name, {}) if timed_fields else None
        yield name, Held(kind, _value(kind, reply), deadline, fields)


_CLOCK_LOOKS = 20


def _deadlines(client: Client, names: list[bytes], exact: bool) -> list[int]:
    if exact:
        return client.must([("PEXPIRETIME", name) for name in names])
    if not names:
        return []
    request = [("MULTI",), ("TIME",), *(("PTTL", name) for name in names), ("TIME",), ("EXEC",)]
    for _ in range(_CLOCK_LOOKS):  # a server that was not given the processor in between says nothing exact
        *_, (before, *ttls, after) = client.must(request)
        if _now_ms(after) - _now_ms(before) <= 1:
            break
    return [ttl if ttl < 0 else _now_ms(before) + ttl for ttl in ttls]


def _now_ms(answer: list[bytes]) -> int:
    return int(answer[0]) * 1000 + int(answer[1]) // 1000


def _field_deadlines(
    client: Client, names: list[bytes], kinds: list[bytes], replies: list[Any]
) -> dict[bytes, dict[bytes, int]]:
    """key -> field -> deadline, of the fields that have one."""
    hashes = [(name, reply[::2]) for name, kind, reply in zip(names, kinds, replies, strict=True) if kind == b"hash"]
    hashes = [(name, fields) for name, fields in hashes if fields]
    asked = client.pipe([("HPEXPIRETIME", name, "FIELDS", len(fields), *fields) for name, fields in hashes])
    return {
        name: {field: time for field, time in zip(fields, times, strict=True) if time >= 0}
        for (name, fields), times in zip(hashes, asked, strict=True)
        if isinstance(times, list)
    }


def _value(kind: bytes, reply: Any) -> Any:
    if kind == b"set":
        return frozenset(reply)
    if kind == b"hash":
        return dict(zip(reply[::2], reply[1::2], strict=True))
    if kind == b"zset":
        return {member: double_bits(score) for member, score in zip(reply[::2], reply[1::2], strict=True)}
    if kind == b"stream":
        return _stream(reply)
    return reply


def _stream(reply: list[Any]) -> Any:
    """Entries, last id, and per group: name, last delivered id, consumers, pending entries."""
    told = dict(zip(reply[::2], reply[1::2], strict=True))
    groups = []
    for group in told[b"groups"] or ():
        said = dict(zip(group[::2], group[1::2], strict=True))
        names = [dict(zip(row[::2], row[1::2], strict=True))[b"name"] for row in said[b"consumers"]]
        pending = [
            (entry, owner, count) for entry, owner, _, count in said[b"pending" if b"pending" in said else b"pel"]
        ]
        groups.append((said[b"name"], said[b"last-delivered-id"], sorted(names), sorted(pending)))
    return [(entry, fields) for entry, fields in told[b"entries"]], told[b"last-generated-id"], sorted(groups)


def _same_time(left: int, right: int, tolerance_ms: int) -> bool:
    return left == right if NO_DEADLINE in (left, right) else abs(left - right) <= tolerance_ms


def _same_fields(here: Held, there: Held, tolerance_ms: int) -> bool:
    if here.fields is None or there.fields is None:
        return True
    return here.fields.keys() == there.fields.keys() and all(
        _same_time(time, there.fields[name], tolerance_ms) for name, time in here.fields.items()
    )


def _plain(held: Held) -> Any:
    """A value as tests write it down: scores as floats."""
    if held.kind != b"zset":
        return held.value
    return {member: struct.unpack(">d", bits.to_bytes(8))[0] for member, bits in held.value.items()}

"""Where data lives, who answers there, and what it can do."""

from __future__ import annotations

from urllib.parse import quote

import msgspec


class Secret:
    """A password that no repr, log or error text shows; `reveal()` gives it to the wire."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


RDB_SCHEME, ARCHIVE_SCHEME, JSONL_SCHEME, NAMES_SCHEME = "rdb", "xfer", "jsonl", "txt"
FILE_SCHEMES = (RDB_SCHEME, ARCHIVE_SCHEME, JSONL_SCHEME, NAMES_SCHEME)
"""Schemes of places that are files; also their endings."""
AGE_ENDING, STDIO = ".age", "-"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """One place as its URL or file name says: a server or a file. `str()` of it is redacted and safe to show.

    `db` is None when the URL names no logical database (all of them are meant).
    `path` is set for unix sockets and files (`scheme` is its ending then), else `host` and `port` hold.
    """

    scheme: str = "redis"
    host: str = "127.0.0.1"
    port: int = 6379
    path: str = ""
    db: int | None = None
    username: str = ""
    password: Secret | None = None
    tls: bool = False
    verify_tls: bool = True
    cacert: str = ""
    cert: str = ""
    key: str = ""

    @property
    def is_file(self) -> bool:
        return self.scheme in FILE_SCHEMES

    @property
    def is_stdio(self) -> bool:
        """An archive on standard input or output."""
        return self.is_file and self.path == STDIO

    @property
    def encrypted(self) -> bool:
        """By its name."""
        return self.is_file and self.path.lower().endswith(AGE_ENDING)

    def __str__(self) -> str:
        if self.is_file:
            return self.path
        user = ""
        if self.username or self.password:
            user = f"{quote(self.username, safe='')}{':***' if self.password else ''}@"
        if self.path:
            return f"unix://{user}{self.path}" + (f"?db={self.db}" if self.db is not None else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}" + (f"/{self.db}" if self.db is not None else "")

    __repr__ = __str__


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers at an address, from INFO server, replication and cluster.

    `run_id` changes with every process; `replid` names the history of the data and survives a
    failover as the new primary's `replid2`, valid up to `second_offset`.
    """

    vendor: str  # redis | valkey | keydb | dragonfly
    version: tuple[int, int, int]
    run_id: str
    mode: str  # standalone | cluster | sentinel
    role: str  # master | slave
    replid: str = ""
    replid2: str = ""
    second_offset: int = -1
    primary_host: str = ""
    primary_port: int = 0
    link_up: bool = True
    syncing: bool = False

    @property
    def name(self) -> str:
        """For people: `Valkey 9.1.2`."""
        return f"{self.vendor.capitalize()} {self.number}"

    @property
    def number(self) -> str:
        """Of its version: `9.1.2`."""
        return ".".join(map(str, self.version))

    def continues(self, before: Identity) -> bool:
        """Whether the data has the history that *before* had: the same process, a promoted replica, its replica."""
        return before.replid in (self.replid, self.replid2)


class Population(msgspec.Struct, frozen=True):
    """How many keys a database has, those included that expired and are not deleted yet, and marks that move when
    the server writes anything: two equal populations say that nothing was written between.
    """

    keys: int
    writes: tuple[int, ...]


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What a live server can do, found by asking it (never by its version alone).

    `dump_version` is the RDB version in the footer of its DUMP payloads; `restores` the set of
    versions its RESTORE takes, as probed, `restore_types` the value types it loads, modules apart; `pexpiretime`
    (7.0+) reads absolute deadlines; `gives_strings` says that many strings can be read by one MGET, `takes_strings`
    that they can be written by MSET, MSETNX and SET ... PXAT.
    """

    dump_version: int = 0
    restores: frozenset[int] = frozenset()
    restore_types: frozenset[int] = frozenset()
    pexpiretime: bool = False
    no_touch: bool = False
    tracking: bool = False
    field_ttl: bool = False
    memory_usage: bool = False
    gives_strings: bool = False
    takes_strings: bool = False
    transaction_keys: int = 64
    """Keys that may share a MULTI: 1 on a cluster node, which refuses keys of different slots together."""

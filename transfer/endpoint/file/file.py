"""An RDB file as a place: looked through once, from its first byte to its checksum, before anything is done with it.

    open -> Walk over all blocks -> counts per database, places of blocks, hashes of names -> DataFile
                  `-> damage: FormatError with the key and the offset, nothing was written anywhere

Rule 1: what the file holds is known before it is used; a file that changed since is refused.
Rule 2: memory is bounded: a place for every block, and names as hashes that spill to disk.
Rule 3: keys that hold an empty collection are skipped, as servers do, and counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

import anyio.lowlevel
import msgspec
import xxhash

from transfer.codec.dump import type_name
from transfer.codec.rdb.items import Use
from transfer.endpoint.file.block import Block, Walk
from transfer.endpoint.file.index import NameIndex, NoIndex
from transfer.model.endpoint import RDB_SCHEME, Features, Identity
from transfer.model.errors import FileMissingError, FormatError, ReplacedError
from transfer.model.record import NO_DEADLINE, hashes_of_names

_first = itemgetter(0)
FILE_MODE = "file"
"""`mode` and `role` in the Identity of a file."""


class BlockPlace(msgspec.Struct, frozen=True):
    """Where a block begins, and the logical database that holds there."""

    start: int
    db: int


class DbCount(msgspec.Struct):
    """Keys of one logical database, those with a deadline among them, `passed` when it was opened; empty ones apart."""

    keys: int = 0
    with_deadline: int = 0
    skipped: int = 0
    passed: int = 0


class Repeats(msgspec.Struct, frozen=True):
    """Keys that come again in the same database: how many, and one of them."""

    count: int
    db: int
    key: bytes


class DataFile:
    """What one RDB file holds, as found when it was opened. Keeps the promise of `model.ports.Origin`.

    Attributes:
        walk: header, AUX fields, functions, checksum and what comes after the end.
        dbs: database -> its counts.
        kinds: type byte -> keys.
        now_ms: the clock its deadlines are judged by, ours unless another is set.
        use: what it tells of the use of its keys, if anything.
        named: what it is called for people, where that is not its path.
        repeats: names that stand in it more than once, if it has an index; the last one holds.
    """

    def __init__(self, path: Path, walk: Walk) -> None:
        self.path = path
        self.walk = walk
        self.dbs: dict[int, DbCount] = {}
        self.kinds: Counter[int] = Counter()
        self.blocks: list[BlockPlace] = []
        self.index: NameIndex | NoIndex = NoIndex()
        self.size_bytes = 0
        self.seconds = 0.0
        self.identity: Identity
        self.features: Features
        self.on_wait: Callable[[str], None] = lambda text: None
        self.now_ms: Callable[[], int] = lambda: int(time.time() * 1000)
        self.named = ""
        self.use: Use = ""
        self.repeats: Repeats | None = None
        self._stamp = ""
        self._opened_ms = self.now_ms()

    @property
    def where(self) -> str:
        return self.named or str(self.path)

    @property
    def vendor(self) -> str:
        return self.identity.vendor

    @property
    def version(self) -> int:
        """Of the RDB form."""
        return self.walk.version

    @property
    def keys(self) -> int:
        return sum(count.keys for count in self.dbs.values())

    @property
    def skipped(self) -> int:
        return sum(count.skipped for count in self.dbs.values())

    @property
    def passed(self) -> int:
        """Keys whose deadline had passed when it was opened, by our clock."""
        return sum(count.passed for count in self.dbs.values())

    @property
    def saved_ms(self) -> int:
        """When it was saved, as it says; 0 if it does not."""
        return self.walk.saved_ms

    @property
    def dated_ms(self) -> int:
        """When it was saved; failing that, when it was last written, which is later, or a copy's date."""
        return self.saved_ms or int(self.path.stat().st_mtime * 1000)

    @property
    def used_memory_bytes(self) -> int:
        """Of the server that saved it, 0 where it does not say."""
        said = self.walk.aux.get(b"used-mem", b"")
        return int(said) if said.isdigit() else 0

    @property
    def server(self) -> str:
        """Who saved it: `Redis 7.0.15`, as far as it says."""
        said = (self.walk.aux.get(b"valkey-ver") or self.walk.aux.get(b"redis-ver") or b"").decode(errors="replace")
        return f"{self.vendor.capitalize()} {said}" if said else "an unknown server"

    def counts(self) -> dict[int, tuple[int, int]]:
        """Database -> keys, keys with a deadline."""
        return {db: (count.keys, count.with_deadline) for db, count in sorted(self.dbs.items()) if count.keys}

    def type_name(self, kind: int) -> str:
        return type_name(bytes((kind,)), self.vendor)

    @classmethod
    async def open(
        cls,
        walk: Walk,
        *,
        index: NameIndex | None = None,
        starts: bool = False,
        on_block: Callable[[Block], None] = lambda block: None,
    ) -> DataFile:
        """Look through the file of *walk*.

        *on_block* is given every block of it, with *starts*; *index* remembers where names are.

        Raises:
            FileMissingError: it is not there or cannot be read.
            FormatError: it is of another kind, or damaged; `where` names the file, the message offset and last key.
        """
        began = time.monotonic()
        path = walk.path
        file = cls(path, walk)
        file.index = index or NoIndex()
        with failures_of(path):
            file._stamp, file.size_bytes = _stamp(path)
            try:
                await file._look_through(on_block, starts=starts or file.index.wanted)
            except FormatError as error:
                if not walk.version and error.hint == FormatError.default_hint:
                    error.hint = "nothing of it can be read: look what it is; a file is read as its ending says"
                raise
        file._know()
        file.seconds = time.monotonic() - began
        return file

    async def _look_through(self, on_block: Callable[[Block], None], *, starts: bool) -> None:
        for block in self.walk.blocks(starts=starts):
            self._count(block)
            on_block(block)
            await anyio.lowlevel.checkpoint()
        count, marks = self.index.again()
        if count:
            self.repeats = await self._one_again(count, marks)

    async def _one_again(self, count: int, marks: set[bytes]) -> Repeats | None:
        """The first name that comes again of those with one of the hashes *marks*; None: they are of other names."""
        met: set[tuple[int, bytes]] = set()
        for block in self.walk.blocks():
            hashes = hashes_of_names(block.db, block.keys)
            for key, mark in zip(block.keys, hashes, strict=True):
                if mark in marks:
                    if (block.db, key) in met:
                        return Repeats(count, block.db, key)
                    met.add((block.db, key))
            await anyio.lowlevel.checkpoint()
        return None

    def _count(self, block: Block) -> None:
        count = self.dbs.setdefault(block.db, DbCount())
        count.skipped += block.skipped
        count.keys += len(block.keys)
        lasting = block.deadlines.count(NO_DEADLINE)
        if mortal := len(block.keys) - lasting:
            count.with_deadline += mortal
            by_now = (self._opened_ms + 1).__gt__  # for those without a deadline, too: -1
            count.passed += sum(map(by_now, block.deadlines)) - lasting
        kinds = bytes(map(_first, block.bodies))
        for kind in set(kinds):
            self.kinds[kind] += kinds.count(kind)
        self.use = self.use or block.use
        self.index.add(block.db, block.keys, block.starts)
        self.blocks.append(BlockPlace(block.start, block.db))

    def _know(self) -> None:
        walk = self.walk
        vendor = "valkey" if walk.family == "valkey" or b"valkey-ver" in walk.aux else "redis"
        said = walk.aux.get(b"valkey-ver") or walk.aux.get(b"redis-ver") or b""
        numbers = [int(part) for part in said.split(b"-")[0].split(b".") if part.isdigit()][:3]
        self.identity = Identity(
            vendor=vendor,
            version=tuple([*numbers, 0, 0, 0][:3]),  # type: ignore[arg-type]  # three of them
            run_id=self._stamp,
            mode=FILE_MODE,
            role=FILE_MODE,
            replid=self._stamp,
        )
        self.features = Features(dump_version=walk.version)

    def last_ones(self, db: int, names: list[bytes], start: int, end: int) -> list[bytes]:
        """Those of *names* in the block from *start* to *end* that no later one holds again, each once."""
        if self.repeats is None:
            return names
        names = list(dict.fromkeys(names))
        last = {name: place for place, name in self.index.find(db, names)}
        return [name for name in names if start <= last.get(name, start) < end]

    def moved_to(self, path: Path) -> None:
        """The same file has another name now."""
        self.path = self.walk.path = path

    def close(self) -> None:
        """Let go of the file and of what is known of it."""
        self.index.close()
        self.walk.close()

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """What cannot be read within the block is told as the change of the file, if it was changed.

        Raises:
            ReplacedError
        """
        try:
            yield
        except FormatError:
            self.check_unchanged()
            raise

    def check_unchanged(self) -> None:
        """Raise ReplacedError if the file is not the one that was looked through."""
        with failures_of(self.path):
            stamp, _ = _stamp(self.path)
        if stamp != self._stamp:
            raise changed(self.where)


def changed(where: str) -> ReplacedError:
    hint = "import it anew: the same command with --fresh; keys that are equal are skipped"
    return ReplacedError(
        "the file changed since it was looked through: its size, time or beginning is another", where=where, hint=hint
    )


class failures_of:
    """Maps failures of the file system to ours, and names the file in every failure."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            said = error.strerror or str(error)
            raise FileMissingError(f"the file cannot be read: {said}", where=str(self._path)) from None
        if isinstance(error, FormatError) and not error.where:
            error.where = str(self._path)
            if error.hint == FormatError.default_hint:
                error.hint = f"transfer import {self._path} URL --salvage brings what is whole of it"


def _stamp(path: Path) -> tuple[str, int]:
    """What tells this file from another: inode, size, time and a hash of how it begins; and its size."""
    found = path.stat()
    if not path.is_file():
        raise FileMissingError("this is no file", where=str(path))
    with path.open("rb") as file:
        head = file.read(4096)
    inner = f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}".encode() + head
    return f"{RDB_SCHEME}:{xxhash.xxh3_128_hexdigest(inner)}", found.st_size
